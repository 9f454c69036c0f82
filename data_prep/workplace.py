"""The folder in which a data set is made and the one it replaces: what no preparation has written is never removed.

>>> from pathlib import Path
>>> from data_prep.workplace import cannot_write
>>> str(cannot_write(Path("datasets"), OSError(28, "")))
'datasets cannot be written (No space left on device): expected a folder with room; free some space'
"""

import contextlib
import errno
import itertools
import os
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from filelock import Timeout
from tqdm.auto import tqdm

from kdrecon.choices import SPLITS
from kdrecon.errors import InputError, first_line
from kdrecon.storage import hdf5
from kdrecon.storage.files import acquired, left_over
from kdrecon.storage.records import read_table

BESIDE = ("plan", "lock", "summary.txt", "contact_sheet.png", "manifest.csv")  # what there is besides volumes
MANIFEST = dict.fromkeys(("split", "volume", "subject", "slices", "split_by", "source"), str)  # by these ours is known
VOLUME = re.compile(rf"({'|'.join(SPLITS)})/acc_[\w.]+/(\d+)\.(h5|partial)")
SYSTEM = re.compile(r"\._.*|\.nfs\w+|\.DS_Store|Thumbs\.db|desktop\.ini")  # left by macOS, NFS and Windows anywhere


class CannotWrite(InputError):
    """The output cannot be written; nothing is to be gained by going on."""


def cannot_write(folder: Path, error: OSError) -> CannotWrite:
    """What to say where the system refuses to write below a folder."""
    reason = os.strerror(error.errno) if error.errno else first_line(error)
    remedy = "free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else "choose another --out"
    return CannotWrite(f"{folder} cannot be written ({reason}): expected a folder with room; {remedy}")


def check_target(target: Path, source: Path | None = None, files: Iterable[Path] = ()) -> None:
    """Refuse to make a data set where something would be lost.

    Args:
        target: folder of the data set.
        source: the folder of the scans.
        files: the scans, which links may have brought from elsewhere.

    Raises:
        InputError: the target holds a file that no preparation has written, or it and the scans lie in one another.
        CannotWrite: the system does not let one see.
    """
    place = Path(os.path.realpath(target))
    folders = {Path(os.path.realpath(path)).parent for path in files}
    if source:
        folders.add(Path(os.path.realpath(source)))
    try:
        nested = source and _lies_in(place, source) or any(_lies_in(folder, place) for folder in folders)
        others = [] if not place.exists() else _others(place) if place.is_dir() else [place]
    except OSError as error:
        raise cannot_write(target.parent, error) from error
    if nested:
        raise InputError(
            f"{target} and the scans in {source} lie in one another: expected a folder of its own for the data set, "
            "which may be replaced; choose another --out or --name"
        )
    if others:
        shown = os.path.relpath(others[0], place) + (f" and {len(others) - 1} more" if len(others) > 1 else "")
        raise InputError(
            f"{target} is there and is no prepared data set, or not alone ({shown}): expected a free name, or nothing but "
            "what a preparation wrote; choose --name, or move the rest away"
        )


@contextlib.contextmanager
def workplace(target: Path, plan: str) -> Iterator[Path]:
    """A hidden folder beside the data set to be, with what an earlier run of the same plan has finished.

    It takes the data set's place when the work is complete; otherwise it stays if it holds finished volumes. A data set
    that is a link stays one: the folder that it leads to is replaced.

    Args:
        target: folder of the data set.
        plan: fingerprint of what is to be done.

    Raises:
        InputError: another process prepares the data set, or files that no preparation has written are in the way.
        CannotWrite: the system refuses.
    """
    place = Path(os.path.realpath(target))
    work, locked = (place.with_name(f".{place.name}.{what}") for what in ("partial", "lock"))
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        lock = acquired(locked)
    except Timeout as error:
        raise InputError(
            f"{target} is being prepared by another process: expected to be alone; wait for it{left_over(error)}"
        ) from None
    except OSError as error:
        raise cannot_write(target.parent, error) from error
    try:
        _tidy(place)
        _begin(work, plan)
        yield work
        check_target(target)
        _take_place(work, place)
        _tidy(place)
    except OSError as error:
        raise cannot_write(target.parent, error) from error
    finally:
        if work.is_dir() and not work.is_symlink():
            if any(work.rglob("*.h5")):
                tqdm.write(f"finished volumes are kept in {work}: the same command continues there", file=sys.stderr)
            else:
                _remove(work, _own(work, False))
        with contextlib.suppress(OSError):  # Windows removes it on release, and not before
            locked.unlink()
        lock.release()


