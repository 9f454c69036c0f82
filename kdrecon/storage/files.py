"""Writing that loses nothing: atomic files, one process a folder, signals; and what lies in a folder.

>>> from pathlib import Path
>>> from tempfile import TemporaryDirectory
>>> from kdrecon.storage.files import natural, write_text
>>> sorted(["patient10", "patient2"], key=natural)
['patient2', 'patient10']
>>> with TemporaryDirectory() as folder:
...     write_text(Path(folder) / "note.txt", "all of it, or nothing")
...     [path.name for path in Path(folder).iterdir()]
['note.txt']
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from kdrecon.errors import Busy, InputError, first_line

if TYPE_CHECKING:
    import pandas as pd

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


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Replace a CSV file by a table, atomically."""
    write_text(path, table.map(lambda cell: as_text(cell) if isinstance(cell, str) else cell).to_csv(index=False))


def write_json(path: Path, value: dict) -> None:
    """Replace a JSON file, atomically."""
    write_text(path, json.dumps(value, indent=2) + "\n")


@contextlib.contextmanager
def alone_in(folder: Path, patience: float = 0.0) -> Iterator[None]:
    """The folder, made where it is missing and locked against a second process.

    Args:
        folder: the folder.
        patience: seconds to wait for another process to leave it.

    Raises:
        Busy: another process is at work there.
        InputError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = acquired(folder / ".lock", patience)
    except Timeout as error:
        raise Busy(
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

    def stop() -> None:
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


def visible(folder: Path, pattern: str = "*.h5") -> list[Path]:
    """What is in a folder under names of a pattern, in natural order; hidden files and folders are not there.

    macOS leaves ._1.h5 beside 1.h5 where it copies to other file systems, NFS .nfs0001 for what is deleted while open.
    """
    shown = {path: path.relative_to(folder).with_suffix("").parts for path in folder.glob(pattern)}
    shown = {path: parts for path, parts in shown.items() if not any(part.startswith(".") for part in parts)}
    return sorted(shown, key=lambda path: ([natural(part) for part in shown[path]], path))


def natural(text: str) -> list:
    """Sorting key under which patient2 comes before patient10."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", text)]
