"""The networks of experiments: built, and opened from their folders.

>>> from kdrecon.models.dccnn import dc_cnn
>>> from kdrecon.runs.networks import start_from_sft
>>> start_from_sft(dc_cnn("D2C2"), dc_cnn("D2C2"))
['blocks.1.convs.0.bias', 'blocks.1.convs.0.weight', 'blocks.1.convs.1.bias', 'blocks.1.convs.1.weight']
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import pandas as pd
import torch
from torch import Tensor, nn

from kdrecon.errors import InputError
from kdrecon.models.dccnn import DCCNN, dc_cnn
from kdrecon.models.sft import SFT
from kdrecon.runs.experiment import Experiment
from kdrecon.runs.record import Record, read_record
from kdrecon.runs.switches import INITS, Switches
from kdrecon.storage.checkpoints import read_checkpoint, read_weights
from kdrecon.storage.records import read_json, read_table
from kdrecon.training.objectives import Objective, StudentFriendly, Supervised, distil

N = TypeVar("N", bound=nn.Module)


@dataclass(frozen=True)
class Network:
    """A reconstruction network of a run, ready for use.

    Attributes:
        model: the network in evaluation mode; the task's :class:`kdrecon.tasks.Baseline` for the baseline.
        experiment: what identifies it.
        folder: its experiment folder.
        origin: of its weights, see :class:`kdrecon.runs.record.Record`; "" of the baseline.
        history: a row an epoch: learning rate, loss terms, validation L1; empty for the baseline.
        student: of an SFT training also the trained student blocks (S1 untrained), else None.
    """

    model: nn.Module
    experiment: Experiment
    folder: Path
    origin: str
    history: pd.DataFrame
    student: DCCNN | None = None


def build(
    experiment: Experiment, teacher: DCCNN | None = None, branches: DCCNN | None = None, stage: str | None = None,
    start: nn.Module | None = None,
) -> Objective:  # fmt: skip
    """What a training minimises before its first step, its network with the first weights that the seed gives it.

    Args:
        experiment: what to build; nothing is read, trained or written.
        teacher: of a distilled student the network that it learns from; see :meth:`Experiment.needs`.
        branches: the student blocks of the SFT training, for one that starts from them; for one that starts from a
            student which was trained from these, that student.
        stage: one of the experiment's stages; by default the last one.
        start: the network of another run that its first weights come from, for an init that names one.

    Raises:
        InputError: the branches are of another architecture than the student, or the method lacks the switches' form.
        ValueError: the teacher does not fit the student, or something that is needed is not given.
    """
    e = experiment
    objective = _drawn(e, teacher, branches, stage or e.stages[-1])
    if e.init not in INITS:
        objective.network.load_state_dict(_given(start).state_dict())
    return objective


def _drawn(e: Experiment, teacher: DCCNN | None, branches: DCCNN | None, stage: str) -> Objective:
    """The objective of :func:`build`, all that comes from no other run in it."""
    switches = e.switches
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(e.seed)
        model = _dc_cnn(e.architecture, switches)
        if e.role == "sft_teacher":
            sft = SFT(model, _dc_cnn(switches.student_network, switches))
            return StudentFriendly(sft, switches.imitation, switches.sft_terms)
        if e.init == "sft":
            start_from_sft(model, _given(branches))
        elif e.init == "sft_trained":
            model.load_state_dict(_given(branches).state_dict())
        if not e.method:
            return Supervised(model)
        chosen = {name: getattr(switches, name) for name in ("kd_form", "alpha", "weight_factor")}
        return distil(model, _given(teacher), e.method, stage=stage, **chosen)


def _given(network: N | None) -> N:
    if network is None:
        raise ValueError("a network that the experiment needs is None: expected the teacher, and what it starts from")
    return network


def _dc_cnn(architecture: str, switches: Switches) -> DCCNN:
    return dc_cnn(architecture, switches.fidelity, switches.residual)


def start_from_sft(student: DCCNN, branches: DCCNN) -> list[str]:
    """Start a student from the student blocks S2..SN of an SFT training; S1, which SFT never trains, stays fresh.

    Of a VDSR the blocks are its convolutions.

    Args:
        student: the network to initialise, changed in place.
        branches: the student half of a trained :class:`kdrecon.models.sft.SFT`.

    Returns:
        the names of the tensors that were loaded.

    Raises:
        InputError: a block has no counterpart of the same shape; nothing is loaded then.
    """
    state, expected = _after_the_first_part(branches), _after_the_first_part(student)
    if not state or {n: value.shape for n, value in state.items()} != {n: value.shape for n, value in expected.items()}:
        raise InputError(
            f"the SFT student blocks are of a {branches.name}, the student is a {student.name}: nothing was loaded; "
            "expected the same architecture with at least 2 cascades"
        )
    student.load_state_dict(state, strict=False)
    return sorted(state)


def _after_the_first_part(network: DCCNN) -> dict[str, Tensor]:
    first = {id(tensor) for tensor in network.parts[0].parameters()}
    return {name: tensor.detach() for name, tensor in network.named_parameters() if id(tensor) not in first}


def open_network(folder: Path, device: torch.device = torch.device("cpu")) -> Network:
    """The network of a finished experiment folder, ready for use; its history is empty where the folder has no log.csv.

    Raises:
        InputError: no finished experiment, or a checkpoint that does not fit its record.
    """
    record = read_record(folder)
    if not (record and record.finished):
        raise InputError(f"{folder} holds no finished experiment: expected config.json and best_model.pt")
    model, student = _loaded(record.experiment, folder / "best_model.pt", device)
    history = read_log(folder) if (folder / "log.csv").exists() else pd.DataFrame()
    return Network(model, record.experiment, folder, record.origin, history, student)


def open_checkpoint(path: Path, device: torch.device = torch.device("cpu")) -> Network:
    """The network of a best_model.pt alone, which says itself what it is; without history and origin.

    Raises:
        InputError: the file is damaged, holds no network of an experiment, or does not fit what it says.
    """
    try:
        experiment = Experiment.from_config(read_checkpoint(path).get("config"))
    except InputError as error:
        if str(error).startswith(str(path)):
            raise
        raise InputError(
            f"{path} does not say what network it holds ({error}): expected a best_model.pt of kdrecon; one of the released "
            "code becomes one with kdrecon import-released"
        ) from None
    model, student = _loaded(experiment, path, device)
    return Network(model, experiment, path.parent, "", pd.DataFrame(), student)


def _loaded(experiment: Experiment, path: Path, device: torch.device) -> tuple[DCCNN, DCCNN | None]:
    """The network of an experiment with the weights of a file, and of an SFT training also the student blocks."""
    model, student = _dc_cnn(experiment.architecture, experiment.switches), None
    if experiment.role == "sft_teacher":
        student = _dc_cnn(experiment.switches.student_network, experiment.switches)
    load_network(SFT(model, student) if student else model, path, device)
    return model, student


def read_log(folder: Path) -> pd.DataFrame:
    """The training history of an experiment folder, a row an epoch.

    Raises:
        InputError: there is no log.csv that can be read.
    """
    return read_table(folder / "log.csv", {"epoch": int, "validation_l1": float}, others=float)


def load_network(network: nn.Module, path: Path, device: torch.device) -> None:
    """Load the weights of a best_model.pt into a network, in place, and put it on the device in evaluation mode.

    Raises:
        InputError: the file is damaged or no checkpoint that loads safely (nothing in it is executed), or a tensor is
            missing, unexpected, of another shape, or not finite.
    """
    network.load_state_dict(read_weights(path, network.state_dict()))
    network.to(device).eval()


def weights_hash(model: nn.Module) -> str:
    """Fingerprint of a model's weights."""
    digest = hashlib.sha256()
    for tensor in model.state_dict().values():
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def can_be_read(folder: Path) -> bool:
    """Whether network and log of a finished experiment can be read; a message says what cannot."""
    try:
        read_log(folder)
        open_network(folder)
    except InputError as error:
        print(error)
        return False
    return True


def completed(record: Record, histories: Sequence[pd.DataFrame], folder: Path) -> Record:
    """The record of a training that has ended, with the history of each of its stages; it is not written."""
    history = histories[-1]
    best = history.iloc[int(history.validation_l1.argmin())]
    made = read_checkpoint(folder / "best_model.pt")["config"]
    told = {
        "device": made["device"],
        "seconds": round(sum(float(stage.seconds.sum()) for stage in histories), 2),
        "validation_l1": float(best.validation_l1),
    } | {name: made[name] for name in ("targets",) if name in made}
    return replace(
        record,
        finished=True,
        best_epoch=int(best.epoch),
        precision=made["precision"],
        layout=made["layout"],
        gradient_norms=read_json(folder / "gradient_norms.json"),
        others=record.others | told,
    )
