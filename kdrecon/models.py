"""DC-CNN and DC-UNet: a cascade of small convolutional networks, each followed by a data-fidelity layer."""

import re
from collections.abc import Container, Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdrecon.errors import InputError, shown
from kdrecon.fidelity import DataFidelity, Measurement

CHANNELS = 32
UNET, UNET_CASCADES = "DC-UNet", 5


class Tap(NamedTuple):
    """Feature maps (B, C, H, W) of one convolution, before and after its ReLU (equal where there is none)."""

    before: Tensor
    after: Tensor


class CNNBlock(nn.Module):
    """d convolutions of 3x3, 1 -> 32 -> ... -> 32 -> 1 channels, ReLU between them and none after the last.

    The image is zero-padded by d once and every convolution is 'valid', so the block sees zeros outside the image
    but its feature maps are never padded again.

    Args:
        depth: number of convolutions d, at least 2.
        residual: add the block's input to its output (KD-MRI's figure; the released code has none).
    """

    def __init__(self, depth: int, residual: bool = False):
        super().__init__()
        widths = [1, *[CHANNELS] * (depth - 1), 1]
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3) for a, b in zip(widths, widths[1:]))
        self.residual = residual

    def forward(self, x: Tensor, taps: bool | Container[int] = False) -> tuple[Tensor, list[Tap | None]]:
        """Output image (B, 1, H, W) and a list over convolutions of maps cropped to H x W (None: not asked for)."""
        depth = len(self.convs)
        z, kept = F.pad(x, [depth] * 4), []
        for j, conv in enumerate(self.convs):
            before = conv(z)
            z = F.relu(before) if j < depth - 1 else before
            wanted = taps is True or (taps and j in taps)
            margin = [j + 1 - depth] * 4
            kept.append(Tap(F.pad(before, margin), F.pad(z, margin)) if wanted else None)
        return (x + z if self.residual else z), kept


class UNetBlock(nn.Module):
    """A U-Net of two scales, 32 channels at full and 64 at half resolution, with a skip connection; 'same' convolutions.

    1 -> 32 | half: 32 -> 64 -> 64 | full: 32 + 64 -> 32 -> 1, all 3x3, a ReLU after each but the last. Down by the maximum
    over 2x2 (an odd side counts its last row alone), up by repetition, cropped to the size before.

    Its tapped convolutions are the three at full resolution, so that it counts as a block of depth 3: the middle one
    gives the last map of 32 channels. SFT-KD-Recon distils from a network of this name and does not define it; this is ours.

    Args:
        residual: add the block's input to its output.
    """

    def __init__(self, residual: bool = False):
        super().__init__()
        c = CHANNELS
        self.convs = nn.ModuleList(nn.Conv2d(*widths, 3, padding=1) for widths in ((1, c), (3 * c, c), (c, 1)))
        self.coarse = nn.ModuleList(nn.Conv2d(*widths, 3, padding=1) for widths in ((c, 2 * c), (2 * c, 2 * c)))
        self.residual = residual

    def forward(self, x: Tensor, taps: bool | Container[int] = False) -> tuple[Tensor, list[Tap | None]]:
        """Output image (B, 1, H, W) and a list over the three full-resolution convolutions of maps (B, C, H, W)."""
        h, w = x.shape[-2:]
        first, last, output = self.convs
        a = first(x)
        skip = F.relu(a)
        z = F.max_pool2d(skip, 2, ceil_mode=True)
        for conv in self.coarse:
            z = F.relu(conv(z))
        b = last(torch.cat([skip, F.interpolate(z, scale_factor=2)[..., :h, :w]], dim=1))
        z = F.relu(b)
        c = output(z)
        kept = [
            Tap(*pair) if taps is True or (taps and j in taps) else None
            for j, pair in enumerate(((a, skip), (b, z), (c, c)))
        ]
        return (x + c if self.residual else c), kept


