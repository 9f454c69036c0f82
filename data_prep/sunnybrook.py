"""Sunnybrook Cardiac Data in the PNG layout of SegNetCMR: short-axis cine frames of 30 patients (CC0 1.0)."""

import re
from pathlib import Path

import matplotlib.image
import numpy as np

from kdrecon.errors import InputError


class Sunnybrook:
    """Reader of {source}/Train/Images/**.png, 8-bit 256 x 256 frames whose names begin with the patient.

    The voxel size is not in the PNG files and is left out. 8 bits put a floor under any error near 59 dB.
    """

    name = "sunnybrook"
    size = 150
    attributes = {"voxel_size_mm": "unknown: PNG files carry none"}

    def __init__(self, source: Path):
        if not source.is_dir():
            raise InputError(
                f"{source} is not a folder: expected the one that holds Train/Images/**.png; check the path"
            )
        self.files: dict[str, list[Path]] = {}
        for path in sorted((source / "Train" / "Images").rglob("*.png")):
            match = re.match(r"SC-[A-Z]+(-[A-Z]+)?-\d+", path.name)
            if not match:
                raise InputError(f"{path}: expected a name that begins with the patient, such as SC-HF-I-01; rename it")
            self.files.setdefault(match[0], []).append(path)
        if not self.files:
            raise InputError(f"{source} holds no Train/Images/**.png: expected the Sunnybrook frames; check the path")

    def subjects(self) -> list[str]:
        return sorted(self.files)

    def read(self, subject: str) -> tuple[np.ndarray, list[str]]:
        frames = [self._frame(path) for path in self.files[subject]]
        return np.stack(frames), [path.name for path in self.files[subject]]

    def _frame(self, path: Path) -> np.ndarray:
        try:
            image = matplotlib.image.imread(path)
        except (OSError, SyntaxError, ValueError) as error:
            raise InputError(f"{path} cannot be read ({error}): expected a PNG image; copy it again") from error
        grey = image if image.ndim == 2 else image[..., 0]
        if min(grey.shape) < self.size or not grey.any():
            raise InputError(
                f"{path} is {grey.shape} with maximum {grey.max():g}: expected a frame of at least {self.size} x {self.size} "
                "that is not black; remove it"
            )
        return grey
