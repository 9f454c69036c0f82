"""Check a prepared data set, or one from elsewhere in the released layout: python -m data_prep check FOLDER.

>>> from kdrecon.storage.places import SAMPLES
>>> from data_prep.inspection import check
>>> check(SAMPLES / "sample").faults
[]
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d
from tqdm.auto import tqdm

from data_prep.measurement import Tell, check_measured
from kdrecon.choices import MASK_TYPES, SPLITS
from kdrecon.data.images import Values, image_faults
from kdrecon.data.splits import MANIFEST, check_manifest
from kdrecon.data.volumes import format_version
from kdrecon.errors import InputError, bare, shortened, shown
from kdrecon.physics.sampling import choose_mask
from kdrecon.storage import hdf5
from kdrecon.storage.files import visible
from kdrecon.storage.records import normal, read_table

ALIKE = 0.9999  # correlation of two slices, pooled to 32 x 32, from which on they count as the same


@dataclass
class Report:
    """What a check has found.

    Attributes:
        faults: what has to be repaired, each with the file and the remedy.
        notes: what is worth knowing.
    """

    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass
class Entry:
    """A volume file and what was found in it."""

    path: Path
    kind: str  # of mask, one of MASK_TYPES
    split: str
    acceleration: str
    shape: tuple[int, ...] = ()
    subject: str = ""
    sampled: Tensor | None = None
    convention: str = ""
    features: Tensor | None = None


def check(folder: Path) -> Report:
    """Check every volume file of a data set, and the files against each other.

    Args:
        folder: of the data set: {split}/acc_{4x}/*.h5, {split}/*.h5 or {mask type}/{split}/acc_{4x}/*.h5.

    Returns:
        faults and notes. Among the notes is the convention of k-space that was found.

    Raises:
        InputError: no such folder, or no volume file in it.
    """
    if not folder.is_dir():
        raise InputError(
            f"{folder} is not a folder: expected a prepared data set such as datasets/cardiac; check the path"
        )
    report = Report()
    entries = _entries(folder, report)
    if not entries:
        raise InputError(f"{folder} holds no volume file: expected train/acc_4x/*.h5 and the like; prepare it first")
    for entry in tqdm(entries, desc="checking", unit="file", leave=False, delay=2):
        _check_file(entry, folder, report)
    _compare(entries, report)
    _check_subjects(folder, entries, report)
    _check_duplicates(entries, report)
    return report


def _entries(folder: Path, report: Report) -> list[Entry]:
    entries = []
    for path in visible(folder, "**/*"):
        place = path.parent.relative_to(folder).as_posix()
        match = re.fullmatch(rf"(?:(cartesian|{'|'.join(MASK_TYPES)})/)?({'|'.join(SPLITS)})(?:/acc_([\w.]+))?", place)
        if path.suffix == ".partial":
            report.faults.append(f"{path} is half-written: expected none; delete it and prepare the data set anew")
        elif path.suffix == ".h5" and match:
            entries.append(Entry(path, match[1] if match[1] in MASK_TYPES else "line", match[2], match[3] or ""))
        elif path.suffix == ".h5":
            report.faults.append(
                f"{path} is not read there: expected {{split}}/acc_{{4x}}/, splits {', '.join(SPLITS)}; move it"
            )
    return entries


