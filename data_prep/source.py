"""What a reader of raw scans has to offer, and what all readers share: finding files, naming subjects.

>>> from pathlib import Path
>>> from data_prep.source import extension, subject_of
>>> extension(Path("scan.nii.gz"))
'.nii.gz'
>>> subject_of(Path("scans/sub-07/anat/T1w.nii.gz"), Path("scans"), "")
'sub-07'
"""

import importlib
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import ClassVar, NamedTuple

import numpy as np

from kdrecon.errors import InputError, first_line, shown
from kdrecon.storage.files import natural
from kdrecon.storage.records import normal

GO_ON = ", or go on without it: --skip-bad"  # ends what a preparation says of a damaged file
POINTERS = {b"/annex/objects/": "datalad get", b"version https://git-lfs.": "git lfs pull"}


@dataclass(frozen=True)
class Scan:
    """One volume to be: where it lies and whose it is.

    Attributes:
        subject: who was scanned, as the source calls them; leaves the program only with --keep-names.
        files: what is read for it.
        label: what tells the volumes of a subject apart, without a person's name: "ED", "T1", "series 2".
        split: the data set's own split, "" where it has none.
        missing: how many slices lie between those that were found, as far as their positions tell.
    """

    subject: str
    files: tuple[Path, ...]
    label: str = ""
    split: str = ""
    missing: int = 0


class Volume(NamedTuple):
    """A scan that was read.

    Attributes:
        images: magnitudes (S, H, W), real, in any scale; row 0 is shown on top.
        voxel_size_mm: (row to row, column to column, slice to slice); empty where it is unknown.
        raw: the measured k-space (S, coils, H, W), complex64, unshifted and orthonormal, in the scale of the images,
            where a source has it and is asked for it.
        frames: how many time points follow one another at each position.
    """

    images: np.ndarray
    voxel_size_mm: tuple[float, ...] = ()
    raw: np.ndarray | None = None
    frames: int = 1


Passed = dict[Path, str]
"""Files that are none of the scans asked for, each with what such files are, in the plural: "phase images"; also frames of
a file of several, under its path and their number."""


@dataclass(frozen=True)
class Source(ABC):
    """A data set as its users have it. A new one is a subclass of about 40 lines, a dataclass, too.

    Its fields are its options: ``folder`` first, then what only this source needs; the command line offers them.

    Attributes:
        dataset: default name of the prepared data set; it decides the family of published masks.
        size: (height, width) of the central crop; () keeps the size.
        small: what happens to smaller images: "pad" with zeros or "skip".
        split: default split, see :func:`data_prep.steps.split_subjects`.
        published: slices of each split that the paper reports, to be printed beside the counts.
        layout: what is looked for in the folder, for messages.
    """

    folder: Path
    dataset: ClassVar[str]
    size: ClassVar[tuple[int, ...]] = ()
    small: ClassVar[str] = "pad"
    split: ClassVar[str] = "8,1,1"
    published: ClassVar[dict[str, int]] = {}
    layout: ClassVar[str]

    @abstractmethod
    def scans(self, passed: Passed | None = None) -> Iterator[Scan | InputError]:
        """All volumes in a fixed order; what is unusable comes as the error that names it, what is passed over is noted."""

    @abstractmethod
    def read(self, scan: Scan) -> Volume:
        """The images of one volume."""


def find(folder: Path, fits: Callable[[Path], bool], passed: Passed | None = None) -> Iterator[Path | InputError]:
    """All files below a folder that fit, in natural order; symbolic links are followed, except in circles.

    A link that leads nowhere, or back to a folder that is being searched anyway, comes as an InputError. What does not
    fit, and what a DataLad or Git LFS clone has not fetched, is noted in ``passed``. Hidden files and folders are not
    looked at.
    """
    passed = {} if passed is None else passed
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: expected the one that holds the scans; check the path")
    root = folder.resolve()
    closed: list[OSError] = []
    for parent, folders, names in os.walk(folder, followlinks=True, onerror=closed.append):
        folders[:] = sorted((name for name in folders if not name.startswith(".")), key=natural)
        for name in list(folders):
            path = Path(parent) / name
            if path.is_symlink() and (path.resolve().is_relative_to(root) or root.is_relative_to(path.resolve())):
                folders.remove(name)
                yield InputError(f"{path} is a link back to {path.resolve()}: expected no circles; remove the link")
        for name in sorted((name for name in names if not name.startswith(".")), key=natural):
            path = Path(parent) / name
            if not fits(path):
                passed[path] = kind_of_file(path)
            elif path.exists() and not path.is_file():
                passed[path] = "pipes, sockets or devices"
            elif remedy := _not_fetched(path):
                passed[path] = f"files that this clone has not fetched ({remedy})"
            else:
                try:
                    path.stat()
                    yield path
                except OSError as error:
                    reason = (error.strerror or first_line(error)).lower()
                    yield InputError(
                        f"{path} is a link that leads nowhere ({reason}): expected a file; remove the link"
                    )
    for refused in closed:
        yield InputError(
            f"{refused.filename} cannot be searched ({refused.strerror}): expected permission; change its mode"
        )


