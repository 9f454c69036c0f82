"""What a run is made of and where everything lies on disk: parameters, experiment folders, run records."""

import contextlib
import hashlib
import os
import platform
import re
import subprocess
import types
from dataclasses import MISSING, asdict, dataclass, field, fields
from importlib import metadata
from pathlib import Path
from typing import get_args

import torch

from kdrecon import __version__
from kdrecon.distillation import METHODS, get_method
from kdrecon.errors import InputError, shown
from kdrecon.places import NAME, PACKAGES, is_checkout, plain_name, project_root
from kdrecon.presets import Switches
from kdrecon.training import Recipe, resolve_precision

RESOLUTION = {"sample": 240, "mrbrain": 240, "cardiac": 150, "sunnybrook": 150, "knee": "640x368"}
RANGES = {"resolution": (0, 2**31), "epochs": (1, 2**31), "batch_size": (1, 2**31), "seed": (0, 2**64)}
ROLES = ("zero_filled", "teacher", "student", "sft_teacher", "control")
TEACHERS = ("standard", "sft")
INITS = ("random", "sft")
LONGEST = 120  # characters of a folder name: of the 260 of a path on Windows, TensorBoard takes 60


def resolution_of(shape: tuple[int, int]) -> int | str:
    """How records and folder names write the size (H, W) of images: N for N x N, else "HxW"."""
    height, width = shape
    return height if height == width else f"{height}x{width}"


def sides(resolution: int | str) -> tuple[int, int]:
    """The size (H, W) that a record's resolution means: the inverse of :func:`resolution_of`."""
    height, _, width = str(resolution).partition("x")
    return int(height), int(width or height)


@dataclass(frozen=True)
class Parameters:
    """The parameters of a run: those of every notebook's parameters cell, with their quick-mode defaults.

    Attributes:
        dataset: "sample" (embedded) or the name of a folder in data_root.
        acceleration: "4x", "5x" or "8x".
        resolution: N crops k-space so that every image is N x N, also where the stored one is not square (its pixels are
            not square then); 0 keeps the stored H x W.
        epochs: epochs of each training; the learning-rate schedule shrinks with them.
        batch_size: slices a step.
        lr: initial learning rate of Adam.
        methods: distillation methods, keys of :data:`kdrecon.distillation.METHODS`.
        seed: of weights and data order.
        device: "auto" (a GPU where there is one), "cpu" or "cuda".
        data_root: folder of the prepared data sets, absolute, below ~ or seen from the repository; "" is the embedded
            sample, or datasets/ for other names.
        run_root: folder that receives experiments/, absolute, below ~ or seen from the repository; "" is runs/lab.
        precision: of the convolutions in training, "auto" (bf16 where the hardware has it), "fp32" or "bf16"; see
            :func:`kdrecon.training.resolve_precision`. Every evaluation is in fp32.
        ready: open on the networks that ship with the repository where they fit, instead of training them.
        preset: named set of switches, key of :data:`kdrecon.presets.PRESETS`.
        switches: switches of :class:`kdrecon.presets.Switches` on top of the preset, name -> value.
    """

    dataset: str = "sample"
    acceleration: str = "4x"
    resolution: int = 120
    epochs: int = 14
    batch_size: int = 3
    lr: float = 3e-3
    methods: list[str] = field(default_factory=lambda: ["at", "fitnets", "cc", "fsp", "sp"])
    seed: int = 0
    device: str = "auto"
    data_root: str = ""
    run_root: str = ""
    ready: bool = True
    precision: str = "auto"
    preset: str = "paper"
    switches: dict = field(default_factory=dict)

    @classmethod
    def from_mapping(cls, values: dict) -> "Parameters":
        """Parameters from names and values, as a YAML file or a command line gives them.

        Raises:
            InputError: an unknown name, or a value of another type or outside its range.
        """
        known = {f.name: f.type for f in fields(cls)}
        if unknown := sorted(set(values) - set(known)):
            raise InputError(f"unknown parameter {shown(unknown[0])}: expected one of {', '.join(known)}")
        own = {name: typed(name, _from_text(value, known[name]), known[name]) for name, value in values.items()}
        own |= {name: os.path.expanduser(own[name]) for name in ("data_root", "run_root") if name in own}
        return cls(**own).check()

    def check(self) -> "Parameters":
        """Return self, or raise InputError for a value outside its range."""
        for name, (low, high) in RANGES.items():
            if not low <= (value := getattr(self, name)) < high:
                wanted = f"of at least {low}" if value < low else f"below 2^{high.bit_length() - 1}"
                raise InputError(f"{name} = {shown(value)}: expected an integer {wanted}")
        if not 0 < self.lr < 1:
            raise InputError(f"lr = {self.lr}: expected a number between 0 and 1, such as 1.0e-3")
        if self.device not in ("auto", "cpu", "cuda"):
            raise InputError(f"device {shown(self.device)}: expected 'auto', 'cpu' or 'cuda'")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise InputError("device 'cuda': expected a GPU that PyTorch can use, found none; set device to 'auto'")
        resolve_precision(self.precision, self.torch_device)
        plain_name("dataset", self.dataset, "sample")
        plain_name("acceleration", self.acceleration, "4x")
        if not self.methods:
            raise InputError(f"methods = []: expected at least one of {', '.join(METHODS)}")
        chosen = self.chosen
        for key in self.methods:
            method = get_method(key, chosen.kd_form)
            if method.min_batch > self.batch_size:
                raise InputError(
                    f"batch_size = {self.batch_size} with method {key!r}: it compares the samples of a batch and "
                    f"needs at least {method.min_batch}; raise batch_size or drop the method"
                )
            if not method.taps and (chosen.schedule != "joint" or chosen.alpha):
                raise InputError(
                    f"method {key!r} has a single loss term: expected schedule 'joint' and alpha 0, found "
                    f"{chosen.schedule!r} and {chosen.alpha}; drop the method or the switches"
                )
        if len(set(self.methods)) < len(self.methods):
            raise InputError(f"methods {shown(self.methods)}: expected each method once")
        return self

    @property
    def chosen(self) -> Switches:
        """The switches of the preset and those on top of it."""
        return Switches.of(self.preset, self.switches)

    @property
    def torch_device(self) -> torch.device:
        available = "cuda" if torch.cuda.is_available() else "cpu"
        return torch.device(available if self.device == "auto" else self.device)

    @property
    def run_folder(self) -> Path:
        return project_root() / (self.run_root or "runs/lab")

    @property
    def recipe(self) -> Recipe:
        return Recipe(self.epochs, self.batch_size, self.lr, self.seed, self.precision)