class DCCNN(nn.Module):
    """c cascades of a CNN block and data fidelity, x_k = DF(CNN_k(x_{k-1}), y), from the zero-filled image x_0 = x_u.

    Args:
        name: of the architecture, see :func:`dc_cnn`.
        blocks: one a cascade, :class:`CNNBlock` or :class:`UNetBlock`.
        fidelity: "real" or "hermitian" (see :class:`kdrecon.fidelity.DataFidelity`).

    Source: Schlemper et al. 2018; architecture table of SFT-KD-Recon.
    """

    def __init__(self, name: str, blocks: Iterable[nn.Module], fidelity: str = "real"):
        super().__init__()
        self.name = name
        self.blocks = nn.ModuleList(blocks)
        self.fidelity = DataFidelity(fidelity)

    @property
    def depth(self) -> int:
        """Tapped convolutions of a block."""
        return len(self.blocks[0].convs)

    def forward(self, x_u: Tensor, y: Tensor, mask: Tensor, taps: bool | Container[int] = False):
        """Reconstruct a batch.

        Args:
            x_u: zero-filled images (B, 1, H, W), float32.
            y: measured k-space (B, 1, H, W), complex64, unshifted; ignored off the mask.
            mask: (H, W), bool.
            taps: True, or the indices (from 0) of the convolutions whose maps are wanted.

        Returns:
            x_rec (B, 1, H, W); with taps also nested lists: ``taps[cascade][conv]`` is a :class:`Tap` of (B, C, H, W)
            maps, or None for a convolution that was not asked for.
        """
        measurement = self.fidelity.measure(y, mask)
        x, all_taps = x_u, []
        for k in range(len(self.blocks)):
            x, kept = self.cascade(k, x, measurement, taps)
            all_taps.append(kept)
        return (x, all_taps) if taps else x

    def cascade(self, k: int, x: Tensor, measurement: Measurement, taps: bool | Container[int] = False):
        """One cascade (k from 0): block k, then data fidelity. Returns (x, taps of the block)."""
        x, kept = self.blocks[k](x, taps)
        return self.fidelity.apply_to(x, measurement), kept


def dc_cnn(name: str, fidelity: str = "real", residual: bool = False) -> DCCNN:
    """The DC-CNN called DdCc: c cascades of d convolutions; D5C5 is the paper's teacher, D3C5 its student.

    Args:
        name: such as "D5C5" (141,765 parameters), "D4C5" (95,525), "D3C5" (49,285), "D2C5" (3,045); or "DC-UNet" (418,565),
            five cascades of :class:`UNetBlock`.
        fidelity: "real" or "hermitian".
        residual: residual connection round each block.

    Returns:
        the network with PyTorch's default initialisation.

    Raises:
        InputError: see :func:`network_shape`.
    """
    depth, cascades = network_shape(name)
    blocks = (UNetBlock(residual) if name == UNET else CNNBlock(depth, residual) for _ in range(cascades))
    return DCCNN(name, blocks, fidelity)


def network_shape(name: str) -> tuple[int, int]:
    """Tapped convolutions of a block and cascades, (d, c), of a network by its name: "D5C5" -> (5, 5).

    Raises:
        InputError: the name is neither "DC-UNet" nor DdCc with d of 2 to 99 and c of 1 to 99.
    """
    if name == UNET:
        return 3, UNET_CASCADES
    match = re.fullmatch(r"D([0-9]{1,2})C([0-9]{1,2})", name if isinstance(name, str) else "")
    if not match or int(match[1]) < 2 or int(match[2]) < 1:
        raise InputError(
            f"network name {shown(name)}: expected DdCc with d >= 2 and c >= 1, both below 100, such as 'D5C5' or 'D3C5', "
            f"or {UNET!r}"
        )
    return int(match[1]), int(match[2])


def count_parameters(model: nn.Module) -> int:
    """Number of trainable values in the model."""
    return sum(p.numel() for p in model.parameters())


class ZeroFilled(nn.Module):
    """The baseline in a network's clothes: returns the zero-filled image x_u it is given."""

    name = "zero_filled"

    def forward(self, x_u: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        return x_u
