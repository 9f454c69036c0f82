"""The volume files (HDF5) and the slices of a split, in memory or streamed from the files."""

import contextlib
import copy
import hashlib
import math
import os
import re
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import psutil
import torch
from torch import Tensor

from kdrecon import hdf5
from kdrecon.errors import InputError, shown
from kdrecon.fourier import crop_kspace
from kdrecon.places import SAMPLES, project_root
from kdrecon.records import normal, read_table
from kdrecon.sampling import MASK_TYPES, mask_for, undersample

SPLITS = ("train", "validation", "test")
MANIFEST = {"split": str, "subject": str, "split_by": str}  # columns that a manifest must have
FORMAT_VERSION = 2
BYTES_PER_PIXEL = 16  # x and x_u as float32, y as complex64
PIECE = 2**26  # bytes of a volume, as float32, that are read at once


class Batch(NamedTuple):
    """What a training step sees."""

    x: Tensor  # images (B, 1, H, W), float32
    x_u: Tensor  # zero-filled images (B, 1, H, W), float32
    y: Tensor  # k-space (B, 1, H, W), complex64
    mask: Tensor  # (H, W), bool


@dataclass
class Slices:
    """All slices of one split, in memory.

    Attributes:
        x: images (N, 1, H, W), float32, scaled by their volume's maximum to [0, 1].
        x_u, y: zero-filled images (N, 1, H, W) float32 and k-space (N, 1, H, W) complex64, on the mask.
        mask: (H, W), bool.
        volume: file stem of each slice; index: its number within the volume; subject: who was scanned.
        fingerprint: of the stored images, the mask and the resolution; equal on every machine.
        files: path of each slice's volume file.
    """

    x: Tensor
    x_u: Tensor
    y: Tensor
    mask: Tensor
    volume: list[str]
    index: list[int]
    subject: list[str]
    fingerprint: str = ""
    files: list[Path] | None = None

    storage = "memory"

    def __len__(self) -> int:
        return len(self.x)

    @property
    def device(self) -> torch.device:
        return self.mask.device

    def name(self, i: int) -> str:
        """File and number of slice i, for messages."""
        return f"{self.files[i] if self.files else self.volume[i]} slice {self.index[i]}"

    def batch(self, indices: Tensor) -> Batch:
        """The slices at the given indices (B,)."""
        indices = indices.to(self.device)
        return Batch(self.x[indices], self.x_u[indices], self.y[indices], self.mask)

    def batches(self, size: int, order: Tensor | None = None) -> Iterator[Batch]:
        """The slices at the indices ``order`` (by default all) in batches of the given size, the last one shorter."""
        order = torch.arange(len(self)) if order is None else order
        return (self.batch(indices) for indices in order.split(size))

    def spread(self, n: int) -> Tensor:
        """Indices of n slices (all, if there are fewer), evenly spaced."""
        return torch.linspace(0, len(self) - 1, min(n, len(self))).round().long()

    def subset(self, n: int) -> "Slices":
        """n slices (all, if there are fewer), evenly spaced, in memory."""
        keep = self.spread(n)
        names = ("volume", "index", "subject", *(["files"] if self.files else []))
        kept = {name: [getattr(self, name)[i] for i in keep] for name in names}
        return Slices(*self.batch(keep), **kept, fingerprint=f"{self.fingerprint}, {len(keep)} slices")

    def to(self, device: torch.device) -> "Slices":
        """The same slices on another device."""
        return replace(self, **{name: getattr(self, name).to(device) for name in ("x", "x_u", "y", "mask")})


class Source(NamedTuple):
    """A volume file that is streamed, as it was when it was read first."""

    stamp: tuple[int, int]  # see kdrecon.hdf5.stamp
    maximum: np.float32  # of the stored volume
    cropped_maximum: Tensor  # of the volume scaled by it, after the crop


