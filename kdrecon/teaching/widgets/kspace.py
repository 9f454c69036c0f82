"""What is measured, and what a region of k-space holds.

>>> import torch
>>> from kdrecon.teaching.widgets.kspace import undersampling_figure
>>> figure = undersampling_figure(torch.rand(64, 64), acceleration=4.0)
>>> len(figure.axes) > 1
True
"""

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from kdrecon.metrics import PSNR
from kdrecon.physics.fourier import centred_fft2, fft2, ifft2
from kdrecon.physics.sampling import acceleration_factor, gaussian_mask, line_mask, mirror, undersample
from kdrecon.teaching.plots.pictures import log_magnitude
from kdrecon.teaching.widgets.explorer import Explorer, Panel, Panels, choice, draw, slider, span

MASKS = {"random lines": "line", "regular lines": "regular", "random points": "gaussian"}
REGIONS = ("disc", "square", "rows", "columns")


def undersampling_figure(
    x: Tensor, acceleration: float = 4.0, centre_lines: int | None = None, mask_type: str = "line", seed: int = 0
) -> Figure:
    """Mask, measured k-space, zero-filled image and error for a generated mask.

    Args:
        x: image (H, W).
        acceleration: 1 or more.
        centre_lines: of the fully sampled centre; by default as in the published masks.
        mask_type: "line" (random), "regular" (every n-th line, and the centre besides) or "gaussian" (points).
        seed: of the mask.
    """
    return draw(_undersampling(x)(acceleration, centre_lines, mask_type, seed))


def undersampling_explorer(x: Tensor) -> Explorer:
    """:func:`undersampling_figure` with controls."""
    controls = {
        "acceleration": slider("acceleration", 4.0, 1, 12, 0.5),
        "centre_lines": slider("centre lines", min(10, x.shape[0] // 8), 0, x.shape[0] // 4),
        "mask_type": choice("mask", MASKS),
        "seed": slider("seed", 0, 0, 20),
    }
    return Explorer(_undersampling(x), controls)


def _undersampling(x: Tensor) -> Panels:
    top, scale = float(x.max()), _log_limits(x)

    def panels(acceleration: float, centre_lines: int | None, mask_type: str, seed: int) -> list[Panel]:
        mask = _mask((x.shape[0], x.shape[1]), mask_type, acceleration, centre_lines, seed)
        x_u, y = undersample(x, mask)
        return [
            Panel(f"mask, {acceleration_factor(mask):.2f}-fold", np.fft.fftshift(mask.numpy()), (0, 1)),
            Panel("measured k-space", log_magnitude(np.fft.fftshift(y.numpy())), scale, label="log10 |y|"),
            Panel(f"zero-filled, {PSNR.quantity(x, x_u)}", x_u.numpy(), (0, top)),
            Panel("error", (x - x_u).abs().numpy(), (0, 0.3 * top), "magma", "|x - x_u|"),
        ]

    return panels


def _mask(shape: tuple[int, int], mask_type: str, acceleration: float, centre: int | None, seed: int) -> Tensor:
    if mask_type != "regular":
        make = line_mask if mask_type == "line" else gaussian_mask
        return make(shape, acceleration, seed=seed, centre=centre)
    centre = centre or 0
    mask = torch.zeros(shape, dtype=torch.bool)
    mask[torch.arange(0, shape[0], acceleration).long()] = True
    mask[torch.arange(-(centre // 2), centre - centre // 2)] = True
    return mask


def brush_figure(
    x: Tensor, keep: bool = True, region: str = "disc", row: int = 0, column: int = 0, size: int = 12
) -> Figure:
    """The image that is left when a region of k-space is all that is kept, or is erased, and what is missing then.

    For a real image a sample and its mirror image are one piece of information, so the region is kept or erased
    together with its point mirror.

    Args:
        x: image (H, W).
        keep: True keeps the region alone, False erases it.
        region: "disc", "square", "rows" or "columns".
        row, column: its centre, counted from DC.
        size: radius of the disc, half the side of the square, half the number of rows or columns.
    """
    return draw(_brush(x)(keep, region, row, column, size))


def kspace_brush(x: Tensor) -> Explorer:
    """:func:`brush_figure` with controls."""
    height, width = x.shape
    controls = {
        "keep": choice("", {"keep the region": True, "erase the region": False}),
        "region": choice("region", REGIONS),
        "row": slider("row", 0, -height // 2, height // 2 - 1),
        "column": slider("column", 0, -width // 2, width // 2 - 1),
        "size": slider("size", 12, 1, max(height, width) // 2),
    }
    return Explorer(_brush(x), controls)


def _brush(x: Tensor) -> Panels:
    k, scale = fft2(x), _log_limits(x)
    rows, columns = (torch.fft.fftfreq(n, 1 / n) for n in x.shape)

    def panels(keep: bool, region: str, row: int, column: int, size: int) -> list[Panel]:
        down, right = (rows - row).abs()[:, None].expand(x.shape), (columns - column).abs()[None].expand(x.shape)
        inside = {
            "disc": down**2 + right**2 < size**2,
            "square": torch.maximum(down, right) < size,
            "rows": down < size,
            "columns": right < size,
        }[region]
        inside = inside | mirror(inside)
        kept = k * (inside if keep else ~inside)
        image = ifft2(kept).real
        missing = (x - image).abs()
        energy = float(kept.abs().square().sum() / k.abs().square().sum())
        share = float((inside if keep else ~inside).float().mean())
        shown = log_magnitude(np.fft.fftshift(kept.numpy()))
        return [
            Panel(f"{share:.2%} of k-space, {energy:.2%} of the energy", shown, scale, label="log10 |X|"),
            Panel(f"image, {PSNR.quantity(x, image)}", image.numpy(), span(image), label="intensity"),
            Panel("what is missing", missing.numpy(), span(missing), "magma", "|x - image|"),
        ]

    return panels


def _log_limits(x: Tensor) -> tuple[float, float]:
    shown = log_magnitude(centred_fft2(x).numpy())
    return float(np.percentile(shown, 1)), float(shown.max())
