"""What happens to every volume between reading and writing: choose slices, crop or pad, scale, undersample, split.

>>> import numpy as np
>>> from data_prep.steps import centred, parse_slices, split_subjects
>>> centred(np.ones((1, 4, 6)), (6, 4)).shape
(1, 6, 4)
>>> parse_slices("2:-2")
slice(2, -2, None)
>>> split_subjects(["a", "b", "c"], official={}, split="1,1,1", seed=0)
{'a': 'validation', 'b': 'test', 'c': 'train'}
"""

import re
from collections.abc import Iterable, Sequence, Set
from pathlib import Path

import numpy as np
import scipy.ndimage
import torch

from kdrecon.choices import SPLITS
from kdrecon.data.images import Values, image_faults
from kdrecon.errors import InputError, shown
from kdrecon.physics.sampling import choose_mask, undersample
from kdrecon.storage.records import normal, read_table


def fill_outside(images: np.ndarray) -> tuple[np.ndarray, int]:
    """Images (S, H, W) with 0 where they are NaN as far as the edge of a slice, outside the field of view, and how many.

    SPM and others mark with NaN what a scan does not cover. A NaN that values enclose stays.
    """
    nan = np.isnan(images)
    if not nan.any():
        return images, 0
    regions, _ = scipy.ndimage.label(nan)
    edges = [regions[:, [0, -1]].ravel(), regions[:, :, [0, -1]].ravel()]
    outside = nan & np.isin(regions, np.concatenate(edges))
    return np.where(outside, np.float32(0), images), int(outside.sum())


