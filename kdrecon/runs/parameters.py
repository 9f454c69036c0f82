"""The parameters of a run.

>>> from kdrecon.runs.parameters import Parameters
>>> Parameters(epochs=150, batch_size=4, lr=0.001).recipe.lr_step
40
"""

import os
import types
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from kdrecon.distillation.registry import check_method, method_keys
from kdrecon.errors import InputError, shown
from kdrecon.models.architectures import network_shape
from kdrecon.runs.switches import Switches
from kdrecon.storage.places import plain_name, project_root, runs
from kdrecon.storage.records import read_text, read_yaml
from kdrecon.training.recipe import Recipe, check_choices, check_precision

if TYPE_CHECKING:
    import torch

RANGES = {"resolution": (0, 2**31), "epochs": (1, 2**31), "batch_size": (1, 2**31), "seed": (0, 2**64)}

T = TypeVar("T")


def said(default: T, meaning: str) -> T:
    """A field with its default and what it means."""
    return field(default_factory=lambda: copy(default), metadata={"meaning": meaning})


@dataclass(frozen=True)
class Parameters:
    """The parameters of a run, with the defaults of the quick mode.

    What each means stands beside it; the parameters cells of the notebooks are written from here. A resolution makes all
    images N x N, also where the stored ones are not square (their pixels are not square then). Folders are absolute,
    below ~, or seen from the repository. Methods are those of :func:`kdrecon.distillation.method_keys`, switches those of
    :class:`kdrecon.runs.switches.Switches`. For the precision of a training see
    :func:`kdrecon.training.recipe.resolve_precision`; every evaluation is in fp32.
    """

    dataset: str = said("people", '"people" and "sample" ship with the repository; else a folder in data_root')
    acceleration: str = said("4x", '"4x", "5x" or "8x"')
    resolution: int = said(120, "side of the image matrix, made by cropping k-space; 0 keeps the stored size")
    epochs: int = said(6, "epochs of each training; the paper takes 150")
    batch_size: int = said(2, "slices a step")
    lr: float = said(3e-3, "initial learning rate of Adam")
    lr_schedule: str = said("one_cycle", '"one_cycle": up, then down; or "steps": down in steps, as in the papers')
    augment: str = said("flips", '"flips": training slices are flipped and transposed at random; or "none"')
    methods: list[str] = said(["at", "fitnets"], "distillation methods")
    seed: int = said(0, "of weights, order of slices and augmentation")
    device: str = said("auto", '"auto", "cpu" or "cuda"')
    data_root: str = said("", 'folder of prepared data sets; "" is the default place')
    run_root: str = said("", 'folder of this run\'s experiments; "" is runs/lab')
    ready: bool = said(True, "start from the trained networks of the repository where they fit")
    precision: str = said("auto", '"auto", "fp32", "bf16" or "fp16": arithmetic of the training steps')
    preset: str = said("course", '"course", "paper", "as_released", "kd_mri", ...: a named set of switches')
    switches: dict = said({}, 'single switches on top of the preset, such as {"fidelity": "hermitian"}')

    @classmethod
    def from_mapping(cls, values: dict) -> "Parameters":
        """Parameters from names and values, as a YAML file or a command line gives them.

        Raises:
            InputError: an unknown name, or a value of another type or outside its range.
        """
        own = _own(values)
        own |= {name: os.path.expanduser(own[name]) for name in ("data_root", "run_root") if name in own}
        return cls(**own).check()

    def check(self) -> "Parameters":
        """Return self, or raise InputError for a value outside its range, or one that a method or this machine cannot take.

        What is mistyped is refused before PyTorch is loaded.
        """
        for name, (low, high) in RANGES.items():
            if not low <= (value := getattr(self, name)) < high:
                wanted = f"of at least {low}" if value < low else f"below 2^{high.bit_length() - 1}"
                raise InputError(f"{name} = {shown(value)}: expected an integer {wanted}")
        if not 0 < self.lr < 1:
            raise InputError(f"lr = {self.lr}: expected a number between 0 and 1, such as 1.0e-3")
        if self.device not in ("auto", "cpu", "cuda"):
            raise InputError(f"device {shown(self.device)}: expected 'auto', 'cpu' or 'cuda'")
        check_choices(self.augment, self.lr_schedule)
        check_precision(self.precision)
        plain_name("dataset", self.dataset, "sample")
        plain_name("acceleration", self.acceleration, "4x")
        if not self.methods:
            raise InputError(f"methods = []: expected at least one of {', '.join(method_keys())}")
        form = self.chosen.kd_form
        for key in self.methods:
            check_method(key, form)
        if len(set(self.methods)) < len(self.methods):
            raise InputError(f"methods {shown(self.methods)}: expected each method once")
        self._check_loaded()
        return self

    def _check_loaded(self) -> None:
        """Raise InputError for what PyTorch and the methods themselves know: a GPU, the least batch, the schedules."""
        import torch

        from kdrecon.training.objectives import traits_of

        if self.device == "cuda" and not torch.cuda.is_available():
            raise InputError("device 'cuda': expected a GPU that PyTorch can use, found none; set device to 'auto'")
        chosen = self.chosen
        _, cascades = network_shape(chosen.teacher_network)
        for key in self.methods:
            method = traits_of(key, chosen.kd_form)
            if method.min_batch > self.batch_size:
                raise InputError(
                    f"batch_size = {self.batch_size} with method {key!r}: it compares the samples of a batch and "
                    f"needs at least {method.min_batch}; raise batch_size or drop the method"
                )
            if method.min_cascades > cascades:
                raise InputError(
                    f"method {key!r} with {chosen.teacher_network}: expected networks of at least {method.min_cascades} "
                    "cascades; drop the method or choose such networks"
                )
            single = {"schedule": "joint", "alpha": 0, "weight_factor": 1}
            if method.single_term and (other := {n: v for n in single if (v := getattr(chosen, n)) != single[n]}):
                raise InputError(
                    f"method {key!r} has a single loss term: expected {single}, found {other}; drop the method or the "
                    "switches"
                )

    def inside(self, out: Path) -> "Parameters":
        """These parameters for a run in the folder out, whatever the current folder is later on.

        Raises:
            InputError: a folder whose name is not UTF-8.
        """
        run_root, data_root = str(out.resolve()), self.data_root and str(Path(self.data_root).resolve())
        for folder in (run_root, data_root):
            if folder != folder.encode("utf-8", "ignore").decode("utf-8"):
                raise InputError(f"{folder}: expected a name in UTF-8, as notebooks are; rename it or choose another")
        return replace(self, run_root=run_root, data_root=data_root)

    @property
    def chosen(self) -> Switches:
        """The switches of the preset and those on top of it."""
        return Switches.of(self.preset, self.switches)

    @property
    def torch_device(self) -> "torch.device":
        """Where networks are trained: "auto" is a GPU where PyTorch can use one."""
        import torch

        available = "cuda" if torch.cuda.is_available() else "cpu"
        return torch.device(available if self.device == "auto" else self.device)

    @property
    def run_folder(self) -> Path:
        """The folder that receives experiments/."""
        return project_root() / self.run_root if self.run_root else runs() / "lab"

    @property
    def recipe(self) -> Recipe:
        """How each network is trained."""
        names = ("epochs", "batch_size", "lr", "seed", "precision", "augment", "lr_schedule")
        return Recipe(**{name: getattr(self, name) for name in names})


