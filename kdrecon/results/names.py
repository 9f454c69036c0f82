"""What makes a network of a table what it is, what it is called, and in which order networks stand.

>>> from kdrecon.results.names import method_name
>>> method_name("at"), method_name("fitnets")
('AT', 'FitNets')
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from kdrecon.choices import BASELINES
from kdrecon.distillation.registry import IMAGE, LIBRARY
from kdrecon.runs.experiment import ROLES, Experiment, sides
from kdrecon.runs.record import Evaluation, Record
from kdrecon.runs.switches import DISTILLATION, FROM_SFT, SFT_TRAINING, matched_start

DISTILLED = {"standard": "Std-KD", "sft": "SFT-KD"}  # what the name of a distilled student begins with, by its teacher
IMITATION = ("alpha", "weight_factor")  # switches by which a student imitates the teacher's image, and nothing else
PLACE = ("dataset", "acceleration", "resolution", "split", "slices")


@dataclass(frozen=True)
class Identity:
    """What makes a network what it is, without its seed, and what it was scored on: equal ones differ in the seed alone.

    Attributes:
        experiment: of the network, with seed 0.
        data: fingerprint of what it was trained on; "" where the record of an older version does not tell.
        split, slices: that it was scored on, the slices by their fingerprint.
        origin: of its weights, see :class:`kdrecon.runs.record.Record`.
        others: settings of a newer version, by name.
    """

    experiment: Experiment
    data: str
    split: str
    slices: str
    origin: str
    others: tuple[tuple[str, object], ...]

    @classmethod
    def of(cls, record: Record, evaluation: Evaluation) -> "Identity":
        """The identity in a record; a record of an older version lacks the newer settings: they had their defaults.

        But for the selection of the epoch: before there was a choice, validation slices that are reported chose it, too.
        """
        experiment, config = record.experiment, record.config
        if "selection" not in config and evaluation.split == "validation":
            experiment = replace(experiment, switches=replace(experiment.switches, selection="paper"))
        known = {*experiment.config(), "data", "weight"}
        others = tuple((name, value) for name, value in config.items() if name not in known)
        return cls(
            replace(experiment, seed=0),
            config.get("data", ""),
            evaluation.split,
            evaluation.data,
            record.origin,
            others,
        )

    @cached_property
    def columns(self) -> dict[str, object]:
        """Its values by the columns of summary.csv."""
        model = columns(self.experiment)
        own = {name: model.pop(name) for name in ("model", "network")} | {"data": self.data} | model
        return own | dict(self.others) | {"split": self.split, "slices": self.slices, "origin": self.origin}

    @property
    def place(self) -> tuple[object, ...]:
        """The values of :data:`PLACE`: networks with equal ones saw the same slices."""
        return tuple(self.columns[name] for name in PLACE)

    @property
    def reading_order(self) -> tuple[object, ...]:
        """Sort key: baseline, teacher, student, SFT teacher, controls, Std-KD, SFT-KD."""
        e = self.experiment
        place, distilled = (e.dataset, e.acceleration, sides(e.resolution)), bool(e.method)
        return *place, distilled, ROLES.index(e.role), e.teacher == "sft", e.method, e.init, e.epochs


def columns(experiment: Experiment) -> dict[str, object]:
    """The values of an experiment by the columns of tables, where "model" is the role and "network" the architecture."""
    config = experiment.config()
    settings = {name: value for name, value in config.items() if name not in ("model", "role", "seed")}
    return {"model": experiment.role, "network": experiment.architecture} | settings


def network_names(networks: Sequence[Mapping[str, object]]) -> list[str]:
    """Short names of the networks of a table: the kind of each, then every setting in which it differs from the usual one.

    Args:
        networks: each by its columns, see :attr:`Identity.columns`. The usual value of one is the most frequent among those
            with the same role (a control is a student), of a switch among those it acts on, or does not; of equally frequent
            ones that of most networks, then the last; for init the paper's.
    """
    told = ("model", "teacher", "origin")
    settings = dict.fromkeys(name for network in networks for name in network if name not in told)
    among: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    everywhere: dict[str, Counter[str]] = defaultdict(Counter)
    for network, name in itertools.product(reversed(networks), settings):
        among[_peers(network, name)][_text(network, name)] += 1
        everywhere[name][_text(network, name)] += 1
    usual = {
        peers: max(counts, key=lambda text: (counts[text], everywhere[peers[0]][text]))
        for peers, counts in among.items()
    }
    names = []
    for network in networks:
        here = {name: usual[_peers(network, name)] for name in settings}
        here["init"] = matched_start(str(network["teacher"]))
        told_apart = [name for name in settings if name in network and _text(network, name) != here[name]]
        differing = [f"{name} {_text(network, name)}" for name in told_apart]
        names.append(", ".join([kind_of(network), *differing]))
    return names


def _peers(network: Mapping[str, object], name: str) -> tuple[str, ...]:
    """Among which networks a setting is usual: those of a role; of its training data those with as many slices of them.

    A switch that a network does not depend on stands at its default there (:meth:`Switches.acting_on`): so what is usual for
    those that it acts on and for the others is not the same. A method is told by the kind, but for students that take no more
    than the teacher's image from it: these are one kind, and what is usual for them goes without saying.
    """
    alone = imitates_alone(network)
    if name == "method" or alone and name in IMITATION:
        return name, IMAGE if alone and name != "weight_factor" else _text(network, name)
    slices = _text(network, "train_slices") if name == "data" else ""
    taught = {"sft", "standard"} if name in DISTILLATION else {"sft"} if name in SFT_TRAINING else set[str]()
    depends = bool(taught) and (network["teacher"] in taught or network["init"] in FROM_SFT)
    return name, _role(network), slices, "depends" if depends else ""


def imitates_alone(network: Mapping[str, object]) -> bool:
    """Whether a distilled student learned from the teacher's image and from none of its maps."""
    if not network["method"] or network["method"] == IMAGE:
        return bool(network["method"])
    factor, alpha = (_text(network, name) or usual for name, usual in (("weight_factor", "1"), ("alpha", "0")))
    return float(factor) == 0 < float(alpha)


def _role(network: Mapping[str, object]) -> str:
    return "student" if network["model"] == "control" else str(network["model"])


def _text(network: Mapping[str, object], name: str) -> str:
    return str(network.get(name, ""))


def kind_of(network: Mapping[str, object]) -> str:
    """The kind of a network by its columns, by what it has learned from: :func:`kind_name`."""
    method = IMAGE if imitates_alone(network) else str(network["method"])
    return kind_name(str(network["model"]), str(network["teacher"]), method)


def kind_name(role: str, teacher: str, method: str) -> str:
    """How people write a kind of network: "SFT-KD AT", "SFT teacher", "student"."""
    if method:
        return f"{DISTILLED['sft' if teacher == 'sft' else 'standard']} {method_name(method)}"
    return ({"sft_teacher": "SFT teacher"} | BASELINES).get(role, role)


def method_name(key: str) -> str:
    """How papers write a distillation method: "at" -> "AT", "fitnets" -> "FitNets"; one of one's own keeps its name."""
    return {"fitnets": "FitNets", IMAGE: "image"}.get(key, key.upper()) if key in LIBRARY else key
