"""Measured k-space against the images it belongs to: sizes, convention, normalisation, mask.

>>> from data_prep.measurement import CONVENTIONS
>>> list(CONVENTIONS)[0]
'unshifted'
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kdrecon.errors import InputError
from kdrecon.physics.fourier import fft2, ifft2

CONVENTIONS = {  # name: (DC in the middle of k-space?, middle of the image taken as origin?)
    "unshifted": (False, False),
    "centred, DC in the middle": (True, False),
    "centred, DC and origin of the image in the middle": (True, True),
    "unshifted, origin of the image in the middle": (False, True),
}
Tell = Callable[[str], None]
"""What takes the text of a fault."""


@dataclass(frozen=True)
class Spectrum:
    """k-space as a file stores it.

    Attributes:
        stored: (S, H, W), complex64.
        sampled: (H, W), bool, where it is not zero.
        convention: a name of :data:`CONVENTIONS`.
        norm: what the transform was divided by.
        factor: by which it differs from the orthonormal one.
    """

    stored: Tensor
    sampled: Tensor
    convention: str
    norm: str
    factor: float

    @property
    def mask(self) -> Tensor:
        """Where it is sampled, with DC at [0, 0]."""
        return torch.fft.ifftshift(self.sampled) if CONVENTIONS[self.convention][0] else self.sampled

    @property
    def zero_filled(self) -> Tensor:
        """Its inverse transform (S, H, W), complex64, upright and in the scale of the images."""
        centred, moved = CONVENTIONS[self.convention]
        image = ifft2((torch.fft.ifftshift(self.stored, dim=(-2, -1)) if centred else self.stored) / self.factor)
        return torch.fft.fftshift(image, dim=(-2, -1)) if moved else image


def check_measured(
    x: Tensor, arrays: dict[str, np.ndarray], acceleration: str, usual: Callable[[], tuple], fault: Tell
) -> Spectrum | None:
    """Check k-space, zero-filled images and mask of one acceleration against the images.

    Args:
        x: (S, H, W), float32.
        arrays: of the file, by name.
        acceleration: with which the names end.
        usual: what to ask for the mask (H, W), the first of what it returns, where the file stores none.
        fault: takes what is wrong.

    Returns:
        the k-space, None where there is none or none that belongs to the images.
    """
    images, kspace, stored = (f"{name}_{acceleration}" for name in ("img_volus", "kspace_volus", "mask"))
    volume = (*x.shape[1:], len(x))
    for name, shape in ((images, volume), (kspace, volume), (stored, volume[:2])):
        if name in arrays and (wrong := _misfit(arrays[name], shape)):
            fault(f"{name} {wrong}; prepare the data set anew")
            return None
    mask = _stored_mask(stored, arrays[stored], fault) if stored in arrays else None
    spectrum = _spectrum(kspace, arrays[kspace], x, fault) if kspace in arrays else None
    if not spectrum:
        return None
    try:
        mask, expected = (usual()[0], "the mask kdrecon uses") if mask is None else (mask, "the stored mask")
    except InputError as error:
        fault(str(error))
        return spectrum
    _check_sampled(spectrum.mask, mask, kspace, expected, fault)
    if images in arrays:
        _check_zero_filled(images, arrays[images], kspace, spectrum, fault)
    return spectrum


def _misfit(array: np.ndarray, shape: tuple[int, ...]) -> str:
    """What keeps an array from lying beside images: its shape, or values that are no numbers; "" for nothing."""
    if array.shape != shape:
        return f"is of shape {array.shape}: expected {shape} like volfs"
    with np.errstate(over="ignore"):
        finite = np.isfinite(array.astype(np.complex64)).all()
    return "" if finite else "holds values that are NaN or infinite: expected none"


def _stored_mask(name: str, stored: np.ndarray, fault: Tell) -> Tensor:
    mask = torch.from_numpy(stored != 0)
    if not mask[0, 0]:
        middle = mask[tuple(n // 2 for n in mask.shape)] and mask.float().mean() < 0.5
        remedy = "DC seems to be in the middle: np.fft.ifftshift it" if middle else "invert it"
        fault(f"{name} does not sample DC at [0, 0]: expected True where sampled, unshifted; {remedy}")
    return mask


def _spectrum(name: str, stored: np.ndarray, x: Tensor, fault: Tell) -> Spectrum | None:
    """k-space with its convention and norm, which are told where they are not the project's; None where it is not of x."""
    if not np.iscomplexobj(stored):
        fault(f"{name} is of dtype {stored.dtype}: expected complex k-space; store real and imaginary part")
        return None
    y = torch.from_numpy(np.moveaxis(stored, 2, 0).astype(np.complex64))
    sampled = (y.abs() > 1e-9 * y.abs().max()).any(0)
    if not sampled.any():
        fault(f"{name} is zero everywhere: expected the Fourier transform of volfs; prepare the data set anew")
        return None
    convention, scale, error = _convention(x, y, sampled)
    if error > 0.01:
        fault(
            f"{name} does not belong to volfs: expected its Fourier transform on the mask, the best of {len(CONVENTIONS)} "
            f"conventions is {error:.0%} off; prepare the data set anew"
        )
        return None
    spectrum = Spectrum(y, sampled, convention, *_normalisation(scale, x.shape[-2:]))
    if (spectrum.convention, spectrum.norm) != ("unshifted", "orthonormal"):
        steps = ["np.fft.ifftshift over its first two axes"] if CONVENTIONS[convention][0] else []
        steps += [f"a factor of {1 / spectrum.factor:.4g}"] if spectrum.factor != 1 else []
        fault(
            f"{name} is {convention}, {spectrum.norm}: expected unshifted, orthonormal k-space of volfs; apply "
            f"{' and '.join(steps) or 'the transform without moving the origin of the image'}"
        )
    return spectrum


