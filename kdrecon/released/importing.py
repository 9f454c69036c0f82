"""Released checkpoints as experiments of a run, so that evaluation, tables and comparisons find them.

>>> from pathlib import Path
>>> from kdrecon.released.importing import import_checkpoint
>>> import_checkpoint(Path("best_model.pt"), Path("run"))
Traceback (most recent call last):
    ...
kdrecon.errors.InputError: best_model.pt does not exist: expected a released best_model.pt; check the path
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from kdrecon.distillation.registry import check_method
from kdrecon.errors import InputError, shown
from kdrecon.models.dccnn import count_parameters
from kdrecon.models.sft import SFT
from kdrecon.released.weights import Checkpoint, read_released
from kdrecon.runs.experiment import TEACHERS, Experiment, usual_resolution
from kdrecon.runs.parameters import Parameters
from kdrecon.runs.record import Record, read_record, write_record
from kdrecon.runs.switches import Switches, matched_start
from kdrecon.runs.versions import environment
from kdrecon.storage.checkpoints import read_weights, save_checkpoint
from kdrecon.storage.places import NAME


def import_checkpoint(
    path: Path,
    run_root: Path,
    dataset: str = "",
    acceleration: str = "",
    resolution: int = 0,
    method: str = "",
    teacher: str = "",
) -> Path:
    """Write a released best_model.pt into a run, in our form: an experiment folder with best_model.pt and config.json.

    Args:
        path: the released file, see :func:`kdrecon.released.weights.read_released`.
        run_root: folder of a run; the experiment goes to experiments/{dataset}/acc_{acceleration}/..._released.
        dataset, acceleration: such as "cardiac" and "4x"; "" takes what the file's command line says.
        resolution: side of the square images it is for; 0 takes the data set's usual size.
        method, teacher: of a distilled student, which the file does not tell: one of
            :func:`kdrecon.distillation.method_keys`, and "standard" or "sft".

    Returns:
        the experiment folder. It is never overwritten by another network.

    Raises:
        InputError: an unusable file (see there); data set or acceleration that are in doubt; a distilled student without
            method and teacher, or those for another network; a folder that holds another network. Nothing is written.
    """
    found = read_released(path)
    place = _place(found.arguments, path, dataset, acceleration)
    experiment = _experiment(found, path, place, resolution or usual_resolution(place[0]) or 0, method, teacher)
    folder = experiment.folder(run_root)
    folder = folder.with_name(f"{folder.name}_released")
    weights = found.network.state_dict()
    if (present := folder / "best_model.pt").exists():
        before = read_weights(present, weights)
        if any(not torch.equal(before[name], value) for name, value in weights.items()):
            raise InputError(
                f"{folder} holds another network: expected a new folder; choose another --out, or delete it"
            )
        if (kept := read_record(folder)) and kept.finished:
            return folder
    state = {"model": weights, "epoch": found.epoch, "validation_l1": found.validation_l1}
    save_checkpoint(state | {"config": experiment.config()}, folder / "best_model.pt")
    write_record(_record(found, experiment, path.name), folder)
    return folder


def _record(found: Checkpoint, experiment: Experiment, file: str) -> Record:
    evaluated = found.network.teacher if isinstance(found.network, SFT) else found.network
    return Record(
        config=experiment.config(),
        parameters=count_parameters(evaluated),
        finished=True,
        origin="released",
        best_epoch=found.epoch,
        precision="fp32",
        layout="contiguous",
        others={
            "validation_l1": found.validation_l1,
            "released": {"file": file, "arguments": found.arguments},
            "environment": environment(),
        },
    )


def _place(arguments: dict, path: Path, dataset: str, acceleration: str) -> tuple[str, str]:
    """Data set and acceleration as the user gives them, else as the command line in the file says."""
    place: tuple[Any, Any] = (
        dataset or arguments.get("dataset_type"),
        acceleration or arguments.get("acceleration_factor"),
    )
    for name, value in zip(("dataset", "acceleration"), place):
        if not isinstance(value, str) or not NAME.fullmatch(value):
            raise InputError(f"{path} says {name} {shown(value)}: expected one name; give --{name}")
    return place


def _experiment(
    found: Checkpoint, path: Path, place: tuple[str, str], resolution: int | str, method: str, teacher: str
) -> Experiment:
    """What the experiment is: the tensors and the command line tell, and for a distilled student the user."""
    arguments, network = found.arguments, found.network
    mask_type = "gaussian" if arguments.get("mask_type") == "gaussian" else "line"
    switches = Switches.of("as_released", {"mask_type": mask_type})
    if found.role != "student" and (method or teacher):
        raise InputError(f"{path} holds a {found.role}: expected neither --method nor --teacher")
    if ("teacher_checkpoint" in arguments or method or teacher) and not (method and teacher):
        raise InputError(f"{path} holds a distilled student: expected --method and --teacher, which it does not tell")
    if method:
        check_method(method)
    if teacher not in ("", *TEACHERS):
        raise InputError(f"teacher {teacher!r} is unknown: expected one of {', '.join(TEACHERS)}")
    if isinstance(network, SFT):
        switches, network = replace(switches, student_network=network.student.name), network.teacher
    init = matched_start(teacher)
    recipe = {"epochs": "num_epochs", "batch_size": "batch_size", "lr": "lr", "seed": "seed"}
    told = {name: arguments[theirs] for name, theirs in recipe.items() if arguments.get(theirs) is not None}
    known = {"epochs": 150, "batch_size": 4, "lr": 1e-3, "seed": 42} | told
    try:
        p = Parameters.from_mapping(
            {"dataset": place[0], "acceleration": place[1], "resolution": resolution, "methods": ["at"], **known}
        )
    except InputError as error:
        raise InputError(f"{path} does not tell how it was trained: {error}") from None
    experiment = Experiment.of(p, p.resolution, found.role, teacher, method, init)
    return replace(experiment, architecture=network.name, switches=switches.acting_on(found.role, teacher, init))
