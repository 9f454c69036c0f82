"""The embedded sample: axial T1-weighted slices of two people, out of two public packages.

One person to train and to validate with (two slabs of one scan), another one to test with, averaged from 27 scans and
therefore smoother: the sample shows how things work, not how well they generalise.

>>> from data_prep.sample import SLABS
>>> sorted({slab.split for slab in SLABS})
['test', 'train', 'validation']
"""

import csv
import hashlib
import io
import lzma
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import NamedTuple

import nibabel
import numpy as np

from data_prep.steps import centred
from kdrecon.data.volumes import write_volume
from kdrecon.errors import InputError, first_line

SIZE = 240


class Package(NamedTuple):
    """A public package that holds one of the scans."""

    name: str  # of its file
    version: str  # package and version, as its client takes them
    sha256: str
    scan: str
    licence: str


PYCORTEX = Package(
    "pycortex-1.4.0.tar.gz",
    "pycortex==1.4.0",
    "9fdb292a2df96bba6087ee07d428969ba1eb07ed03724bcfaca96ec8e28a5fd5",
    "pycortex-1.4.0/filestore/db/S1/anatomicals/raw.nii.gz",
    "pycortex-1.4.0/LICENSE",
)
MRICRON = Package(
    "mricron-data_1.2.20211006+dfsg-4_all.deb",
    "mricron-data=1.2.20211006+dfsg-4",
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
        source: folder with the two package files; pip and apt-get fetch them when it is None.
        out: folder that receives sample/.

    Raises:
        InputError: a package is missing, cannot be fetched, or is not the expected file.
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
            "format_version": 1,  # keeps the generated masks under which the networks in kdrecon/weights were trained
        }
        write_volume(out / "sample" / slab.split / "1.h5", images, attributes, level=9)
        name = slab.package.name.split("-")[0]
        (out / "sample" / f"LICENCE-{name}.txt").write_bytes(licence)
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


def _fetch(package: Package, source: Path | None) -> bytes:
    if source is None:
        content = _download(package)
    elif (source / package.name).is_file():
        content = (source / package.name).read_bytes()
    else:
        raise InputError(
            f"{source / package.name} does not exist: expected the package there; leave SOURCE out to have it fetched"
        )
    if (found := hashlib.sha256(content).hexdigest()) != package.sha256:
        raise InputError(f"{package.name} has sha256 {found}: expected {package.sha256}; fetch {package.version} again")
    return content


def _download(package: Package) -> bytes:
    """The package file, as the package client of this machine finds it by name and version."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["apt-get", "download", package.version]
        if not package.name.endswith(".deb"):
            pinned = Path(folder) / "requirements.txt"  # pip builds nothing of a file with another hash
            pinned.write_text(f"{package.version} --hash=sha256:{package.sha256}\n", encoding="utf-8")
            name, _, _ = package.version.partition("=")
            command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check"]
            command += ["--no-deps", "--no-binary", name, "-r", pinned.name]
        print(f"fetching {package.version}")
        try:
            subprocess.run(command, cwd=folder, capture_output=True, check=True)
            return (Path(folder) / package.name).read_bytes()
        except (OSError, subprocess.CalledProcessError) as error:
            said = getattr(error, "stderr", b"").decode(errors="replace").strip().rpartition("\n")[2] or first_line(
                error
            )
            raise InputError(
                f"{package.version} cannot be fetched ({said}): expected pip, apt-get, a connection and this version; get "
                f"{package.name} elsewhere (Debian keeps old packages in its snapshot archive) and name its folder as SOURCE"
            ) from error


def _members(content: bytes, package: Package) -> tuple[bytes, bytes]:
    """The scan and the licence text in a source archive or a Debian package."""
    if package.name.endswith(".deb"):
        content = lzma.decompress(_ar_member(content, "data.tar.xz"))
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        scan, licence = (archive.extractfile(name) for name in (package.scan, package.licence))
        if not scan or not licence:
            raise InputError(f"{package.name} has a folder or link in the place of a file: expected {package.version}")
        return scan.read(), licence.read()


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
