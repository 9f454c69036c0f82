"""What a watched training shows.

>>> from kdrecon.teaching.live import curve
>>> with curve("student") as draw:
...     draw([])
"""

import contextlib
import os
from collections.abc import Callable, Iterator

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import HTML, display

from kdrecon.teaching.plots.trainings import curves


@contextlib.contextmanager
def curve(title: str) -> Iterator[Callable[[list[dict]], None]]:
    """The curve of a training under its cell, a :data:`kdrecon.training.logs.Listener`, where a notebook is watched.

    It is drawn anew after every epoch and taken away at the end.

    Args:
        title: over the curve.
    """
    if not is_watched():
        yield lambda history: None
        return
    shown = display(HTML(""), display_id=True)

    def draw(history: list[dict]) -> None:
        figure = curves(pd.DataFrame(history), title=title)
        shown.update(figure)
        plt.close(figure)

    try:
        yield draw
    finally:
        shown.update(HTML(""))


def is_watched() -> bool:
    """Whether this is a notebook open in a Jupyter server: neither a script nor a batch run, whose progress bars are off."""
    return "JPY_SESSION_NAME" in os.environ and "TQDM_DISABLE" not in os.environ
