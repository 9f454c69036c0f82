"""Sunnybrook Cardiac Data: short-axis cine of 45 patients (CC0 1.0), in the PNG layout of SegNetCMR."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import matplotlib.image
import numpy as np

from data_prep.source import Scan, Volume, find
from kdrecon.errors import InputError


@dataclass(frozen=True)
class Sunnybrook:
    """Sunnybrook short-axis cardiac cine, central 150 x 150, split by patient.

    The voxel size is not in the PNG files and is left out. 8 bits put a floor under any error near 59 dB.
    """

    folder: Path
    dataset: ClassVar[str] = "sunnybrook"
    size: ClassVar[tuple] = (150, 150)
    small: ClassVar[str] = "skip"
    split: ClassVar[str] = "20,4,6"
    published: ClassVar[dict] = {}
    layout: ClassVar[str] = "Train/Images/**/SC-*.png"

    def scans(self) -> Iterator[Scan | InputError]:
        frames: dict[str, list[Path]] = {}
        for path in find(self.folder, lambda path: path.suffix == ".png" and "Images" in path.parts):
            if isinstance(path, InputError):
                yield path
            elif match := re.match(r"SC-[A-Z]+(-[A-Z]+)?-\d+", path.name):
                frames.setdefault(match[0], []).append(path)
            else:
                yield InputError(f"{path}: expected a name that begins with the patient, such as SC-HF-I-01; rename it")
        for subject, paths in frames.items():
            yield Scan(subject, tuple(paths), "frames")

    def read(self, scan: Scan) -> Volume:
        return Volume(np.stack([self._frame(path) for path in scan.files]))

    def _frame(self, path: Path) -> np.ndarray:
        try:
            image = matplotlib.image.imread(path)
        except (OSError, SyntaxError, ValueError) as error:
            raise InputError(f"{path} cannot be read ({error}): expected a PNG image; copy it again") from error
        return image if image.ndim == 2 else image[..., 0]
