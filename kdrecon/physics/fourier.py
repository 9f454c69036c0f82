"""The two-dimensional discrete Fourier transform between image and k-space.

>>> import torch
>>> from kdrecon.physics.fourier import fft2, ifft2
>>> k = fft2(torch.ones(4, 6))
>>> round(k[0, 0].abs().item() ** 2, 3)
24.0
>>> torch.allclose(ifft2(k).real, torch.ones(4, 6))
True
"""

import torch
from torch import Tensor


def fft2(x: Tensor) -> Tensor:
    """Orthonormal 2-D DFT, X = F x with F^-1 = F^H, unshifted: DC sits at index [0, 0].

    Args:
        x: image (..., H, W), real or complex.

    Returns:
        k-space (..., H, W), complex.
    """
    return torch.fft.fft2(x, norm="ortho")


def ifft2(k: Tensor) -> Tensor:
    """Inverse of :func:`fft2`: image (..., H, W), complex, from unshifted k-space (..., H, W)."""
    return torch.fft.ifft2(k, norm="ortho")


def centred_fft2(x: Tensor) -> Tensor:
    """k-space of x (..., H, W) with DC in the middle, at [H // 2, W // 2]: for display only."""
    return torch.fft.fftshift(fft2(x), dim=(-2, -1))


def centred_ifft2(k: Tensor) -> Tensor:
    """Inverse of :func:`centred_fft2`: complex image (..., H, W) from k-space with DC in the middle."""
    return ifft2(torch.fft.ifftshift(k, dim=(-2, -1)))


def crop_kspace(x: Tensor, size: int) -> Tensor:
    """Image of a coarser scan: only the central size x size samples of k-space are kept.

    x_low = |F_low^-1 C F x| * size / sqrt(H W), C the central crop; the factor keeps the intensity of a constant
    image under the orthonormal transforms of both sizes.

    Args:
        x: magnitude image (..., H, W), float.
        size: side of the new square matrix, at most H and W.

    Returns:
        magnitude image (..., size, size), same dtype.

    Raises:
        ValueError: size is not between 1 and min(H, W).
    """
    height, width = x.shape[-2:]
    if not 1 <= size <= min(height, width):
        raise ValueError(f"size {size} does not fit: expected 1 to {min(height, width)}; choose a smaller resolution")
    top, left = height // 2 - size // 2, width // 2 - size // 2
    k = centred_fft2(x)[..., top : top + size, left : left + size]
    return centred_ifft2(k).abs() * (size / (height * width) ** 0.5)
