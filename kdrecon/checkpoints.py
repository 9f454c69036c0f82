"""Writing that loses nothing: atomic files, checkpoints that are proven readable, one process a folder, signals."""

import contextlib
import errno
import io
import itertools
import json
import os
import pickle
import re
import signal
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import torch
from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout
from torch import Tensor

from kdrecon.errors import InputError, first_line, shown

WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)  # what a file system without locks says

MARKER = ".marker"  # added to the name of a lock


@contextlib.contextmanager
def replacing(path: Path, previous: Path | None = None) -> Iterator[Path]:
    """A temporary file to write to: after the block it is flushed to the disk and renamed to ``path``.

    Whatever happens, under ``path`` there is the old file or the whole new one. What lies under the temporary name, left by
    a kill or a link, goes; it is not written to.

    Args:
        path: the file to replace; its folder is made where it is missing.
        previous: name for the file that stood there; without one it is gone.

    Raises:
        InputError: it cannot be written, for example because the disk is full; the old file stays.
    """
    temporary = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        temporary.touch(exist_ok=False)
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        if previous and path.exists():
            os.replace(path, previous)
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"{path} cannot be written ({first_line(error)}): expected room on a writable disk; what was there before is "
            "kept, make room and run the same command again"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Replace a text file, atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def as_text(cell: str) -> str:
    """A text for a table: with an apostrophe in front where spreadsheets would take it for a formula and compute it.

    Bytes of a file name that are no letters are written as numbers.
    """
    cell = cell.encode("utf-8", "backslashreplace").decode("utf-8")
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def write_json(path: Path, value: dict) -> None:
    """Replace a JSON file, atomically."""
    write_text(path, json.dumps(value, indent=2) + "\n")


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
                f"{path} names {name[1]}, which does not belong in a checkpoint: expected tensors, numbers and text; "
                "nothing of it was executed, do not trust the file"
            ) from None
        reason = first_line(error).partition(". ")[0]
        raise InputError(f"{path} cannot be read ({reason}): expected {kind}, intact") from error
    if not isinstance(state, dict):
        raise InputError(f"{path} holds {type(state).__name__}: expected {kind}, which is a dict")
    return state


def _checked(content: io.BytesIO) -> io.BytesIO:
    """The archive written anew from records whose checksums are right: PyTorch's own reader compares none of them, and
    where a header is damaged it may hand out memory that nothing was read into.
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
    weights = read_checkpoint(path).get("model")
    if problems := misfits(weights, expected):
        raise InputError(f"{path} does not fit, {problems}: is it the checkpoint of another network?")
    return weights


def misfits(found: dict[str, Tensor], expected: dict[str, Tensor]) -> str:
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


def is_plain(value) -> bool:
    """Whether a value is a dense tensor of floating-point numbers that has values."""
    if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_nested or value.is_meta:
        return False
    return value.dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def unlike(found, form, place: str = "checkpoint") -> str:
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
        parts = list(form.items() if kind is dict else enumerate(form))
        if absent := [name for name, _ in parts if kind is dict and name not in found]:
            return f"{place}.{absent[0]}"
        return next(filter(None, (unlike(found[name], part, f"{place}.{name}") for name, part in parts)), "")
    kind = int | float if isinstance(form, float) else type(form)
    return "" if isinstance(found, kind) and isinstance(found, bool) == isinstance(form, bool) else place


def _is_alike(found, form: Tensor) -> bool:
    if form.dtype.is_floating_point and not is_plain(found):
        return False
    alike = (
        isinstance(found, Tensor) and found.layout == torch.strided and not found.is_meta and found.dtype == form.dtype
    )
    return alike and found.shape == form.shape and bool(found.isfinite().all())


def some(names: Iterable[str], count: int | None = None) -> str:
    """How many names there are, and the first three: "5 (a, b, c and 2 more)"."""
    names = list(itertools.islice(names, 3)) if count is not None else list(names)
    count = len(names) if count is None else count
    more = f" and {count - 3} more" if count > 3 else ""
    return f"{count} ({', '.join(repr(name)[1:-1][:80] for name in names[:3])}{more})"


def differences(found: dict, expected: dict) -> str:
    """The keys in which two configurations differ, as "key: found -> expected" separated by commas."""
    keys = [key for key in sorted(found.keys() | expected.keys(), key=str) if found.get(key) != expected.get(key)]
    return ", ".join(f"{key}: {shown(found.get(key))} -> {shown(expected.get(key))}" for key in keys)


@contextlib.contextmanager
def alone_in(folder: Path, patience: float = 0.0) -> Iterator[None]:
    """The folder, made where it is missing and locked against a second process.

    Args:
        folder: the folder.
        patience: seconds to wait for another process to leave it.

    Raises:
        InputError: another process is at work there, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = acquired(folder / ".lock", patience)
    except Timeout as error:
        raise InputError(
            f"another process is at work in {folder}: expected to be alone there; wait for it{left_over(error)}, or choose "
            "another folder"
        ) from None
    except OSError as error:
        raise InputError(
            f"{folder} cannot be written ({first_line(error)}): expected a writable folder; choose another one"
        ) from error
    try:
        yield
    finally:
        lock.release()


def acquired(path: Path, patience: float = 0.0) -> BaseFileLock:
    """The lock of this name, held; where the file system has no locks, a marker that names this process instead.

    Raises:
        Timeout: another process holds it longer than so many seconds.
        OSError: it cannot be made.
    """
    try:
        lock = FileLock(path, timeout=patience)
        lock.acquire()
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno not in WITHOUT_LOCKS:
            raise
        lock = SoftFileLock(f"{path}{MARKER}", timeout=patience)
        lock.acquire()
    return lock


def left_over(error: Timeout) -> str:
    """What may help besides waiting for another process: a marker stays where its process was killed."""
    name = os.path.basename(error.lock_file)
    return f", or delete {name} there if it ended long ago" if name.endswith(MARKER) else ""


@contextlib.contextmanager
def stop_requested() -> Iterator[Callable[[], None]]:
    """A call that raises KeyboardInterrupt after SIGINT and SystemExit after SIGTERM, where a caller can bear it."""
    received: list[int] = []

    def stop():
        if received:
            raise KeyboardInterrupt if received[0] == signal.SIGINT else SystemExit(128 + received[0])

    try:
        before = {
            s: signal.signal(s, lambda number, _: received.append(number)) for s in (signal.SIGINT, signal.SIGTERM)
        }
    except ValueError:  # only the main thread receives signals
        before = {}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
