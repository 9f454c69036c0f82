"""The networks that ship with the repository, trained longer than in the quick run, and their training records.

>>> from kdrecon.runs.shipped import find_network
>>> find_network("D2C5_student").name
'D2C5_student.pt'
"""

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from kdrecon.errors import InputError, shown
from kdrecon.storage.files import visible
from kdrecon.storage.places import SHIPPED, of_the_checkout

ONE_DEEP_CNN = "D17C1"  # about as many weights as the teacher, D5C5, in a single block: 139,329 and 141,765


def ship(epochs: int, run: Path | None = None, device: str = "auto", seed: int = 0) -> None:
    """Train the networks that ship, or take them from a run that has, and write them to kdrecon/weights/.

    They are teacher, student and SFT teacher; the four students distilled with AT from either teacher, with either first
    weights, and the two with FitNets; the control of SFT-KD; and, to be held against the teacher, one deep CNN without a
    cascade. Of each, by
    :attr:`kdrecon.runs.experiment.Experiment.short_name`: .pt (the checkpoint best_model.pt), .json (its run record) and .csv
    (its training history). The recipe is that of study/course.yaml, whose finished run holds all but the deep CNN.

    Raises:
        InputError: there is no checkout to write them to.
    """
    weights = of_the_checkout(SHIPPED)
    from kdrecon.runs.experiment import TEACHERS
    from kdrecon.runs.laboratory import Laboratory
    from kdrecon.runs.record import require_record, write_record

    with tempfile.TemporaryDirectory() as folder:
        lab = Laboratory(
            epochs=epochs, batch_size=4, device=device, seed=seed, run_root=str(run or folder), ready=False
        )  # fmt: skip
        alone = [lab.experiment(role) for role in ("teacher", "student", "sft_teacher")]
        alone.append(replace(alone[0], architecture=ONE_DEEP_CNN))
        hints = [lab.distillation("fitnets", teacher) for teacher in TEACHERS]
        cells = [lab.distillation("at", teacher, start) for teacher in TEACHERS for start in ("random", "sft")]
        networks = lab.networks([*alone, *hints, *cells])
        for network in [*networks, lab.control(networks[-1])]:
            place = weights / network.experiment.short_name
            weights.mkdir(exist_ok=True)
            for source, suffix in (("best_model.pt", ".pt"), ("log.csv", ".csv")):
                shutil.copyfile(network.folder / source, place.with_suffix(suffix))
            trained = replace(require_record(network.folder), evaluation=None)  # its figures do not ship
            write_record(trained, weights, place.with_suffix(".json").name)
            print(f"{place.name}: written")


def find_network(name: str) -> Path:
    """Where a network lies, as a person names it: an experiment folder, a best_model.pt, an exported .onnx, or a shipped one.

    Raises:
        InputError: it is none of them.
    """
    path, ships = Path(name), [file.stem for file in visible(SHIPPED, "*.pt")]
    if name in ships:
        return SHIPPED / f"{name}.pt"
    if path.is_dir() or path.is_file() and path.suffix.lower() in (".pt", ".onnx"):
        return path
    raise InputError(
        f"network {shown(name)} {'is another file' if path.exists() else 'is not there'}: expected an experiment folder, a "
        f"best_model.pt, an exported .onnx, or one that ships: {', '.join(ships)}; check the path"
    )
