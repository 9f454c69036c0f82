"""Images, k-space and maps side by side.

>>> import numpy as np
>>> from kdrecon.teaching.plots.pictures import images
>>> figure = images({"target": np.zeros((8, 8)), "zero-filled": np.ones((8, 8))})
>>> [axes.get_title() for axes in figure.axes[:2]]
['target', 'zero-filled']
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from kdrecon.metrics import PSNR
from kdrecon.teaching.plots.colours import bare, style


def images(columns: dict[str, np.ndarray], cmap: str = "gray", label: str = "", same_scale: bool = True) -> Figure:
    """Images side by side, on one colour scale unless same_scale is False; with a label also a colour bar.

    Args:
        columns: title -> image (H, W).
    """
    with style():
        width = min(12, 2.6 * len(columns) + (0.6 if label else 0))
        figure, axes = plt.subplots(1, len(columns), figsize=(width, 3.1), layout="constrained", squeeze=False)
        low = min(float(np.min(image)) for image in columns.values()) if same_scale else None
        high = max(float(np.max(image)) for image in columns.values()) if same_scale else None
        for ax, (title, image) in zip(axes[0], columns.items()):
            shown = ax.imshow(image, cmap=cmap, vmin=low, vmax=high)
            ax.set_title(title)
            ax.set_axis_off()
        if label:
            figure.colorbar(shown, ax=axes, label=label, fraction=0.05, pad=0.01)
    return figure


def strips(rows: dict[str, np.ndarray], titles: list[str] | None = None) -> Figure:
    """Strips of images, a row each, every image on its own grey scale from 0.

    Args:
        rows: name -> images (n, H, W).
        titles: of the columns.
    """
    with style():
        columns = max(len(stack) for stack in rows.values())
        figure, axes = plt.subplots(
            len(rows), columns, figsize=(min(12, 1.9 * columns), 2 * len(rows)), layout="constrained", squeeze=False
        )
        for row, (name, stack) in zip(axes, rows.items()):
            row[0].set_ylabel(name)
            for ax, image in zip(row, stack):
                ax.imshow(image, cmap="gray", vmin=0)
            for ax in row:
                bare(ax)
        for ax, title in zip(axes[0], titles or []):
            ax.set_title(title)
    return figure


def map_rows(
    rows: dict[str, np.ndarray],
    columns: list[str],
    label: str,
    cmap: str = "magma",
    cells: dict[str, list[str]] | None = None,
) -> Figure:
    """Maps in a grid on one colour scale: a row for each name, a column for each map.

    Args:
        rows: name -> maps (n, H, W) of one row, at least 0.
        columns: n titles.
        label: what the colour bar shows.
        cells: name -> n short texts under the maps of that row.
    """
    with style():
        width = min(12, 2.1 * len(columns) + 0.8)
        size = (width, (width - 0.8) / len(columns) * len(rows) + (0.55 if cells else 0.35))
        figure, axes = plt.subplots(len(rows), len(columns), figsize=size, squeeze=False, layout="constrained")
        top = float(np.percentile(np.concatenate([np.ravel(maps) for maps in rows.values()]), 99.5))
        for row, (name, maps) in zip(axes, rows.items()):
            row[0].set_ylabel(name)
            for k, (ax, image) in enumerate(zip(row, maps)):
                shown = ax.imshow(image, cmap=cmap, vmin=0, vmax=top or 1)
                bare(ax)
                if cells and name in cells:
                    ax.set_xlabel(cells[name][k])
        for ax, title in zip(axes[0], columns):
            ax.set_title(title)
        figure.colorbar(shown, ax=axes, label=label, extend="max", fraction=0.05, pad=0.01)
    return figure


def matrix_pairs(pairs: dict[str, tuple[np.ndarray, np.ndarray]], rows: str, columns: str) -> Figure:
    """Square matrices of teacher and student side by side, each pair on its own colour scale.

    Args:
        pairs: title -> (matrix, matrix), both (n, n).
        rows, columns: what they stand for, such as "slice".
    """
    with style():
        size = (min(12, 5.2 * len(pairs)), 2.9)
        figure = plt.figure(figsize=size, layout="constrained")
        for part, (title, pair) in zip(figure.subfigures(1, len(pairs), squeeze=False)[0], pairs.items()):
            axes = part.subplots(1, 2)
            low, high = min(m.min() for m in pair), max(m.max() for m in pair)
            for ax, name, matrix in zip(axes, ("teacher", "student"), pair):
                shown = ax.imshow(matrix, cmap="viridis", vmin=low, vmax=high)
                ax.set(title=name, xlabel=columns)
                bare(ax)
            axes[0].set_ylabel(rows)
            part.colorbar(shown, ax=axes, fraction=0.05, pad=0.02)
            part.suptitle(title)
    return figure


def comparison(
    target: np.ndarray, reconstructions: dict[str, np.ndarray], zoom: tuple[int, int, int] | None = None
) -> Figure:
    """Target and reconstructions, a zoomed inset of each, and the residues on one colour scale.

    The residue is |target - reconstruction|; its scale ends at the median over the reconstructions of their
    99.5th percentiles.

    Args:
        target: (H, W).
        reconstructions: name -> (H, W).
        zoom: top row, left column and side of the inset in pixels; by default the window in the middle of the
            image where the first reconstruction errs most.
    """
    residues = {name: np.abs(target - image) for name, image in reconstructions.items()}
    top, left, side = zoom or _worst_window(next(iter(residues.values())))
    inset = (slice(top, top + side), slice(left, left + side))
    scale = float(np.median([np.percentile(r, 99.5) for r in residues.values()])) or 1.0
    images = {"target": target, **reconstructions}
    with style():
        columns = len(images)
        width = min(12, 2.0 * columns + 0.6)
        size = (width, 3 * (width - 0.6) / columns * target.shape[0] / target.shape[1] + 0.6)
        figure, axes = plt.subplots(3, columns, figsize=size, layout="constrained", squeeze=False)
        for ax, (name, image) in zip(axes.T, images.items()):
            grey = {"cmap": "gray", "vmin": 0, "vmax": float(target.max())}
            ax[0].imshow(image, **grey)
            ax[0].add_patch(Rectangle((left - 0.5, top - 0.5), side, side, fill=False, ec="#F0E442", lw=1.2))
            ax[0].set_title(name if name == "target" else f"{name}\n{PSNR.quantity(target, image)}")
            ax[1].imshow(image[inset], **grey)
            if name != "target":
                shown = ax[2].imshow(residues[name], cmap="magma", vmin=0, vmax=scale)
            for part in ax:
                bare(part)
        axes[0, 0].set_ylabel("image")
        axes[1, 0].set_ylabel("zoom")
        axes[2, 0].set_ylabel("residue")
        bar = figure.colorbar(shown, ax=axes[2, 1:], extend="max", fraction=0.1 / len(reconstructions), pad=0.005)
        bar.set_label("|target - image|")
    return figure


def _worst_window(residue: np.ndarray) -> tuple[int, int, int]:
    height, width = residue.shape
    side = min(height, width) // 4
    middle = residue[height // 4 : height - height // 4, width // 4 : width - width // 4]
    means = np.lib.stride_tricks.sliding_window_view(middle, (side, side)).mean(axis=(2, 3))
    row, column = np.unravel_index(means.argmax(), means.shape)
    return height // 4 + int(row), width // 4 + int(column), side


def log_magnitude(k: np.ndarray) -> np.ndarray:
    """log10(|k| + 1e-4) of k-space, to be drawn in grey: its centre is thousands of times brighter than its periphery."""
    return np.log10(np.abs(k) + 1e-4)