def is_label_map(images: np.ndarray) -> bool:
    """Whether images (S, H, W) are a segmentation: whole numbers, most of them equal to their neighbours in the slice.

    The most frequent value, the background, does not count. Of real images with 8 bits a sixth of the neighbours are
    equal, with 4 bits six in ten; of a segmentation of the brain nine in ten.
    """
    images = images[:: -(-len(images) // 32)]  # enough of them to tell
    if not np.array_equal(images, np.rint(images)):
        return False
    values, counts = np.unique(images, return_counts=True)
    equal = pairs = 0
    for one, two in ((images[:, 1:], images[:, :-1]), (images[:, :, 1:], images[:, :, :-1])):
        shown = (one != values[counts.argmax()]) & (two != values[counts.argmax()])
        equal, pairs = equal + int((one == two)[shown].sum()), pairs + int(shown.sum())
    return equal > 0.75 * pairs


def check_images(images: np.ndarray, where: str) -> tuple[np.ndarray, int]:
    """Check that images are finite, not constant magnitudes; return them as float32 with small negatives set to 0.

    Interpolation leaves small negative values behind, which become 0 where they are above -10 % of the maximum.

    Args:
        images: (S, H, W), real.
        where: name of the file, for the message.

    Returns:
        images (S, H, W), float32, not negative, and how many voxels were negative.

    Raises:
        InputError: not real (S, H, W), not finite, constant, negative beyond 10 % of the maximum, or a segmentation.
    """
    for fault in image_faults(images, lambda: Values.of([images]), "slices (S, H, W)", "voxels", negative=0.1):
        raise InputError(f"{where} {fault}")
    if (value := images.flat[0]) == images.max() == images.min():
        raise InputError(f"{where} is constant ({value:g} everywhere): expected an image; leave the file out")
    if is_label_map(images):
        raise InputError(
            f"{where} holds flat areas of whole numbers, as a segmentation does: expected an image; leave the file out"
        )
    negative = int((images < 0).sum())
    return np.maximum(images.astype(np.float32), 0), negative


def signed_slices(images: np.ndarray) -> np.ndarray:
    """Which slices of a volume (S, H, W) are no magnitudes but, say, a field map that was saved with them: (S,), bool.

    Their values fall below -10 % of their own maximum and below -1 % of the volume's. None where all slices do, for then
    the volume is none, which :func:`check_images` refuses.
    """
    low, high = images.min((1, 2), initial=0), images.max((1, 2), initial=0)
    signed = low < -np.maximum(0.1 * high, 0.01 * high.max(initial=0))
    return signed & ~signed.all()


def parse_slices(text: str) -> slice:
    """The slices to use, as "START:STOP" or "START:STOP:STEP" counted from 0; "" for all.

    Raises:
        InputError: other text.
    """
    parts = text.split(":") if text else ["", ""]
    if (
        not 2 <= len(parts) <= 3
        or not all(re.fullmatch(r"(-?[0-9]{1,9})?", part) for part in parts)
        or parts[2:] == ["0"]
    ):
        raise InputError(f"slices {shown(text)}: expected START:STOP or START:STOP:STEP, such as 40:140 or ::2")
    return slice(*(int(part) if part else None for part in parts))


def central_slices(number: int, positions: int, frames: int, where: str) -> slice:
    """The middle slices of a volume that holds the frames of each position one after the other.

    Args:
        number: of positions to take.
        positions: in the volume.
        frames: of each position.
        where: name of the file, for the message.

    Raises:
        InputError: there are fewer.
    """
    if number > positions:
        raise InputError(f"{where} has {positions} slices: expected at least the {number} of --central; choose fewer")
    first = (positions - number) // 2
    return slice(first * frames, (first + number) * frames)


def not_empty(images: np.ndarray, foreground: float, frame: np.ndarray) -> np.ndarray:
    """Which slices show something: (S,), bool.

    A slice is empty where less than the given share of its pixels exceeds a tenth of the 99th percentile of its time
    point: one bright frame, such as the M0 of a perfusion scan, does not make the others empty.

    Args:
        images: (S, H, W).
        foreground: share of the pixels.
        frame: (S,), the time point of each slice.
    """
    keep = np.zeros(len(images), bool)
    for one in np.unique(frame):
        of_frame = images[frame == one]
        keep[frame == one] = (of_frame > 0.1 * np.percentile(of_frame, 99)).mean((1, 2)) >= foreground
    return keep


def centred(images: np.ndarray, size: int | Sequence[int], centre: tuple[int, int] | None = None) -> np.ndarray:
    """Crop or zero-pad images (S, H, W) to a size (height, width) about a centre (row, column), by default the middle."""
    sizes = (size, size) if isinstance(size, int) else size
    for axis, length, middle in zip((1, 2), sizes, centre or [n // 2 for n in images.shape[1:]]):
        before = length // 2 - middle
        images = np.take(images, range(max(-before, 0), min(length - before, images.shape[axis])), axis=axis)
        pad = [(0, 0)] * 3
        pad[axis] = (max(before, 0), length - max(before, 0) - images.shape[axis])
        images = np.pad(images, pad)
    return images


def measured(images: np.ndarray, dataset: str, acceleration: str, mask_type: str) -> tuple[dict, str]:
    """What a volume file holds beside volfs: img_volus and kspace_volus (H, W, S), the mask where needed; its name."""
    mask, name, store = choose_mask(dataset, acceleration, images.shape[1:], mask_type)
    x_u, y = undersample(torch.from_numpy(images), mask)
    found = {f"img_volus_{acceleration}": x_u, f"kspace_volus_{acceleration}": y}
    arrays = {key: np.moveaxis(array.numpy(), 0, 2) for key, array in found.items()}
    return arrays | ({f"mask_{acceleration}": mask.numpy()} if store else {}), name


def is_ratio(split: str) -> bool:
    """Whether subjects are assigned at random: the split is neither the data set's own nor a list."""
    return re.fullmatch(r"[\d., ]+", split) is not None


def split_subjects(
    subjects: Sequence[str], official: dict[str, str], split: str, seed: int, lost: Set[str] = frozenset()
) -> dict[str, str]:
    """Assign each subject to a split.

    Args:
        subjects: all subjects, in a fixed order.
        official: the data set's own split of each subject; "" where it has none.
        split: "official"; or the ratio "train,validation,test" of a random assignment, such as "8,1,1" or numbers of
            subjects; or a table (.csv, .tsv, .txt) with the columns subject and split, which leaves out the subjects it does
            not name.
        seed: of the random assignment.
        lost: subjects that turned out to have no usable scan; a random assignment is one of the others. They change the
            split of no more of them than it takes to keep the ratio.

    Returns:
        "train", "validation" or "test" of each subject that is used.

    Raises:
        InputError: no subject to train or to validate with, or a split that cannot be read.
    """
    if split == "official":
        assigned = {s: official[s] for s in subjects if official[s]}
        remedy = "the data set's own split needs both; give a ratio instead, such as --split 8,1,1"
    elif Path(split).suffix.lower() in (".csv", ".tsv", ".txt"):
        assigned, remedy = _from_list(Path(split), subjects), "add subjects to the list"
    else:
        assigned, remedy = _at_random(subjects, split, seed, lost), "more subjects are needed, or another ratio"
    for part in SPLITS[:2]:
        if part not in assigned.values():
            counts = ", ".join(f"{sum(v == p for v in assigned.values())} {p}" for p in SPLITS)
            raise InputError(
                f"split {shown(split)} of {len(subjects)} subjects has none for {part} ({counts}): expected at least one "
                f"each to train and to validate; {remedy}"
            )
    return assigned


def _at_random(subjects: Sequence[str], split: str, seed: int, lost: Set[str]) -> dict[str, str]:
    try:
        weights = [float(part) for part in split.split(",")]
    except ValueError:
        weights = []
    if len(weights) != 3 or not all(0 <= weight < float("inf") for weight in weights) or not min(weights[:2]) > 0:
        raise InputError(
            f"split {shown(split)}: expected official, a CSV file, or a ratio train,validation,test with something to "
            "train and to validate, such as 8,1,1"
        )
    count = len(subjects) - len(lost)
    shares = np.array(weights) / sum(weights) * count
    sizes = np.floor(shares + 1e-9).astype(int)
    for i in np.argsort(sizes - shares, kind="stable")[: count - sizes.sum()]:
        sizes[i] += 1
    for i in range(3):  # a part that is asked for is not left empty, where there are subjects enough
        if weights[i] and not sizes[i] and sizes.max() > 1:
            sizes[sizes.argmax()] -= 1
            sizes[i] = 1
    order = [i for i in np.random.default_rng(seed).permutation(len(subjects)) if subjects[i] not in lost]
    parts = np.repeat(SPLITS, sizes)
    return {subjects[i]: str(part) for i, part in sorted(zip(order, parts), key=lambda pair: pair[0])}


def _from_list(path: Path, subjects: Iterable[str]) -> dict[str, str]:
    assigned: dict[str, str] = {}
    known = {normal(subject): subject for subject in subjects}
    rows = read_table(path, {"subject": str, "split": str})
    for name, part in zip(rows.subject, rows.split):
        subject = known.get(name)
        if subject is None or part not in SPLITS or assigned.get(subject, part) != part:
            raise InputError(
                f"{path} says subject {shown(name)}, split {shown(part)}: expected one of the subjects found (such as "
                f"{shown(min(known))}), one of {', '.join(SPLITS)}, each subject in one split; correct it"
            )
        assigned[subject] = part
    return assigned