class StreamedSlices(Slices):
    """The slices of a split that is too large for memory: two threads read ahead of the training from the volume files.

    Calls and values are those of :class:`Slices`; ``x`` reads all images, a quarter of what :class:`Slices` would hold.

    Args:
        sources: the files as they were read at the start.
        resolution: side of the image matrix; 0 keeps the stored one.
        mask: (H, W), bool.
        **names: volume, index, subject, files and fingerprint, as in :class:`Slices`.

    Raises:
        InputError: a file is gone, changed or cannot be read any more (when slices of it are asked for).
    """

    storage = "files"
    THREADS, AHEAD = 2, 8

    def __init__(self, sources: dict[Path, Source], resolution: int, mask: Tensor, **names):
        self.sources, self.resolution, self.mask = sources, resolution, mask
        vars(self).update(names)

    def __len__(self) -> int:
        return len(self.volume)

    @property
    def x(self) -> Tensor:
        return torch.stack([self._image(i) for i in range(len(self))]).to(self.device)

    def batch(self, indices: Tensor) -> Batch:
        x = torch.stack([self._image(i) for i in indices.tolist()])
        return Batch(*(part.to(self.device) for part in (x, *undersample(x, self.mask.cpu()))), self.mask)

    def batches(self, size: int, order: Tensor | None = None) -> Iterator[Batch]:
        order = torch.arange(len(self)) if order is None else order
        with ThreadPoolExecutor(self.THREADS) as pool:
            read = deque()
            for indices in order.split(size):
                read.append(pool.submit(self.batch, indices))
                if len(read) > self.AHEAD:
                    yield read.popleft().result()
            while read:
                yield read.popleft().result()

    def to(self, device: torch.device) -> "StreamedSlices":
        moved = copy.copy(self)
        moved.mask = self.mask.to(device)
        return moved

    def _image(self, i: int) -> Tensor:
        path = self.files[i]
        source = self.sources[path]
        if (found := hdf5.stamp(path)) != source.stamp:
            raise InputError(
                f"{path} cannot be read any more (it {'was changed' if found else 'is gone'}): expected the file that was "
                "there at the start; bring it back and run the same command again"
            )
        with hdf5.opened(path) as file:
            image = file["volfs"][..., self.index[i]].astype(np.float32)
        x = torch.from_numpy(image / source.maximum)[None]
        return crop_kspace(x, self.resolution) / source.cropped_maximum if self.resolution else x


def memory_limit(device: torch.device) -> int:
    """Bytes that a split may take up in memory: a quarter of the machine's, and of the GPU's where one is used."""
    total = psutil.virtual_memory().total
    if device.type == "cuda":
        total = min(total, torch.cuda.get_device_properties(device).total_memory)
    return total // 4


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
        shape = self._stored.shape
        if len(shape) != 3 or 0 in shape or self._stored.dtype.kind == "c":
            raise InputError(
                f"{path}: volfs is {self._stored.dtype} {shape}, expected real images (H, W, S); check the axes"
            )
        self.shape = shape[2], *shape[:2]
        masks = {name: file[name] for name in file.names if name.startswith("mask_")}
        shapes = {name: (*mask.shape, shape[2]) for name, mask in masks.items()}
        shapes |= {name: file[name].shape for name in file.names if name.startswith("img_volus_")}
        shapes |= {name: file.kspace(name).shape for name in file.names if name.startswith("kspace_volus_")}
        for name, found in shapes.items():
            if found != shape:
                raise InputError(
                    f"{path}: {name} is of size {found[:2]}, volfs of {shape[:2]}: expected equal sizes; prepare it anew"
                )
        self._step = max(1, PIECE // (4 * shape[0] * shape[1]))
        self._whole = [self._read(0)] if self._step >= shape[2] else None
        self.maximum = self._check()
        attributes = {name: value for name, value in file.attributes.items() if not name.startswith("mask_")}
        self.attributes = attributes | {name: mask[()].astype(bool) for name, mask in masks.items()}
        self.attributes["maximum"] = self.maximum

    @property
    def pieces(self) -> Iterator[np.ndarray]:
        """The images in order, (some of S, H, W), float32, scaled by the volume's maximum to [0, 1]."""
        return (piece / self.maximum for piece in self._pieces())

    def _pieces(self) -> Iterable[np.ndarray]:
        return self._whole or (self._read(start) for start in range(0, self.shape[0], self._step))

    def _read(self, start: int) -> np.ndarray:
        with np.errstate(over="ignore"):  # becomes infinite, and is refused
            return np.moveaxis(self._stored[..., start : start + self._step], 2, 0).astype(np.float32)

    def _check(self) -> np.float32:
        """The maximum of images that are finite and not negative."""
        bad, lowest, highest = 0, np.float32(np.inf), np.float32(-np.inf)
        for piece in self._pieces():
            bad += int((~np.isfinite(piece)).sum())
            lowest, highest = min(lowest, piece.min()), max(highest, piece.max())
        if bad:
            raise InputError(
                f"{self.path}: volfs holds {bad} values that are NaN or infinite, expected none; repair the scan"
            )
        if lowest < 0 or highest == 0:
            raise InputError(
                f"{self.path}: volfs spans {lowest:g} to {highest:g}, expected magnitudes from 0 to a positive maximum"
            )
        return highest


@contextlib.contextmanager
def open_volume(path: Path) -> Iterator[VolumeFile]:
    """A volume file, open for reading in pieces; see :func:`read_volume`."""
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
    """1 for a file that does not say 2: its generated line masks are those of :func:`kdrecon.sampling.normal_line_mask`."""
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


def dataset_folder(dataset: str, data_root: str = "") -> Path:
    """The folder of a data set: {data_root}/{dataset}; without data_root the embedded sample, or datasets/{dataset}.

    Raises:
        InputError: there is no such folder.
    """
    if not data_root:
        root = SAMPLES if dataset == "sample" else project_root() / "datasets"
    elif not os.path.isdir(root := Path(data_root)):
        raise InputError(
            f"data_root {shown(data_root)} is not a folder: expected the folder that holds {dataset}/; check it"
        )
    if not (root / dataset).is_dir():
        found = ", ".join(p.name for p in visible(root, "*/")) or "nothing"
        raise InputError(
            f"data set {dataset!r} is not in {root} (found: {found}): expected a prepared data set; "
            "make one with python -m data_prep, or set data_root"
        )
    return root / dataset


def split_files(folder: Path, split: str, acceleration: str, mask_type: str = "line") -> list[Path]:
    """The volume files of a split, in numerical order.

    Looked for in {split}/acc_{acceleration}/, in {split}/ (files with volfs alone serve every acceleration) and in the
    released {mask_type}/{split}/acc_{acceleration}/, where the mask type of lines is called cartesian.
    """
    released = "cartesian" if mask_type == "line" else mask_type
    places = (
        folder / split / f"acc_{acceleration}",
        folder / split,
        folder / released / split / f"acc_{acceleration}",
    )
    for place in places:
        if files := visible(place):
            return files
    return []


def has_split(dataset: str, split: str, acceleration: str, data_root: str = "", mask_type: str = "line") -> bool:
    """Whether the data set has volume files for this split."""
    return bool(split_files(dataset_folder(dataset, data_root), split, acceleration, mask_type))


def load_split(
    dataset: str,
    split: str,
    acceleration: str,
    resolution: int = 0,
    data_root: str = "",
    mask_type: str = "line",
    limit: int | None = None,
    scored: bool = False,
) -> Slices:
    """Read, check, crop and undersample all volumes of a split.

    The images are brought to the resolution by cropping k-space and scaled by their volume's maximum; x_u and y follow
    from them and the mask, so stored undersampled images are not needed. What is larger than the limit stays in its
    files, which are read once here to check them, and is streamed.

    Args:
        dataset: name of the data set.
        split: "train", "validation" or "test".
        acceleration: "4x", "5x", "8x", or another one for which the files hold mask_{acceleration}.
        resolution: side N of the image matrix N x N, whatever the stored one is; 0 keeps the stored H x W.
        data_root: folder of the data sets; "" for the defaults of :func:`dataset_folder`.
        mask_type: "line" or "gaussian".
        limit: bytes that may be held in memory; by default a quarter of the machine's.
        scored: the slices are to be scored, so each has to show something.

    Raises:
        InputError: no such data set or split, an unusable file, files of different sizes or masks, a resolution above
            the stored one, an acceleration without a mask, a subject in two splits, or a constant slice that is to be
            scored.
    """
    folder = dataset_folder(dataset, data_root)
    if mask_type not in MASK_TYPES:
        raise InputError(f"mask type {mask_type!r} is unknown: expected one of {', '.join(MASK_TYPES)}")
    check_manifest(folder)
    files = split_files(folder, split, acceleration, mask_type)
    if not files:
        prepared = sorted({p.name for p in folder.glob("**/acc_*") if visible(p)})
        raise InputError(
            f"{folder} has no .h5 file for split {split!r} at {acceleration!r} (found: {', '.join(prepared) or 'none'}): "
            f"expected {split}/acc_{acceleration}/*.h5; prepare it with python -m data_prep"
        )
    limit = memory_limit(torch.device("cpu")) if limit is None else limit
    images, masks, sources, size, stored, version = [], [], {}, 0, None, FORMAT_VERSION
    names = {name: [] for name in ("volume", "index", "subject", "files")}
    digest = hashlib.sha256()
    for path in files:
        stamp = hdf5.stamp(path)
        with open_volume(path) as volume:
            count, *found = volume.shape
            if stored and found != stored:
                raise InputError(
                    f"{path} has slices of {tuple(found)}, {files[0].name} of {tuple(stored)}: expected one size "
                    "in a split; prepare them with the same crop"
                )
            stored = found
            if (cropped := bool(resolution) and stored != [resolution] * 2) and resolution > min(stored):
                raise InputError(
                    f"resolution {resolution} is above the stored {stored[0]} x {stored[1]} of {folder}: expected at most "
                    f"{min(stored)}; choose a smaller one, or 0 for the stored size"
                )
            shape = (resolution, resolution) if cropped else tuple(stored)
            size += count * BYTES_PER_PIXEL * math.prod(shape)
            kept, scale, flat = _read(volume, resolution if cropped else 0, size <= limit, digest)
        if scored and flat:
            number, value = flat[0]
            raise InputError(
                f"{path} slice {number} is {value:.3g} everywhere ({len(flat)} such slices): expected an image in each "
                f"slice of {split}, to be scored; remove them, or prepare the data set anew, which drops them"
            )
        sources[path] = Source(stamp, volume.maximum, scale)
        images = [*images, *kept] if size <= limit else []
        masks.append(volume.attributes.get(f"mask_{acceleration}"))
        version = min(version, format_version(volume.attributes))
        subject = normal(hdf5.text(volume.attributes.get("subject"), path.stem))
        for name, values in {"volume": normal(path.stem), "subject": subject, "files": path}.items():
            names[name] += [values] * count
        names["index"] += range(count)
    if any(mask is not None for mask in masks):
        mask = _stored_mask(masks, files, acceleration, shape)
    else:
        mask = mask_for(dataset, acceleration, shape, mask_type, version)
    digest.update(bytes(str((len(names["index"]), 1, *shape)), "ascii") + mask.numpy().tobytes())
    names["fingerprint"] = digest.hexdigest()[:16]
    if not images:
        return StreamedSlices(sources, resolution if cropped else 0, mask, **names)
    x = torch.cat(images)[:, None]
    return Slices(x, *undersample(x, mask), mask, **names)


def _read(
    volume: VolumeFile, resolution: int, keep: bool, digest
) -> tuple[list[Tensor], Tensor, list[tuple[int, float]]]:
    """Read a volume piece by piece: its images, cropped and scaled anew, if they are to be kept; their maximum after the
    crop; number and value of each slice that is the same everywhere. The stored images go into the digest.
    """
    kept, scale, flat, number = [], torch.tensor(0.0 if resolution else 1.0), [], 0
    for piece in volume.pieces:
        digest.update(piece.tobytes())
        for image in piece:
            flat += [(number, float(image[0, 0]))] if image.max() == image.min() else []
            number += 1
        x = torch.from_numpy(piece)
        if resolution:
            x = crop_kspace(x, resolution)
            scale = torch.maximum(scale, x.max())
        kept += [x] if keep else []
    return [x / scale if resolution else x for x in kept], scale, flat


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
                f"{path}: subject {row['subject']!r} is in {other['split']} and in {row['split']}: expected each subject in "
                "one split; move its volumes together"
            )


def _stored_mask(masks: list, files: list[Path], acceleration: str, shape: tuple[int, int]) -> Tensor:
    for path, mask in zip(files, masks):
        if mask is None or not np.array_equal(mask, masks[0]):
            raise InputError(
                f"{path}: mask_{acceleration} differs from that of {files[0].name}: expected one mask for a data set; "
                "prepare the volumes together"
            )
    if masks[0].shape != shape:
        raise InputError(
            f"mask_{acceleration} of {files[0].parent} is of size {masks[0].shape}, the images of {shape}: expected equal "
            "sizes; set resolution to 0, or remove the stored mask"
        )
    return torch.from_numpy(masks[0])


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
