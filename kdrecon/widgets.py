"""Explorers for JupyterLab: each is a static figure first, and a function of its settings."""

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import display
from matplotlib.figure import Figure
from torch import Tensor

from kdrecon import metrics, plots
from kdrecon.sampling import acceleration_factor, gaussian_mask, line_mask, undersample


def undersampling_figure(x: Tensor, acceleration: float, mask_type: str, seed: int) -> Figure:
    """Mask, measured k-space, zero-filled image and error for a generated mask.

    Args:
        x: image (H, W).
        acceleration: 1 or more.
        mask_type: "line" or "gaussian".
        seed: of the mask.
    """
    make = line_mask if mask_type == "line" else gaussian_mask
    mask = make(tuple(x.shape), acceleration, seed=seed)
    x_u, y = undersample(x, mask)
    panels = {
        f"mask, {acceleration_factor(mask):.2f}-fold": (np.fft.fftshift(mask.numpy()), "gray", 1),
        "measured k-space (log)": (plots.log_magnitude(np.fft.fftshift(y.numpy())), "viridis", None),
        f"zero-filled, {metrics.psnr(x, x_u):.2f} dB": (x_u.numpy(), "gray", float(x.max())),
        "error |x - x_u|": ((x - x_u).abs().numpy(), "magma", 0.3 * float(x.max())),
    }
    with plots.style():
        figure, axes = plt.subplots(1, len(panels), figsize=(12, 3.3), layout="constrained")
        for ax, (title, (image, cmap, top)) in zip(axes, panels.items()):
            ax.imshow(image, cmap=cmap, vmin=0 if top else None, vmax=top)
            ax.set_title(title)
            ax.set_axis_off()
    return figure


def undersampling_explorer(x: Tensor) -> ipywidgets.Widget:
    """:func:`undersampling_figure` with controls for acceleration, mask type and seed."""
    controls = {
        "acceleration": ipywidgets.FloatSlider(value=4, min=1, max=12, step=0.5, continuous_update=False),
        "mask_type": ipywidgets.Dropdown(options={"lines": "line", "points": "gaussian"}, description="mask"),
        "seed": ipywidgets.IntSlider(value=0, min=0, max=20, continuous_update=False),
    }
    controls["acceleration"].description, controls["seed"].description = "acceleration", "seed"

    def draw(**settings):
        figure = undersampling_figure(x, **settings)
        display(figure)
        plt.close(figure)

    return ipywidgets.VBox([ipywidgets.HBox(list(controls.values())), ipywidgets.interactive_output(draw, controls)])
