"""The files of a data set and how a split of it is read.

>>> from kdrecon.data.splits import Split, load_split
>>> slices = load_split(Split("sample", "test", "4x", resolution=60))
>>> slices.x.shape, slices.subject[0]
(torch.Size([20, 1, 60, 60]), 'Colin27')
"""

import hashlib
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kdrecon.choices import MASK_TYPES
from kdrecon.data.slices import CPU, Label, MemorySlices, Slices, StreamedFile, StreamedSlices, memory_limit
from kdrecon.data.volumes import VolumeFile, format_version, open_volume
from kdrecon.errors import InputError, bare, shortened, shown
from kdrecon.physics.fourier import crop_kspace
from kdrecon.physics.sampling import mask_for
from kdrecon.storage import hdf5
from kdrecon.storage.files import visible
from kdrecon.storage.places import EMBEDDED, SAMPLES, datasets
from kdrecon.storage.records import normal, read_table
from kdrecon.tasks import Reconstruction

MANIFEST = {"split": str, "subject": str, "split_by": str}  # columns that a manifest must have
BYTES_PER_PIXEL = 16  # x and x_u as float32, y as complex64


@dataclass(frozen=True)
class Split:
    """Which images are read, and how they are measured.

    Attributes:
        dataset: name of the data set.
        name: "train", "validation" or "test".
        acceleration: "4x", "5x", "8x", or another one for which the files hold mask_{acceleration} or a mask type needs none.
        resolution: side N of the image matrix N x N, whatever the stored one is; 0 keeps the stored H x W.
        data_root: folder of the data sets; "" for the defaults of :func:`dataset_folder`.
        mask_type: "line" or "gaussian", of the data set unless its files hold a mask; "lowpass" whatever they hold.
    """

    dataset: str
    name: str
    acceleration: str
    resolution: int = 0
    data_root: str = ""
    mask_type: str = "line"

    @property
    def folder(self) -> Path:
        """That of the data set, see :func:`dataset_folder`."""
        return dataset_folder(self.dataset, self.data_root)

    @property
    def files(self) -> list[Path]:
        """The volume files in numerical order; none where the data set lacks this split.

        Looked for in {name}/acc_{acceleration}/, in {name}/ (files with volfs alone serve every acceleration) and in the
        released {mask_type}/{name}/acc_{acceleration}/, where the mask type of lines is called cartesian.
        """
        folder, accelerated = self.folder, Path(self.name, f"acc_{self.acceleration}")
        released = "cartesian" if self.mask_type == "line" else self.mask_type
        places = (accelerated, self.name, released / accelerated)
        return next(filter(None, (visible(folder / place) for place in places)), [])


def dataset_folder(dataset: str, data_root: str = "") -> Path:
    """The folder of a data set: {data_root}/{dataset}; without data_root an embedded one, or datasets/{dataset}.

    Raises:
        InputError: there is no such folder.
    """
    if not data_root:
        root = SAMPLES if dataset in EMBEDDED else datasets()
    elif not os.path.isdir(root := Path(data_root)):
        raise InputError(
            f"data_root {shown(data_root)} is not a folder: expected the folder that holds {dataset}/; check it"
        )
    if not (root / dataset).is_dir():
        found = shortened(", ".join(p.name for p in visible(root, "*/")), 300) or "nothing"
        raise InputError(
            f"data set {dataset!r} is not in {root} (found: {found}): expected a prepared data set; "
            "make one with python -m data_prep, or set data_root"
        )
    return root / dataset


class Contents(NamedTuple):
    """What reading a volume file once has found.

    Attributes:
        stored: size (H, W) of its images; crop: side to which their k-space is cropped, 0 where it is not.
        flat: number and value of each slice that is the same everywhere.
        mask: its own one of the acceleration (H, W), bool, where it holds one.
        version: of its format.
    """

    path: Path
    labels: list[Label]
    source: StreamedFile
    stored: tuple[int, int]
    crop: int
    flat: list[tuple[int, float]]
    mask: np.ndarray | None
    version: int

    @property
    def size(self) -> tuple[int, int]:
        """That of the images (H, W) after the crop."""
        return (self.crop, self.crop) if self.crop else self.stored