def read_parameters(path: Path, assignments: Sequence[str] = ()) -> Parameters:
    """Parameters from a YAML file and "name=value" assignments, which win over it.

    Raises:
        InputError: no such file, not a mapping of names to values, an assignment without "=", or a parameter that
            :meth:`Parameters.from_mapping` refuses.
    """
    values = _from_file(path)
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise InputError(f"-p {shown(assignment)}: expected name=value, such as -p epochs=20")
        values[name] = "" if value == "" else read_yaml(value, f"-p {shown(assignment)}")
    return Parameters.from_mapping(values)


def with_settings(settings: object, beside: Mapping[str, Any]) -> Parameters:
    """The parameters of a notebook: those that its cell shows, and its ``settings`` for all others.

    What is shown wins over a file, which may name everything; a line says where the two differ.

    Args:
        settings: names and values, or a parameter file: its path is absolute, below ~, or seen from the repository.
        beside: the shown ones, name -> value.

    Raises:
        InputError: settings that are neither, or name what is shown; or a parameter that :meth:`Parameters.from_mapping`
            refuses.
    """
    if isinstance(settings, dict):
        if twice := [name for name in settings if name in beside]:
            raise InputError(
                f"settings name {twice[0]}, which has a line of its own: expected it there alone; change that line"
            )
        return Parameters.from_mapping(settings | dict(beside))
    file = project_root() / os.path.expanduser(settings) if isinstance(settings, str | Path) else None
    if not (file and os.path.isfile(file)):
        raise InputError(
            f"settings = {shown(settings)}: expected names and values, such as {{'lr': 1.0e-3}}, or a parameter file that is "
            "there, such as 'params/paper.yaml'"
        )
    named = _own(_from_file(file))
    parameters = Parameters.from_mapping(named | dict(beside))
    own = {name: getattr(parameters, name) for name in named if name in beside}
    if lost := [
        f"{name} = {shown(value)}, not {shown(named[name])}" for name, value in own.items() if value != named[name]
    ]:
        print(f"the notebook's own lines win over {settings}: {'; '.join(lost)}")
    return parameters


def typed(name: str, value: Any, expected: Any) -> Any:
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
        extra = f", such as [{', '.join(method_keys())}]" if isinstance(expected, types.GenericAlias) else ""
        raise InputError(f"{name} = {shown(value)}: expected {wanted}{extra}")
    return value


def _from_file(path: Path) -> dict[str, Any]:
    """Names and values of a parameter file."""
    if not path.is_file():
        raise InputError(f"{path} does not exist: expected a parameter file such as params/quick.yaml; check the path")
    values = read_yaml(read_text(path, "save it anew"), str(path))
    if not isinstance(values, dict):
        raise InputError(
            f"{path} holds {type(values).__name__}: expected a mapping of names to values, as in params/quick.yaml"
        )
    return values


def _own(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values in the types of their parameters; an InputError for an unknown name or another type."""
    known = {f.name: f.type for f in fields(Parameters)}
    if unknown := [name for name in values if name not in known]:
        raise InputError(f"unknown parameter {shown(unknown[0])}: expected one of {', '.join(known)}")
    return {name: typed(name, _from_text(value, known[name]), known[name]) for name, value in values.items()}


def _from_text(value: Any, expected: Any) -> Any:
    """What YAML leaves as text or empty though a number or a mapping is meant: 1e-3, and nothing after "switches:"."""
    if expected is dict and value is None:
        return {}
    try:
        return float(value) if expected is float and isinstance(value, str) else value
    except ValueError:
        return value