@dataclass(frozen=True)
class Experiment:
    """One network of a run: what identifies it, and its folder.

    Attributes:
        resolution: N of N x N images; "HxW", such as "640x368", of others.
        model: architecture, such as "D3C5"; "zero_filled" for the baseline.
        role: "zero_filled", "teacher", "sft_teacher", "student" or "control" (a student of equal compute).
        teacher: for a distilled student "standard" or "sft", else "".
        method: key of the distillation method, else "".
        init: first weights of the network: "random" or "sft" (the student blocks of the SFT training).
        teacher_origin: "" where the teacher was trained in this run, "ready" where it came with the repository.
        precision: that was asked for; what "auto" came to on the machine stands beside it in config.json.
        switches: those that make a difference to this network.
    """

    dataset: str
    acceleration: str
    resolution: int | str
    epochs: int
    batch_size: int
    lr: float
    seed: int
    model: str
    role: str
    teacher: str = ""
    method: str = ""
    init: str = "random"
    teacher_origin: str = ""
    precision: str = "auto"
    switches: Switches = Switches()

    @classmethod
    def from_record(cls, config: dict) -> "Experiment":
        """The experiment of a run record; what an older record does not know has its default, the paper's.

        Raises:
            InputError: it lacks a value or has one of another type.
        """
        if not isinstance(config, dict) or any(isinstance(value, dict | list) for value in config.values()):
            raise InputError(f"config = {shown(config)}: expected names and single values")
        known = {f.name: f for f in fields(cls) if f.name != "switches"}
        if missing := [name for name, f in known.items() if f.default is MISSING and name not in config]:
            raise InputError(f"config without {missing[0]}: expected it")
        own = {name: typed(name, config[name], f.type) for name, f in known.items() if name in config}
        if not re.fullmatch(r"[0-9]{1,9}(x[0-9]{1,9})?", str(own["resolution"])):
            raise InputError(f"resolution = {shown(own['resolution'])}: expected a number, or two such as 640x368")
        if own["role"] not in ROLES:
            raise InputError(f"role = {shown(own['role'])}: expected one of {', '.join(ROLES)}")
        switches = {f.name: config[f.name] for f in fields(Switches) if f.name in config}
        return cls(**own, switches=Switches.checked(switches))

    @property
    def model_type(self) -> str:
        """Name of the kind of training: teacher, sft, student, kd-at, sftkd-at, ..."""
        if self.method:
            return f"{'sftkd' if self.teacher == 'sft' else 'kd'}-{self.method}"
        return {"sft_teacher": "sft"}.get(self.role, self.role)

    @property
    def title(self) -> str:
        """Name for messages: architecture and kind of training, with the first weights where they are not the usual ones."""
        usual = "sft" if self.teacher == "sft" else "random"
        start = "" if self.init == usual else f", {'SFT' if self.init == 'sft' else 'random'} start"
        return f"{self.model} {self.model_type}{start}"

    def folder(self, run_root: Path) -> Path:
        """{run_root}/experiments/{dataset}/acc_{4x}/{model}_{model_type}, then what differs from the paper, then seed.

        A longer name than some systems bear ends in a digest of the whole one; config.json in the folder tells everything.

        Raises:
            InputError: a value that is no part of a plain name, so that the folder could lie elsewhere.
        """
        paper = {
            "resolution": RESOLUTION.get(self.dataset),
            **{name: getattr(Recipe(), name) for name in ("epochs", "batch_size", "lr", "precision")},
            "init": "sft" if self.teacher == "sft" else "random",
            "teacher_origin": "",
        }
        name, seed = f"{self.model}_{self.model_type}", f"_seed-{self.seed}"
        changed = {key: getattr(self, key) for key, value in paper.items() if getattr(self, key) != value}
        if self.role == "zero_filled":
            name, seed, changed = "zero_filled", "", {"resolution": self.resolution}
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

    def record(self) -> dict:
        """The identifying values with all switches as one dict, for config.json and the checkpoints."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "switches"}
        switches = asdict(self.switches)
        del switches["student_init"]  # init says it
        return own | switches


def environment() -> dict[str, str]:
    """Versions, processor and git revision behind a run: everything that made it besides its parameters."""
    packages = ("numpy", "h5py", "scikit-image")
    git = "unknown"
    if is_checkout(PACKAGES):  # an installed copy may lie in a repository that is not its own
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
            done = subprocess.run(
                command, cwd=PACKAGES, capture_output=True, text=True, encoding="utf-8", timeout=10, check=True
            )
            git = done.stdout.strip()
    return {
        "kdrecon": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,  # names the build, CPU or CUDA, too
        **{name: metadata.version(name) for name in packages},
        "platform": f"{platform.system()} {platform.machine()}",
        "threads": str(torch.get_num_threads()),
        "git": git,
    }


def typed(name: str, value, expected):
    """The value, where it is of the expected type; an integer will do for a number.

    Raises:
        InputError: it is of another type.
    """
    if expected is float and type(value) is int:
        value = float(value) if abs(value) < 2**64 else float("inf")
    if isinstance(expected, types.GenericAlias):
        fits = isinstance(value, list) and all(isinstance(item, str) for item in value)
    else:
        fits = type(value) in (get_args(expected) or (expected,))
    if not fits:
        wanted = {
            str: "text", int: "an integer", float: "a number", int | str: "an integer or text", bool: "true or false",
            dict: "names and values, such as {fidelity: hermitian}",
        }.get(expected, "a list of names")  # fmt: skip
        extra = f", such as [{', '.join(METHODS)}]" if isinstance(expected, types.GenericAlias) else ""
        raise InputError(f"{name} = {shown(value)}: expected {wanted}{extra}")
    return value


def _from_text(value, expected):
    """What YAML leaves as text or empty though a number or a mapping is meant: 1e-3, and nothing after "switches:"."""
    if expected is dict and value is None:
        return {}
    try:
        return float(value) if expected is float and isinstance(value, str) else value
    except ValueError:
        return value
