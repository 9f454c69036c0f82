"""Images of the receive coils: from their k-space, cut to size, combined.

>>> import numpy as np
>>> from data_prep.coils import coil_images
>>> coil_images(np.ones((2, 8, 8), np.complex64)).shape
torch.Size([2, 8, 8])
"""

from collections.abc import Iterable

import numpy as np
import torch

from data_prep.source import Volume
from data_prep.steps import centred
from kdrecon.physics.fourier import fft2, ifft2


def coil_images(k: np.ndarray, centred: bool = True) -> torch.Tensor:
    """Complex images (C, H, W) of k-space (C, H, W) with DC in the middle, or at [0, 0]; the object in the middle."""
    measured = torch.from_numpy(np.array(k, np.complex64))
    if not centred:
        return ifft2(measured)
    return torch.fft.fftshift(ifft2(torch.fft.ifftshift(measured, dim=(-2, -1))), dim=(-2, -1))


def combine(slices: Iterable[torch.Tensor], voxel: tuple[float, ...], raw: bool) -> Volume:
    """Root-sum-of-squares over coils, x = sqrt(sum_c |x_c|^2), slice by slice.

    With raw also the k-space of the coils in the convention of the project: F x_c, orthonormal, DC at [0, 0], so that
    the root-sum-of-squares of F^-1 raw is the image before it is cropped.

    Args:
        slices: complex images (C, H, W) of the coils.
        voxel: see :class:`data_prep.source.Volume`.
        raw: whether to keep the k-space.
    """
    images, kept = [], []
    for coils in slices:
        images.append(coils.abs().square().sum(0).sqrt().numpy())
        kept += [fft2(coils).numpy()] if raw else []
    return Volume(np.stack(images), voxel, np.stack(kept) if raw else None)


def fit(coils: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Crop or zero-pad images (C, H, W) about their middle: takes the oversampling of the readout away."""
    return torch.from_numpy(np.ascontiguousarray(centred(coils.numpy(), size)))


def domain_of(coils: np.ndarray) -> str:
    """Whether a slice (C, H, W) is k-space, "centred" or "unshifted", or an "image": by where its energy is."""
    size = np.abs(coils)
    energy = ((size / max(size.max(), np.finfo(np.float32).tiny)) ** 2).sum(0)
    for domain, spectrum in (("centred", energy), ("unshifted", np.fft.fftshift(energy))):
        rows, columns = (slice(n // 2 - n // 16, n // 2 + n // 16 + 1) for n in energy.shape)
        if spectrum[rows, columns].sum() > 0.5 * energy.sum():
            return domain
    return "image"