def _check_file(entry: Entry, folder: Path, report: Report) -> None:
    def fault(text: str) -> None:
        report.faults.append(f"{entry.path}: {shortened(text, 1000)}")

    try:
        with hdf5.opened(entry.path) as file:
            found, attributes, arrays = file.found, file.attributes, _arrays(file)
    except InputError as error:
        return report.faults.append(str(error))
    entry.subject = normal(hdf5.text(attributes.get("subject")))
    if "volfs" not in arrays:
        fault(f"has no volfs (found: {found}): expected images (H, W, S); rename them")
        return None
    if (x := _images(arrays.pop("volfs"), attributes, fault)) is None:
        return None
    entry.shape, entry.features = tuple(x.shape[1:]), _features(x)
    place = f"_{entry.acceleration}"
    if entry.acceleration and (wrong := [name for name in arrays if not name.endswith(place)]):
        fault(
            f"holds {bare(wrong[0])} in a folder for {entry.acceleration}: expected arrays named ...{place}; rename it"
        )
    measured = {name.rpartition("_")[2] for name in arrays if name.startswith("kspace_volus")}
    dataset, version = hdf5.text(attributes.get("dataset"), folder.name), format_version(attributes)
    for acceleration in [entry.acceleration] if entry.acceleration else sorted(measured):
        usual = partial(choose_mask, dataset, acceleration, entry.shape, entry.kind, version)
        if spectrum := check_measured(x, arrays, acceleration, usual, fault):
            entry.sampled, entry.convention = spectrum.mask, f"{spectrum.convention}, {spectrum.norm}"
    return None


def _arrays(file: hdf5.File) -> dict[str, np.ndarray]:
    """The arrays of a volume file, by name."""
    plain = {name: file[name][()] for name in file.names if name == "volfs" or name.startswith(("img_", "mask_"))}
    return plain | {name: file.kspace(name)[()] for name in file.names if name.startswith("kspace_")}


def _exchanged(shape: tuple[int, ...], attributes: dict) -> bool:
    """Whether images seem to be stored as (S, H, W): our files say how many slices they have, of others the shape tells."""
    if "format_version" in attributes:
        return shape[2] != shape[0] and np.array_equal(attributes.get("slices", ()), shape[0])
    return 2 * shape[0] <= min(shape[1:]) and 5 * min(shape[1:]) >= 4 * max(shape[1:])


def _images(volume: np.ndarray, attributes: dict, fault: Tell) -> Tensor | None:
    """volfs as (S, H, W), float32, or None where nothing more can be checked."""
    if volume.dtype.kind not in "fiu":
        fault(f"volfs is of dtype {volume.dtype}: expected real numbers; store magnitudes")
        return None
    with np.errstate(over="ignore"):
        images = volume.astype(np.float32)
    for wrong in image_faults(volume, lambda: Values.of([images]), "images (H, W, S)"):
        fault(f"volfs {wrong}")
        return None
    if _exchanged(volume.shape, attributes):
        fault(f"volfs is of shape {volume.shape}, which looks like (S, H, W): expected (H, W, S); move the first axis")
    else:
        images = np.moveaxis(images, 2, 0)
    x = torch.from_numpy(images)
    flat = [int(i) for i in torch.nonzero(x.amax((1, 2)) == x.amin((1, 2)))]
    if flat:
        fault(
            f"slices {flat} of volfs are empty: expected an image in each; prepare the data set anew, which drops them"
        )
    return x


def _compare(entries: list[Entry], report: Report) -> None:
    """Files of one data set against each other: sizes, masks, conventions, splits."""
    shapes, groups = defaultdict(list), defaultdict(list)
    for entry in entries:
        groups[entry.kind, entry.acceleration].append(entry)
        if entry.shape:
            shapes[entry.shape].append(entry)
    usual = max(shapes, key=lambda shape: len(shapes[shape]), default=())
    for shape, odd in shapes.items():
        if shape != usual:
            report.faults.append(
                f"{odd[0].path}: slices of {shape} ({len(odd)} files), the others of {usual}: expected one size; crop all"
            )
    for key, group in groups.items():
        _compare_measured(" ".join(key).strip(), group, report)
    volumes = {key: {(e.split, e.path.name) for e in group} for key, group in groups.items()}
    for key, here in volumes.items():
        if missing := sorted(set().union(*volumes.values()) - here):
            part, name = missing[0]
            report.faults.append(
                f"{' '.join(key)}: lacks {part}/{name} and {len(missing) - 1} more, which others have; prepare it anew"
            )


