"""The embedded sample: axial T1-weighted slices of two people, out of two public packages.

One person to train and to validate with (two slabs of one scan), another one to test with, averaged from 27 scans and
therefore smoother: the sample shows how things work, not how well they generalise.
"""

import csv
import hashlib
import io
import lzma
import tarfile
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple

import nibabel
import numpy as np

from data_prep.steps import centred
from kdrecon.data import write_volume
from kdrecon.errors import InputError

SIZE = 240


class Package(NamedTuple):
    """A public package that holds one of the scans."""

    name: str
    url: str
    sha256: str
    scan: str
    licence: str


PYCORTEX = Package(
    "pycortex-1.4.0.tar.gz",
    "https://files.pythonhosted.org/packages/5d/1a/8f4fb7674ea9f29780f991677ee7282758dacbacbdb5029eeb001fb7fb78/"
    "pycortex-1.4.0.tar.gz",
    "9fdb292a2df96bba6087ee07d428969ba1eb07ed03724bcfaca96ec8e28a5fd5",
    "pycortex-1.4.0/filestore/db/S1/anatomicals/raw.nii.gz",
    "pycortex-1.4.0/LICENSE",
)
MRICRON = Package(
    "mricron-data_1.2.20211006+dfsg-4_all.deb",
    "https://deb.debian.org/debian/pool/main/m/mricron/mricron-data_1.2.20211006+dfsg-4_all.deb",
    "d40aa0ed66cf89bf6cafa049ad3884703c9d975c2ee2737525b7196528df9d6f",
    "./usr/share/mricron/templates/ch2.nii.gz",
    "./usr/share/doc/mricron-data/copyright",
)


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
        source: folder with the two package files; they are downloaded when it is None.
        out: folder that receives sample/.

    Raises:
        InputError: a package is missing, cannot be downloaded, or is not the expected file.
    """
    members = {package: _members(_fetch(package, source), package) for package in (PYCORTEX, MRICRON)}
    rows = []
    for slab in SLABS:
        scan, licence = members[slab.package]
        images = axial(scan, slab.levels)
        attributes = {
            "dataset": "sample",
            "subject": slab.subject,
            "split": slab.split,
            "source": f"{slab.package.name}: {slab.package.scan}",
            "levels": np.array(slab.levels),
            "voxel_size_mm": np.ones(3),
        }
        write_volume(out / "sample" / slab.split / "1.h5", images, attributes, level=9)
        name = slab.package.name.split("-")[0]
        (out / f"LICENCE-{name}.txt").write_bytes(licence)
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
    head = [np.flatnonzero((slices > 30).any(axis=(0, 3 - axis))) for axis in (1, 2)]
    return centred(slices, SIZE, centre=tuple(int(h[0] + h[-1] + 1) // 2 for h in head)).astype(np.uint8)


def _fetch(package: Package, source: Path | None) -> bytes:
    if source is None:
        print(f"downloading {package.url}")
        try:
            with urllib.request.urlopen(package.url, timeout=120) as response:
                content = response.read()
        except (urllib.error.URLError, OSError) as error:
            raise InputError(
                f"{package.url} cannot be downloaded ({error}): expected a connection and the package still in its place; "
                f"get {package.name} elsewhere (old Debian packages: snapshot.debian.org) and name its folder as SOURCE"
            ) from error
    elif (source / package.name).is_file():
        content = (source / package.name).read_bytes()
    else:
        raise InputError(
            f"{source / package.name} does not exist: expected the package there; leave SOURCE out to download"
        )
    if (found := hashlib.sha256(content).hexdigest()) != package.sha256:
        raise InputError(
            f"{package.name} has sha256 {found}: expected {package.sha256}; fetch it again from {package.url}"
        )
    return content


def _members(content: bytes, package: Package) -> tuple[bytes, bytes]:
    """The scan and the licence text in a source archive or a Debian package."""
    if package.name.endswith(".deb"):
        content = lzma.decompress(_ar_member(content, "data.tar.xz"))
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        return tuple(archive.extractfile(name).read() for name in (package.scan, package.licence))


def _ar_member(content: bytes, wanted: str) -> bytes:
    """A member of an ar archive: 8 bytes of magic, then 60-byte headers, each followed by its data padded to even length."""
    position = 8
    while position < len(content):
        header = content[position : position + 60]
        name, size = header[:16].decode().strip().rstrip("/"), int(header[48:58])
        position += 60
        if name == wanted:
            return content[position : position + size]
        position += size + size % 2
    raise InputError(f"the Debian package holds no {wanted}: expected one; fetch the package again")
