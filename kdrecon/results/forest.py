"""The forest plot of a table of comparisons: every difference with its interval, on one axis.

>>> from kdrecon.results.forest import Axis
>>> axis = Axis.of([-0.4, 0.47])
>>> axis.ticks
[-0.4, -0.2, 0.0, 0.2, 0.4]
>>> axis.place(0.0)
'46.3%'
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from kdrecon.metrics import METRICS

MARGIN = 0.04  # of the axis, left free on both sides


class Axis(NamedTuple):
    """The axis of differences: its ends, and the round values that are written on it."""

    low: float
    high: float
    ticks: list[float]

    @classmethod
    def of(cls, values: Iterable[float]) -> "Axis":
        """The axis that holds 0 and all finite values."""
        known = [value for value in (0.0, *values) if np.isfinite(value)]
        low, high = min(known), max(known)
        span = high - low or 1.0
        ends = low - MARGIN * span, high + MARGIN * span
        ticks = [round(float(tick), 10) for tick in MaxNLocator(4, steps=[1, 2, 5, 10]).tick_values(low, high)]
        return cls(*ends, [tick + 0.0 for tick in ticks if ends[0] <= tick <= ends[1]])

    def place(self, value: float) -> str:
        """Where a value stands, from the left end, as a length of SVG: "46.3%"."""
        return f"{100 * (value - self.low) / (self.high - self.low):.1f}%"


class Row(NamedTuple):
    """A network of a forest plot.

    Attributes:
        network, reference: names.
        centre, low, high: places of the difference and of the ends of its interval; "" where there are none.
        difference, interval: the same as figures, the interval "" where there is none.
        shown: whether the difference is shown, and not merely seen.
    """

    network: str
    reference: str
    centre: str
    low: str
    high: str
    difference: str
    interval: str
    shown: bool


def forest(compared: pd.DataFrame, axis: Axis) -> Iterator[Row]:
    """The rows of a forest plot, in the order of the table.

    Args:
        compared: comparisons of one metric, see :func:`kdrecon.results.comparisons.comparisons`; those without a
            difference are left out.
        axis: that holds them.
    """
    for row in compared[compared.difference.notna()].to_dict("records"):
        signed, ends = METRICS[row["metric"]].signed, (row["low"], row["high"])
        known = bool(np.isfinite(ends).all())
        low, high = map(axis.place, ends) if known else ("", "")
        interval = f"({' to '.join(map(signed, ends))})" if known else ""
        shown, difference = row["verdict"] in ("better", "worse"), row["difference"]
        centre, text = axis.place(difference), signed(difference)
        yield Row(row["network"], row["reference"], centre, low, high, text, interval, shown)
