"""NIfTI scans: read as upright slices, written with the same affine, axes and header.

>>> from pathlib import Path
>>> from kdrecon.app.scans.nifti import read
>>> read(Path("T1w.nii"), "diagonal")
Traceback (most recent call last):
    ...
kdrecon.errors.InputError: plane 'diagonal': expected acquired, sagittal, coronal, axial
"""

import gzip
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.header import reading
from data_prep.nifti import Cut, open_nifti
from kdrecon.app.scans.images import checked
from kdrecon.app.scans.scan import Scan
from kdrecon.storage.files import replacing


def read(path: Path, plane: str = "") -> Scan:
    """A NIfTI scan.

    Args:
        path: of the file.
        plane: of the slices: "acquired", the default, "axial", "coronal" or "sagittal".

    Raises:
        InputError: it is damaged, too large, or holds no magnitude images.
    """
    with reading(path):
        image, cut = open_nifti(path, plane or "acquired")
        images = cut.slices(np.asanyarray(image.dataobj, dtype=np.float32))
    values, notes = checked(images, str(path))

    def write(images: np.ndarray, out: Path, said: dict[str, str]) -> None:
        write_nifti(image, cut, images, out, said["description"])

    return Scan(values, None, write, notes)


def write_nifti(image: Any, cut: Cut, images: np.ndarray, out: Path, description: str) -> None:
    """Write slices (S, H, W) where they were in a scan, with its geometry: affine, codes, units and voxel sizes.

    Args:
        image: the scan, as nibabel loads it.
        cut: of its slices.
        images: float32.
        out: .nii, or compressed .nii.gz.
        description: of 79 characters in the header; the rest is cut off.
    """
    import nibabel

    kind = nibabel.Nifti2Image if isinstance(image, nibabel.Nifti2Image) else nibabel.Nifti1Image
    stored = cut.stored(images, image.shape).astype(np.float32)
    header = image.header if isinstance(image, nibabel.Nifti1Pair) else None
    written = kind(stored, image.affine, header)
    written.set_data_dtype(np.float32)
    written.header["cal_min"] = written.header["cal_max"] = 0
    written.header["descrip"] = description.encode("ascii", "replace")[:79]
    content = written.to_bytes()
    with replacing(out) as temporary:
        packed = out.name.lower().endswith(".gz")
        temporary.write_bytes(gzip.compress(content, compresslevel=6, mtime=0) if packed else content)
