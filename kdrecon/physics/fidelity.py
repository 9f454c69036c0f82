"""Data fidelity: what was measured is put back into the image that a network proposes.

All modes are one real-valued correction, x_rec = x_cnn + w (x_y - P x_cnn), where P is a real, symmetric,
shift-invariant operator: F^-1 D F with a symmetric diagonal D. For a line mask P acts along the phase-encoding axis
only and is a real N x N matrix; for any other mask half a spectrum (rfft2) is enough.

=============  =======================================  ====================================================
mode           D                                        x_y
=============  =======================================  ====================================================
``real``       M_s = (M + mirror of M) / 2              Re F^-1 M y
``hermitian``  M_u = M or mirror of M                   F^-1 of y on Omega and its conjugate on -Omega
``none``       0                                        0
=============  =======================================  ====================================================

>>> import torch
>>> from kdrecon.physics.fidelity import DataFidelity
>>> from kdrecon.physics.sampling import mask_for, undersample
>>> x, mask = torch.rand(1, 1, 64, 64), mask_for("mrbrain", "4x", (64, 64))
>>> x_u, y = undersample(x, mask)
>>> layer = DataFidelity("hermitian")
>>> once = layer(x_u, y, mask)
>>> torch.allclose(layer(once, y, mask), once, atol=1e-5)
True
"""

import math
from typing import NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor, nn

from kdrecon.choices import FIDELITIES
from kdrecon.physics.fourier import ifft2
from kdrecon.physics.sampling import check_mask, line_axis, mirror

State = TypeVar("State")


class Measurement(Protocol[State]):
    """A measurement as a network asks for it; :class:`DataFidelity` is that of magnitude images from one coil.

    Another one, such as that of complex images from several coils, has the same members and is handed to
    :class:`kdrecon.models.dccnn.DCCNN`. Networks carry the state from cascade to cascade and do not look into it.

    Attributes:
        mode: its name; networks that are trained together have the same.
    """

    mode: str

    def measure(self, y: Tensor, mask: Tensor) -> State:
        """What all cascades of one reconstruction share, from k-space y and a mask (H, W)."""

    def apply_to(self, x_cnn: Tensor, measured: State) -> Tensor:
        """The proposal x_cnn (B, C, H, W) of a block, held to what was measured."""

    def repeat(self, measured: State, times: int) -> State:
        """The state of a batch that holds the B measured images ``times`` times over, one batch behind the other."""


class Measured(NamedTuple):
    """What all data-fidelity layers of one reconstruction share."""

    image: Tensor  # x_y (B, 1, H, W)
    operator: Tensor  # P: (H, H), (W, W) or, for a general mask, D on the half spectrum (H, W // 2 + 1)
    axis: int | None  # phase-encoding axis of a line mask; None: general mask


class DataFidelity(nn.Module):
    """Data-fidelity layer for magnitude images, without parameters.

    x_rec = x_cnn + lam / (1 + lam) (x_y - P x_cnn); lam = inf is the noiseless limit with weight 1.

    ``real`` is what taking the real part after the inverse DFT computes: exact where k and -k are both sampled,
    (X_cnn + Y) / 2 elsewhere on Omega, hence not a projection. ``hermitian`` knows that a real image fixes -k with k:
    idempotent, and exact on Omega and -Omega. y off Omega is never used. ``none`` leaves x_cnn as it is, and y unread.

    With a finite lam neither is the real image that minimises |x - x_cnn|^2 + lam |M F x - y|^2, where k is measured and -k
    is not. There the minimum weighs y with lam / (2 + lam), for the image has the line twice and y has it once; ``real``
    weighs it with lam / (2 + 2 lam), ``hermitian`` with lam / (1 + lam). Where both are measured all three agree.

    Args:
        mode: "real", "hermitian" or "none".
        lam: confidence in the measurement, > 0; inf for noiseless data.

    Raises:
        ValueError: unknown mode, lam not positive, or (in a call) mask and image sizes differ.

    Source: Schlemper et al. 2018, eq. 7 (noisy form); SFT-KD-Recon, section 3.
    """

    def __init__(self, mode: str = "real", lam: float = math.inf):
        super().__init__()
        if mode not in FIDELITIES:
            raise ValueError(f"data fidelity mode {mode!r} is unknown: expected one of {', '.join(FIDELITIES)}")
        if not lam > 0:
            raise ValueError(f"lam = {lam}: expected a number above 0, or inf for noiseless data")
        self.mode, self.lam = mode, lam
        self._prepared: tuple = (None, 0, None, None, None)
        self.weight = 0.0 if mode == "none" else 1.0 if math.isinf(lam) else lam / (1 + lam)

    def forward(self, x_cnn: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        """Reconstruction (B, 1, H, W) from x_cnn (B, 1, H, W) float, y (B, 1, H, W) complex and mask (H, W) bool."""
        return self.apply_to(x_cnn, self.measure(y, mask))

    def measure(self, y: Tensor, mask: Tensor) -> Measured:
        """x_y and P of a measurement y (B, 1, H, W) on mask (H, W): computed once for all cascades."""
        check_mask(mask, y.shape[-2:])
        m, m_mirrored = mask.to(y.real.dtype), mirror(mask).to(y.real.dtype)
        y = torch.where(mask, y, 0)
        if self.mode == "none":
            diagonal, image = torch.zeros_like(m), torch.zeros_like(y.real)
        elif self.mode == "real":
            diagonal = (m + m_mirrored) / 2
            image = ifft2(y).real
        else:
            diagonal = torch.maximum(m, m_mirrored)
            image = ifft2((y + mirror(y).conj()) / (m + m_mirrored).clamp(min=1)).real
        return Measured(image, *self._operator(mask, diagonal))

    def _operator(self, mask: Tensor, diagonal: Tensor) -> tuple[Tensor, int | None]:
        """P and the phase-encoding axis, found once for a mask: a GPU would wait each time its values are looked at."""
        known, *state = self._prepared[:3]
        if known is not mask or state != [mask._version, diagonal.dtype]:
            axis = line_axis(mask)
            if axis is None:
                operator = diagonal[:, : diagonal.shape[1] // 2 + 1]
            else:
                operator = _circulant(diagonal[:, 0] if axis == 0 else diagonal[0])
            self._prepared = mask, mask._version, diagonal.dtype, operator, axis
        return self._prepared[3:]

    def repeat(self, measured: Measured, times: int) -> Measured:
        """x_y of a batch that holds the B measured images ``times`` times over, (times B, 1, H, W), and the same P."""
        return measured._replace(image=measured.image.repeat(times, 1, 1, 1))

    def apply_to(self, x_cnn: Tensor, measured: Measured) -> Tensor:
        """x_cnn + w (x_y - P x_cnn) for an already prepared measurement, in the measurement's precision."""
        image, operator, axis = measured
        if not self.weight:
            return x_cnn.to(image.dtype)
        with torch.autocast(x_cnn.device.type, enabled=False):
            x_cnn = x_cnn.to(image.dtype)
            if axis == 0:
                projected = operator @ x_cnn
            elif axis == 1:
                projected = x_cnn @ operator
            else:
                spectrum = torch.fft.rfft2(x_cnn, norm="ortho") * operator
                projected = torch.fft.irfft2(spectrum, s=x_cnn.shape[-2:], norm="ortho")
            return x_cnn + self.weight * (image - projected)

    def extra_repr(self) -> str:
        """Its settings, as print shows them."""
        return f"mode={self.mode!r}, lam={self.lam}"


def _circulant(diagonal: Tensor) -> Tensor:
    """F^-1 diag(d) F along one axis as a real symmetric matrix (N, N), for a d (N,) with d[k] = d[-k]."""
    n = len(diagonal)
    response = torch.fft.ifft(diagonal.double()).real.to(diagonal.dtype)
    index = torch.arange(n, device=diagonal.device)
    return response[(index[:, None] - index[None]) % n]
