"""What networks reach: quality slice by slice, against speed, and with either teacher.

>>> from kdrecon.teaching.plots.scores import lines
>>> figure = lines([4, 5, 8], {"student": [34.0, 33.0, 30.0]}, "acceleration", "PSNR in dB")
>>> figure.axes[0].get_xlabel()
'acceleration'
"""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kdrecon.errors import InputError
from kdrecon.metrics import METRICS, PSNR
from kdrecon.results.names import PLACE
from kdrecon.teaching.plots.colours import COLOURS, colour, style


def lines(
    x: Sequence[float] | np.ndarray,
    curves: dict[str, list],
    xlabel: str,
    ylabel: str,
    xscale: str = "linear",
    mark_best: bool = False,
) -> Figure:
    """Curves over one axis, labelled at their right end; mark_best puts a dot on each one's maximum.

    Args:
        x: n values.
        curves: name -> n values.
    """
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
            _boxes(ax, values)
        axes[0].set_xlabel(f"{PSNR.title} per slice ({PSNR.unit})")
        axes[1].axvline(0, color="0.6", lw=1, zorder=0)
        axes[1].set_xlabel(f"{PSNR.title} minus that of the {reference}, slice by slice ({PSNR.unit})")
        axes[0].invert_yaxis()
        counts = sorted({len(table) for table in scores.values()})
        figure.suptitle(f"{' or '.join(map(str, counts))} slices of the evaluation split")
    return figure


def metric_boxes(scores: Mapping[str, pd.DataFrame], metrics: Sequence[str] = ("ssim", "mse")) -> Figure:
    """A box a network, a panel a metric; a box has the median, the quartiles, and whiskers to 1.5 interquartile ranges.

    Args:
        scores: network's name -> a row a slice.
        metrics: columns of the tables.
    """
    with style():
        size = (11.2, 1.0 + 0.32 * len(scores))
        figure, axes = plt.subplots(1, len(metrics), figsize=size, layout="constrained", sharey=True, squeeze=False)
        for ax, metric in zip(axes[0], metrics):
            _boxes(ax, {name: table[metric] for name, table in scores.items()})
            known = METRICS[metric]
            ax.set_xlabel(f"{known.heading} per slice, {'lower' if known.lower_is_better else 'higher'} is better")
        axes[0, 0].invert_yaxis()
    return figure


def _boxes(ax: Axes, values: Mapping[str, pd.Series]) -> None:
    """Horizontal boxes in the colours of the networks, the first one at the bottom, each beside its name."""
    boxes = ax.boxplot(
        list(values.values()), orientation="horizontal", patch_artist=True,
        widths=0.65, medianprops={"color": "black"}, flierprops={"markersize": 3},
    )  # fmt: skip
    for box, name in zip(boxes["boxes"], values):
        box.set_facecolor(colour(name))
    ax.set_yticks(range(1, len(values) + 1), list(values))


def effect_curves(compared: pd.DataFrame, against: str = "student") -> Figure:
    """PSNR minus that of a reference over the epochs of the training, with 95 % intervals; a panel a place.

    Controls are left out: their epochs are those of the networks that they are held against. Of several references of a
    network the first is taken, which is the fairest.

    Args:
        compared: the table of :func:`kdrecon.results.comparisons.comparisons`, or a comparisons.csv.
        against: which of its references.

    Raises:
        InputError: no network that has a difference to such a reference was trained for several numbers of epochs.
    """
    known = compared[(compared.against == against) & (compared.metric == PSNR.name) & compared.difference.notna()]
    known = known[known.curve.str.startswith(tuple(COLOURS))].drop_duplicates([*PLACE, "network"])
    several = known.groupby([*PLACE, "curve"]).epochs.transform("nunique") > 1
    if not several.any():
        raise InputError(
            f"no network with a difference to {against!r} has several numbers of epochs: expected a run with some, such as "
            "a study with epochs: [10, 30, 100]"
        )
    places = list(known[several].groupby(list(PLACE), sort=False))
    with style():
        size = (7, 0.4 + 3 * len(places))
        figure, axes = plt.subplots(len(places), 1, figsize=size, layout="constrained", squeeze=False, sharex=True)
        for ax, (place, here) in zip(axes[:, 0], places):
            for k, (name, curve) in enumerate(here.groupby("curve", sort=False)):
                curve = curve.sort_values("epochs")
                ends = np.abs(np.stack([curve[end] - curve.difference for end in ("low", "high")]))
                ax.errorbar(
                    curve.epochs * 1.02**k, curve.difference, ends, color=colour(str(name)), label=name,
                    marker="osD^vP"[k % 6], capsize=3,
                )  # fmt: skip
            ax.axhline(0, color="0.6", lw=1, zorder=0)
            ax.set(ylabel=f"{PSNR.title} minus {against} ({PSNR.unit})", xscale="log")
            ax.set_title(", ".join(map(str, place[:4])) if len(places) > 1 else "")
            ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
            ticks = sorted(set(here.epochs))
            ax.set_xticks(ticks, [f"{epochs:g}" for epochs in ticks])
            ax.minorticks_off()
        axes[-1, 0].set_xlabel("epochs of the network")
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
        ax.set(xlabel=f"mean {PSNR.heading}", title="Std-KD and SFT-KD, method by method")
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure
