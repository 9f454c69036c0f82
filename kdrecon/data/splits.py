"""The files of a data set and how a split of it is read.

>>> from kdrecon.data.splits import load_split
>>> slices = load_split("sample", "test", "4x", resolution=60)
>>> slices.x.shape, slices.subject[0]
(torch.Size([20, 1, 60, 60]), 'Colin27')
"""

import hashlib
import math
import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from kdrecon.choices import MASK_TYPES
from kdrecon.data.slices import Slices, Source, StreamedSlices, memory_limit
from kdrecon.data.volumes import FORMAT_VERSION, VolumeFile, format_version, open_volume
from kdrecon.errors import InputError, bare, shortened, shown
from kdrecon.physics.fourier import crop_kspace
from kdrecon.physics.sampling import mask_for, undersample
from kdrecon.storage import hdf5
from kdrecon.storage.files import visible
from kdrecon.storage.places import SAMPLES, datasets
from kdrecon.storage.records import normal, read_table

MANIFEST = {"split": str, "subject": str, "split_by": str}  # columns that a manifest must have
BYTES_PER_PIXEL = 16  # x and x_u as float32, y as complex64


def dataset_folder(dataset: str, data_root: str = "") -> Path:
    """The folder of a data set: {data_root}/{dataset}; without data_root the embedded sample, or datasets/{dataset}.

    Raises:
        InputError: there is no such folder.
    """
    if not data_root:
        root = SAMPLES if dataset == "sample" else datasets()
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
                f"{path}: subject {shown(row['subject'])} is in {bare(other['split'])} and in {bare(row['split'])}: expected "
                "each subject in one split; move its volumes together"
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
