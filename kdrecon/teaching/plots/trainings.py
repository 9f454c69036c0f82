"""What a training does: its curves, the start of its loss terms, and where its gradients go.

>>> from kdrecon.teaching.plots.trainings import block_gradients
>>> figure = block_gradients([1.0, 0.5], [2.0, 0.1])
>>> len(figure.axes)
2
"""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from kdrecon.teaching.plots.colours import TERM_COLOURS, colour, style

ARROW = {"arrowstyle": "->", "color": "0.3", "lw": 1.2}


def curves(history: pd.DataFrame, terms: list[str] | None = None, title: str = "") -> Figure:
    """Loss terms and validation L1 over the epochs, logarithmic axis.

    Args:
        history: as :func:`kdrecon.training.loop.fit` returns it.
        terms: the columns to draw besides validation_l1; by default all loss terms.
    """
    fixed = {"epoch", "lr", "total", "seconds"}
    terms = terms or [name for name in map(str, history) if name not in fixed and not name.startswith("validation_")]
    with style():
        figure, ax = plt.subplots(figsize=(6, 3.2), layout="constrained")
        for term in terms:
            tone, width = TERM_COLOURS.get(term), 3.5 if term == "teacher" else 1.5  # its branches lie on it
            ax.plot(history.epoch, history[term], marker="o", ms=3, label=f"training: {term}", color=tone, lw=width)
        ax.plot(history.epoch, history.validation_l1, "k--", marker="s", ms=3, label="validation L1")
        ax.set(xlabel="epoch", ylabel="loss", yscale="log", title=title)
        ax.locator_params("x", integer=True)
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
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
            marker, dashes, width = "osD^vP"[k % 6], ("-", "--", "-.", ":")[k % 4], 1.5 if k else 2.5
            paler = 0.6 * kinds[:k].count(kinds[k]) / kinds.count(kinds[k])
            tone = paler + (1 - paler) * np.array(to_rgb(kinds[k]))
            ax.plot(history.epoch, history.validation_l1, dashes, color=tone, lw=width, marker=marker, ms=4, label=name)
        ax.set(xlabel="epoch", ylabel="validation L1")
        ax.locator_params("x", integer=True)
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


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


def _chain(ax: Axes, y: float, letter: str, blocks: Sequence[int] | np.ndarray, face: str, end: str) -> None:
    for k in blocks:
        ax.text(k + 1, y, f"{letter}{k + 1}", ha="center", va="center", weight="bold", fontsize=12,
                bbox={"boxstyle": "round,pad=0.45", "fc": face, "ec": "none"})  # fmt: skip
        _arrow(ax, (k + 1.22, y), (k + 1.78, y))
    ax.text(max(blocks) + 1.82, y, end, va="center", fontsize=13)


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    ax.annotate("", end, start, arrowprops=ARROW | {"shrinkA": 0, "shrinkB": 0}, zorder=1)
