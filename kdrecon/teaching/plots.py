"""Every figure that is used twice, in one style: images and k-space grey, perceptual maps, one colour a kind of network."""

from contextlib import AbstractContextManager

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from kdrecon import metrics

# Okabe & Ito's colours, which colour-blind readers can tell apart; "SFT teacher" and the like go by their first words.
COLOURS = {
    "zero-filled": "#999999",
    "teacher": "#0072B2",
    "student": "#E69F00",
    "Std-KD": "#009E73",
    "SFT-KD": "#CC79A7",
    "SFT teacher": "#56B4E9",
}
STYLE = {
    "figure.dpi": 100,
    "savefig.dpi": 100,
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "image.interpolation": "nearest",
}


def style() -> AbstractContextManager:
    """The style of all figures, as a context: ``with plots.style(): ...``."""
    return plt.rc_context(STYLE)


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
                _bare(ax)
        for ax, title in zip(axes[0], titles or []):
            ax.set_title(title)
    return figure


def lines(
    x, curves: dict[str, list], xlabel: str, ylabel: str, xscale: str = "linear", mark_best: bool = False
) -> Figure:
    """Curves over one axis, labelled at their right end; mark_best puts a dot on each one's maximum."""
    with style():
        figure, ax = plt.subplots(figsize=(6, 3.2), layout="constrained")
        for (name, values), tone in zip(curves.items(), np.linspace(0, 0.6, len(curves))):
            ax.plot(x, values, color=str(tone))
            ax.annotate(name, (x[-1], values[-1]), xytext=(6, 0), textcoords="offset points", va="center")
            if mark_best:
                best = int(np.argmax(values))
                ax.plot(x[best], values[best], "o", color=str(tone))
        ax.set(xlabel=xlabel, ylabel=ylabel, xscale=xscale)
    return figure


def log_magnitude(k: np.ndarray) -> np.ndarray:
    """log10(|k| + 1e-4) of k-space, to be drawn in grey: its centre is thousands of times brighter than its periphery."""
    return np.log10(np.abs(k) + 1e-4)


def curves(history: pd.DataFrame, terms: list[str] | None = None, title: str = "") -> Figure:
    """Loss terms and validation L1 over the epochs, logarithmic axis.

    Args:
        history: as :func:`kdrecon.training.loop.fit` returns it.
        terms: the columns to draw besides validation_l1; by default all loss terms.
    """
    fixed = {"epoch", "lr", "total", "seconds"}
    terms = terms or [name for name in history if name not in fixed and not name.startswith("validation_")]
    with style():
        figure, ax = plt.subplots(figsize=(6, 3.2), layout="constrained")
        for term in terms:
            line = {"color": TERM_COLOURS.get(term), "lw": 3.5 if term == "teacher" else 1.5}  # its branches lie on it
            ax.plot(history.epoch, history[term], marker="o", ms=3, label=f"training: {term}", **line)
        ax.plot(history.epoch, history.validation_l1, "k--", marker="s", ms=3, label="validation L1")
        ax.set(xlabel="epoch", ylabel="loss", yscale="log", title=title)
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


TERM_COLOURS = {
    "reconstruction": "#999999",
    "distillation": "#009E73",
    "teacher": COLOURS["SFT teacher"],
    "student": COLOURS["student"],
    "imitation": "#882255",
}
ARROW = {"arrowstyle": "->", "color": "0.3", "lw": 1.2}


def colour(name: str) -> str:
    """The colour of a network by its name: "Std-KD AT" is drawn in the colour of "Std-KD"."""
    return next(c for key, c in COLOURS.items() if name.startswith(key))


