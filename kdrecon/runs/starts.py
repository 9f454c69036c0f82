"""First weights that a network of another run has: what a training on new data starts from.

>>> from kdrecon.runs.shipped import find_network
>>> from kdrecon.runs.starts import read_start
>>> start = read_start(find_network("D2C5_student"))
>>> start.name.partition("-")[0], start.steps
('people', 1200)
"""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import cast

from torch import nn

from kdrecon.errors import InputError
from kdrecon.models.dccnn import DCCNN
from kdrecon.models.sft import SFT
from kdrecon.runs.experiment import Experiment
from kdrecon.runs.networks import build, open_checkpoint, open_network, weights_hash
from kdrecon.runs.record import Record, read_record
from kdrecon.storage.checkpoints import misfits
from kdrecon.storage.places import SHIPPED


@dataclass(frozen=True)
class Start:
    """A network of another run, whose weights are a training's first ones.

    Attributes:
        path: where it lies.
        experiment: what it is.
        network: the module; of an SFT training teacher and student blocks together.
        steps: of the optimiser behind its weights; 0 where no record tells.
    """

    path: Path
    experiment: Experiment
    network: nn.Module
    steps: int

    @cached_property
    def name(self) -> str:
        """What ``init`` says of a training that starts here: the data set, and the fingerprint of the weights."""
        return f"{self.experiment.dataset}-{weights_hash(self.network)}"

    @property
    def told(self) -> dict[str, object]:
        """What records say of it to people."""
        e = self.experiment
        place = {"dataset": e.dataset, "acceleration": e.acceleration, "resolution": e.resolution, "seed": e.seed}
        return {"path": str(self.path.resolve()), "network": e.title, **place, "steps": self.steps}

    def check(self, experiment: Experiment) -> None:
        """Raise InputError where a training cannot start from these weights; tensors that do not fit are named."""
        theirs, e = self.experiment, experiment
        ours, own = (f"{x.architecture}{' with residual blocks' * x.switches.residual}" for x in (theirs, e))
        if ours != own:
            raise InputError(f"{self.path} holds a {ours} ({theirs.title}): expected a {own}, as {e.kind} is here")
        alone = build(replace(e, teacher="", method="", init="random"))
        if problems := misfits(self.network.state_dict(), alone.network.state_dict()):
            raise InputError(
                f"{self.path} ({theirs.title}) does not fit {e.title}, {problems}: expected a network of one kind"
            )


def read_start(path: Path) -> Start:
    """The network of an experiment folder, or of a best_model.pt; :func:`kdrecon.runs.shipped.find_network` finds either.

    Raises:
        InputError: it cannot be read, or its tensors are not those of what it says it is.
    """
    if path.suffix.lower() == ".onnx":
        raise InputError(
            f"{path} is an exported network: expected its best_model.pt or experiment folder, to be trained on"
        )
    network = open_network(path) if path.is_dir() else open_checkpoint(path)
    model = cast(DCCNN, network.model)
    module = SFT(model, network.student) if network.student else model
    steps = record.steps if (record := _record(path, network.experiment)) else None
    if steps is None:
        print(f"{path}: no record tells how many steps lie behind it, so that none of them are counted")
    return Start(path, network.experiment, module, steps or 0)


def _record(path: Path, experiment: Experiment) -> Record | None:
    """The record of a network: that of its folder, or beside its file; None where that is of another one."""
    if path.is_dir():
        return read_record(path)
    beside = f"{path.stem}.json" if path.parent == SHIPPED else "config.json"
    record = read_record(path.parent, beside)
    alike = (
        record and replace(record.experiment, precision=experiment.precision) == experiment
    )  # "auto" has come to one
    return record if alike else None
