"""The record of an experiment, config.json in its folder: read, checked, written.

>>> from pathlib import Path
>>> from kdrecon.runs.record import read_record
>>> read_record(Path("run")) is None
True
"""

from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, get_args

from kdrecon.errors import InputError
from kdrecon.runs.experiment import Experiment
from kdrecon.runs.parameters import typed
from kdrecon.storage.files import write_json
from kdrecon.storage.records import ANEW, read_json

REMEDY = "run again with its parameters, which writes it anew"


@dataclass(frozen=True)
class Evaluation:
    """What the figures of a network were made from.

    Attributes:
        weights: fingerprint of the network's weights.
        data: fingerprint of the slices.
        split: "test" or "validation".
        others: what another version wrote beside them.
    """

    weights: str
    data: str
    split: str
    others: dict = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Record:
    """What made a network, as far as tables and networks need it; None, "" or empty where it does not tell.

    Attributes:
        config: the experiment's values, fingerprint of the data, weight of the distillation loss; see
            :meth:`kdrecon.runs.experiment.Experiment.config`.
        parameters: weights and biases of the network.
        finished: whether its training is.
        origin: where the weights come from: "trained" in this run, "ready" (shipped with the repository), or "released".
        steps: optimiser steps behind the weights, those of their start included.
        best_epoch: the one whose weights were kept.
        precision, layout: of the training.
        gradient_norms: of each loss term at the first step.
        evaluation: of the figures in metrics.csv.
        others: what people read: device, seconds, versions, ...; and what another version wrote.
    """

    config: dict
    parameters: int
    finished: bool = False
    origin: str = ""
    steps: int | None = None
    best_epoch: int | None = None
    precision: str = ""
    layout: str = ""
    gradient_norms: dict = field(default_factory=dict)
    evaluation: Evaluation | None = None
    others: dict = field(default_factory=dict)

    @property
    def experiment(self) -> Experiment:
        """The network that the record is of; an InputError where it does not say so."""
        return Experiment.from_config(self.config)


def read_record(folder: Path, name: str = "config.json") -> Record | None:
    """The record in an experiment folder; None where there is none.

    Raises:
        InputError: it cannot be read, or is not what a run writes.
    """
    if not (content := read_json(folder / name)):
        return None
    try:
        Experiment.from_config(content.get("config"))
        values = _known(Record, content)
        for term, norm in values.get("gradient_norms", {}).items():
            typed(term, norm, float)
        if "evaluation" in values:
            values["evaluation"] = Evaluation(**_known(Evaluation, values["evaluation"]))
    except InputError as error:
        raise InputError(f"{folder / name} is damaged ({error}); {ANEW}") from None
    return Record(**values)


def require_record(folder: Path) -> Record:
    """The record in the folder of a network that is there.

    Raises:
        InputError: as :func:`read_record`; or there is none.
    """
    if not (record := read_record(folder)):
        raise InputError(f"{folder} has lost its config.json: expected it there; {REMEDY}")
    return record


def write_record(record: Record, folder: Path, name: str = "config.json") -> None:
    """Write a record into an experiment folder, or under another name, without what it does not tell."""
    content = asdict(record)
    if record.evaluation:
        content["evaluation"] |= content["evaluation"].pop("others")
    others = content.pop("others")
    write_json(folder / name, {key: value for key, value in content.items() if value not in (None, "", {})} | others)


def _known(cls: type, content: dict[str, Any]) -> dict[str, Any]:
    """Values for the fields of a record, each of the field's type; what has no field is under others."""
    known = {f.name: f for f in fields(cls) if f.name != "others"}
    needed = [name for name, f in known.items() if f.default is f.default_factory is MISSING]
    values = {}
    for name in dict.fromkeys((*needed, *content)):
        if name in known:
            kind = (*get_args(known[name].type), known[name].type)[0]
            values[name] = typed(name, content.get(name), dict if kind is Evaluation else kind)
    return values | {"others": {name: value for name, value in content.items() if name not in known}}
