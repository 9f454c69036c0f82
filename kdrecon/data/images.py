"""What can be wrong with an array of images, whoever asks.

>>> import numpy as np
>>> from kdrecon.data.images import Values, image_faults
>>> x = np.full((2, 8, 8), np.nan)
>>> [str(fault) for fault in image_faults(x, lambda: Values.of([x]))]
['holds 128 values that are NaN or infinite: expected none; repair the scan']
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Protocol

import numpy as np


class Stored(Protocol):
    """An array, read or not."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its size along each axis."""

    @property
    def dtype(self) -> np.dtype:
        """Its type."""


class Values(NamedTuple):
    """How many values of an array are NaN or infinite, and the lowest and the highest."""

    bad: int
    lowest: np.number
    highest: np.number

    @classmethod
    def of(cls, pieces: Iterable[np.ndarray]) -> "Values":
        """Those of all pieces of an array together."""
        each = [(int((~np.isfinite(piece)).sum()), piece.min(), piece.max()) for piece in pieces]
        bad, lowest, highest = zip(*each)
        return cls(sum(bad), min(lowest), max(highest))


class Fault(NamedTuple):
    """One fault, in the parts of a message."""

    found: str
    expected: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.found}: expected {self.expected}; {self.remedy}"


def image_faults(
    images: Stored,
    values: Callable[[], Values],
    what: str = "images (S, H, W)",
    unit: str = "values",
    negative: float | None = 0.0,
) -> Iterator[Fault]:
    """What is wrong with images: their form, then values that are not finite, then those that are no magnitudes.

    Args:
        images: the array.
        values: what to ask for its values, once its form is right.
        what: the images that were expected, with their axes.
        unit: what the message counts.
        negative: share of the maximum that small negative values may reach; None where any finite value will do.
    """
    if len(images.shape) != 3 or 0 in images.shape or images.dtype.kind == "c":
        yield Fault(f"is {images.dtype} {images.shape}", f"real {what}", "check the axes")
        return
    found = values()
    if found.bad:
        yield Fault(f"holds {found.bad} {unit} that are NaN or infinite", "none", "repair the scan")
    elif negative is not None and (found.highest <= 0 or found.lowest < -negative * found.highest):
        yield Fault(
            f"spans {found.lowest:g} to {found.highest:g}",
            "magnitudes, not negative and not all 0",
            "take the magnitude, or leave the file out",
        )
