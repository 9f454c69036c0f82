"""Which k-space samples are measured: published and generated masks, and undersampling with them.

A mask is a bool tensor (H, W), True where k-space is sampled, unshifted: DC at [0, 0]. A line mask samples whole
lines along the phase-encoding axis and everything along the other one.

>>> from kdrecon.physics.sampling import acceleration_factor, mask_for
>>> mask = mask_for("cardiac", "4x", (150, 150))
>>> mask.shape, mask[0, 0].item()
(torch.Size([150, 150]), True)
>>> round(acceleration_factor(mask), 2)
4.05
"""

import math
import re
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from kdrecon.choices import MASK_TYPES
from kdrecon.errors import InputError, shown
from kdrecon.physics.datasets import FAMILY, published_lines, usual_size
from kdrecon.physics.fourier import fft2, ifft2

ACCELERATIONS = ("4x", "5x", "8x")


def published_mask(family: str, acceleration: str) -> Tensor:
    """One of the nine fixed Cartesian line masks published with KD-MRI and SFT-KD-Recon.

    Args:
        family: "cardiac" (150, 150), "mrbrain" (240, 240) or "knee" (640, 368; lines along axis 1).
        acceleration: "4x", "5x" or "8x". The names are nominal: knee "8x" is 7.36-fold.

    Returns:
        mask (H, W), bool.

    Raises:
        InputError: unknown family or acceleration.
    """
    try:
        entry = published_lines()[family][acceleration]
    except KeyError:
        raise InputError(
            f"no published mask {family!r} at {acceleration!r}: families are {', '.join(sorted(published_lines()))}, "
            f"accelerations {', '.join(ACCELERATIONS)}"
        ) from None
    return _from_lines(tuple(entry["shape"]), entry["axis"], entry["lines"])


