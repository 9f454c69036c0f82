"""Raw Cartesian data in the ISMRMRD format, of one coil: read with the reader of data preparation.

>>> from pathlib import Path
>>> from kdrecon.app.scans.raw import kspace
>>> from kdrecon.storage.hdf5 import opened
>>> with opened(Path("scan.h5")) as file:  # doctest: +SKIP
...     y, mask, size = kspace(file)
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from data_prep import readouts
from data_prep.coils import coil_images, fit
from data_prep.header import reading
from data_prep.source import optional_import
from kdrecon.errors import InputError
from kdrecon.physics.fourier import fft2
from kdrecon.storage.hdf5 import File


def kspace(file: File) -> tuple[np.ndarray, Tensor, tuple[int, int]]:
    """Measured k-space of all slices, which lines were measured, and the size of the image.

    Oversampling of the readout is taken away here; that of the phase-encoding direction, whose lines the mask chooses among,
    has to be cut from the images.

    Returns:
        k-space (S, H, W), complex64, orthonormal, DC at [0, 0]; its mask (H, W), bool; (height, width) of the image.

    Raises:
        InputError: a damaged file, or one that is not two-dimensional, Cartesian and of one coil, with whole lines, the same
            ones in all images.
    """
    ismrmrd = optional_import("ismrmrd")
    with reading(file.path):
        readouts.header(file)
        encoding, lines = readouts.read_lines(ismrmrd, file)
        size, image = encoding.encodedSpace.matrixSize, encoding.reconSpace.matrixSize
        if (coils := lines[0].active_channels) != 1:
            raise InputError(f"{file.path} has {coils} coils: expected one; combine them before")
        if size.z != 1:
            raise InputError(
                f"{file.path} has {size.z} partitions: expected slices; transform the third axis to the image before"
            )
        height, width = min(image.y, size.y), min(image.x, size.x)
        found, masks = list[np.ndarray](), list[np.ndarray]()
        for k, sampled in readouts.assemble(ismrmrd, lines, encoding, file.path):
            found.append(fft2(fit(coil_images(k[0]), (size.y, width)))[0].numpy())
            masks.append(_measured(sampled[0], masks, file))
    mask = np.repeat(np.fft.ifftshift(masks[0])[:, None], width, axis=1)
    return np.stack(found), torch.from_numpy(mask), (height, width)


def _measured(sampled: np.ndarray, before: Sequence[np.ndarray], file: File) -> np.ndarray:
    """Which lines (H,) of an image were measured, of samples (H, W): whole ones, the same as in the images before."""
    lines = np.all(sampled, 1)
    if not np.array_equal(lines, np.any(sampled, 1)):
        raise InputError(
            f"{file.path} has lines that do not fill the encoded matrix, {sampled.shape[1]} samples: expected whole ones; "
            "fill up an asymmetric echo before"
        )
    if before and not np.array_equal(lines, before[0]):
        raise InputError(
            f"{file.path} has other lines in one image than in another: expected the same in all; store the images in "
            "files of their own"
        )
    return lines
