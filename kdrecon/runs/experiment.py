"""One network of a run: what identifies it, and where it lies on disk.

>>> from kdrecon.runs.experiment import resolution_of, sides
>>> resolution_of((150, 150)), resolution_of((640, 368)), sides("640x368")
(150, '640x368', (640, 368))
"""

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path

from kdrecon.choices import BASELINES
from kdrecon.distillation.registry import method_keys
from kdrecon.errors import InputError, shown
from kdrecon.physics.datasets import usual_size
from kdrecon.runs.parameters import Parameters, typed
from kdrecon.runs.switches import Switches, matched_start
from kdrecon.storage.places import NAME
from kdrecon.training.recipe import Recipe

ROLES = (*BASELINES, "teacher", "student", "sft_teacher", "control")
TEACHERS = ("standard", "sft")
DISTILLED = {"standard": "kd", "sft": "sftkd"}  # what the kind of a distilled student begins with, by its teacher
SFT_STUDENT = "sft-student"  # a student that goes on alone from the blocks of the SFT training
CONTROLS = {"control-": "steps", "cost-control-": "cost"}  # what begins a control's name: what is equal
KEYS = {"architecture": "model"}  # what config.json calls a field, where that is not its name
LONGEST = 120  # characters of a folder name: of the 260 of a path on Windows, TensorBoard takes 60


def resolution_of(shape: Sequence[int]) -> int | str:
    """How records and folder names write the size (H, W) of images: N for N x N, else "HxW"."""
    height, width = shape
    return height if height == width else f"{height}x{width}"


def usual_resolution(dataset: str) -> int | str | None:
    """That of the data set's stored images, which the papers keep; None for a data set of one's own."""
    size = usual_size(dataset)
    return size and resolution_of(size)


def sides(resolution: int | str) -> tuple[int, int]:
    """The size (H, W) that a record's resolution means: the inverse of :func:`resolution_of`."""
    height, _, width = str(resolution).partition("x")
    return int(height), int(width or height)


def kinds() -> dict[str, tuple[str, str, str]]:
    """Role, teacher and method of each kind of training, by its name."""
    roles = {"teacher": "teacher", "student": "student", "sft": "sft_teacher", SFT_STUDENT: "student"}
    alone, keys = {name: (role, "", "") for name, role in roles.items()}, method_keys()
    return alone | {f"{name}-{key}": ("student", kind, key) for kind, name in DISTILLED.items() for key in keys}


def check_name(name: str) -> None:
    """Raise InputError for a name that is neither that of a kind of training nor of a control, nor of a baseline."""
    known, (_, controlled) = kinds(), control_of(name)
    if name in BASELINES:
        return
    if controlled not in known or name != controlled and not known[controlled][2]:
        raise InputError(
            f"network {shown(name)} is unknown: expected one of {', '.join((*known, *BASELINES))}; or, of one that is "
            f"distilled, its controls, such as control-sftkd-at and cost-control-sftkd-at"
        )


def check_startable(name: str) -> None:
    """Raise InputError for the name of a network whose first weights are settled, or that has none."""
    known = [kind for kind in kinds() if kind != SFT_STUDENT]
    if name not in known:
        raise InputError(f"{name} cannot start from weights of another run: expected one of {', '.join(known)}")


def control_of(name: str) -> tuple[str, str]:
    """What is equal in a control of this name, "steps" or "cost", and whose control it is; ("", name) for all others."""
    found = next((prefix for prefix in CONTROLS if name.startswith(prefix)), "")
    return CONTROLS.get(found, ""), name.removeprefix(found)


