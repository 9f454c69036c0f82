"""What a file or folder with a scan is, before it is read, and what its output is.

>>> from pathlib import Path
>>> from kdrecon.app.scans.scan import kind_of
>>> kind_of(Path("T1w.nii.gz"))
Traceback (most recent call last):
    ...
kdrecon.errors.InputError: T1w.nii.gz does not exist: expected a scan; check the path
"""

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdrecon.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


@dataclass(frozen=True)
class Kind:
    """A kind of scan.

    Attributes:
        module: that reads and writes it, below kdrecon.app.scans.
        endings: of its own files, and of output files; none of a folder.
        options: of the command line that it takes.
    """

    module: str
    reads: tuple[str, ...]
    endings: tuple[str, ...]
    options: tuple[str, ...] = ()


KINDS = (
    Kind("nifti", (".nii", ".nii.gz", ".hdr"), (".nii", ".nii.gz"), ("plane",)),
    Kind("hdf5", (".h5", ".mrd"), (".h5",)),
    Kind("dicom", (), (), ("match",)),
)


@dataclass(frozen=True)
class Scan:
    """A scan that was read.

    Attributes:
        values: images (S, H, W), float32, fully sampled magnitudes; or measured k-space (S, H, W), complex64, orthonormal,
            DC at [0, 0].
        mask: (H, W), bool, of measured k-space; None of images.
        write: takes reconstructed images (S, H, W), float32, in the same scale, the file or folder to write, and texts that
            say what they are: "title", "description".
        notes: what reading has changed.
    """

    values: "np.ndarray"
    mask: "Tensor | None"
    write: "Callable[[np.ndarray, Path, dict[str, str]], None]"
    notes: list[str] = field(default_factory=list)


def kind_of(scan: Path) -> Kind:
    """The kind of a scan by its name; a folder is one of DICOM files.

    Raises:
        InputError: it is none that is read.
    """
    if not scan.exists():
        raise InputError(f"{scan} does not exist: expected a scan; check the path")
    for kind in KINDS:
        if scan.name.lower().endswith(kind.reads or "/") and scan.is_file():
            return kind
    if scan.is_dir():
        return KINDS[-1]
    raise InputError(
        f"{scan} is none of the scans that are read: expected a NIfTI file (.nii, .nii.gz), a folder with one DICOM series, "
        "a volume file, or measured k-space (.h5 with kspace and mask, ISMRMRD); choose one of them"
    )


def check_out(scan: Path, out: Path) -> None:
    """Raise InputError for an output that is not of the scan's kind, is the scan itself, or a folder that is not empty."""
    kind = kind_of(scan)
    if kind.endings and not out.name.lower().endswith(kind.endings):
        raise InputError(f"--out {out}: expected a file that ends in {' or '.join(kind.endings)}, like the scan")
    if not kind.endings and out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise InputError(f"--out {out} exists: expected a new folder, which receives the series; choose another one")
    if out.exists() and out.resolve() == scan.resolve():
        raise InputError(f"--out {out} is the scan itself: expected another file, so that it stays")


def read_scan(scan: Path, options: dict[str, str]) -> Scan:
    """Read a scan.

    Args:
        scan: file or folder.
        options: "plane" of NIfTI, "match" of DICOM; "" where it is not given.

    Raises:
        InputError: it cannot be read, or an option is given that this kind does not take.
    """
    kind = kind_of(scan)
    for name, value in options.items():
        if value and name not in kind.options:
            raise InputError(f"--{name} {value}: expected none for this scan; leave it out")
    module: Any = importlib.import_module(f"kdrecon.app.scans.{kind.module}")
    return module.read(scan, **{name: options[name] for name in kind.options})


@contextmanager
def without_preparation() -> Iterator[None]:
    """What a reader says without the advice for whole data sets."""
    from data_prep.source import GO_ON

    try:
        yield
    except InputError as error:
        raise InputError(str(error).replace(GO_ON, "")) from None
