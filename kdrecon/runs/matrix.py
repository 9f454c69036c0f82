r"""The matrix of a study: which networks a file asks for, each once, with what each needs before it.

>>> from pathlib import Path
>>> from tempfile import TemporaryDirectory
>>> from kdrecon.runs.matrix import read_matrix
>>> with TemporaryDirectory() as folder:
...     path = Path(folder) / "mine.yaml"
...     _ = path.write_text("resolution: 60\nseed: [0, 1]\nnetworks: [student, kd-at]", encoding="utf-8")
...     [f"{job.network} {job.parameters.seed}" for job in read_matrix(path).jobs()]
['zero_filled 0', 'student 0', 'teacher 0', 'kd-at 0', 'student 1', 'teacher 1', 'kd-at 1']
"""

import itertools
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from kdrecon.choices import BASELINES
from kdrecon.distillation.registry import check_method
from kdrecon.errors import InputError, shown
from kdrecon.runs.experiment import DISTILLED, TEACHERS, Experiment, check_name, control_of, kinds, resolution_of
from kdrecon.runs.parameters import Parameters, typed
from kdrecon.runs.switches import FROM_SFT, Switches
from kdrecon.storage.places import project_root
from kdrecon.storage.records import read_text, read_yaml

PARAMETERS = tuple(
    f.name for f in fields(Parameters) if f.name not in ("methods", "run_root", "ready", "switches")
)  # a run's, without those that a study chooses or names otherwise
SWITCHES = tuple(f.name for f in fields(Switches))
AXES = (*PARAMETERS, *SWITCHES, "networks", "methods", "teacher")
FACTS = (*PARAMETERS, *SWITCHES, "network", "method", "teacher")  # that an exclusion may name
LARGEST = 100_000  # networks of a study


@dataclass(frozen=True)
class Job:
    """One network of a study: the call of ``kdrecon train`` that makes it.

    Attributes:
        network: name of :func:`kdrecon.runs.experiment.check_name`.
        parameters: of the call.
        experiment: what identifies the network.
        needs: the jobs that have to be finished before.
    """

    network: str
    parameters: Parameters
    experiment: Experiment
    needs: tuple["Job", ...]

    @classmethod
    def of(cls, parameters: Parameters, resolution: int | str, network: str) -> "Job":
        """The job of a network with these parameters, and those it needs, for images of this resolution."""
        p, (equal, name) = parameters, control_of(network)
        if network in BASELINES:
            return cls(network, p, replace(Experiment.of(p, resolution, network), epochs=0), ())
        experiment = Experiment.named(p, resolution, name)
        if equal:
            from kdrecon.runs.costs import epochs_of_cost

            control = Experiment.of(p, resolution, "control")
            epochs = epochs_behind(experiment) if equal == "steps" else epochs_of_cost(experiment, control)
            longer = replace(control, epochs=epochs)
            return cls(network, p, longer, (cls.of(p, resolution, name),))
        return cls(network, p, experiment, tuple(cls.of(p, resolution, e.kind) for e in experiment.needs()))

    @property
    def facts(self) -> dict[str, Any]:
        """The values by which an exclusion may name the network."""
        _, teacher, method = kinds().get(control_of(self.network)[1], ("", "", ""))
        own = {"network": self.network, "method": method, "teacher": teacher}
        return asdict(self.parameters) | asdict(self.parameters.chosen) | own

    @property
    def arguments(self) -> list[str]:
        """Those of ``kdrecon train``, all parameters among them but the folder of the run."""
        method = self.facts["method"]
        p = replace(self.parameters, methods=[method] if method else self.parameters.methods[:1])
        values = {name: value for name, value in asdict(p).items() if name != "run_root"}
        assigned = (
            f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in values.items()
        )
        return ["--network", self.network, *itertools.chain.from_iterable(("-p", text) for text in assigned)]


def epochs_behind(experiment: Experiment) -> int:
    """The epochs behind the weights of a network: its stages, and what lies behind the blocks that it started from."""
    start = epochs_behind(experiment.needs()[-1]) if experiment.init in FROM_SFT else 0
    return start + len(experiment.stages) * experiment.epochs


