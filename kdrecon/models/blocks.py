"""The blocks that the cascades of a network are made of.

>>> import torch
>>> from kdrecon.models.blocks import CNNBlock
>>> image, maps = CNNBlock(depth=3)(torch.rand(2, 1, 16, 16), taps={1})
>>> image.shape, maps[1].after.shape
(torch.Size([2, 1, 16, 16]), torch.Size([2, 32, 16, 16]))
"""

from collections.abc import Container
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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
        channels: of the image, 1; a complex one has 2.
        width: channels of the feature maps, 32.
    """

    def __init__(self, depth: int, residual: bool = False, channels: int = 1, width: int = 32):
        super().__init__()
        widths = [channels, *[width] * (depth - 1), channels]
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3) for a, b in zip(widths, widths[1:]))
        self.residual = residual

    def forward(self, x: Tensor, taps: bool | Container[int] = False) -> tuple[Tensor, list[Tap | None]]:
        """Output image (B, 1, H, W) and a list over convolutions of maps cropped to H x W (None: not asked for)."""
        depth = len(self.convs)
        z, kept = F.pad(x, [depth] * 4), []
        for j, conv in enumerate(self.convs):
            before = conv(z)
            z = F.relu(before) if j < depth - 1 else before
            margin = [j + 1 - depth] * 4
            kept.append(Tap(F.pad(before, margin), F.pad(z, margin)) if _wanted(j, taps) else None)
        return (x + z if self.residual else z), kept


class UNetBlock(nn.Module):
    """A U-Net of two scales, 32 channels at full and 64 at half resolution, with a skip connection; 'same' convolutions.

    1 -> 32 | half: 32 -> 64 -> 64 | full: 32 + 64 -> 32 -> 1, all 3x3, a ReLU after each but the last. Down by the maximum
    over 2x2 (an odd side counts its last row alone), up by repetition, cropped to the size before.

    Its tapped convolutions are the three at full resolution, so that it counts as a block of depth 3: the middle one
    gives the last map of 32 channels. SFT-KD-Recon distils from a network of this name and does not define it; this is ours.

    Args:
        residual: add the block's input to its output.
        channels: of the image, 1; a complex one has 2.
        width: channels of the feature maps at full resolution, 32, and twice as many at half resolution.
    """

    def __init__(self, residual: bool = False, channels: int = 1, width: int = 32):
        super().__init__()
        full, half = (
            ((channels, width), (3 * width, width), (width, channels)),
            ((width, 2 * width), (2 * width, 2 * width)),
        )
        self.convs, self.coarse = (
            nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in widths) for widths in (full, half)
        )
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
        pairs = enumerate(((a, skip), (b, z), (c, c)))
        return (x + c if self.residual else c), [Tap(*pair) if _wanted(j, taps) else None for j, pair in pairs]


def _wanted(conv: int, taps: bool | Container[int]) -> bool:
    return taps if isinstance(taps, bool) else conv in taps