def load_split(split: Split, *, limit: int | None = None, scored: bool = False) -> Slices:
    """Read, check, crop and undersample all volumes of a split.

    The images are brought to the resolution by cropping k-space and scaled by their volume's maximum; x_u and y follow
    from them and the mask, so stored undersampled images are not needed. What is larger than the limit stays in its
    files, which are read once here to check them, and is streamed.

    Args:
        split: which.
        limit: bytes that may be held in memory; by default a quarter of the machine's.
        scored: the slices are to be scored, so each has to show something.

    Raises:
        InputError: no such data set or split, an unusable file, files of different sizes or masks, a resolution above
            the stored one, an acceleration without a mask, a subject in two splits, or a constant slice that is to be
            scored.
    """
    left = memory_limit(CPU) if limit is None else limit
    volumes: list[Contents] = []
    images: list[Tensor] = []
    digest = hashlib.sha256()
    for path in _checked_files(split):
        found, kept = _read_file(path, split, volumes, left, digest.update)
        if scored:
            _check_shows(found, split)
        volumes.append(found)
        left -= _bytes(len(found.labels), found.size)
        images = [*images, *kept] if left >= 0 else []
    labels = [label for found in volumes for label in found.labels]
    size, mask = volumes[0].size, _mask(volumes, split)
    digest.update(bytes(str((len(labels), 1, *size)), "ascii") + mask.numpy().tobytes())
    task, fingerprint = Reconstruction(mask), digest.hexdigest()[:16]
    if left >= 0:
        return MemorySlices.of(torch.cat(images)[:, None], task, labels, fingerprint)
    sources, crop = {found.path: found.source for found in volumes}, volumes[0].crop
    return StreamedSlices(task=task, labels=labels, fingerprint=fingerprint, sources=sources, resolution=crop)


def _checked_files(split: Split) -> list[Path]:
    folder = split.folder
    if split.mask_type not in MASK_TYPES:
        raise InputError(f"mask type {split.mask_type!r} is unknown: expected one of {', '.join(MASK_TYPES)}")
    check_manifest(folder)
    if not (files := split.files):
        prepared = sorted({p.name for p in folder.glob("**/acc_*") if visible(p)})
        raise InputError(
            f"{folder} has no .h5 file for split {split.name!r} at {split.acceleration!r} (found: "
            f"{', '.join(prepared) or 'none'}): expected {split.name}/acc_{split.acceleration}/*.h5; prepare it with "
            "python -m data_prep"
        )
    return files


def _read_file(
    path: Path, split: Split, before: Sequence[Contents], limit: int, digest: Callable[[bytes], object]
) -> tuple[Contents, list[Tensor]]:
    """What a file holds, and its images (S, H, W) in pieces where they fit the limit."""
    stamp = hdf5.stamp(path)
    with open_volume(path) as volume:
        count, *stored = volume.shape
        crop = _crop(volume, split, before)
        size = [crop, crop] if crop else stored
        kept, scale, flat = _read(volume, crop, _bytes(count, size) <= limit, digest)
    subject = normal(hdf5.text(volume.attributes.get("subject"), path.stem))
    labels = [Label(path, normal(path.stem), number, subject) for number in range(count)]
    mask, version = volume.attributes.get(f"mask_{split.acceleration}"), format_version(volume.attributes)
    source = StreamedFile(stamp, volume.maximum, scale)
    return Contents(path, labels, source, volume.shape[1:], crop, flat, mask, version), kept