@dataclass(frozen=True)
class Matrix:
    """What a matrix file says.

    Attributes:
        path: the file.
        rows: values by axis, each a list; a network for every combination of a row.
        exclude: values by fact; networks that have them all are left out, unless another one needs them.
        prepare: arguments of ``python -m data_prep`` by data set, for those that are not there yet.
    """

    path: Path
    rows: tuple[dict[str, list], ...]
    exclude: tuple[dict[str, list], ...] = ()
    prepare: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def jobs(self) -> Iterator[Job]:
        """Every network once, after those that it needs.

        Raises:
            InputError: a value that a run would refuse, a data set that is not there, an exclusion that fits no network,
                two networks that would have one folder, or no network at all.
        """
        seen: dict[Path, dict[str, str]] = {}
        fitting = [False] * len(self.exclude)
        for job in itertools.chain.from_iterable(map(self._combined, self.rows)):
            facts = job.facts
            out = [all(facts[name] in values for name, values in row.items()) for row in self.exclude]
            fitting = [before or now for before, now in zip(fitting, out)]
            if not any(out):
                yield from self._new(job, seen)
        if not seen:
            raise InputError(f"{self.path} asks for no network: expected at least one; add rows, or exclude less")
        for row, fits in zip(self.exclude, fitting):
            if not fits:
                raise InputError(f"{self.path}: exclude {shown(row)} fits no network: correct it, or leave it out")

    def missing(self, dataset: str, data_root: str) -> tuple[str, ...]:
        """Arguments of ``python -m data_prep`` that make a data set which is not there; () for one that is.

        Raises:
            InputError: it is not there, and the file does not say how it is made.
        """
        from kdrecon.data.splits import dataset_folder

        try:
            dataset_folder(dataset, data_root)
        except InputError:
            if found := dict(self.prepare).get(dataset):
                return found
            raise
        return ()

    def _combined(self, row: dict[str, list]) -> Iterator[Job]:
        """The jobs of one row, the baseline of each data set first."""
        names = _networks(row)
        axes = {name: values for name, values in row.items() if name not in ("networks", "methods", "teacher")}
        if (count := math.prod(map(len, axes.values())) * len(names)) > LARGEST:
            raise InputError(f"{self.path} asks for {count} networks: expected at most {LARGEST}; divide it")
        methods = list(dict.fromkeys(filter(None, (kinds()[control_of(name)[1]][2] for name in names))))
        for values in itertools.product(*axes.values()):
            p = self._parameters(dict(zip(axes, values)), methods or Parameters().methods[:1])
            self.missing(p.dataset, p.data_root)
            for name in (*BASELINES, *names):
                yield Job.of(p, self._resolution(p), name)

    def _new(self, job: Job, seen: dict[Path, dict[str, str]], needed: bool = False) -> Iterator[Job]:
        """The job after what it needs, as far as their networks have not been seen.

        Args:
            seen: by folder, what makes a difference to its network and the folder's name does not tell.
            needed: by another network: it may be trained on any device.
        """
        folder, p = job.experiment.folder(Path()), job.parameters
        own = {"selection": p.chosen.selection} if job.network in BASELINES else {"device": p.device}
        untold = {"data_root": p.data_root} | own
        if folder not in seen:
            for other in job.needs:
                yield from self._new(other, seen, needed=True)
            seen[folder] = untold
            yield job
        for name, value in seen[folder].items():
            if value != untold[name] and not (needed and name == "device"):
                raise InputError(
                    f"{self.path}: {folder.name} with {name} {shown(value)} and {shown(untold[name])}: expected one, since "
                    "its folder does not tell them apart; exclude the other, or make a study of its own of it"
                )

    def _parameters(self, values: dict[str, Any], methods: list[str]) -> Parameters:
        """The parameters of a combination; the GPU that it asks for may be on another machine than this one."""
        own = {name: value for name, value in values.items() if name in PARAMETERS}
        switches = {name: value for name, value in values.items() if name in SWITCHES}
        elsewhere = {"device": "auto"} if own.get("device") == "cuda" else {}
        p = Parameters.from_mapping({**own, **elsewhere, "methods": methods, "switches": switches, "ready": False})
        return replace(
            p, device=own.get("device", p.device), data_root=p.data_root and str(project_root() / p.data_root)
        )

    def _resolution(self, p: Parameters) -> int | str:
        """That of the images, as records write it."""
        if p.resolution:
            return p.resolution
        if self.missing(p.dataset, p.data_root):
            raise InputError(
                f"{self.path}: resolution 0 of {p.dataset}, which is not prepared yet: expected its size; say it"
            )
        from kdrecon.data.splits import Split
        from kdrecon.data.volumes import open_volume

        files = Split(p.dataset, "train", p.acceleration, data_root=p.data_root, mask_type=p.chosen.mask_type).files
        if not files:
            raise InputError(
                f"{self.path}: {p.dataset} has no training volumes at {p.acceleration}: expected some; prepare them"
            )
        with open_volume(files[0]) as volume:
            return resolution_of(volume.shape[1:])