def extension(path: Path) -> str:
    """What the name of a file ends with, in lower case, that of a compressed one included: ".nii.gz"; "" for nothing."""
    match = re.search(r"(\.[a-z]\w{0,9})?\.(gz|bz2|xz|zst|zip)$|\.\w{1,10}$", path.name.lower())
    return match[0] if match else ""


def kind_of_file(path: Path) -> str:
    """What files with such a name are, in the plural."""
    return f"{extension(path)} files" if extension(path) else "files without an extension"


def _not_fetched(path: Path) -> str:
    """The command that fetches a file of which a clone holds only the name, as git-annex and Git LFS leave it; else ""."""
    try:
        if path.is_symlink() and not path.exists():
            return "datalad get" if "annex" in Path(os.readlink(path)).parts else ""
        if path.stat().st_size > 1000:
            return ""
        with open(path, "rb") as file:
            content = file.read(40)
    except OSError:
        return ""
    return next((remedy for start, remedy in POINTERS.items() if content.startswith(start)), "")


def regex(pattern: str, option: str) -> re.Pattern:
    """The regular expression that an option gives; an InputError where it is none."""
    try:
        return re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise InputError(
            f"{option} {shown(pattern)} is no regular expression ({error}): expected one; correct it"
        ) from None


def subject_of(path: Path, folder: Path, pattern: str) -> str | InputError:
    """Who was scanned, from the path of a file below the source folder.

    With a pattern (a regular expression): its first group, or all it matches. Without: the BIDS entity sub-...; else
    the first folder below the source, so that all scans in a person's folder stay together; else the file's stem.
    """
    relative = path.relative_to(folder)
    if pattern:
        match = regex(pattern, "--subject").search(relative.as_posix())
        if name := match and (match[1] if match.re.groups else match[0]):
            return name
        return InputError(
            f"{path} does not match --subject {shown(pattern)}: expected every file to; choose another pattern"
        )
    if match := re.search(r"\bsub-([A-Za-z0-9]+)", relative.as_posix()):
        return f"sub-{match[1]}"
    return relative.parts[0] if len(relative.parts) > 1 else path.name.split(".")[0]


def each_once(scans: Iterable[Scan | InputError]) -> Iterator[Scan | InputError]:
    """The scans, their subjects' names in one form of Unicode.

    Where a subject has the same label twice, or is in two splits, the second one comes as an InputError.
    """
    seen: dict[tuple[str, str], Scan] = {}
    splits: dict[str, Scan] = {}
    for scan in scans:
        if isinstance(scan, Scan):
            scan = replace(scan, subject=normal(scan.subject))
            twin = seen.setdefault((scan.subject, scan.label or str(scan.files[0]).removesuffix(".gz")), scan)
            other = splits.setdefault(scan.subject, scan)
            if twin is not scan or other.split != scan.split:
                first = twin if twin is not scan else other
                why = "again" if twin is not scan else f"in {scan.split} and in {first.split}"
                yield InputError(
                    f"{scan.files[0]} is subject {shown(scan.subject)} {why}, after {first.files[0]}: expected each once; "
                    "remove one of them"
                )
                continue
        yield scan


def optional_import(name: str) -> ModuleType:
    """A package of the extra ``data``; an InputError that says how to install it where it is absent."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise InputError(f"this source needs {name}, which is not installed: expected it; pip install {name}") from None
