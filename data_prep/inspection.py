"""Check a prepared data set, or one from elsewhere in the released layout: python -m data_prep check FOLDER.

>>> from kdrecon.storage.places import SAMPLES
>>> from data_prep.check import check
>>> check(SAMPLES / "sample").faults
[]
"""

import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d
from tqdm.auto import tqdm

from data_prep.steps import choose_mask
from kdrecon.choices import SPLITS
from kdrecon.data.images import Values, image_faults
from kdrecon.data.splits import MANIFEST, check_manifest
from kdrecon.data.volumes import format_version
from kdrecon.errors import InputError, bare, shortened, shown
from kdrecon.physics.fourier import fft2, ifft2
from kdrecon.storage import hdf5
from kdrecon.storage.files import visible
from kdrecon.storage.records import normal, read_table

CONVENTIONS = {  # name: (DC in the middle of k-space?, middle of the image taken as origin?)
    "unshifted": (False, False),
    "centred, DC in the middle": (True, False),
    "centred, DC and origin of the image in the middle": (True, True),
    "unshifted, origin of the image in the middle": (False, True),
}
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
    kind: str  # of mask: "line" or "gaussian"
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
        match = re.fullmatch(rf"(?:(cartesian|gaussian)/)?({'|'.join(SPLITS)})(?:/acc_([\w.]+))?", place)
        if path.suffix == ".partial":
            report.faults.append(f"{path} is half-written: expected none; delete it and prepare the data set anew")
        elif path.suffix == ".h5" and match:
            entries.append(Entry(path, "gaussian" if match[1] == "gaussian" else "line", match[2], match[3] or ""))
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
            found, attributes = file.found, file.attributes
            arrays = {
                name: file[name][()] for name in file.names if name == "volfs" or name.startswith(("img_", "mask_"))
            }
            arrays |= {name: file.kspace(name)[()] for name in file.names if name.startswith("kspace_")}
    except InputError as error:
        return report.faults.append(str(error))
    entry.subject = normal(hdf5.text(attributes.get("subject")))
    if "volfs" not in arrays:
        return fault(f"has no volfs (found: {found}): expected images (H, W, S); rename them")
    if (x := _images(arrays["volfs"], attributes, fault)) is None:
        return None
    entry.shape, entry.features = tuple(x.shape[1:]), _features(x)
    accelerations = {entry.acceleration} - {""} or {
        name.rpartition("_")[2] for name in arrays if name.startswith("kspace_volus")
    }
    for acceleration in sorted(accelerations):
        if wrong := [
            name
            for name in arrays
            if name.startswith(("img_", "kspace_", "mask_")) and not name.endswith(f"_{acceleration}")
        ]:
            if entry.acceleration:
                fault(
                    f"holds {bare(wrong[0])} in a folder for {acceleration}: expected arrays named ..._{acceleration}; "
                    "rename it"
                )
        dataset = hdf5.text(attributes.get("dataset"), folder.name)
        try:
            _check_measured(entry, acceleration, x, arrays, dataset, format_version(attributes), fault)
        except InputError as error:
            fault(str(error))
    return None


def _exchanged(shape: tuple[int, ...], attributes: dict) -> bool:
    """Whether images seem to be stored as (S, H, W): our files say how many slices they have, of others the shape tells."""
    if "format_version" in attributes:
        return shape[2] != shape[0] and np.array_equal(attributes.get("slices"), shape[0])
    return 2 * shape[0] <= min(shape[1:]) and 5 * min(shape[1:]) >= 4 * max(shape[1:])


def _images(volume: np.ndarray, attributes: dict, fault) -> Tensor | None:
    """volfs as (S, H, W), float32, or None where nothing more can be checked."""
    if volume.dtype.kind not in "fiu":
        return fault(f"volfs is of dtype {volume.dtype}: expected real numbers; store magnitudes")
    with np.errstate(over="ignore"):
        images = volume.astype(np.float32)
    for wrong in image_faults(volume, lambda: Values.of([images]), "images (H, W, S)"):
        return fault(f"volfs {wrong}")
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


