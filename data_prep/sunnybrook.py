"""Sunnybrook Cardiac Data: short-axis cine of 45 patients (CC0 1.0), as DICOM or in the PNG layout of SegNetCMR.

>>> from pathlib import Path
>>> from data_prep.sunnybrook import Sunnybrook
>>> Sunnybrook(Path("scans")).split
'20,4,6'
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from data_prep.dicom import Series, find_series, read_series
from data_prep.header import Header
from data_prep.source import Passed, Scan, Source, Volume, find
from kdrecon.errors import InputError, first_line

PATIENT = re.compile(r"SC-[A-Z]+(-[A-Z]+)?-\d+|SCD\d{7}")


@dataclass(frozen=True)
class Sunnybrook(Source):
    """Sunnybrook short-axis cardiac cine, DICOM or PNG, central 150 x 150, split by patient.

    The voxel size is not in the PNG files and is left out; their 8 bits put a floor under any error near 59 dB. Of the
    DICOM files all phases are used; --slices ::5 takes every fifth.
    """

    dataset: ClassVar[str] = "sunnybrook"
    size: ClassVar[tuple[int, ...]] = (150, 150)
    small: ClassVar[str] = "skip"
    split: ClassVar[str] = "20,4,6"
    layout: ClassVar[str] = "Train/Images/**/SC-*.png, or SC-*/ or SCD*/CINESAX*/ with DICOM files"

    def scans(self, passed: Passed | None = None) -> Iterator[Scan | InputError]:
        frames: dict[str, list[Path]] = {}
        for path in find(self.folder, lambda path: path.suffix == ".png" and "Images" in path.parts, passed):
            if isinstance(path, InputError):
                yield path
            elif match := PATIENT.match(path.name):
                frames.setdefault(match[0], []).append(path)
            else:
                yield InputError(f"{path}: expected a name that begins with the patient, such as SC-HF-I-01; rename it")
        for subject, paths in frames.items():
            yield Scan(subject, tuple(paths), "frames")
        if not frames:
            yield from find_series(self.folder, self._patient, self._other_series, passed)

    def _patient(self, path: Path, header: Header) -> str | InputError:
        if match := PATIENT.search(path.relative_to(self.folder).as_posix()):
            return match[0]
        return InputError(
            f"{path}: expected a folder named after the patient, such as SC-HF-I-01 or SCD0000101; rename it"
        )

    def _other_series(self, path: Path, header: Header) -> str:
        """In the layout with a folder a series, all but the short-axis cine."""
        short_axis = not path.parent.parent.name.startswith("SCD0") or path.parent.name.startswith("CINESAX")
        return "" if short_axis else "images of other series than CINESAX"

    def read(self, scan: Scan) -> Volume:
        if isinstance(scan, Series):
            return read_series(scan)
        return Volume(np.stack([self._frame(path) for path in scan.files]))

    def _frame(self, path: Path) -> np.ndarray:
        import matplotlib.image

        try:
            image = matplotlib.image.imread(path)
        except (OSError, SyntaxError, ValueError) as error:
            raise InputError(
                f"{path} cannot be read ({first_line(error)}): expected a PNG image; copy it again"
            ) from error
        return image if image.ndim == 2 else image[..., 0]
