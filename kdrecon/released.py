"""Reading the weights of networks that were trained with the code released with KD-MRI and SFT-KD-Recon."""

import re

import torch
from torch import Tensor, nn

from kdrecon.errors import InputError

PARTS = ("teacher", "student")


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
        model: :class:`kdrecon.models.DCCNN` or :class:`kdrecon.sft.SFT`.
        state_dict: tensors by name, as ``torch.load(path, weights_only=True)`` returns them.
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
    if others := [name for name, value in source.items() if not torch.is_tensor(value)]:
        raise InputError(f"entries that are no tensors, {_some(others)}: expected a state_dict, perhaps one of these")

    target = model.state_dict()
    if any(name.startswith(PARTS) for name in target):
        if part is not None:
            raise InputError(f"part={part!r} for an SFT model: expected None, because it takes both halves")
    else:
        part = _part(source, part)
        other = "s" if part == "teacher" else "t"
        source = {name: value for name, value in source.items() if not name.startswith(f"{other}cascade")}

    names = {released_name(name, part): name for name in target}
    problems = {
        "missing": names.keys() - source.keys(),
        "unexpected": source.keys() - names.keys(),
        "of another shape": {n for n in names.keys() & source.keys() if source[n].shape != target[names[n]].shape},
    }
    if found := [f"{what}: {_some(sorted(those))}" for what, those in problems.items() if those]:
        raise InputError(
            f"the checkpoint does not fit the model, {'; '.join(found)}: "
            "give the state_dict of a released network of the same architecture"
        )
    model.load_state_dict({ours: source[name] for name, ours in names.items()})
    return model


def released_name(name: str, part: str | None = None) -> str:
    """The released code's name of one of our tensors; part says which half a DCCNN is."""
    match = re.fullmatch(r"(?:(teacher|student)\.)?blocks\.(\d+)\.convs\.(\d+)\.(weight|bias)", name)
    if not match:
        raise InputError(f"tensor {name!r} has no counterpart in the released code: expected a plain DC-CNN or SFT")
    owner, block, conv, kind = match.groups()
    return f"{(owner or part)[0]}cascade{int(block) + 1}.conv{int(conv) + 1}.{kind}"


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


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{len(names)} ({', '.join(names[:3])}{more})"