def _compare_measured(label: str, group: list[Entry], report: Report) -> None:
    """The files of one kind of mask and one acceleration: one mask, and volumes to train and to validate with."""
    measured = [(entry, entry.sampled) for entry in group if entry.sampled is not None]
    for entry, mask in measured:
        first, usual = measured[0]
        if entry.shape == first.shape and not torch.equal(mask, usual):
            report.faults.append(
                f"{entry.path}: another mask than in {first.path.name}: expected one; prepare both anew"
            )
    parts = {entry.split for entry in group}
    if len(parts) == 1:
        report.notes.append(f"{label}: all in {min(parts)}: to look at and reconstruct; a training needs two splits")
    for part in SPLITS[:2]:
        if part not in parts and len(parts) > 1:
            report.faults.append(
                f"{label}: no volume in {part}: expected at least one; prepare the data set with another split"
            )
    if measured:
        share = float(measured[0][1].float().mean())
        found = ", ".join(sorted({entry.convention for entry, _ in measured}))
        report.notes.append(f"{label}: k-space of {len(measured)} files is {found}; {share:.1%} of it sampled")
    else:
        report.notes.append(f"{label}: {len(group)} files without k-space, which is computed on reading")


def _check_subjects(folder: Path, entries: list[Entry], report: Report) -> None:
    if (folder / "manifest.csv").exists():
        report.faults += _manifest_faults(folder / "manifest.csv", entries)
        return
    report.notes.append("no manifest.csv: subjects are taken from the files")
    seen: dict[str, Entry] = {}
    for entry in entries:
        other = seen.setdefault(entry.subject, entry)
        if entry.subject and other.split != entry.split:
            report.faults.append(
                f"{entry.path}: subject {shown(entry.subject)} is in {other.split} too: expected one split; move its volumes"
            )
    if not any(seen):
        report.notes.append("no file names a subject: only equal slices can tell that one is in two splits")


def _manifest_faults(path: Path, entries: list[Entry]) -> Iterator[str]:
    """A manifest against itself and against the files."""
    try:
        rows = read_table(path, MANIFEST | {"volume": str})
    except InputError as error:
        yield str(error)
        return
    try:
        check_manifest(path.parent)
    except InputError as error:
        yield str(error)
    listed = dict(zip(zip(rows.split, rows.volume), rows.subject))
    present = {(entry.split, normal(entry.path.stem)): entry for entry in entries}
    for (part, name), subject in listed.items():
        if (part, name) not in present:
            yield f"{path}: {bare(part)}/{bare(name)}.h5 is listed and not there: expected it; prepare the data set anew"
        elif (said := present[part, name].subject) not in ("", subject):
            yield (f"{path}: {part}/{name} is {shown(subject)}, its file says {shown(said)}: expected one; correct it")
    for part, name in present.keys() - listed.keys():
        yield f"{path}: {part}/{name}.h5 is not listed: expected every volume; prepare the data set anew"


def _check_duplicates(entries: list[Entry], report: Report) -> None:
    """Slices of different splits that show the same, whatever their scale."""
    kept = {
        (entry.split, entry.path.stem): (entry.path, entry.features) for entry in entries if entry.features is not None
    }
    by_split = {part: [found for (split, _), found in kept.items() if split == part] for part in SPLITS}
    for first, second in (("train", "validation"), ("train", "test"), ("validation", "test")):
        for one, features in by_split[first]:
            for two, others in by_split[second]:
                alike = (features @ others.T > ALIKE).any(1)
                if alike.any():
                    report.faults.append(
                        f"{one}: {int(alike.sum())} slices are in {two} too: expected none in two splits; "
                        "remove one of the volumes"
                    )


def _features(x: Tensor) -> Tensor:
    """Slices (S, H, W) as vectors (S, 1024) of unit length; the product of two is their correlation."""
    small = adaptive_avg_pool2d(x[:, None], 32).flatten(1)
    small = small - small.mean(1, keepdim=True)
    return small / small.norm(dim=1, keepdim=True).clamp(min=1e-12)
