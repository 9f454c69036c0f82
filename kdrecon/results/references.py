"""Which network of a run another one is held against: the fairest that the run has.

>>> from kdrecon.results.references import AGAINST
>>> AGAINST["control"]
"a student trained alone for as many steps as lie behind the network's weights, its start included"
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from kdrecon.choices import BASELINES
from kdrecon.results.archive import EvaluatedNetwork, evaluated, grouped
from kdrecon.results.names import Identity, network_names
from kdrecon.results.statistics import Scores
from kdrecon.runs.costs import ROUNDING, behind, training_cost
from kdrecon.runs.experiment import Experiment
from kdrecon.runs.switches import matched_start

AGAINST = {
    "student": "the plain student: same architecture, trained alone",
    "control": "a student trained alone for as many steps as lie behind the network's weights, its start included",
    "cost": "a student trained alone at the cost of all trainings behind the network, its teacher's included",
    "std-kd": "the same distillation from the standard teacher (SFT-KD students only)",
}
Kind = str | Mapping[str, object]  # a key of AGAINST, or values of columns that identify the reference


@dataclass(frozen=True, eq=False)
class Configuration:
    """What a run trained once or with several seeds: its networks, which differ in the seed alone, and their name.

    Attributes:
        name: that tells it apart from all others of its place.
        curve: its name without the epochs: networks of one curve differ in their epochs.
        networks: one a seed.
    """

    name: str
    curve: str
    networks: tuple[EvaluatedNetwork, ...]

    @property
    def identity(self) -> Identity:
        """What its networks have in common."""
        return self.networks[0].identity

    @cached_property
    def experiment(self) -> Experiment:
        """What was trained, with the seed of the first one."""
        return self.identity.experiment

    @cached_property
    def scores(self) -> Scores:
        """The slice-wise table of each seed."""
        return Scores({network.seed: network.scores for network in self.networks})

    @property
    def steps(self) -> int:
        """Optimiser steps behind the weights, those of the start included; 0 where no record tells."""
        return max(network.record.steps or 0 for network in self.networks)

    @cached_property
    def cost(self) -> float:
        """Multiply-adds a slice of all trainings behind the weights; 0 where a teacher came from elsewhere."""
        e = self.experiment
        ready = "ready" in (e.teacher_origin, *(network.record.origin for network in self.networks))
        return 0.0 if ready else training_cost(behind(e))

    @cached_property
    def trained_alone(self) -> bool:
        """Whether it is a student without any teacher: the plain student or a control."""
        e = self.experiment
        return e.role in ("student", "control") and not e.method and e.init == "random"


def configurations(run_root: Path) -> list[Configuration]:
    """The evaluated networks of a run, those that differ in the seed alone together; without the baseline.

    Raises:
        InputError: the folder holds no evaluated experiment.
    """
    groups = grouped(network for network in evaluated(run_root) if network.record.experiment.role not in BASELINES)
    places: dict[tuple[object, ...], list[list[EvaluatedNetwork]]] = defaultdict(list)
    for group in groups:
        places[group[0].identity.place].append(group)
    names: dict[Identity, tuple[str, str]] = {}
    for beside in places.values():
        columns = [group[0].identity.columns for group in beside]
        curves = network_names([{key: value for key, value in own.items() if key != "epochs"} for own in columns])
        names |= zip((group[0].identity for group in beside), zip(network_names(columns), curves))
    return [Configuration(*names[group[0].identity], tuple(group)) for group in groups]


def find_reference(network: Configuration, others: Sequence[Configuration], kind: Kind) -> Configuration | None:
    """The network that this one is compared with, or None where the run has none that would do.

    Args:
        network: whose reference is wanted.
        others: all configurations that were scored on the same slices, this one among them.
        kind: of reference.
    """
    if isinstance(kind, Mapping):
        return closest(network, [c for c in others if _fits(c, kind)])
    alone = [c for c in others if c.trained_alone and _same_student(c, network)]
    if kind == "student":
        return _plain_student(network, alone)
    if isinstance(kind, str) and (as_much := AS_MUCH.get(kind)):
        plain, distilled = _plain_student(network, alone), network.experiment.method
        equal = [c for c in alone if distilled and c is not plain and as_much(c, network)]
        return min(equal, key=lambda c: (c.steps, -_agreement(c, network), c.name), default=None)
    return closest(network, [c for c in others if _standard_twin(c, network)])


def closest(network: Configuration, candidates: Sequence[Configuration]) -> Configuration | None:
    """The candidate that agrees with the network in most settings, of equals the plainest; never the network itself."""
    others = [c for c in candidates if c is not network]
    return min(others, key=lambda c: (-_agreement(c, network), *_plainness(c)), default=None)


def _plain_student(network: Configuration, alone: list[Configuration]) -> Configuration | None:
    if not network.trained_alone:
        return closest(network, alone)
    plain = min(alone, key=_plainness)
    return plain if plain is not network else None


def _same_student(plain: Configuration, network: Configuration) -> bool:
    student = network.experiment.role in ("student", "control")
    return not student or plain.experiment.architecture == network.experiment.architecture


def _standard_twin(other: Configuration, network: Configuration) -> bool:
    """Whether another student was distilled like a student of the SFT teacher, but as papers do it from the standard one."""
    a, b, start = other.experiment, network.experiment, matched_start("standard")
    same = (a.method, a.architecture) == (b.method, b.architecture)
    return b.teacher == "sft" and same and (a.teacher, a.init) == ("standard", start)


def _equal_steps(control: Configuration, network: Configuration) -> bool:
    """Whether a control took the network's steps, rounded up to a whole epoch of its own."""
    return 0 < network.steps <= control.steps < network.steps + control.steps / control.experiment.epochs


def _equal_cost(control: Configuration, network: Configuration) -> bool:
    """Whether a control cost as much as all that lies behind the network, rounded up to a whole epoch of its own."""
    e = control.experiment
    return (
        e.role == "control"
        and 0 < network.cost <= control.cost * (1 + ROUNDING) < network.cost + control.cost / e.epochs
    )


AS_MUCH = {"control": _equal_steps, "cost": _equal_cost}


def _agreement(a: Configuration, b: Configuration) -> int:
    ours, theirs = a.identity.columns, b.identity.columns
    return sum(theirs.get(key) == value for key, value in ours.items())


def _plainness(network: Configuration) -> tuple[bool, int, str]:
    return network.experiment.role == "control", network.experiment.epochs, network.name


def _fits(network: Configuration, values: Mapping[str, object]) -> bool:
    columns = network.identity.columns
    return all(str(columns.get(name, "")) == str(value) for name, value in values.items())
