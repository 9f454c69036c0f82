"""Reading the checkpoints of networks that were trained with the code released with SFT-KD-Recon.

>>> from kdrecon.released.weights import released_name
>>> released_name("blocks.0.convs.2.weight", part="student"), released_name("teacher.blocks.4.convs.0.bias")
('scascade1.conv3.weight', 'tcascade5.conv1.bias')
"""

import argparse
import itertools
import math
import pathlib
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor, nn

from kdrecon.errors import InputError, shortened, shown
from kdrecon.models.dccnn import DCCNN, dc_cnn
from kdrecon.models.sft import SFT
from kdrecon.storage import checkpoints

PARTS = ("teacher", "student")

# What a released checkpoint holds besides tensors, as (what is built here, its name in the file): the parsed command
# line, paths (as text that touches no disk), and numbers of NumPy before and since version 2.
ALLOWED = [
    argparse.Namespace,
    *((pathlib.PurePosixPath, f"pathlib.{module}PosixPath") for module in ("", "_local.")),
    *((pathlib.PureWindowsPath, f"pathlib.{module}WindowsPath") for module in ("", "_local.")),
    *((np.float64(0).__reduce__()[0], f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    np.dtype, type(np.dtype("float64")), type(np.dtype("float32")),
]  # fmt: skip


class Checkpoint(NamedTuple):
    """A released checkpoint: its network in our form and what else the file tells.

    Attributes:
        network: a DCCNN (teacher or student), or an SFT that holds both.
        role: "teacher", "student" or "sft_teacher".
        epoch: finished epochs, 0 where the file does not tell.
        validation_l1: the lowest one, NaN where the file does not tell.
        arguments: the command line that trained it, name -> text, number or None.
    """

    network: DCCNN | SFT
    role: str
    epoch: int
    validation_l1: float
    arguments: dict


def read_released(path: Path) -> Checkpoint:
    """Read a released best_model.pt; nothing in it is ever executed.

    Role and architecture are those of the tensors: ``tcascade{k}.conv{j}`` of a teacher, ``scascade{k}.conv{j}`` of a
    student, both in a student-friendly training; the highest k and j are cascades and depth. The code of KD-MRI names them
    ``cascade{k}``; it pads each convolution instead of the image, so its networks are others and are refused.

    Args:
        path: a pickle of {"epoch", "args", "model", "optimizer", "best_dev_loss", "exp_dir"}, or of a state_dict alone.

    Raises:
        InputError: no such file, no checkpoint, one that names anything but tensors, numbers, paths and a command
            line, or tensors that are missing, unexpected or misshapen.
    """
    content = checkpoints.read_checkpoint(path, "a released best_model.pt", ALLOWED, legacy=True)
    if not isinstance(state := content.get("model", content), dict):
        raise InputError(f"{path} holds {type(content).__name__}: expected a dict with the weights under 'model'")
    network, role = untrained(state)
    load_weights(network, state)
    arguments = content.get("args", argparse.Namespace())
    if not isinstance(arguments, argparse.Namespace):
        raise InputError(f"{path} holds {type(arguments).__name__} under 'args': expected the parsed command line")
    epoch, l1 = content.get("epoch", -1), content.get("best_dev_loss", math.nan)
    number = int | float | np.floating | np.integer
    for name, value, kind in (("epoch", epoch, int | np.integer), ("best_dev_loss", l1, number)):
        if not isinstance(value, kind) or isinstance(value, bool) or not abs(value) < 2**53 and value == value:
            raise InputError(f"{path} says {name} {shown(value)}: expected a number; is it a released best_model.pt?")
    plain = {name: _plain(value) for name, value in vars(arguments).items()}
    return Checkpoint(network, role, int(epoch) + 1, float(l1), plain)


def untrained(state_dict: dict[str, Tensor]) -> tuple[DCCNN | SFT, str]:
    """An untrained network of the architecture that released names tell, and its role; weights come in by load_weights.

    Raises:
        InputError: an entry has no released name, all of them are listed; or none has.
    """
    shapes: dict[str, tuple[int, int]] = {}
    unmapped = []
    for name in state_dict:
        found = isinstance(name, str) and re.fullmatch(
            r"(?:module\.)?([ts])cascade([1-9]\d{0,9})\.conv([1-9]\d{0,9})\.(?:weight|bias)", name, re.ASCII
        )
        if found:
            part, cascade, conv = found[1], int(found[2]), int(found[3])
            depth, cascades = shapes.get(part, (0, 0))
            shapes[part] = max(depth, conv), max(cascades, cascade)
        else:
            unmapped.append(name if isinstance(name, str) and name.isprintable() else shown(name))
    if unmapped or not shapes:
        raise InputError(
            f"{len(unmapped)} of {len(state_dict)} entries have no place in a DC-CNN ("
            f"{shortened(', '.join(sorted(unmapped)), 1000)}): "
            "expected tensors named like tcascade1.conv1.weight, those of the code released with SFT-KD-Recon"
        )
    if (largest := max(max(shape) for shape in shapes.values())) > len(state_dict):
        raise InputError(
            f"a tensor of cascade or convolution {largest} among {len(state_dict)}: expected all before it, too"
        )
    if (count := sum(2 * depth * cascades for depth, cascades in shapes.values()) - len(state_dict)) > 0:
        expected = (
            f"{part}cascade{k}.conv{j}.{kind}"
            for part, (depth, cascades) in shapes.items()
            for k, j, kind in itertools.product(range(1, cascades + 1), range(1, depth + 1), ("weight", "bias"))
        )
        present = {name.removeprefix("module.") for name in state_dict}
        absent = checkpoints.some((name for name in expected if name not in present), count)
        raise InputError(f"the checkpoint has {len(state_dict)} tensors, missing: {absent}: get the file again")
    networks = {part: dc_cnn(f"D{depth}C{cascades}") for part, (depth, cascades) in shapes.items()}
    if len(networks) == 1:
        return next(iter(networks.values())), "teacher" if "t" in networks else "student"
    if shapes["t"][1] != shapes["s"][1]:
        raise InputError(f"{shapes['t'][1]} teacher and {shapes['s'][1]} student cascades: expected equal numbers")
    return SFT(networks["t"], networks["s"]), "sft_teacher"


def load_weights(model: nn.Module, state_dict: dict[str, Tensor], part: str | None = None) -> nn.Module:
    """Copy weights that carry the released code's names into one of our networks.

    =====================================  ==========================================
    released                               ours, in a DCCNN (in an SFT)
    =====================================  ==========================================
    ``tcascade1.conv1.weight`` (teacher)   ``(teacher.)blocks.0.convs.0.weight``
    ``scascade5.conv3.bias`` (student)     ``(student.)blocks.4.convs.2.bias``
    =====================================  ==========================================

    A leading ``module.`` on all names (DataParallel) is dropped. All or nothing: the model is changed only if every one
    of its tensors is found in its shape and nothing is left over.

    Args:
        model: :class:`kdrecon.models.dccnn.DCCNN` or :class:`kdrecon.models.sft.SFT`.
        state_dict: tensors by name.
        part: "teacher" or "student": which half of an SFT checkpoint goes into a DCCNN; the other half is left aside.
            None: the checkpoint holds one kind of names only, or the model is an SFT.

    Returns:
        the model.

    Raises:
        InputError: missing, unexpected or misshapen tensors, entries that are no tensors, a checkpoint that holds both
            halves without part, or part for an SFT.
    """
    source = dict(state_dict)
    if source and all(name.startswith("module.") for name in source):
        source = {name.removeprefix("module."): value for name, value in source.items()}
    if others := [name for name, value in source.items() if not isinstance(value, Tensor)]:
        raise InputError(
            f"entries that are no tensors, {checkpoints.some(others)}: expected a state_dict, perhaps one of these"
        )
    target = model.state_dict()
    if any(name.startswith(PARTS) for name in target):
        if part is not None:
            raise InputError(f"part={part!r} for an SFT model: expected None, because it takes both halves")
    else:
        part = _part(source, part)
        other = "s" if part == "teacher" else "t"
        source = {name: value for name, value in source.items() if not name.startswith(f"{other}cascade")}

    names = {released_name(name, part): name for name in target}
    if problems := checkpoints.misfits(source, {theirs: target[ours] for theirs, ours in names.items()}):
        raise InputError(
            f"the checkpoint does not fit the model, {problems}: "
            "give the state_dict of a released network of the same architecture"
        )
    model.load_state_dict({ours: source[theirs] for theirs, ours in names.items()})
    return model


def released_name(name: str, part: str | None = None) -> str:
    """The released code's name of one of our tensors; part says which half a DCCNN is."""
    match = re.fullmatch(r"(?:(teacher|student)\.)?blocks\.(\d+)\.convs\.(\d+)\.(weight|bias)", name)
    if not match or not (owner := match[1] or part):
        raise InputError(f"tensor {name!r} has no counterpart in the released code: expected a plain DC-CNN or SFT")
    return f"{owner[0]}cascade{int(match[2]) + 1}.conv{int(match[3]) + 1}.{match[4]}"


def _part(source: dict[str, Tensor], part: str | None) -> str:
    """Which half of the checkpoint a DCCNN takes."""
    held = [p for p in PARTS if any(name.startswith(f"{p[0]}cascade") for name in source)]
    if part is None and len(held) == 1:
        return held[0]
    if part in held:
        return part
    if not held:
        raise InputError(
            f"no tcascade or scascade tensor among the checkpoint's {len(source)}: expected names such as "
            "tcascade1.conv1.weight; give the state_dict of a released network"
        )
    raise InputError(
        f"part={part!r}: the checkpoint holds tensors of {' and '.join(held)}; give part={' or '.join(map(repr, held))}"
    )


def _plain(value: object) -> object:
    """A value of the command line as JSON knows it."""
    if isinstance(value, bool | float | str | None) or (isinstance(value, int) and abs(value) < 2**63):
        return value
    return str(value) if isinstance(value, pathlib.PurePath) else shown(value)
