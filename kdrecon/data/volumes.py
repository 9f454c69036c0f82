"""The volume files (HDF5).

>>> from kdrecon.data.volumes import open_volume
>>> from kdrecon.storage.places import SAMPLES
>>> with open_volume(SAMPLES / "sample" / "train" / "1.h5") as volume:
...     next(iter(volume.pieces)).shape[1:]
(240, 240)
"""

import contextlib
import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import h5py
import numpy as np

from kdrecon.data.images import Values, image_faults
from kdrecon.errors import InputError
from kdrecon.storage import hdf5

FORMAT_VERSION = 2
PIECE = 2**26  # bytes of a volume, as float32, that are read at once


class VolumeFile:
    """A volume file that is open: checked, and read in pieces of bounded size.

    Attributes:
        shape: (S, H, W).
        maximum: of the stored images.
        attributes: those of the file, with ``maximum`` and, as a bool array (H, W), an optional ``mask_{acceleration}``.
    """

    def __init__(self, path: Path, file: hdf5.File):
        if "volfs" not in file:
            raise InputError(
                f"{path} has no dataset 'volfs' (found: {file.found}): expected fully sampled images (H, W, S) under that "
                "name; prepare the file with python -m data_prep"
            )
        self.path, self._stored = path, file["volfs"]
        for fault in image_faults(self._stored, lambda: self._values, "images (H, W, S)"):
            raise InputError(f"{path}: volfs {fault.found}, expected {fault.expected}; {fault.remedy}")
        height, width, count = self._stored.shape
        self.shape = count, height, width
        self.maximum = np.float32(self._values.highest)
        masks = {name: file[name] for name in file.names if name.startswith("mask_")}
        self._check_sizes(file, masks)
        attributes = {name: value for name, value in file.attributes.items() if not name.startswith("mask_")}
        self.attributes = attributes | {name: mask[()].astype(bool) for name, mask in masks.items()}
        self.attributes["maximum"] = self.maximum

    def _check_sizes(self, file: hdf5.File, masks: dict[str, hdf5.Array]) -> None:
        shape = self._stored.shape
        shapes = {name: (*mask.shape, shape[2]) for name, mask in masks.items()}
        shapes |= {name: file[name].shape for name in file.names if name.startswith("img_volus_")}
        shapes |= {name: file.kspace(name).shape for name in file.names if name.startswith("kspace_volus_")}
        for name, found in shapes.items():
            if found != shape:
                raise InputError(
                    f"{self.path}: {name} is of size {found[:2]}, volfs of {shape[:2]}: expected equal sizes; "
                    "prepare it anew"
                )

    @property
    def pieces(self) -> Iterator[np.ndarray]:
        """The images in order, (some of S, H, W), float32, scaled by the volume's maximum to [0, 1]."""
        return (piece / self.maximum for piece in self._pieces())

    @cached_property
    def _values(self) -> Values:
        return Values.of(self._pieces())

    @cached_property
    def _first(self) -> np.ndarray:
        return self._read(0)

    def _pieces(self) -> Iterator[np.ndarray]:
        """The stored images as float32; those of a small volume are read once and kept."""
        if self._step >= self._stored.shape[2]:
            yield self._first
        else:
            yield from map(self._read, range(0, self._stored.shape[2], self._step))

    @property
    def _step(self) -> int:
        return max(1, PIECE // (4 * self._stored.shape[0] * self._stored.shape[1]))

    def _read(self, start: int) -> np.ndarray:
        with np.errstate(over="ignore"):  # becomes infinite, and is refused
            return np.moveaxis(self._stored[..., start : start + self._step], 2, 0).astype(np.float32)


@contextlib.contextmanager
def open_volume(path: Path) -> Iterator[VolumeFile]:
    """A volume file, open for reading in pieces; see :func:`read_volume`.

    Raises:
        InputError: as there.
    """
    with hdf5.opened(path) as file:
        yield VolumeFile(path, file)


def read_volume(path: Path) -> tuple[np.ndarray, dict]:
    """Images and attributes of a volume file.

    Args:
        path: HDF5 file with ``volfs`` (H, W, S), real and not negative.

    Returns:
        images (S, H, W), float32, scaled by the volume's maximum to [0, 1], and the file's attributes; among them are
        that ``maximum`` and, as a bool array, an optional ``mask_{acceleration}`` (H, W).

    Raises:
        InputError: the file is missing, not HDF5 or damaged, has no ``volfs``, or holds other values than the above.
    """
    with open_volume(path) as volume:
        return np.concatenate(list(volume.pieces)), volume.attributes


def format_version(attributes: dict) -> int:
    """1 for a file that does not say 2; its generated line masks are of `physics.sampling.normal_line_mask`."""
    return FORMAT_VERSION if hdf5.text(attributes.get("format_version")) == str(FORMAT_VERSION) else 1


def write_volume(path: Path, images: np.ndarray, attributes: dict, level: int = 4, **datasets: np.ndarray) -> None:
    """Write a volume file under a temporary name, then rename it; equal input gives equal bytes.

    Args:
        path: the file to write; its folder is made.
        images: (S, H, W), real.
        attributes: dataset, subject, split, sources, voxel size, mask name, ...; the format version is added if not given.
        level: of gzip, 0 to 9. Level 9 saves 1 % over level 4 and takes eight times as long (benchmarks/preparation.py).
        **datasets: further arrays in the file's order of axes, such as img_volus_4x (H, W, S) or mask_3x (H, W).
    """
    with h5py.File(path.name, "w", driver="core", backing_store=False, libver=("v108", "v108")) as file:
        for name, array in {"volfs": np.moveaxis(images, 0, 2), **datasets}.items():
            noise = name == "raw"  # measured k-space, which does not get smaller
            packed = {} if noise else {"compression": "gzip", "compression_opts": level, "shuffle": True}
            file.create_dataset(name, data=array, **packed)
        for name, value in sorted({"format_version": FORMAT_VERSION, **attributes}.items()):
            file.attrs[name] = value
        file.flush()
        content = file.id.get_file_image()  # written in one go: HDF5 itself crashes where the disk is full
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".partial")
    try:
        temporary.unlink(missing_ok=True)
        with open(temporary, "xb") as file:  # never through a link
            file.write(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