@dataclass(frozen=True)
class Experiment:
    """One network of a run: what identifies it, and its folder.

    Attributes:
        resolution: N of N x N images; "HxW", such as "640x368", of others.
        architecture: such as "D3C5"; the name of the baseline.
        role: that of the baseline, "teacher", "sft_teacher", "student" or "control" (a student trained alone for longer).
        teacher: for a distilled student "standard" or "sft", else "".
        method: key of the distillation method, else "".
        init: first weights of the network: "random", "sft" (the student blocks of the SFT training), "sft_trained"
            (a student that was trained alone from these), or those of another run's network, as
            :attr:`kdrecon.runs.starts.Start.name` writes them: its data set and the fingerprint of its weights.
        teacher_origin: "" where the teacher was trained in this run, "ready" where it came with the repository.
        precision: that was asked for; what "auto" came to on the machine stands beside it in config.json.
        switches: those that make a difference to this network.
        augment, lr_schedule: see :class:`kdrecon.training.recipe.Recipe`.
    """

    dataset: str
    acceleration: str
    resolution: int | str
    epochs: int
    batch_size: int
    lr: float
    seed: int
    architecture: str
    role: str
    teacher: str = ""
    method: str = ""
    init: str = "random"
    teacher_origin: str = ""
    precision: str = "auto"
    switches: Switches = Switches()
    augment: str = "none"
    lr_schedule: str = "steps"

    @classmethod
    def of(
        cls, p: Parameters, resolution: int | str, role: str, teacher: str = "", method: str = "", init: str = "random"
    ) -> "Experiment":
        """The network with a role in a run with these parameters, for images of this resolution."""
        s = p.chosen
        networks = {"teacher": s.teacher_network, "sft_teacher": s.teacher_network}
        architecture = role if role in BASELINES else networks.get(role, s.student_network)
        names = ("dataset", "acceleration", "epochs", "batch_size", "lr", "seed", "precision", "augment", "lr_schedule")
        own = {name: getattr(p, name) for name in names}
        own["epochs"] = s.teacher_epochs or p.epochs if role in networks else p.epochs
        return cls(
            **own, resolution=resolution, architecture=architecture, role=role,
            teacher=teacher, method=method, init=init, switches=s.acting_on(role, teacher, init, method),
        )  # fmt: skip

    @classmethod
    def named(cls, p: Parameters, resolution: int | str, name: str) -> "Experiment":
        """The network with a name of :func:`kinds` in a run with these parameters."""
        role, teacher, method = kinds()[name]
        init = p.chosen.start(teacher) if method else "sft" if name == SFT_STUDENT else "random"
        return cls.of(p, resolution, role, teacher, method, init)

    @classmethod
    def from_config(cls, config: object) -> "Experiment":
        """The experiment of a config.json; what an older one does not know has its default, the paper's.

        Raises:
            InputError: it lacks a value or has one of another type.
        """
        if not isinstance(config, dict) or any(isinstance(value, dict | list) for value in config.values()):
            raise InputError(f"config = {shown(config)}: expected names and single values")
        known = {KEYS.get(f.name, f.name): f for f in fields(cls) if f.name != "switches"}
        if missing := [key for key, f in known.items() if f.default is MISSING and key not in config]:
            raise InputError(f"config without {missing[0]}: expected it")
        own = {f.name: typed(key, config[key], f.type) for key, f in known.items() if key in config}
        if not re.fullmatch(r"[0-9]{1,9}(x[0-9]{1,9})?", str(own["resolution"])):
            raise InputError(f"resolution = {shown(own['resolution'])}: expected a number, or two such as 640x368")
        if own["role"] not in ROLES:
            raise InputError(f"role = {shown(own['role'])}: expected one of {', '.join(ROLES)}")
        switches = {f.name: config[f.name] for f in fields(Switches) if f.name in config}
        return cls(**own, switches=Switches.checked(switches))

    def config(self) -> dict:
        """The identifying values with all switches by their names in config.json and the checkpoints."""
        own = {KEYS.get(f.name, f.name): getattr(self, f.name) for f in fields(self) if f.name != "switches"}
        switches = asdict(self.switches)
        del switches["student_init"]  # init says it
        return own | switches

    @property
    def kind(self) -> str:
        """Name of the kind of training: teacher, sft, student, sft-student, kd-at, sftkd-at, ..."""
        if self.method:
            return f"{DISTILLED.get(self.teacher, self.teacher)}-{self.method}"
        role = SFT_STUDENT if self.init == "sft" else self.role
        return {"sft_teacher": "sft"}.get(role, role)

    @property
    def title(self) -> str:
        """Name for messages: architecture and kind of training, with the first weights where they are not the usual ones."""
        usual = self.init == matched_start(self.teacher)
        starts = {"sft": "SFT", "sft_trained": "trained SFT"}
        start = "" if usual else f", {starts.get(self.init, self.init)} start"
        return f"{self.architecture} {self.kind}{start}"

    @property
    def short_name(self) -> str:
        """Architecture and kind of training, with the first weights where they are not the usual ones: D3C5_kd-at."""
        usual = self.init == matched_start(self.teacher) or self.kind == SFT_STUDENT
        return f"{self.architecture}_{self.kind}" + ("" if usual else f"_init-{self.init}")

    @property
    def stages(self) -> tuple[str, ...]:
        """Of its training, see :class:`kdrecon.training.objectives.Distillation`; the last one makes the network."""
        staged = self.method and self.switches.schedule == "two_stage"
        return ("features", "reconstruction") if staged else ("joint",)

    def needs(self) -> tuple["Experiment", ...]:
        """What must be finished before this training can begin.

        Of a distilled student that is its teacher; then what its first weights come from, where that is another one: the
        SFT training, or the student that was trained from its blocks. A control needs none: the steps that it has to match
        are in its epochs.
        """
        switches = replace(self.switches, student_network=self.architecture)
        alone = replace(self, teacher="", method="", init="random", teacher_origin="")

        def above(role: str) -> Experiment:
            epochs, acting = switches.teacher_epochs or self.epochs, switches.acting_on(role)
            return replace(alone, role=role, architecture=switches.teacher_network, epochs=epochs, switches=acting)

        needed = [above("teacher")] * (self.teacher == "standard")
        needed += [above("sft_teacher")] * (self.teacher == "sft" or self.init == "sft")
        if self.init == "sft_trained":
            needed.append(replace(alone, init="sft", switches=switches.acting_on("student", init="sft")))
        return tuple(needed)

    def folder(self, run_root: Path) -> Path:
        """{run_root}/experiments/{dataset}/acc_{4x}/{architecture}_{kind}, then what differs from the paper, then seed.

        A longer name than some systems bear ends in a digest of the whole one; config.json in the folder tells everything.

        Raises:
            InputError: a value that is no part of a plain name, so that the folder could lie elsewhere.
        """
        paper = {
            "resolution": usual_resolution(self.dataset),
            **{
                name: getattr(Recipe(), name)
                for name in ("epochs", "batch_size", "lr", "precision", "augment", "lr_schedule")
            },
            "init": matched_start(self.teacher),
            "teacher_origin": "",
        }
        name, seed = f"{self.architecture}_{self.kind}", f"_seed-{self.seed}"
        changed = {key: getattr(self, key) for key, value in paper.items() if getattr(self, key) != value}
        if self.role in BASELINES:
            name, seed, changed = self.role, "", {"resolution": self.resolution}
        changed |= self.switches.changed()
        name += "".join(f"_{key}-{'true' if value is True else value}" for key, value in changed.items())
        parts = str(self.dataset), f"acc_{self.acceleration}", f"{name}{seed}"
        if wrong := [part for part in parts if not NAME.fullmatch(part)]:
            raise InputError(
                f"experiment folder {shown(wrong[0])}: expected a plain name; correct what the record says"
            )
        folder = run_root.joinpath("experiments", *parts)
        if len(folder.name) > LONGEST and not os.path.isdir(folder):  # older versions wrote all that the system bore
            digest = "_" + hashlib.sha256(folder.name.encode()).hexdigest()[:10]
            folder = folder.with_name(name[: LONGEST - len(digest + seed)] + digest + seed)
        return folder
