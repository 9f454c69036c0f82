"""Scans through a network: measured k-space, or images whose k-space is simulated to try the network on.

>>> import numpy as np
>>> from kdrecon.deploy.deployed import open_deployed
>>> from kdrecon.deploy.reconstruction import reconstruct
>>> student = open_deployed("D2C5_student")
>>> result = reconstruct(student, np.random.default_rng(0).random((2, 48, 40), np.float32))
>>> result.images.shape, result.unlike[0]
((2, 48, 40), 'size: 48 x 40, in training 120 x 120')
"""

from dataclasses import dataclass

import numpy as np
import psutil
import torch
from torch import Tensor

from kdrecon.deploy.deployed import Deployed
from kdrecon.errors import InputError
from kdrecon.metrics import SMALLEST, psnr
from kdrecon.physics.fourier import fft2, ifft2
from kdrecon.physics.sampling import acceleration_factor, mirror, undersample

COPIES = 6  # of a scan that are in memory at once
BATCH = 4  # slices that are reconstructed at once
SHOWN = 4  # slices of the sheet
LOOKED_AT = 16  # slices that a scan is judged by
JUMP = 1.0  # of log energy from line to line, that one in ten of a zero-filled image exceeds and of no other
PHASE = 0.01  # share of the energy of k-space that no real image has, above which it is told


@dataclass(frozen=True)
class Reconstructed:
    """What became of a scan.

    Attributes:
        images: (S, H, W), float32, magnitudes in the scan's own scale.
        mask: (H, W), bool, of the measurement.
        shown: numbers of some slices; zero_filled: their zero-filled images (n, H, W).
        unlike: in what the scan differs from what the network was trained on.
        psnr: of simulated measurements, means of the shown slices in dB: zero-filled, reconstructed; () of measured ones.
    """

    images: np.ndarray
    mask: Tensor
    shown: list[int]
    zero_filled: np.ndarray
    unlike: list[str]
    psnr: tuple[float, ...] = ()

    @property
    def acceleration(self) -> float:
        """How many times fewer samples than full k-space were used."""
        return acceleration_factor(self.mask)


def reconstruct(
    deployed: Deployed, scan: np.ndarray, mask: Tensor | None = None, where: str = "the scan", full: bool = False
) -> Reconstructed:
    """Reconstruct all slices of a scan, a few at a time.

    Args:
        deployed: the network.
        scan: images (S, H, W), float32, fully sampled magnitudes, whose k-space is simulated and undersampled with the
            network's own mask; or, with a mask, k-space (S, H, W), complex64, orthonormal, DC at [0, 0].
        mask: (H, W), bool, of measured k-space.
        where: what a message calls the scan.
        full: images are taken for fully sampled without a look at them.

    Raises:
        InputError: images that look undersampled already, a scan that is too small or empty, a mask that the network is not
            exported for, or a network that gives NaN.
    """
    height, width = scan.shape[1:]
    if min(height, width) < SMALLEST:
        raise InputError(f"{where} has slices of {height} x {width}: expected at least {SMALLEST} x {SMALLEST}")
    if COPIES * scan.nbytes > psutil.virtual_memory().total:
        raise InputError(
            f"{where} takes {scan.nbytes / 2**30:.3g} GiB: expected at most a {COPIES}th of this machine's memory; "
            "cut it into several scans"
        )
    values, odd = torch.from_numpy(scan), list[str]()
    bright = values.abs().amax((1, 2))  # of an image or of k-space
    filled = (bright > 0.1 * bright.max()).nonzero()[:, 0].tolist()
    if not filled or not bright.isfinite().all():
        raise InputError(f"{where} is empty, or holds NaN: expected images; check the file")
    unit = float(bright.max())
    values = values / unit
    seen, shown = (_spread(filled, number) for number in (LOOKED_AT, SHOWN))
    if simulated := mask is None:
        if not full and lines_are_missing(values[seen]):
            raise InputError(
                f"{where} looks undersampled: expected fully sampled images, from which k-space is simulated; what a "
                "zero-filled magnitude image was made of is lost, so give the measured k-space: an .h5 file with kspace "
                "(S, H, W) and mask; or say --fully-sampled"
            )
        mask = deployed.data.mask_for((height, width))
        scale = float(values.max())
    else:
        values, share = without_phase(values, mask)
        odd = [f"phase: {share:.0%} of the energy is not that of a real image, in training none"] * (share > PHASE)
        scale = max(float(_observed(piece, mask)[0].max()) for piece in values.split(BATCH))
    values = values / scale
    pieces = (deployed.reconstruct(*_observed(piece, mask), mask) for piece in values.split(BATCH))
    found = torch.cat([piece[:, 0].clamp(min=0) for piece in pieces])
    zero_filled = _observed(values[shown], mask)[0][:, 0]
    gained: tuple[float, ...] = ()
    if simulated:
        gained = tuple(float(np.mean(psnr(values[shown], pair))) for pair in (zero_filled, found[shown]))
    *differing, anatomy = deployed.data.unlike(_observed(values[seen], mask)[0], mask)
    images, x_u = ((x * (scale * unit)).numpy() for x in (found, zero_filled))
    return Reconstructed(images, mask, shown, x_u, [*differing, *odd, anatomy], gained)


def lines_are_missing(images: Tensor) -> bool:
    """Whether rows or columns of the k-space of magnitude images (S, H, W) are emptier than their neighbours.

    In full k-space the energy of a line is near that of the next one; in that of a zero-filled image it jumps wherever a
    line was left out, also where the magnitude was taken. Points that are missing at random are not found.
    """
    energy = fft2(images).abs().square().mean(0)
    for axis in (0, 1):
        lines = energy.sum(1 - axis)[: energy.shape[axis] // 2 + 1]
        jumps = (lines + 1e-9 * lines.max()).log().diff().abs()
        if len(jumps) > 8 and float(jumps[1:].quantile(0.9)) > JUMP:
            return True
    return False


def without_phase(y: Tensor, mask: Tensor) -> tuple[Tensor, float]:
    """k-space (S, H, W) without the constant phase of each slice, and the share of energy that then is of no real image.

    Where k and -k are both measured, a real image has Y(-k) = conj Y(k).
    """
    both = mask & mirror(mask)
    a, b = torch.where(both, y, 0), torch.where(both, mirror(y), 0)
    turn = (a * b).sum((-2, -1)).angle() / 2
    turned = y * torch.polar(torch.ones_like(turn), -turn)[:, None, None]
    turned = turned * torch.where(turned[:, :1, :1].real < 0, -1, 1)
    a, b = torch.where(both, turned, 0), torch.where(both, mirror(turned), 0).conj()
    energy = float(a.abs().square().sum())
    return turned, float((a - b).abs().square().sum()) / (4 * energy) if energy else 0.0


def _observed(values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Zero-filled images and k-space (S, 1, H, W) of images or k-space (S, H, W)."""
    if not values.is_complex():
        return undersample(values[:, None], mask)
    y = values[:, None] * mask
    return ifft2(y).abs(), y


def _spread(numbers: list[int], most: int) -> list[int]:
    """At most so many of the numbers, evenly spaced."""
    if len(numbers) <= most:
        return numbers
    return [numbers[int((i + 0.5) * len(numbers) / most)] for i in range(most)]