def _check_zero_filled(name: str, stored: np.ndarray, kspace: str, spectrum: Spectrum, fault: Tell) -> None:
    if np.iscomplexobj(stored):
        fault(f"{name} is of dtype {stored.dtype}: expected real |F^-1 {kspace}|; prepare the data set anew")
        return None
    found = torch.from_numpy(np.moveaxis(stored, 2, 0).astype(np.float32))
    if _distance(found, spectrum.zero_filled.abs()) > 0.01:
        what = "its real part" if _distance(found, spectrum.zero_filled.real) < 0.01 else "something else"
        fault(f"{name} is {what}: expected |F^-1 {kspace}|, the zero-filled magnitude; prepare the data set anew")
    return None


def _convention(x: Tensor, y: Tensor, sampled: Tensor) -> tuple[str, float, float]:
    """The convention under which k-space y is nearest to a multiple of the spectrum of x: name, factor, relative error."""
    found = []
    for name, (dc, origin) in CONVENTIONS.items():
        full = fft2(torch.fft.ifftshift(x, dim=(-2, -1)) if origin else x)
        full = (torch.fft.fftshift(full, dim=(-2, -1)) if dc else full) * sampled
        scale = float((full.conj() * y).sum().real / full.abs().square().sum().clamp(min=1e-30))
        found.append((_distance(y, scale * full), name, scale))
        if found[-1][0] < 0.01:
            break
    error, name, scale = min(found)
    return name, scale, error


def _normalisation(scale: float, shape: tuple[int, ...]) -> tuple[str, float]:
    """What the transform was divided by, from its factor against the orthonormal one."""
    root = float(np.sqrt(np.prod(shape)))
    for name, factor in (
        ("orthonormal", 1.0),
        ("not normalised (NumPy's default)", root),
        ("divided by the number of pixels", 1 / root),
    ):
        if abs(scale / factor - 1) < 0.01:
            return name, factor
    return f"{scale:.4g} times the transform of volfs", scale


def _check_sampled(sampled: Tensor, mask: Tensor, name: str, expected: str, fault: Tell) -> None:
    share = f"{float(sampled.float().mean()):.1%} of k-space"
    if torch.equal(sampled, mask):
        return
    if torch.equal(sampled, ~mask):
        fault(
            f"{name} is sampled exactly where {expected} says it is not: expected True where sampled; invert the mask"
        )
    elif torch.equal(sampled, torch.fft.fftshift(mask)) or torch.equal(sampled, torch.fft.ifftshift(mask)):
        fault(
            f"{name} is sampled on {expected} moved by half its size: expected DC at [0, 0]; np.fft.ifftshift the mask"
        )
    elif sampled.all():
        fault(f"{name} is fully sampled: expected zeros off {expected}; multiply by the mask")
    else:
        away = int((sampled & ~mask).sum())
        remedy = (
            "prepare the data set anew"
            if expected == "the stored mask"
            else "store its mask under the name mask_... in the file"
        )
        fault(
            f"{name} samples {share}, {away} points off {expected}, which samples {float(mask.float().mean()):.1%}; {remedy}"
        )


def _distance(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm().clamp(min=1e-30))