def _crop(volume: VolumeFile, split: Split, before: Sequence[Contents]) -> int:
    """The side to crop k-space to, 0 where nothing is cropped, if the volume is as large as those before."""
    _, height, width = volume.shape
    if before and (height, width) != before[0].stored:
        raise InputError(
            f"{volume.path} has slices of {(height, width)}, {before[0].path.name} of {before[0].stored}: expected one "
            "size in a split; prepare them with the same crop"
        )
    side = split.resolution
    if not side or (height, width) == (side, side):
        return 0
    if side > min(height, width):
        raise InputError(
            f"resolution {side} is above the stored {height} x {width} of {split.folder}: expected at most "
            f"{min(height, width)}; choose a smaller one, or 0 for the stored size"
        )
    return side


def _bytes(count: int, size: Sequence[int]) -> int:
    """That so many slices of a size (H, W) take up in memory."""
    return count * BYTES_PER_PIXEL * math.prod(size)


def _read(
    volume: VolumeFile, resolution: int, keep: bool, digest: Callable[[bytes], object]
) -> tuple[list[Tensor], Tensor, list[tuple[int, float]]]:
    """A volume, piece by piece, each of which goes into the digest.

    Returns:
        its images, cropped and scaled anew, if they are to be kept; their maximum after the crop; number and value of
        each slice that is the same everywhere.
    """
    kept: list[Tensor] = []
    flat: list[tuple[int, float]] = []
    scale, number = torch.tensor(0.0 if resolution else 1.0), 0
    for piece in volume.pieces:
        digest(piece.tobytes())
        for image in piece:
            flat += [(number, float(image[0, 0]))] if image.max() == image.min() else []
            number += 1
        x = torch.from_numpy(piece)
        if resolution:
            x = crop_kspace(x, resolution)
            scale = torch.maximum(scale, x.max())
        kept += [x] if keep else []
    return [x / scale if resolution else x for x in kept], scale, flat


def _check_shows(found: Contents, split: Split) -> None:
    for number, value in found.flat[:1]:
        raise InputError(
            f"{found.path} slice {number} is {value:.3g} everywhere ({len(found.flat)} such slices): expected an image in "
            f"each slice of {split.name}, to be scored; remove them, or prepare the data set anew, which drops them"
        )


def _mask(volumes: Sequence[Contents], split: Split) -> Tensor:
    """The mask (H, W) that the files hold, or else that of the data set; a low-pass one is the same for all."""
    first, name = volumes[0], f"mask_{split.acceleration}"
    if split.mask_type == "lowpass" or all(found.mask is None for found in volumes):
        version = min(found.version for found in volumes)
        return mask_for(split.dataset, split.acceleration, first.size, split.mask_type, version)
    for found in volumes:
        if found.mask is None or first.mask is None or not np.array_equal(found.mask, first.mask):
            raise InputError(
                f"{found.path}: {name} differs from that of {first.path.name}: expected one mask for a data set; "
                "prepare the volumes together"
            )
    mask = torch.from_numpy(first.mask)
    if mask.shape != first.size:
        raise InputError(
            f"{name} of {first.path.parent} is of size {tuple(mask.shape)}, the images of {first.size}: expected equal "
            "sizes; set resolution to 0, or remove the stored mask"
        )
    return mask


def check_manifest(folder: Path) -> None:
    """Check in {folder}/manifest.csv that no subject is in two splits; a folder without one is not checked.

    Train and validation volumes whose split_by says "slab" may share a subject: they are separate slabs of one scan.
    A test subject is never shared.

    Raises:
        InputError: a subject is in two splits, or the manifest is no table with these columns.
    """
    path = folder / "manifest.csv"
    if not path.exists():
        return
    seen: dict[str, dict] = {}
    for row in read_table(path, MANIFEST).to_dict("records"):
        other = seen.setdefault(row["subject"], row)
        slabs = {row["split_by"], other["split_by"]} == {"slab"} and "test" not in (row["split"], other["split"])
        if other["split"] != row["split"] and not slabs:
            raise InputError(
                f"{path}: subject {shown(row['subject'])} is in {bare(other['split'])} and in {bare(row['split'])}: expected "
                "each subject in one split; move its volumes together"
            )