def line_mask(
    shape: tuple[int, int], acceleration: str | float, axis: int = 0, seed: int = 0, centre: int | None = None
) -> Tensor:
    """Random Cartesian line mask of the density that the published brain and cardiac masks were drawn from.

    A block of lines round DC (for 10: -5 to +4); the rest is drawn without replacement from
    p(k) ~ exp(-k^2 / (2 (N / 10)^2)) + 1 / (2 acceleration); int(N / acceleration) lines in all, at least one.

    Args:
        shape: (H, W) of k-space.
        acceleration: "4x" or 4.0: how many times fewer lines than N are sampled.
        axis: the array axis along which lines are chosen (phase encoding).
        seed: equal seeds give equal masks.
        centre: lines of the centre block, at most all there are; by default 10, below 80 lines N // 8.

    Returns:
        mask (H, W), bool, DC at [0, 0].

    Raises:
        InputError: the acceleration is no factor of at least 1, or centre is negative.

    Source: the data scripts of the authors' group (Holistic-MRI-Reconstruction).
    """
    n, factor = shape[axis], _factor(acceleration)
    centre = min(10, n // 8) if centre is None else centre
    k = _frequencies(n)
    density = np.exp(-(k**2) / (2 * (n / 10) ** 2)) + 1 / (2 * factor)
    return _from_lines(shape, axis, _drawn_lines(density, max(int(n / factor), 1), centre, seed))


def normal_line_mask(shape: tuple[int, int], acceleration: str, axis: int = 0) -> Tensor:
    """The line mask (H, W) that a volume file of format version 1 is read with, where no published one fits.

    round(10 N / 150) centre lines, the rest from a normal density of 0.2 N; round(N / acceleration) lines in all.
    """
    n = shape[axis]
    density = np.exp(-0.5 * (_frequencies(n) / (0.2 * n)) ** 2)
    return _from_lines(
        shape, axis, _drawn_lines(density, round(n / _factor(acceleration)), round(10 * n / 150), seed=0)
    )


def gaussian_mask(
    shape: tuple[int, int], acceleration: str | float, seed: int = 0, centre: int | None = None
) -> Tensor:
    """Random 2-D mask: points drawn without replacement from a normal density around DC (0.2 N along each axis).

    A fully sampled centre square and round(H W / acceleration) points in all, more only if the square alone has more.
    Two phase-encoding directions, as in a 3-D scan.

    Args:
        shape: (H, W) of k-space.
        acceleration: "4x" or 4.0.
        seed: equal seeds give equal masks.
        centre: side of the centre square; by default round(10 N / 150), along each axis.

    Returns:
        mask (H, W), bool, DC at [0, 0].

    Raises:
        InputError: the acceleration is no factor of at least 1, or centre is negative.
    """
    height, width = shape
    budget = round(height * width / _factor(acceleration))
    rows, columns = map(_frequencies, shape)
    sides = (round(10 * n / 150) if centre is None else centre for n in shape)
    block = np.outer(*(_block(n, side) for n, side in zip(shape, sides)))
    density = np.exp(-0.5 * ((rows[:, None] / (0.2 * height)) ** 2 + (columns[None] / (0.2 * width)) ** 2))
    density = np.where(block, 0.0, density)
    rng = np.random.default_rng(seed)
    drawn = rng.choice(
        density.size, size=max(budget - block.sum(), 0), replace=False, p=(density / density.sum()).ravel()
    )
    block.ravel()[drawn] = True
    return torch.from_numpy(np.fft.ifftshift(block))


def lowpass_mask(shape: tuple[int, int], factor: str | float) -> Tensor:
    """The central block of k-space, all that an image of `factor` times larger pixels holds: super-resolution.

    Along each axis of N frequencies -n/2 <= k < n/2 with the even n that is nearest to N / factor (the larger of two), at
    least 2: a share of 1 / factor^2. Zeros round the block make the zero-filled image an interpolation by sinc.

    Args:
        shape: (H, W) of k-space.
        factor: "4x" or 4.0, along each axis.

    Returns:
        mask (H, W), bool, DC at [0, 0].

    Raises:
        InputError: no factor of at least 1.

    Source: the super-resolution folder of the code released with KD-MRI, which keeps 64 x 64 of 256 x 256.
    """
    sides = (max(2 * math.floor(n / _factor(factor) / 2 + 0.5), 2) for n in shape)
    rows, columns = (_block(n, side) for n, side in zip(shape, sides))
    return torch.from_numpy(np.fft.ifftshift(np.outer(rows, columns)))


def mask_for(
    dataset: str, acceleration: str, shape: tuple[int, int], mask_type: str = "line", format_version: int = 2
) -> Tensor:
    """The mask a data set is measured with: published where its size fits, else generated (seed 0).

    Args:
        dataset: data set name; it decides the family of published masks (sample, people and mrbrain: brain, cardiac and
            sunnybrook: cardiac, knee: knee).
        acceleration: "4x", "5x" or "8x"; the low-pass one takes any factor, along each axis.
        shape: (H, W) of the images.
        mask_type: "line", "gaussian" or "lowpass".
        format_version: of the volume files (:func:`generated_lines`).

    Returns:
        mask (H, W), bool.

    Raises:
        InputError: unknown acceleration or mask type.
    """
    if mask_type not in MASK_TYPES:
        raise InputError(f"mask type {mask_type!r} is unknown: expected one of {', '.join(MASK_TYPES)}")
    shape = (shape[0], shape[1])
    if mask_type == "lowpass":
        return lowpass_mask(shape, acceleration)
    if acceleration not in ACCELERATIONS:
        raise InputError(
            f"acceleration {acceleration!r} has no mask: expected one of {', '.join(ACCELERATIONS)}; for another one "
            f"store a bool array mask_{acceleration} (H, W) in the volume files"
        )
    if mask_type == "gaussian":
        return gaussian_mask(shape, acceleration)
    if usual_size(dataset) == shape:
        return published_mask(FAMILY[dataset], acceleration)
    return generated_lines(dataset, acceleration, shape, format_version)


def choose_mask(
    dataset: str, acceleration: str, shape: Sequence[int], mask_type: str, format_version: int = 2
) -> tuple[Tensor, str, bool]:
    """The mask (H, W) of a data set, what to call it, and whether it has to be stored to be found again on reading.

    Published line masks where they fit, generated ones otherwise, as in :func:`mask_for`; any other factor, such as "3x"
    or "1x" (everything is sampled), and Gaussian and low-pass masks are generated and stored.

    Raises:
        InputError: unknown mask type, or an acceleration that is no factor.
    """
    if mask_type not in MASK_TYPES:
        raise InputError(f"mask type {mask_type!r} is unknown: expected one of {', '.join(MASK_TYPES)}")
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?x", acceleration) or float(acceleration[:-1]) < 1:
        raise InputError(
            f"acceleration {shown(acceleration)}: expected a factor of at least 1 such as 4x, 5x, 8x or 2.5x"
        )
    size = shape[0], shape[1]
    if mask_type == "gaussian":
        return gaussian_mask(size, acceleration), f"gaussian {acceleration}, generated", True
    if mask_type == "lowpass":
        return lowpass_mask(size, acceleration), f"lowpass {acceleration}", True
    if acceleration not in ACCELERATIONS:
        return generated_lines(dataset, acceleration, size, format_version), f"line {acceleration}, generated", True
    mask, family = mask_for(dataset, acceleration, size, format_version=format_version), FAMILY.get(dataset)
    if family and torch.equal(mask, published_mask(family, acceleration)):
        return mask, f"{family} {acceleration}, published", False
    return mask, f"line {acceleration}, generated", False


def generated_lines(dataset: str, acceleration: str, shape: tuple[int, int], format_version: int = 2) -> Tensor:
    """The line mask (H, W) drawn for a data set (seed 0): for knee along axis 1, with 30 lines in the centre block.

    Args:
        dataset, acceleration, shape: as in :func:`mask_for`; any acceleration.
        format_version: of the volume files; those of version 1 keep the density they were made with.

    Raises:
        InputError: the acceleration is no factor of at least 1.
    """
    knee = FAMILY.get(dataset) == "knee"
    if format_version == 1:
        return normal_line_mask(shape, acceleration, axis=int(knee))
    return line_mask(shape, acceleration, axis=int(knee), centre=min(30, shape[1] // 8) if knee else None)


def undersample(x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Measure an image on the mask: y = M F x, and the zero-filled image x_u = |F^-1 y|.

    Args:
        x: image (..., H, W), float32.
        mask: (H, W), bool.

    Returns:
        x_u (..., H, W) float32 and y (..., H, W) complex64, zero off the mask.

    Raises:
        ValueError: mask and image sizes differ.
    """
    check_mask(mask, x.shape[-2:])
    y = fft2(x) * mask
    return ifft2(y).abs(), y


def check_mask(mask: Tensor, shape: Sequence[int]) -> None:
    """Raise ValueError unless mask is a bool tensor of the given shape (H, W)."""
    if tuple(mask.shape) != tuple(shape):
        raise ValueError(
            f"mask of {tuple(mask.shape)} on images of {tuple(shape)}: expected equal sizes; "
            "build the mask with sampling.mask_for(dataset, acceleration, images.shape[-2:])"
        )
    if mask.dtype != torch.bool:
        raise ValueError(f"mask of dtype {mask.dtype}: expected torch.bool, True where sampled; use mask.bool()")


def mirror(k: Tensor) -> Tensor:
    """Point mirror k -> -k of unshifted k-space: index [i, j] moves to [-i mod H, -j mod W]. Shape (..., H, W)."""
    return torch.roll(torch.flip(k, dims=(-2, -1)), shifts=(1, 1), dims=(-2, -1))


def acceleration_factor(mask: Tensor) -> float:
    """How many times fewer samples than full k-space: H W / |Omega|, for a mask (H, W)."""
    return mask.numel() / int(mask.sum())


def line_axis(mask: Tensor) -> int | None:
    """The phase-encoding axis of a line mask (H, W), along which its lines are chosen; None for a general mask."""
    if torch.equal(mask, mask[:, :1].expand_as(mask)):
        return 0
    if torch.equal(mask, mask[:1].expand_as(mask)):
        return 1
    return None


def _factor(acceleration: str | float) -> float:
    try:
        factor = float(str(acceleration).removesuffix("x"))
    except ValueError:
        factor = float("nan")
    if not factor >= 1:
        raise InputError(
            f"acceleration {acceleration!r} is not a factor: expected a number of at least 1, such as '4x'"
        )
    return factor


def _frequencies(n: int) -> np.ndarray:
    """The n frequencies of an axis in ascending order, DC at n // 2."""
    return np.arange(n) - n // 2


def _block(n: int, centre: int) -> np.ndarray:
    """Which of the ascending frequencies are in the centre block."""
    if centre < 0:
        raise InputError(
            f"centre = {centre}: expected a number of lines of at least 0; leave it out for the usual number"
        )
    k = _frequencies(n)
    return (k >= -(centre // 2)) & (k < centre - centre // 2)


def _drawn_lines(density: np.ndarray, budget: int, centre: int, seed: int) -> np.ndarray:
    """Unshifted indices of the centre block, at most the budget, and of the lines drawn beside it."""
    n, centre = len(density), min(centre, budget)
    block = _block(n, centre)
    chosen = np.flatnonzero(block)
    if budget > centre:
        density = np.where(block, 0.0, density)
        drawn = np.random.default_rng(seed).choice(n, budget - centre, replace=False, p=density / density.sum())
        chosen = np.concatenate([chosen, drawn])
    return _frequencies(n)[chosen] % n


def _from_lines(shape: tuple[int, int], axis: int, lines: ArrayLike) -> Tensor:
    line = torch.zeros(shape[axis], dtype=torch.bool)
    line[torch.as_tensor(np.asarray(lines))] = True
    return (line[:, None] if axis == 0 else line[None, :]).expand(shape).clone()
