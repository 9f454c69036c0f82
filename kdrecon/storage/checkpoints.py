"""Checkpoints that are proven readable, and are read without executing anything.

>>> import torch
>>> from kdrecon.storage.checkpoints import misfits
>>> misfits({"weight": torch.ones(2)}, {"weight": torch.ones(3), "bias": torch.ones(1)})
'missing: 1 (bias); of another shape: 1 (weight)'
"""

import io
import itertools
import os
import pickle
import re
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeGuard

import torch
from torch import Tensor

from kdrecon.errors import InputError, bare, first_line, shortened, shown
from kdrecon.storage.files import replacing


def save_checkpoint(state: dict, path: Path, previous: Path | None = None) -> None:
    """Replace a checkpoint, atomically and only by one that can be read back; see :func:`replacing`."""
    with replacing(path, previous) as temporary:
        content = io.BytesIO()  # torch.save hides what the system says when it writes a file itself
        torch.save(state, content)
        temporary.write_bytes(content.getbuffer())
        try:
            read_checkpoint(temporary)
        except InputError as error:
            raise OSError(str(error)) from error


def read_checkpoint(
    path: Path, kind: str = "best_model.pt or model.pt of a training", allowed: Sequence = (), legacy: bool = False
) -> dict:
    """What a checkpoint holds, on the CPU, after its checksums; nothing in it is executed.

    Args:
        path: the file, a zip archive of uncompressed records, each with a CRC-32, as torch.save writes it.
        kind: what it should be, for messages.
        allowed: what it may hold beside tensors, numbers, text and their collections, see torch.serialization.safe_globals.
        legacy: whether a file from before PyTorch 1.6, which is no archive and has no checksums, is read, too.

    Raises:
        InputError: no such file, a damaged one, one that names something else than the above, or one without a dict.
    """
    if not os.path.isfile(path):
        raise InputError(f"{path} does not exist: expected {kind}; check the path")
    try:
        content = io.BytesIO(path.read_bytes())
        if zipfile.is_zipfile(content) or not legacy:
            content = _checked(content)
        content.seek(0)
        with torch.serialization.safe_globals(list(allowed)):
            state = torch.load(content, map_location="cpu", weights_only=True)
    except Exception as error:  # an unpickler raises whatever the bytes make of it
        if isinstance(error, pickle.UnpicklingError) and (name := re.search(r"GLOBAL (\S+)", str(error))):
            raise InputError(
                f"{path} names {bare(name[1])}, which does not belong in a checkpoint: expected tensors, numbers and text; "
                "nothing of it was executed, do not trust the file"
            ) from None
        reason = first_line(error).partition(". ")[0]
        raise InputError(f"{path} cannot be read ({reason}): expected {kind}, intact") from error
    if not isinstance(state, dict):
        raise InputError(f"{path} holds {type(state).__name__}: expected {kind}, which is a dict")
    return state


def _checked(content: io.BytesIO) -> io.BytesIO:
    """The archive written anew from records whose checksums are right.

    PyTorch's own reader compares none of them, and where a header is damaged it may hand out memory that nothing was read
    into.
    """
    anew = io.BytesIO()
    with zipfile.ZipFile(content) as archive, zipfile.ZipFile(anew, "w") as copy:
        for record in archive.infolist():
            if record.compress_type != zipfile.ZIP_STORED or record.compress_size != record.file_size:
                raise zipfile.BadZipFile(f"{shown(record.filename)} is compressed")
            copy.writestr(zipfile.ZipInfo(record.filename), archive.read(record))
    return anew


def read_weights(path: Path, expected: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights in a best_model.pt, after :func:`misfits`.

    Args:
        path: the file.
        expected: the state_dict of the network that is to take them.

    Raises:
        InputError: it cannot be read, or holds others.
    """
    weights: Any = read_checkpoint(path).get("model")
    if problems := misfits(weights, expected):
        raise InputError(f"{path} does not fit, {problems}: is it the checkpoint of another network?")
    return weights


def misfits(found: object, expected: dict[str, Tensor]) -> str:
    """What keeps tensors from being loaded in the place of others, as "missing: 2 (names); ..."; empty where nothing does.

    Only dense floating-point numbers on the CPU are loaded, all of them finite.
    """
    if not isinstance(found, dict):
        return f"weights: {type(found).__name__}, not tensors by name"
    both = [name for name in expected if name in found]
    tensors = {name: found[name] for name in both if is_plain(found[name])}
    fitting = {name: value for name, value in tensors.items() if value.shape == expected[name].shape}
    problems = {
        "missing": expected.keys() - found.keys(),
        "unexpected": {name if isinstance(name, str) else shown(name) for name in found.keys() - expected.keys()},
        "no dense tensors of floating-point numbers": set(both) - tensors.keys(),
        "of another shape": tensors.keys() - fitting.keys(),
        "NaN or infinite": {
            name for name, value in fitting.items() if not value.to(expected[name].dtype).isfinite().all()
        },
    }
    return "; ".join(f"{what}: {some(sorted(names))}" for what, names in problems.items() if names)


def is_plain(value: object) -> TypeGuard[Tensor]:
    """Whether a value is a dense tensor of floating-point numbers that has values."""
    if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_nested or value.is_meta:
        return False
    return value.dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def unlike(found: Any, form: object, place: str = "checkpoint") -> str:
    """Where a value is not built like another one, such as "checkpoint.sums.total"; empty where it is.

    Alike are tensors of one shape and type, the found one dense and finite; dicts, if the found one has all keys of the
    other; lists of equal length; numbers; and otherwise values of one type.
    """
    if isinstance(form, Tensor):
        return "" if _is_alike(found, form) else place
    if isinstance(form, dict | list | tuple):
        kind = dict if isinstance(form, dict) else list | tuple
        if not isinstance(found, kind) or (kind is not dict and len(found) != len(form)):
            return place
        parts = list(form.items() if isinstance(form, dict) else enumerate(form))
        if absent := [name for name, _ in parts if kind is dict and name not in found]:
            return f"{place}.{absent[0]}"
        return next(filter(None, (unlike(found[name], part, f"{place}.{name}") for name, part in parts)), "")
    wanted = int | float if isinstance(form, float) else type(form)
    return "" if isinstance(found, wanted) and isinstance(found, bool) == isinstance(form, bool) else place


def _is_alike(found: object, form: Tensor) -> bool:
    if form.dtype.is_floating_point and not is_plain(found):
        return False
    if not isinstance(found, Tensor) or found.layout != torch.strided or found.is_meta:
        return False
    return found.dtype == form.dtype and found.shape == form.shape and bool(found.isfinite().all())


def some(names: Iterable[str], count: int | None = None) -> str:
    """How many names there are, and the first three: "5 (a, b, c and 2 more)"."""
    names = list(itertools.islice(names, 3)) if count is not None else list(names)
    count = len(names) if count is None else count
    more = f" and {count - 3} more" if count > 3 else ""
    return f"{count} ({', '.join(map(bare, names[:3]))}{more})"


def differences(found: dict, expected: dict) -> str:
    """The keys in which two configurations differ, as "key: found -> expected" separated by commas."""
    keys = [key for key in sorted(found.keys() | expected.keys(), key=str) if found.get(key) != expected.get(key)]
    return shortened(", ".join(f"{key}: {shown(found.get(key))} -> {shown(expected.get(key))}" for key in keys), 1000)
