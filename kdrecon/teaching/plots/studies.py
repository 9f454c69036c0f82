"""What a study found: gains with their intervals, people one by one, and networks under other conditions.

>>> import pandas as pd
>>> from kdrecon.teaching.plots.studies import people
>>> figure = people(pd.DataFrame({"minus student": [0.5, 0.1]}, ["ann", "bob"]), "teacher")
>>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
['ann', 'bob']
"""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from kdrecon.metrics import PSNR
from kdrecon.teaching.plots.colours import colour, style

MARKERS = "osD^vP"
SHOWN = ("better", "worse")  # verdicts under which a marker is filled


def gains(panels: Mapping[str, pd.DataFrame], reference: str = "student") -> Figure:
    """PSNR minus that of a reference with 95 % intervals, a panel a question; filled markers where it is shown.

    Args:
        panels: title -> a row a comparison: columns x (what is varied, as text, in its order), name (a network, which gives
            the colour), difference, low, high, verdict.
        reference: what is subtracted, for the axis.
    """
    names = list(dict.fromkeys(name for panel in panels.values() for name in panel.name))
    with style():
        widths = [panel.x.nunique() + 0.8 for panel in panels.values()]
        figure, axes = plt.subplots(
            1, len(panels), figsize=(12, 3.6), sharey=True, layout="constrained", squeeze=False, width_ratios=widths
        )
        for ax, (title, panel) in zip(axes[0], panels.items()):
            _gains(ax, panel, names)
            ax.set_title(title)
        axes[0, 0].set_ylabel(f"{PSNR.title} minus {reference} ({PSNR.unit})")
        keys = [
            Line2D([], [], ls="", marker=MARKERS[k], color=colour(name), label=name) for k, name in enumerate(names)
        ]
        keys.append(Line2D([], [], ls="", marker="o", color="0.4", mfc="white", label="hollow: not shown"))
        figure.legend(handles=keys, loc="outside lower center", ncols=len(keys))
    return figure


def _gains(ax: Axes, panel: pd.DataFrame, names: Sequence[str]) -> None:
    """One panel of :func:`gains`: what is varied on the horizontal axis, the networks beside each other."""
    places = {x: k for k, x in enumerate(dict.fromkeys(panel.x))}
    present = [name for name in names if name in set(panel.name)]
    for k, name in enumerate(present):
        rows, shift = panel[panel.name == name], 0.2 * (k - (len(present) - 1) / 2)
        at = rows.x.map(places) + shift
        ax.plot(at, rows.difference, color=colour(name), lw=1, alpha=0.5)
        for x, gain, low, high, verdict in zip(at, rows.difference, rows.low, rows.high, rows.verdict):
            ax.plot([x, x], [low, high], color=colour(name), lw=1.5)
            face = colour(name) if verdict in SHOWN else "white"
            ax.plot(x, gain, MARKERS[names.index(name)], color=colour(name), mfc=face, ms=7)
    ax.axhline(0, color="0.6", lw=1, zorder=0)
    ax.set_xticks(range(len(places)), list(places))
    ax.set_xlim(-0.6, len(places) - 0.4)


def differences(panels: Mapping[str, pd.DataFrame], reference: str = "plain student") -> Figure:
    """PSNR minus that of a reference with 95 % intervals, a row a network, a panel a reference, on one axis.

    Args:
        panels: title -> a row a network: columns name (which gives the colour), difference, low, high.
        reference: what is subtracted, for the axis.
    """
    with style():
        rows = max(map(len, panels.values()))
        size = (5 * max(len(panels), 2), 1.1 + 0.34 * rows)
        figure, axes = plt.subplots(1, len(panels), figsize=size, sharex=True, layout="constrained", squeeze=False)
        for ax, (title, panel) in zip(axes[0], panels.items()):
            for row, (name, gain, low, high) in enumerate(zip(panel.name, panel.difference, panel.low, panel.high)):
                ax.plot([low, high], [row, row], color=colour(name), lw=3, solid_capstyle="butt")
                ax.plot(gain, row, "o", color=colour(name), ms=7)
            ax.axvline(0, color="0.6", lw=1, zorder=0)
            ax.set_yticks(range(len(panel)), list(panel.name))
            ax.set_ylim(rows - 0.5, -0.5)
            ax.set_title(title)
        figure.supxlabel(f"{PSNR.title} minus that of the {reference} ({PSNR.unit})", fontsize="medium")
    return figure


def people(gaps: pd.DataFrame, name: str) -> Figure:
    """By how much a network is above others, a row a person.

    Args:
        gaps: a row a person, a column a network that is subtracted: mean differences in dB.
        name: of the network.
    """
    with style():
        figure, ax = plt.subplots(figsize=(7, 0.9 + 0.3 * len(gaps)), layout="constrained")
        for k, (column, values) in enumerate(gaps.items()):
            rows, shade = np.arange(len(gaps)), ("black", "0.6", "0.8")[k % 3]
            ax.scatter(values, rows, s=50, color=shade, marker=MARKERS[k], label=column, zorder=3)
        ax.hlines(np.arange(len(gaps)), gaps.min(axis=1), gaps.max(axis=1), color="0.8", lw=2, zorder=1)
        ax.axvline(0, color="0.6", lw=1, zorder=0)
        ax.set_yticks(range(len(gaps)), list(gaps.index))
        ax.invert_yaxis()
        ax.set_xlabel(f"{name} minus student: {PSNR.heading}")
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def rankings(table: pd.DataFrame, reference: str) -> Figure:
    """What networks reach under several conditions, each minus the reference under the same one.

    Args:
        table: a row a condition, a column a network: mean PSNR in dB.
        reference: the column that is subtracted.
    """
    gaps, places = table.sub(table[reference], axis=0), np.arange(len(table))
    with style():
        figure, ax = plt.subplots(figsize=(9, 3.6), layout="constrained")
        for k, (name, values) in enumerate(gaps.items()):
            ax.plot(places, values, marker=MARKERS[k % len(MARKERS)], ms=7, color=colour(str(name)), lw=1, label=name)
        labels = [f"{condition}\n{value:.1f} {PSNR.unit}" for condition, value in table[reference].items()]
        ax.set_xticks(places, labels)
        ax.set_ylabel(f"{PSNR.title} minus the {reference}'s ({PSNR.unit})")
        ax.set_xlabel(f"what is measured; below it the {PSNR.title} of the {reference}")
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
