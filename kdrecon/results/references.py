"""Which network of a run another one is held against: the fairest that the run has.

>>> from kdrecon.results.references import AGAINST
>>> AGAINST["control"]
"a student trained alone for as many steps as lie behind the network's weights, its start included"
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from kdrecon.choices import BASELINES
from kdrecon.distillation.registry import LIBRARY
from kdrecon.results.archive import EvaluatedNetwork, evaluated, grouped
from kdrecon.results.names import Identity, network_names
from kdrecon.results.statistics import Scores
from kdrecon.runs.costs import ROUNDING, behind, training_cost
from kdrecon.runs.experiment import Experiment
from kdrecon.runs.switches import EVERY_NETWORK, INITS, matched_start

AGAINST = {
    "student": "the plain student, trained alone (beside a student the one of its architecture)",
    "control": "a student trained alone for as many steps as lie behind the network's weights, its start included",
    "cost": "a student trained alone at the cost of all trainings behind the network, its teacher's included",
    "std-kd": "the same distillation from the standard teacher (SFT-KD students only)",
    "teacher": "the teacher of the same architecture, trained alone (SFT teachers only)",
    "start": "the same distillation from its usual first weights (students with others only)",
}
CONDITIONS = (  # of a training, that no comparison of AGAINST is about
    "data", "batch_size", "lr", "lr_schedule", "augment", "precision", *EVERY_NETWORK,
)  # fmt: skip
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
        """Multiply-adds a slice of all trainings behind the weights; 0 where some of it came from elsewhere."""
        e = self.experiment
        ready = "ready" in (e.teacher_origin, *(network.record.origin for network in self.networks))
        elsewhere = ready or e.init not in INITS or e.method not in ("", *LIBRARY)
        return 0.0 if elsewhere else training_cost(behind(e))

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
        curves = network_names(_of_curves(columns))
        names |= zip((group[0].identity for group in beside), zip(network_names(columns), curves))
    return [Configuration(*names[group[0].identity], tuple(group)) for group in groups]


def _of_curves(networks: Sequence[Mapping[str, object]]) -> list[dict[str, object]]:
    """The columns of each network without its epochs: equal ones are points of one curve.

    A network that was trained for as long as its teacher is a point of those below a teacher of so many epochs, where no
    other has a teacher that grows with it.
    """
    rests = [{key: v for key, v in own.items() if key not in ("epochs", "teacher_epochs")} for own in networks]
    teachers: dict[tuple[object, ...], list[object]] = defaultdict(list)
    for own, rest in zip(networks, rests):
        teachers[tuple(rest.values())].append(own["teacher_epochs"])
    found = []
    for own, rest in zip(networks, rests):
        of = teachers[tuple(rest.values())]
        below = own["epochs"] if own["epochs"] in of and of.count(0) == 1 else 0
        found.append(rest | {"teacher_epochs": own["teacher_epochs"] or below})
    return found


def find_references(network: Configuration, others: Sequence[Configuration], kind: Kind) -> list[Configuration]:
    """The networks that this one is compared with, the fairest first; none where the run has none that would do.

    What the comparison is not about agrees wherever the run has such a network: :data:`CONDITIONS`, then the epochs.
    "control" and "cost" take no other, nor do "teacher" and "start", whose reference differs in what they are about alone. A
    teacher has a plain student of each size to stand beside. A student that was trained alone has none, unless it is longer
    for the sake of another network: then that one's.

    Args:
        network: whose references are wanted.
        others: all configurations that were scored on the same slices, this one among them.
        kind: of reference.
    """
    if isinstance(kind, Mapping):
        return _closest(network, [c for c in others if _fits(c, kind)])
    if kind == "student":
        return _longer_for(network, others) if network.trained_alone else _plain_students(network, others)
    if as_much := AS_MUCH.get(str(kind)):
        plain = _plain_students(network, others)
        equal = [c for c in others if c not in plain and _is_control(c, network, as_much)]
        return sorted(equal, key=lambda c: (c.steps, *_unlikeness(c, network)))[:1]
    if but_for := BUT_FOR.get(str(kind)):
        wanted = but_for(network.experiment)
        return _closest(network, [c for c in others if c.experiment == wanted and not differing_conditions(network, c)])
    return _closest(network, [c for c in others if _standard_twin(c, network)])


def nearest_teacher(network: Configuration, others: Sequence[Configuration], role: str) -> Configuration | None:
    """The teacher of a role that a network learned from; where it did not learn from one, the most similar one."""
    teachers, needed = [c for c in others if c.experiment.role == role], network.experiment.needs()
    own = [c for c in teachers if c.experiment in needed]
    for_it = [c for c in teachers if c.experiment.switches.student_network == network.experiment.architecture]
    return next(iter(_closest(network, own or for_it or teachers)), None)


def differing_conditions(network: Configuration, other: Configuration) -> list[str]:
    """Which of :data:`CONDITIONS` differ; what the record of an older version does not tell is taken for equal."""
    ours, theirs = network.identity.columns, other.identity.columns
    return [name for name in CONDITIONS if "" != ours[name] != theirs[name] != ""]


def _closest(network: Configuration, candidates: Iterable[Configuration]) -> list[Configuration]:
    """The fairest of the candidates, of equals the plainest; never the network itself."""
    return sorted((c for c in candidates if c is not network), key=lambda c: _unlikeness(c, network))[:1]


def _unlikeness(other: Configuration, network: Configuration) -> tuple[Any, ...]:
    """Sort key: the fairer a reference, the earlier."""
    ours, theirs, e = network.identity.columns, other.identity.columns, other.experiment
    differing = sum(theirs.get(key) != value for key, value in ours.items())
    other_epochs = e.epochs != network.experiment.epochs
    return len(differing_conditions(network, other)), other_epochs, differing, e.role == "control", e.epochs, other.name


def _plain_students(network: Configuration, others: Sequence[Configuration]) -> list[Configuration]:
    """The fairest student that was trained alone; beside a teacher one of each size that is as fair."""
    sizes: dict[str, list[Configuration]] = defaultdict(list)
    for c in others:
        if c.trained_alone:
            sizes[c.experiment.architecture].append(c)
    e = network.experiment
    if e.role in ("student", "control"):
        return _closest(network, sizes[e.architecture])
    if e.role == "sft_teacher" and (own := sizes[e.switches.student_network]):
        return _closest(network, own)
    each = [c for students in sizes.values() for c in _closest(network, students)]
    each.sort(key=lambda c: _unlikeness(c, network))
    return [c for c in each if _unlikeness(c, network)[:2] == (0, False)] or each[:1]


def _longer_for(control: Configuration, others: Sequence[Configuration]) -> list[Configuration]:
    """The plain student of the networks whose control it is; of a control without any the closest, else the shortest one."""
    controlled = [c for c in others if any(_is_control(control, c, as_much) for as_much in AS_MUCH.values())]
    plain = Counter(student for c in controlled for student in _plain_students(c, others) if student is not control)
    if plain or control.experiment.role == "student":
        return sorted(plain, key=lambda c: (-plain[c], c.experiment.epochs))[:1]
    return _closest(control, [c for c in others if c.experiment.role == "student" and _same_student(c, control)])


def _same_student(plain: Configuration, network: Configuration) -> bool:
    return plain.trained_alone and plain.experiment.architecture == network.experiment.architecture


def _is_control(other: Configuration, network: Configuration, as_much: Callable[..., bool]) -> bool:
    """Whether a student was trained alone under the same conditions for as much as another one that was not."""
    return (
        _same_student(other, network)
        and network.experiment.role == "student"
        and not network.trained_alone
        and as_much(other, network)
        and not differing_conditions(network, other)
    )


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


def _trained_alone(sft_teacher: Experiment) -> Experiment | None:
    """The teacher that an SFT teacher would be without its student."""
    if sft_teacher.role != "sft_teacher":
        return None
    return replace(sft_teacher, role="teacher", switches=sft_teacher.switches.acting_on("teacher"))


def _usually_started(student: Experiment) -> Experiment | None:
    """The distillation of a student from the first weights that are usual below its teacher; None where it has these."""
    role, teacher, start, method = student.role, student.teacher, matched_start(student.teacher), student.method
    if not method or student.init == start:
        return None
    return replace(student, init=start, switches=student.switches.acting_on(role, teacher, start, method))


BUT_FOR = {"teacher": _trained_alone, "start": _usually_started}


def _fits(network: Configuration, values: Mapping[str, object]) -> bool:
    columns = network.identity.columns
    return all(str(columns.get(name, "")) == str(value) for name, value in values.items())