def read_matrix(path: Path) -> Matrix:
    """Read a matrix file: values or lists of values by axis, then rows, exclude and prepare.

    A row stands in for what is said above it; one that names networks or methods has these alone. ``networks`` takes names
    of ``kdrecon train``; ``methods`` distilled students, from each ``teacher``; every parameter of a run and every switch is
    an axis of its own.

    Raises:
        InputError: no such file, no mapping, an unknown name, or a value of another form.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist: expected a matrix file such as study/quick.yaml; check the path")
    values = read_yaml(read_text(path, "save it anew"), str(path))
    common = _mapping(path, "the file", values, (*AXES, "rows", "exclude", "prepare"))
    rows = [_mapping(path, "rows", row, AXES) for row in _listed(common.pop("rows", [{}]))]
    exclude = [_mapping(path, "exclude", row, FACTS) for row in _listed(common.pop("exclude", []))]
    prepare = common.pop("prepare", {})
    named = ("networks", "methods")
    shared = {name: value for name, value in common.items() if name not in named}
    rows = [(shared if any(name in row for name in named) else common) | row for row in rows]
    for name, value in ((name, value) for row in rows + exclude for name, value in row.items()):
        if value == []:
            raise InputError(f"{path}: {name} = []: expected at least one value")
    return Matrix(
        path,
        tuple({name: _listed(value) for name, value in row.items()} for row in rows),
        tuple({name: _listed(value) for name, value in row.items()} for row in exclude),
        tuple(
            (name, tuple(typed(f"prepare {name}", call, list[str])))
            for name, call in typed("prepare", prepare, dict).items()
        ),
    )


def _mapping(path: Path, what: str, values: Any, known: tuple[str, ...]) -> dict[str, Any]:
    """The values by name, all of them known."""
    if not isinstance(values, dict):
        raise InputError(f"{path}: {what} holds {shown(values)}: expected names and values, as in study/quick.yaml")
    if unknown := [name for name in values if name not in known]:
        raise InputError(f"{path}: unknown name {shown(unknown[0])}: expected one of {', '.join(known)}")
    return dict(values)


def _listed(value: Any) -> list:
    return value if isinstance(value, list) else [value]


def _networks(row: dict[str, list]) -> list[str]:
    """The names of a row: networks, then methods from each teacher."""
    names, methods, teachers = (
        typed(name, row.get(name, []), list[str]) for name in ("networks", "methods", "teacher")
    )
    if not names and not methods:
        raise InputError(
            "a row without networks and methods: expected one of them, such as networks: [teacher, student]"
        )
    for name in names:
        check_name(name)
    for method in methods:
        check_method(method, "paper")
    for teacher in teachers:
        if teacher not in TEACHERS:
            raise InputError(f"teacher {shown(teacher)} is unknown: expected one of {', '.join(TEACHERS)}")
    return [*names, *(f"{DISTILLED[teacher]}-{method}" for teacher in teachers or TEACHERS for method in methods)]
