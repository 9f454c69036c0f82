"""One style for all figures: images and k-space grey, perceptual maps, one colour a kind of network.

>>> from kdrecon.teaching.plots.colours import COLOURS, colour
>>> colour("student") == COLOURS["student"]
True
"""

from contextlib import AbstractContextManager

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

# Okabe & Ito's colours, which colour-blind readers can tell apart; "SFT teacher" and the like go by their first words.
COLOURS = {
    "zero-filled": "#999999",
    "teacher": "#0072B2",
    "student": "#E69F00",
    "Std-KD": "#009E73",
    "SFT-KD": "#CC79A7",
    "SFT teacher": "#56B4E9",
}
TERM_COLOURS = {
    "reconstruction": "#999999",
    "distillation": "#009E73",
    "teacher": COLOURS["SFT teacher"],
    "student": COLOURS["student"],
    "imitation": "#882255",
}
STYLE: dict = {
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


def colour(name: str) -> str:
    """The colour of a network by its name: "Std-KD AT" is drawn in that of "Std-KD", a control in that of the student."""
    return next((c for key, c in COLOURS.items() if name.startswith(key)), COLOURS["student"])


def bare(ax: Axes) -> None:
    """Take ticks and frame off an image."""
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
