"""Volume files, and measured k-space; reconstructions are written as HDF5, too.

>>> from pathlib import Path
>>> from kdrecon.app.scans.hdf5 import read
>>> read(Path("1.h5"))
Traceback (most recent call last):
    ...
kdrecon.errors.InputError: 1.h5 does not exist: expected an HDF5 file (.h5); check the path
"""

from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor

from data_prep.coils import coil_images, domain_of
from data_prep.readouts import is_raw
from data_prep.steps import centred
from kdrecon.app.scans import raw
from kdrecon.app.scans.images import checked
from kdrecon.app.scans.scan import Scan
from kdrecon.data.volumes import read_volume
from kdrecon.errors import InputError
from kdrecon.physics.fourier import fft2
from kdrecon.storage.files import replacing
from kdrecon.storage.hdf5 import File, opened

NEEDED = "an .h5 file with kspace (S, H, W), complex, one channel, and mask, (H, W) or one value a line"


def read(path: Path) -> Scan:
    """A volume file with volfs, or measured k-space: kspace with its mask, or raw data in the ISMRMRD format.

    Raises:
        InputError: it is damaged, or holds neither; images that are undersampled already, for instance.
    """
    with opened(path) as file:
        if is_raw(file):
            values, mask, size = raw.kspace(file)
            return Scan(values, mask, lambda images, out, said: write_images(centred(images, size), out, said))
        if "kspace" in file:
            values, mask = _kspace(file)
            return Scan(values, mask, write_images)
        if "volfs" not in file:
            undersampled = [name for name in file.names if name.startswith(("img_volus", "kspace_volus"))]
            what = (
                f"undersampled images alone ({undersampled[0]})" if undersampled else f"no scan (found: {file.found})"
            )
            raise InputError(
                f"{path} holds {what}: expected fully sampled images, volfs, raw data in "
                f"the ISMRMRD format, or {NEEDED}"
            )
    images, attributes = read_volume(path)
    values, notes = checked(images * attributes["maximum"], str(path))
    return Scan(values, None, write_images, notes)


def write_images(images: np.ndarray, out: Path, said: dict[str, str]) -> None:
    """Write the dataset reconstruction (S, H, W), float32, with what is said of it as attributes."""
    with replacing(out) as temporary, h5py.File(temporary, "w", locking=False) as file:
        file.create_dataset("reconstruction", data=images, compression="gzip", shuffle=True)
        file.attrs.update(said)


def _kspace(file: File) -> tuple[np.ndarray, Tensor]:
    """Measured k-space (S, H, W), unshifted and orthonormal up to a factor, and its mask (H, W)."""
    if "mask" not in file:
        raise InputError(f"{file.path} has no mask: expected {NEEDED}; store which lines were measured, as mask")
    stored = file.kspace("kspace")
    shape = stored.shape[:1] + stored.shape[2:] if len(stored.shape) == 4 and stored.shape[1] == 1 else stored.shape
    shape = (1, *shape) if len(shape) == 2 else shape
    if stored.dtype.kind != "c" or len(shape) != 3 or 0 in shape:
        raise InputError(
            f"{file.path}: kspace is {stored.dtype} {stored.shape}: expected {NEEDED}; combine coils before"
        )
    k = stored[()].astype(np.complex64).reshape(shape)
    if not np.isfinite(k).all():
        raise InputError(f"{file.path}: kspace holds NaN or infinite values: expected none; measure or export it anew")
    mask = _mask(file, k)
    k *= mask
    middle = k[len(k) // 2][None]
    if (domain := domain_of(middle)) == "image":
        raise InputError(
            f"{file.path}: kspace has its energy neither in the middle nor at [0, 0]: expected k-space, not an image, "
            "with its centre measured"
        )
    if domain == "unshifted":
        return k, torch.from_numpy(mask)
    images = np.stack([fft2(coil_images(one[None]))[0].numpy() for one in k])
    return images, torch.from_numpy(np.fft.ifftshift(mask))


def _mask(file: File, k: np.ndarray) -> np.ndarray:
    """The mask (H, W), bool, in the order of k-space (S, H, W); of one value a line it is told by what was measured."""
    stored = file["mask"][()]
    if not np.isin(stored, (0, 1)).all() or not stored.any():
        raise InputError(f"{file.path}: mask holds other values than 0 and 1: expected 1 where k-space was measured")
    mask, size = np.squeeze(stored != 0), k.shape[1:]
    if mask.shape == size:
        return mask
    if mask.ndim == 1:
        measured = np.any(k, 0)
        for lines in (mask[None], mask[:, None]):  # columns, as fastMRI has them, or rows
            if lines.size == size[lines.shape[0] == 1] and not measured[~np.broadcast_to(lines, size)].any():
                return np.broadcast_to(lines, size).copy()
    raise InputError(
        f"{file.path}: mask is of shape {stored.shape} for k-space of {size}, or not where that was measured: expected "
        "(H, W), or one value a line, for the order in which kspace is stored"
    )