def map_rows(
    rows: dict[str, np.ndarray],
    columns: list[str],
    label: str,
    cmap: str = "magma",
    cells: dict | None = None,
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
                _bare(ax)
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
        for part, (title, pair) in zip(np.atleast_1d(figure.subfigures(1, len(pairs))), pairs.items()):
            axes = part.subplots(1, 2)
            low, high = min(m.min() for m in pair), max(m.max() for m in pair)
            for ax, name, matrix in zip(axes, ("teacher", "student"), pair):
                shown = ax.imshow(matrix, cmap="viridis", vmin=low, vmax=high)
                ax.set(title=name, xlabel=columns)
                _bare(ax)
            axes[0].set_ylabel(rows)
            part.colorbar(shown, ax=axes, fraction=0.05, pad=0.02)
            part.suptitle(title)
    return figure


def validation_curves(histories: dict[str, pd.DataFrame]) -> Figure:
    """Validation L1 of several networks over the epochs; networks of a kind are shades of its colour.

    Args:
        histories: network's name -> its history, as :func:`kdrecon.training.loop.fit` returns it.
    """
    with style():
        figure, ax = plt.subplots(figsize=(8, 3.4), layout="constrained")
        kinds = [colour(name) for name in histories]
        for k, (name, history) in enumerate(histories.items()):
            line = {"marker": "osD^vP"[k % 6], "ls": ("-", "--", "-.", ":")[k % 4], "lw": 1.5 if k else 2.5}
            paler = 0.6 * kinds[:k].count(kinds[k]) / kinds.count(kinds[k])
            tone = paler + (1 - paler) * np.array(to_rgb(kinds[k]))
            ax.plot(history.epoch, history.validation_l1, color=tone, ms=4, label=name, **line)
        ax.set(xlabel="epoch", ylabel="validation L1")
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def start_bars(start: pd.DataFrame) -> Figure:
    """Size and gradient norm of the two terms of a distillation loss, for each method.

    Args:
        start: a row a method; columns reconstruction, distillation (the terms of the loss) and
            gradient_reconstruction, gradient_distillation (L2 norms).
    """
    panels = {"loss term": "", "gradient norm (L2, student's weights)": "gradient_"}
    with style():
        figure, axes = plt.subplots(1, 2, figsize=(10, 0.9 + 0.55 * len(start)), layout="constrained", sharey=True)
        for ax, (title, prefix) in zip(axes, panels.items()):
            for k, term in enumerate(("reconstruction", "distillation")):
                values = start[prefix + term]
                bars = ax.barh(np.arange(len(start)) + 0.36 * k, values, 0.34, color=TERM_COLOURS[term], label=term)
                ax.bar_label(bars, [f"{v:.2g}" for v in values], padding=3, fontsize=8)
            ax.set(title=title, xlabel="value")
            ax.margins(x=0.18)
        axes[0].set_yticks(np.arange(len(start)) + 0.18, start.index)
        axes[0].invert_yaxis()
        axes[1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def unfolding(passes: np.ndarray, teacher: str = "teacher", student: str = "student") -> Figure:
    """Teacher with unfolded student branches, drawn from which student block moves which branch.

    Args:
        passes: (branches, cascades) bool, True where the branch passes that student block.
        teacher, student: names of the architectures.
    """
    n = passes.shape[1]
    with style():
        figure, ax = plt.subplots(figsize=(10, 0.75 * (len(passes) + 1) + 0.6), layout="constrained")
        for k in np.flatnonzero(passes.any(0)):
            rows = np.flatnonzero(passes[:, k])
            ax.add_patch(Rectangle((k + 0.72, -rows.max() - 1.38), 0.56, np.ptp(rows) + 0.76, color="0.9", zorder=0))
        _arrow(ax, (0.3, 0), (0.78, 0))
        ax.text(0.24, 0, "$x_u$", ha="right", va="center", fontsize=13)
        _chain(ax, 0, "T", range(n), colour("SFT teacher"), "$x_T$")
        for i, branch in enumerate(passes):
            blocks = np.flatnonzero(branch)
            ax.plot([blocks[0] + 0.5] * 2, [0, -i - 1], color=ARROW["color"], lw=ARROW["lw"], zorder=0)
            ax.plot(blocks[0] + 0.5, 0, "o", ms=4, color=ARROW["color"])
            _arrow(ax, (blocks[0] + 0.5, -i - 1), (blocks[0] + 0.78, -i - 1))
            _chain(ax, -i - 1, "S", blocks, colour("student"), f"$x_{{S,{i + 1}}}$")
        unused = [f"S{k + 1}" for k in np.flatnonzero(~passes.any(0))]
        if unused:
            ax.text(0.3, -len(passes), f"in no branch: {', '.join(unused)}", color="0.3", va="center")
        ax.set(xlim=(0, n + 1.1), ylim=(-len(passes) - 0.5, 0.5))
        ax.set_title(
            f"teacher {teacher} (light blue), branches of student {student} (orange); same grey ground: same block"
        )
        ax.axis("off")
    return figure


def _chain(ax, y, letter, blocks, face, end):
    for k in blocks:
        ax.text(k + 1, y, f"{letter}{k + 1}", ha="center", va="center", weight="bold", fontsize=12,
                bbox={"boxstyle": "round,pad=0.45", "fc": face, "ec": "none"})  # fmt: skip
        _arrow(ax, (k + 1.22, y), (k + 1.78, y))
    ax.text(max(blocks) + 1.82, y, end, va="center", fontsize=13)


def _arrow(ax, start, end):
    ax.annotate("", end, start, arrowprops=ARROW | {"shrinkA": 0, "shrinkB": 0}, zorder=1)


def block_gradients(teacher: list[float], student: list[float]) -> Figure:
    """Gradient norm of every block of an SFT training, one bar a block, logarithmic axis.

    Args:
        teacher, student: L2 norms of T1..TN and S1..SN; 0 is labelled "none".
    """
    norms = np.array([*teacher, *student])
    low, high = norms[norms > 0].min() / 10, norms.max() * 10
    with style():
        figure, axes = plt.subplots(1, 2, figsize=(9, 3), layout="constrained", sharey=True)
        for ax, letter, name, values in zip(axes, "TS", ("SFT teacher", "student"), (teacher, student)):
            places = np.arange(len(values))
            ax.bar(places, values, color=colour(name))
            for x, v in zip(places, values):
                ax.text(x, max(v, low) * 1.2, f"{v:.1e}" if v else "none", ha="center", va="bottom", fontsize=9)
            ax.set_xticks(places, [f"{letter}{k + 1}" for k in places])
            ax.set(title=f"{name} blocks", yscale="log", ylim=(low, high))
        axes[0].set_ylabel("gradient norm (L2)")
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
            ax[0].set_title(name if name == "target" else f"{name}\n{metrics.psnr(target, image):.2f} dB")
            ax[1].imshow(image[inset], **grey)
            if name != "target":
                shown = ax[2].imshow(residues[name], cmap="magma", vmin=0, vmax=scale)
            for part in ax:
                _bare(part)
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


def box_plots(scores: dict[str, pd.DataFrame], reference: str) -> Figure:
    """PSNR of the slices, a box a network, and beside it the difference to the reference, slice by slice.

    A box has the median, the quartiles, and whiskers to 1.5 interquartile ranges.

    Args:
        scores: network's name -> a row a slice, as :func:`kdrecon.results.evaluate` returns it, the slices in one order.
        reference: name of the network that is subtracted.
    """
    alone = {name: table.psnr for name, table in scores.items()}
    paired = {name: psnr - alone[reference] for name, psnr in alone.items()}
    with style():
        size = (11.2, 1.2 + 0.32 * len(scores))
        figure, axes = plt.subplots(1, 2, figsize=size, layout="constrained", sharey=True)
        for ax, values in zip(axes, (alone, paired)):
            boxes = ax.boxplot(
                list(values.values()), orientation="horizontal", patch_artist=True,
                widths=0.65, medianprops={"color": "black"}, flierprops={"markersize": 3},
            )  # fmt: skip
            for box, name in zip(boxes["boxes"], scores):
                box.set_facecolor(colour(name))
        axes[0].set_xlabel("PSNR per slice (dB)")
        axes[1].axvline(0, color="0.6", lw=1, zorder=0)
        axes[1].set_xlabel(f"PSNR minus that of the {reference}, slice by slice (dB)")
        axes[0].set_yticks(range(1, len(scores) + 1), list(scores))
        axes[0].invert_yaxis()
        counts = sorted({len(table) for table in scores.values()})
        figure.suptitle(f"{' or '.join(map(str, counts))} slices of the evaluation split")
    return figure


def quality_against_speed(ms: dict[str, float], psnr: dict[str, float]) -> Figure:
    """Mean PSNR of networks against the time that each takes for a slice; networks of a kind share a colour.

    Diamonds are networks that were trained without distillation.

    Args:
        ms: network's name -> milliseconds a slice.
        psnr: the same names -> mean PSNR in dB.
    """
    with style():
        figure, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
        for kind, tone in COLOURS.items():
            names = [name for name in ms if colour(name) == tone]
            if names:
                values = [[table[name] for name in names] for table in (ms, psnr)]
                distilled = "KD" in kind
                look = {"marker": "o" if distilled else "D", "edgecolor": "white" if distilled else "black"}
                ax.scatter(*values, s=60, color=tone, label=kind, zorder=2 if distilled else 3, **look)
        ax.set(xlabel="time a slice (ms)", ylabel="mean PSNR (dB)", xlim=(0, 1.15 * max(ms.values())))
        ax.set_title("to the left is faster, up is better")
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def distillation_gains(standard: dict[str, float], friendly: dict[str, float], lines: dict[str, float]) -> Figure:
    """PSNR of each method with the standard and with the student-friendly teacher, beside other networks.

    Args:
        standard, friendly: method -> mean PSNR in dB of Std-KD and of SFT-KD.
        lines: network's name -> mean PSNR in dB, drawn as vertical lines.
    """
    with style():
        figure, ax = plt.subplots(figsize=(8, 1.4 + 0.45 * len(standard)), layout="constrained")
        for name, value in lines.items():
            ax.axvline(value, color=colour(name), lw=1.5, ls="--", label=name, zorder=0)
        for row, method in enumerate(standard):
            ax.plot([standard[method], friendly[method]], [row, row], color="0.7", lw=2, zorder=1)
        for name, values in (("Std-KD", standard), ("SFT-KD", friendly)):
            ax.scatter(list(values.values()), range(len(values)), s=60, color=colour(name), label=name, zorder=2)
        ax.set_yticks(range(len(standard)), list(standard))
        ax.invert_yaxis()
        ax.margins(y=0.15)
        ax.set(xlabel="mean PSNR (dB)", title="Std-KD and SFT-KD, method by method")
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _bare(ax):
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
