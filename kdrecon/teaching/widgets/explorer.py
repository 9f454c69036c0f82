"""Controls above a figure that follows them.

What a network computes is computed once, when the explorer is made. A change of a control hands new images to the
artists of one figure and renders it once, which is fast enough to follow a slider that is being dragged.

>>> import numpy as np
>>> from kdrecon.teaching.widgets.explorer import span
>>> span(np.array([0.0, 1.0]))
(0.0, 1.0)
"""

import contextlib
import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from kdrecon.teaching.plots.colours import style


class Panel(NamedTuple):
    """One image (H, W) of an explorer with its title, colour map, and limits of the colour scale."""

    title: str
    image: np.ndarray
    limits: tuple[float, float]
    cmap: str = "gray"
    label: str = ""  # of the colour bar; without one there is none


Panels = Callable[..., list[Panel]]


class Explorer(ipywidgets.VBox):
    """Controls above a figure that follows them.

    Args:
        panels: settings -> the images to draw, always as many.
        controls: name of a setting -> its control.
    """

    def __init__(self, panels: Panels, controls: dict[str, ipywidgets.ValueWidget]):
        self.panels, self.controls = panels, controls
        self.picture = ipywidgets.Image(
            format="png", layout={"max_width": "100%", "align_self": "flex-start", "margin": "0"}
        )
        drawn = panels(**self.settings)
        figure = draw(drawn)
        plt.close(figure)
        self._canvas, self._axes = FigureCanvasAgg(figure), figure.axes[: len(drawn)]
        self._canvas.draw()
        figure.set_layout_engine("none")  # the layout is found once and stays
        bar = ipywidgets.HBox(list(controls.values()), layout={"flex_flow": "row wrap"})
        super().__init__([bar, self.picture])
        self.add_class("kdrecon-explorer")
        for control in controls.values():
            control.observe(lambda change: self.redraw(), "value")
        self._render()

    @property
    def settings(self) -> dict[str, Any]:
        """The value of each control."""
        return {name: control.value for name, control in self.controls.items()}

    def redraw(self) -> None:
        """Show the images of the present settings."""
        with _one_thread():
            panels = self.panels(**self.settings)
        for ax, panel in zip(self._axes, panels, strict=True):
            ax.images[0].set_data(panel.image)
            ax.images[0].set_clim(*panel.limits)
            ax.title.set_text(panel.title)
        self._render()

    def _render(self) -> None:
        buffer = io.BytesIO()
        self._canvas.print_png(buffer, pil_kwargs={"compress_level": 1})
        self.picture.value = buffer.getvalue()


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """One thread of PyTorch: for one image more are of no use, and on a busy machine they wait for one another."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def draw(panels: list[Panel]) -> Figure:
    """The panels side by side."""
    with style():
        figure, axes = plt.subplots(1, len(panels), figsize=(12, 0.7 + 11.4 / len(panels)), layout="compressed")
        for ax, panel in zip(axes, panels):
            low, high = panel.limits
            shown = ax.imshow(panel.image, cmap=panel.cmap, vmin=low, vmax=high)
            ax.set_title(panel.title)
            ax.set_axis_off()
            if panel.label:
                figure.colorbar(shown, ax=ax, label=panel.label, location="bottom", fraction=0.05, pad=0.02)
    return figure


def slider(label: str, value: float, low: float, high: float, step: float = 1) -> ipywidgets.ValueWidget:
    """A slider, of whole numbers where its value is one."""
    make = ipywidgets.FloatSlider if isinstance(value, float) else ipywidgets.IntSlider
    return make(value=value, min=low, max=high, step=step, description=label, style={"description_width": "initial"})


def choice(label: str, options: Sequence[str] | dict[str, Any], value: str | None = None) -> ipywidgets.Dropdown:
    """A list to choose from, on its first entry unless a value is given; options are entries, or entry -> value."""
    first = next(iter(options.values())) if isinstance(options, dict) else options[0]
    return ipywidgets.Dropdown(
        options=options, value=value or first, description=label,
        layout={"width": "max-content"}, style={"description_width": "initial"},
    )  # fmt: skip


def span(image: np.ndarray | Tensor) -> tuple[float, float]:
    """Limits of a grey scale that holds an image and 0."""
    low, high = float(image.min()), float(image.max())
    return min(low, 0.0), high if high > low else low + 1
