"""The blocks that the cascades of a network are made of.

>>> import torch
>>> from kdrecon.models.blocks import CNNBlock
>>> image, maps = CNNBlock(depth=3)(torch.rand(2, 1, 16, 16), taps={1})
>>> image.shape, maps[1].after.shape
(torch.Size([2, 1, 16, 16]), torch.Size([2, 32, 16, 16]))
"""

from collections.abc import Container
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Tap(NamedTuple):
    """Feature maps (B, C, H, W) of one convolution, before and after its ReLU (equal where there is none)."""

    before: Tensor
    after: Tensor


class ImageConv2d(nn.Conv2d):
    """A 3x3 convolution from an image of few channels, or to one; in training on a CPU in fp32 it is a matrix product.

    Where the image comes in, y = W unfold(x), with the 9 C neighbours of each pixel as rows; where it goes out, y =
    fold(W x), which adds up what each pixel gives to its 9 neighbours. Forwards and backwards together that takes half
    as long as the convolutions of PyTorch, which are made for many channels at both ends. Equal up to rounding.

    Args:
        in_channels: C_in.
        out_channels: C_out; the smaller of the two is the image.
        padding: zeros at each side, 0 to 2.
    """

    padding: tuple[int, int]

    def __init__(self, in_channels: int, out_channels: int, padding: int = 0):
        super().__init__(in_channels, out_channels, 3, padding=padding)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) -> (B, C_out, H + 2 padding - 2, W + 2 padding - 2)."""
        if not torch.is_grad_enabled() or x.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
            return super().forward(x)
        (padding, _), bias = self.padding, cast(Tensor, self.bias)
        height, width = (side + 2 * padding - 2 for side in x.shape[-2:])
        if self.in_channels < self.out_channels:
            weight = self.weight.flatten(1)
            pixels = torch.bmm(weight.expand(len(x), -1, -1), F.unfold(x, 3, padding=padding))
            return pixels.add_(bias[:, None]).unflatten(2, (height, width))
        weight = self.weight.flip(2, 3).permute(0, 2, 3, 1).flatten(0, 2)
        shares = torch.bmm(weight.expand(len(x), -1, -1), x.flatten(2))
        return F.fold(shares, (height, width), 3, padding=2 - padding) + bias[:, None, None]


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
        self.convs = _chain(depth, channels, width)
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


class VDSRBlock(nn.Module):
    """d convolutions of 3x3, 1 -> 64 -> ... -> 64 -> 1 channels, ReLU between them, and their input is added to the output.

    Each is a 'same' convolution: zeros are put round every feature map.

    Args:
        depth: number of convolutions d, at least 2.
        channels: of the image, 1; a complex one has 2.
        width: channels of the feature maps, 64.

    Source: Kim et al. 2016, there with d = 20.
    """

    def __init__(self, depth: int, channels: int = 1, width: int = 64):
        super().__init__()
        self.convs = _chain(depth, channels, width, padding=1)

    def forward(self, x: Tensor, taps: bool | Container[int] = False) -> tuple[Tensor, list[Tap | None]]:
        """Output image (B, 1, H, W) and a list over convolutions of maps (B, C, H, W) (None: not asked for)."""
        z, kept = x, []
        for j in range(len(self.convs)):
            before, z = self._convolved(j, z)
            kept.append(Tap(before, z) if _wanted(j, taps) else None)
        return x + z, kept

    def between(self, first: int, last: int, z: Tensor) -> Tensor:
        """Maps (B, C, H, W) after convolution ``last`` (from 1), from those after ``first`` (0: the image), nothing added."""
        for j in range(first, last):
            _, z = self._convolved(j, z)
        return z

    def _convolved(self, j: int, z: Tensor) -> tuple[Tensor, Tensor]:
        """What convolution j (from 0) makes of its input, before and after its ReLU."""
        before = self.convs[j](z)
        return before, F.relu(before) if j < len(self.convs) - 1 else before


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
        first, last = ImageConv2d(channels, width, 1), nn.Conv2d(3 * width, width, 3, padding=1)
        self.convs = nn.ModuleList([first, last, ImageConv2d(width, channels, 1)])
        self.coarse = nn.ModuleList(nn.Conv2d(c, 2 * width, 3, padding=1) for c in (width, 2 * width))
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


class AuthorsUNetBlock(nn.Module):
    """The U-Net of three poolings in the first author's public folders; its input is added to its output.

    1 -> 32 | half: 64 | quarter: 128 | eighth: 128 | quarter: 128 + 128 -> 64 | half: 64 + 64 -> 32 | full: 32 + 32 -> 32,
    each one 3x3 convolution, instance normalisation and ReLU; then 1x1 convolutions 32 -> 16 -> 1 -> 1 with nothing between
    them. Down by the maximum over 2x2, up bilinearly. A side that 8 does not divide is padded with zeros and cropped, which
    is ours.

    Its tapped convolutions are the first, the last of 3x3, and the output; the middle ones of a block have normalised maps.

    Args:
        channels: of the image, 1; a complex one has 2.
        width: channels of the feature maps at full resolution, 32.
    """

    def __init__(self, channels: int = 1, width: int = 32):
        super().__init__()
        pairs = [(channels, 1 * width), (width, 2 * width), (2 * width, 4 * width), (4 * width, 4 * width)]
        first, *down = (nn.Conv2d(a, b, 3, padding=1) for a, b in pairs)
        up = [nn.Conv2d(2 * a * width, b * width, 3, padding=1) for a, b in ((4, 2), (2, 1), (1, 1))]
        tail = [nn.Conv2d(a, b, 1) for a, b in ((width, width // 2), (width // 2, channels), (channels, channels))]
        self.convs = nn.ModuleList([first, up.pop(), tail.pop()])
        self.down, self.up, self.tail = nn.ModuleList(down), nn.ModuleList(up), nn.Sequential(*tail)

    def forward(self, x: Tensor, taps: bool | Container[int] = False) -> tuple[Tensor, list[Tap | None]]:
        """Output image (B, 1, H, W) and a list over the three tapped convolutions of maps (B, C, H, W)."""
        h, w = x.shape[-2:]
        first, last, output = self.convs
        a = F.instance_norm(first(F.pad(x, [0, -w % 8, 0, -h % 8])))
        skips = [F.relu(a)]
        for conv in self.down:
            skips.append(F.relu(F.instance_norm(conv(F.max_pool2d(skips[-1], 2)))))
        z = skips.pop()
        for conv in (*self.up, last):
            z = F.interpolate(z, scale_factor=2, mode="bilinear", align_corners=False)
            b = F.instance_norm(conv(torch.cat([skips.pop(), z], dim=1)))
            z = F.relu(b)
        c = output(self.tail(z))
        maps = ((m[..., :h, :w] for m in pair) for pair in ((a, F.relu(a)), (b, z), (c, c)))
        kept = [Tap(*pair) if _wanted(j, taps) else None for j, pair in enumerate(maps)]
        return x + c[..., :h, :w], kept


def _chain(depth: int, channels: int, width: int, padding: int = 0) -> nn.ModuleList:
    """Convolutions of 3x3 from an image to an image."""
    widths = [channels, *[width] * (depth - 1), channels]
    first, *inner, last = zip(widths, widths[1:])
    between = (nn.Conv2d(*pair, 3, padding=padding) for pair in inner)
    return nn.ModuleList([ImageConv2d(*first, padding), *between, ImageConv2d(*last, padding)])


def _wanted(conv: int, taps: bool | Container[int]) -> bool:
    return taps if isinstance(taps, bool) else conv in taps
