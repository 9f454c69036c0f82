"""The steps that every source goes through: read, crop, split by subject, undersample, write, show."""

import csv
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from matplotlib.figure import Figure
from tqdm.auto import tqdm

from kdrecon.data import SPLITS, write_volume
from kdrecon.errors import InputError
from kdrecon.sampling import FAMILY, mask_for, undersample


class Source(Protocol):
    """A data set as its users have it. A new one is a class with these attributes and two methods.

    Attributes:
        name: data set name, which also decides the family of masks.
        size: side of the central crop; 0 keeps the size.
        attributes: what is known of all volumes alike, such as the voxel size.
    """

    name: str
    size: int
    attributes: dict

    def subjects(self) -> Sequence[str]:
        """All subjects, in a fixed order."""

    def read(self, subject: str) -> tuple[np.ndarray, list[str]]:
        """Images (S, H, W) of one subject and the names of the files they came from."""


def prepare(source: Source, out: Path, accelerations: Iterable[str], split: str, seed: int) -> Path:
    """Write a data set in the layout kdrecon reads, one volume file a subject and acceleration.

    {out}/{name}/{split}/acc_{4x}/{n}.h5 with volfs (H, W, S) float32 scaled to [0, 1], img_volus_{4x} and
    kspace_volus_{4x}; {out}/{name}/manifest.csv and contact_sheet.png. The folder gets its name when it is complete
    and then replaces an older one; equal input and seed give equal bytes.

    Args:
        source: where the scans come from.
        out: folder of the prepared data sets.
        accelerations: such as ["4x", "5x"].
        split: numbers of subjects "train,validation,test"; they must add up to all subjects.
        seed: of the random assignment of subjects.

    Returns:
        the folder {out}/{name}.

    Raises:
        InputError: an unusable source file, numbers that do not add up, or an acceleration without a mask.
    """
    assignment = split_subjects(source.subjects(), split, seed)
    for acceleration in accelerations:
        mask_for(source.name, acceleration, (source.size, source.size))
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=f".{source.name}-") as scratch:
        rows = _write(source, Path(scratch) / source.name, accelerations, assignment)
        if (out / source.name).exists():
            shutil.rmtree(out / source.name)
        (Path(scratch) / source.name).rename(out / source.name)
    counts = ", ".join(
        f"{sum(r[3] for r in rows if r[0] == p)} slices of {_count(rows, p)} subjects {p}" for p in SPLITS
    )
    print(f"{out / source.name}: {counts}")
    return out / source.name


def split_subjects(subjects: Sequence[str], split: str, seed: int) -> dict[str, tuple[str, int]]:
    """Assign each subject to a split and a number in it (from 1), at random under the seed."""
    try:
        sizes = [int(part) for part in split.split(",")]
    except ValueError:
        sizes = []
    if len(sizes) != 3 or min(sizes) < 0 or sizes[0] < 1 or sizes[1] < 1 or sum(sizes) != len(subjects):
        raise InputError(
            f"split {split!r}: expected three numbers train,validation,test that add up to the {len(subjects)} subjects "
            "found, at least one each to train and to validate"
        )
    order = np.random.default_rng(seed).permutation(len(subjects))
    parts = np.repeat(SPLITS, sizes)
    assigned = {subjects[i]: str(parts[rank]) for rank, i in enumerate(order)}
    numbers = dict.fromkeys(SPLITS, 0)
    for subject in subjects:
        numbers[assigned[subject]] += 1
        assigned[subject] = (assigned[subject], numbers[assigned[subject]])
    return assigned


def centred(images: np.ndarray, size: int, centre: tuple[int, int] | None = None) -> np.ndarray:
    """Crop or zero-pad images (S, H, W) to (S, size, size) about a centre (row, column), by default the middle."""
    for axis, middle in zip((1, 2), centre or [n // 2 for n in images.shape[1:]]):
        before = size // 2 - middle
        images = np.take(images, range(max(-before, 0), min(size - before, images.shape[axis])), axis=axis)
        pad = [(0, 0)] * 3
        pad[axis] = (max(before, 0), size - max(before, 0) - images.shape[axis])
        images = np.pad(images, pad)
    return images


def contact_sheet(examples: list[tuple[str, np.ndarray]], path: Path) -> None:
    """One slice of every subject on a page, to be looked at."""
    columns = 6
    rows = -(-len(examples) // columns)
    figure = Figure(figsize=(2 * columns, 2.3 * rows), layout="constrained")
    for axes in figure.subplots(rows, columns, squeeze=False).flat:
        axes.set_axis_off()
    for axes, (title, image) in zip(figure.axes, examples):
        axes.imshow(image, cmap="gray", vmin=0)
        axes.set_title(title, fontsize=8)
    figure.savefig(path, dpi=100)


def _write(source: Source, folder: Path, accelerations: Iterable[str], assignment: dict) -> list[list]:
    rows, examples = [], []
    for subject, (part, number) in tqdm(assignment.items(), desc=source.name, unit="subject"):
        images, files = source.read(subject)
        images = centred(images, source.size) if source.size else images
        images = images.astype(np.float32) / images.max()
        attributes = {"dataset": source.name, "subject": subject, "split": part, "source": files, **source.attributes}
        for acceleration in accelerations:
            mask = mask_for(source.name, acceleration, images.shape[1:])
            x_u, y = undersample(torch.from_numpy(images), mask)
            arrays = {f"img_volus_{acceleration}": x_u, f"kspace_volus_{acceleration}": y}
            arrays = {name: np.moveaxis(array.numpy(), 0, 2) for name, array in arrays.items()}
            named = attributes | {"mask": f"{FAMILY[source.name]} {acceleration}"}
            write_volume(folder / part / f"acc_{acceleration}" / f"{number}.h5", images, named, **arrays)
        rows.append([part, number, subject, len(images), "subject", f"{len(files)} files"])
        examples.append((f"{subject}\n{part}", images[len(images) // 2]))
    with open(folder / "manifest.csv", "w", newline="") as file:
        csv.writer(file).writerows([["split", "volume", "subject", "slices", "split_by", "source"], *rows])
    contact_sheet(examples, folder / "contact_sheet.png")
    return rows


def _count(rows: list, part: str) -> int:
    return sum(row[0] == part for row in rows)