def _check_measured(
    entry: Entry, acceleration: str, x: Tensor, arrays: dict, dataset: str, version: int, fault
) -> None:
    """k-space, zero-filled images and mask of one acceleration against the images."""
    img, ksp, msk = (f"{name}_{acceleration}" for name in ("img_volus", "kspace_volus", "mask"))
    volume = tuple(x.shape[1:]) + (len(x),)
    for name, shape in ((img, volume), (ksp, volume), (msk, volume[:2])):
        if name in arrays and arrays[name].shape != shape:
            return fault(
                f"{name} is of shape {arrays[name].shape}: expected {shape} like volfs; prepare the data set anew"
            )
        with np.errstate(over="ignore"):
            finite = name not in arrays or np.isfinite(arrays[name].astype(np.complex64)).all()
        if not finite:
            return fault(f"{name} holds values that are NaN or infinite: expected none; prepare the data set anew")
    mask = None
    if msk in arrays:
        mask = torch.from_numpy(arrays[msk] != 0)
        if not mask[0, 0]:
            middle = mask[tuple(n // 2 for n in mask.shape)] and mask.float().mean() < 0.5
            remedy = "DC seems to be in the middle: np.fft.ifftshift it" if middle else "invert it"
            fault(f"{msk} does not sample DC at [0, 0]: expected True where sampled, unshifted; {remedy}")
    if ksp not in arrays:
        return None
    if not np.iscomplexobj(arrays[ksp]):
        return fault(f"{ksp} is of dtype {arrays[ksp].dtype}: expected complex k-space; store real and imaginary part")
    y = torch.from_numpy(np.moveaxis(arrays[ksp], 2, 0).astype(np.complex64))
    sampled = (y.abs() > 1e-9 * y.abs().max()).any(0)
    if not sampled.any():
        return fault(f"{ksp} is zero everywhere: expected the Fourier transform of volfs; prepare the data set anew")
    name, scale, error = _convention(x, y, sampled)
    if error > 0.01:
        return fault(
            f"{ksp} does not belong to volfs: expected its Fourier transform on the mask, the best of {len(CONVENTIONS)} "
            f"conventions is {error:.0%} off; prepare the data set anew"
        )
    norm, factor = _normalisation(scale, x.shape[-2:])
    entry.convention = f"{name}, {norm}"
    if entry.convention != "unshifted, orthonormal":
        steps = ["np.fft.ifftshift over its first two axes"] if CONVENTIONS[name][0] else []
        steps += [f"a factor of {1 / factor:.4g}"] if factor != 1 else []
        fault(
            f"{ksp} is {entry.convention}: expected unshifted, orthonormal k-space of volfs; apply "
            f"{' and '.join(steps) or 'the transform without moving the origin of the image'}"
        )
    entry.sampled = torch.fft.ifftshift(sampled) if CONVENTIONS[name][0] else sampled
    if mask is None:
        kind = entry.kind if entry.kind == "gaussian" else "line"
        mask = choose_mask(dataset, acceleration, tuple(x.shape[1:]), kind, version)[0]
    _check_sampled(entry.sampled, mask, ksp, msk in arrays, fault)
    if img in arrays:
        u = ifft2((torch.fft.ifftshift(y, dim=(-2, -1)) if CONVENTIONS[name][0] else y) / factor)
        zero_filled = torch.fft.fftshift(u, dim=(-2, -1)) if CONVENTIONS[name][1] else u
        if np.iscomplexobj(arrays[img]):
            return fault(
                f"{img} is of dtype {arrays[img].dtype}: expected real |F^-1 {ksp}|; prepare the data set anew"
            )
        stored = torch.from_numpy(np.moveaxis(arrays[img], 2, 0).astype(np.float32))
        if _distance(stored, zero_filled.abs()) > 0.01:
            what = "its real part" if _distance(stored, zero_filled.real) < 0.01 else "something else"
            fault(f"{img} is {what}: expected |F^-1 {ksp}|, the zero-filled magnitude; prepare the data set anew")
    return None


def _convention(x: Tensor, y: Tensor, sampled: Tensor) -> tuple[str, float, float]:
    """The convention under which k-space y is nearest to a multiple of the spectrum of x: name, factor, relative error."""
    found = []
    for name, (dc, origin) in CONVENTIONS.items():
        full = fft2(torch.fft.ifftshift(x, dim=(-2, -1)) if origin else x)
        full = (torch.fft.fftshift(full, dim=(-2, -1)) if dc else full) * sampled
        scale = float((full.conj() * y).sum().real / full.abs().square().sum().clamp(min=1e-30))
        found.append((_distance(y, scale * full), name, scale))
        if found[-1][0] < 0.01:
            break
    error, name, scale = min(found)
    return name, scale, error


def _normalisation(scale: float, shape: tuple[int, ...]) -> tuple[str, float]:
    """What the transform was divided by, from its factor against the orthonormal one."""
    root = float(np.sqrt(np.prod(shape)))
    for name, factor in (
        ("orthonormal", 1.0),
        ("not normalised (NumPy's default)", root),
        ("divided by the number of pixels", 1 / root),
    ):
        if abs(scale / factor - 1) < 0.01:
            return name, factor
    return f"{scale:.4g} times the transform of volfs", scale


def _check_sampled(sampled: Tensor, mask: Tensor, name: str, stored: bool, fault) -> None:
    expected = "the stored mask" if stored else "the mask kdrecon uses"
    share = f"{float(sampled.float().mean()):.1%} of k-space"
    if torch.equal(sampled, mask):
        return
    if torch.equal(sampled, ~mask):
        fault(
            f"{name} is sampled exactly where {expected} says it is not: expected True where sampled; invert the mask"
        )
    elif torch.equal(sampled, torch.fft.fftshift(mask)) or torch.equal(sampled, torch.fft.ifftshift(mask)):
        fault(
            f"{name} is sampled on {expected} moved by half its size: expected DC at [0, 0]; np.fft.ifftshift the mask"
        )
    elif sampled.all():
        fault(f"{name} is fully sampled: expected zeros off {expected}; multiply by the mask")
    else:
        away = int((sampled & ~mask).sum())
        remedy = "prepare the data set anew" if stored else "store its mask under the name mask_... in the file"
        fault(
            f"{name} samples {share}, {away} points off {expected}, which samples {float(mask.float().mean()):.1%}; {remedy}"
        )


def _distance(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm().clamp(min=1e-30))


def _compare(entries: list[Entry], report: Report) -> None:
    """Files of one data set against each other: sizes, masks, conventions, splits."""
    shapes = defaultdict(list)
    for entry in entries:
        if entry.shape:
            shapes[entry.shape].append(entry)
    usual = max(shapes, key=lambda shape: len(shapes[shape]), default=())
    for shape, odd in shapes.items():
        if shape != usual:
            report.faults.append(
                f"{odd[0].path}: slices of {shape} ({len(odd)} files), the others of {usual}: expected one size; crop all"
            )
    groups = defaultdict(list)
    for entry in entries:
        groups[entry.kind, entry.acceleration].append(entry)
    for (kind, acceleration), group in groups.items():
        measured = [entry for entry in group if entry.sampled is not None]
        for entry in measured:
            if entry.shape == measured[0].shape and not torch.equal(entry.sampled, measured[0].sampled):
                report.faults.append(
                    f"{entry.path}: another mask than in {measured[0].path.name}: expected one; prepare both anew"
                )
        label = f"{kind} {acceleration}".strip()
        parts = {entry.split for entry in group}
        if len(parts) == 1:
            report.notes.append(
                f"{label}: all in {min(parts)}: to look at and reconstruct; a training needs two splits"
            )
        for part in SPLITS[:2]:
            if part not in parts and len(parts) > 1:
                report.faults.append(
                    f"{label}: no volume in {part}: expected at least one; prepare the data set with another split"
                )
        if measured:
            share = float(measured[0].sampled.float().mean())
            found = ", ".join(sorted({entry.convention for entry in measured}))
            report.notes.append(f"{label}: k-space of {len(measured)} files is {found}; {share:.1%} of it sampled")
        else:
            report.notes.append(f"{label}: {len(group)} files without k-space, which is computed on reading")
    volumes = {key: {(e.split, e.path.name) for e in group} for key, group in groups.items()}
    for key, here in volumes.items():
        if missing := sorted(set().union(*volumes.values()) - here):
            part, name = missing[0]
            report.faults.append(
                f"{' '.join(key)}: lacks {part}/{name} and {len(missing) - 1} more, which others have; prepare it anew"
            )


def _check_subjects(folder: Path, entries: list[Entry], report: Report) -> None:
    path = folder / "manifest.csv"
    if path.exists():
        try:
            rows = read_table(path, MANIFEST | {"volume": str})
        except InputError as error:
            report.faults.append(str(error))
            return
        try:
            check_manifest(folder)
        except InputError as error:
            report.faults.append(str(error))
        listed = dict(zip(zip(rows.split, rows.volume), rows.subject))
        present = {(entry.split, normal(entry.path.stem)): entry for entry in entries}
        for (part, name), listed_subject in listed.items():
            if (part, name) not in present:
                report.faults.append(
                    f"{path}: {bare(part)}/{bare(name)}.h5 is listed and not there: expected it; prepare the data set anew"
                )
            elif listed_subject != (subject := present[part, name].subject) and subject:
                report.faults.append(
                    f"{path}: {part}/{name} is {shown(listed_subject)}, its file says {shown(subject)}: expected "
                    "one; correct it"
                )
        for part, name in present.keys() - listed.keys():
            report.faults.append(
                f"{path}: {part}/{name}.h5 is not listed: expected every volume; prepare the data set anew"
            )
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


def _check_duplicates(entries: list[Entry], report: Report) -> None:
    """Slices of different splits that show the same, whatever their scale."""
    kept = {(entry.split, entry.path.stem): entry for entry in entries if entry.features is not None}
    by_split = {part: [entry for (split, _), entry in kept.items() if split == part] for part in SPLITS}
    for first, second in (("train", "validation"), ("train", "test"), ("validation", "test")):
        for one in by_split[first]:
            for two in by_split[second]:
                alike = (one.features @ two.features.T > ALIKE).any(1)
                if alike.any():
                    report.faults.append(
                        f"{one.path}: {int(alike.sum())} slices are in {two.path} too: expected none in two splits; "
                        "remove one of the volumes"
                    )


def _features(x: Tensor) -> Tensor:
    """Slices (S, H, W) as vectors (S, 1024) of unit length; the product of two is their correlation."""
    small = adaptive_avg_pool2d(x[:, None], 32).flatten(1)
    small = small - small.mean(1, keepdim=True)
    return small / small.norm(dim=1, keepdim=True).clamp(min=1e-12)