def _begin(work: Path, plan: str) -> None:
    """Empty a workplace unless it was left by the same plan; half-written files go in any case."""
    if others := [work] if work.is_symlink() else _others(work, False) if work.exists() else []:
        raise InputError(f"{others[0]} is in the way: expected only what a preparation left there; move it away")
    work.mkdir(exist_ok=True)
    same = (work / "plan").exists() and (work / "plan").read_text(encoding="utf-8") == plan
    for path in _own(work, False):
        if path.suffix == ".partial" or not same:
            path.unlink()
    (work / "plan").write_text(plan, encoding="utf-8")


def _take_place(work: Path, place: Path) -> None:
    """Give a finished data set its name, and an older one a hidden name that is free."""
    names = (place.with_name(f".{place.name}.replaced{number or ''}") for number in itertools.count())
    replaced = next(name for name in names if not os.path.lexists(name))
    if place.exists():
        place.rename(replaced)
    try:
        work.rename(place)
    except OSError:
        if replaced.exists():
            replaced.rename(place)
        raise
    for name in ("plan", "lock"):
        (place / name).unlink(missing_ok=True)


def _tidy(place: Path) -> None:
    """Remove the data sets that were replaced; one that is alone, because a run was killed, gets its name back."""
    for path in sorted(place.parent.iterdir()):
        if (
            re.fullmatch(rf"\.{re.escape(place.name)}\.replaced\d*", path.name)
            and path.is_dir()
            and not path.is_symlink()
        ):
            with contextlib.suppress(OSError):
                if not place.exists() and _own(path) and not _others(path):
                    path.rename(place)
                else:
                    _remove(path, _own(path))


def _remove(folder: Path, files: list[Path]) -> None:
    """Remove these files of a folder, and what folders are empty then; what is in use stays for the next time."""
    with contextlib.suppress(OSError):
        for path in files:
            path.unlink()
    for parent, _, _ in os.walk(folder, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(parent)


def _own(folder: Path, complete: bool = True) -> list[Path]:
    """The files of a folder that a preparation has written, the manifest last, because it tells which they are.

    Args:
        folder: a data set, or a workplace.
        complete: it is a data set: without a manifest of ours nothing in it is known, and only volumes listed there are.
    """
    listed, found = _listed(folder), []
    for path in _files(folder):
        name = path.relative_to(folder).as_posix()
        if volume := VOLUME.fullmatch(name):
            known = not complete or (volume[1], volume[2]) in listed
            own = known and (volume[3] == "partial" or _written_here(path))
        else:
            own = SYSTEM.fullmatch(path.name) or (name in BESIDE and (listed or not complete))
        if own and path.is_file() and not path.is_symlink():
            found.append(path)
    return sorted(found, key=lambda path: path.name == "manifest.csv")


def _others(folder: Path, complete: bool = True) -> list[Path]:
    """The files of a folder, links among them, that no preparation has written."""
    own = set(_own(folder, complete))
    return sorted(path for path in _files(folder) if path not in own)


def _files(folder: Path) -> Iterator[Path]:
    """Everything below a folder that is no folder; links are not followed."""

    def fail(error: OSError) -> None:
        raise error

    for parent, folders, names in os.walk(folder, onerror=fail):
        names = names + [name for name in folders if (Path(parent) / name).is_symlink()]
        yield from (Path(parent) / name for name in names)


def _listed(folder: Path) -> set[tuple[str, str]]:
    """Split and number of the volumes in the manifest of a data set; none where there is no manifest of ours."""
    try:
        return set(
            read_table(folder / "manifest.csv", MANIFEST)[["split", "volume"]].itertuples(index=False, name=None)
        )
    except InputError:
        return set()


def _written_here(path: Path) -> bool:
    """Whether a file bears the mark of :func:`kdrecon.data.volumes.write_volume`."""
    try:
        with hdf5.opened(path) as file:
            return "format_version" in file.attributes
    except InputError:
        return False


def _lies_in(path: Path, folder: Path) -> bool:
    """Whether a path, which need not exist, is a folder or lies in it; both without links."""
    return folder.exists() and any(p.exists() and p.samefile(folder) for p in (path, *path.parents))
