"""Explorers for JupyterLab. Each is a figure first, a function of its settings; then the same figure with controls.

What a network computes is computed once, when the explorer is made. A change of a control hands new images to the
artists of one figure and renders it once, which is fast enough to follow a slider that is being dragged.
"""

import contextlib
import io
from collections.abc import Callable
from typing import NamedTuple

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from kdrecon import metrics
from kdrecon.data.slices import Batch, Slices
from kdrecon.distillation import tap_layers
from kdrecon.distillation.features import attention_map
from kdrecon.models.dccnn import DCCNN
from kdrecon.physics.fourier import centred_fft2, fft2, ifft2
from kdrecon.physics.sampling import acceleration_factor, gaussian_mask, line_mask, mirror, undersample
from kdrecon.teaching import plots

MASKS = {"random lines": "line", "regular lines": "regular", "random points": "gaussian"}
REGIONS = ("disc", "square", "rows", "columns")
LAYERS = ("first", "middle", "last")


class Panel(NamedTuple):
    """One image (H, W) of an explorer with its title, colour map, and limits of the colour scale."""

    title: str
    image: np.ndarray
    limits: tuple[float, float]
    cmap: str = "gray"
    label: str = ""  # of the colour bar; without one there is none


class Explorer(ipywidgets.VBox):
    """Controls above a figure that follows them.

    Args:
        panels: settings -> the images to draw, always as many.
        controls: name of a setting -> its control.
    """

    def __init__(self, panels: Callable[..., list[Panel]], controls: dict[str, ipywidgets.ValueWidget]):
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
    def settings(self) -> dict:
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

    def _render(self):
        buffer = io.BytesIO()
        self._canvas.print_png(buffer, pil_kwargs={"compress_level": 1})
        self.picture.value = buffer.getvalue()


@contextlib.contextmanager
def _one_thread():
    """One thread of PyTorch: for one image more are of no use, and on a busy machine they wait for one another."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def draw(panels: list[Panel]) -> Figure:
    """The panels side by side."""
    with plots.style():
        figure, axes = plt.subplots(1, len(panels), figsize=(12, 0.7 + 11.4 / len(panels)), layout="compressed")
        for ax, panel in zip(axes, panels):
            low, high = panel.limits
            shown = ax.imshow(panel.image, cmap=panel.cmap, vmin=low, vmax=high)
            ax.set_title(panel.title)
            ax.set_axis_off()
            if panel.label:
                figure.colorbar(shown, ax=ax, label=panel.label, location="bottom", fraction=0.05, pad=0.02)
    return figure


def undersampling_figure(
    x: Tensor, acceleration: float = 4.0, centre_lines: int | None = None, mask_type: str = "line", seed: int = 0
) -> Figure:
    """Mask, measured k-space, zero-filled image and error for a generated mask.

    Args:
        x: image (H, W).
        acceleration: 1 or more.
        centre_lines: of the fully sampled centre; by default as in the published masks.
        mask_type: "line" (random), "regular" (every n-th line, and the centre besides) or "gaussian" (points).
        seed: of the mask.
    """
    return draw(_undersampling(x)(acceleration, centre_lines, mask_type, seed))


def undersampling_explorer(x: Tensor) -> Explorer:
    """:func:`undersampling_figure` with controls."""
    controls = {
        "acceleration": _slider("acceleration", 4.0, 1, 12, 0.5),
        "centre_lines": _slider("centre lines", min(10, x.shape[0] // 8), 0, x.shape[0] // 4),
        "mask_type": _choice("mask", MASKS),
        "seed": _slider("seed", 0, 0, 20),
    }
    return Explorer(_undersampling(x), controls)


def _undersampling(x):
    top, scale = float(x.max()), _log_limits(x)

    def panels(acceleration, centre_lines, mask_type, seed):
        mask = _mask(tuple(x.shape), mask_type, acceleration, centre_lines, seed)
        x_u, y = undersample(x, mask)
        return [
            Panel(f"mask, {acceleration_factor(mask):.2f}-fold", np.fft.fftshift(mask.numpy()), (0, 1)),
            Panel("measured k-space", plots.log_magnitude(np.fft.fftshift(y.numpy())), scale, label="log10 |y|"),
            Panel(f"zero-filled, {metrics.psnr(x, x_u):.2f} dB", x_u.numpy(), (0, top)),
            Panel("error", (x - x_u).abs().numpy(), (0, 0.3 * top), "magma", "|x - x_u|"),
        ]

    return panels


def _mask(shape, mask_type, acceleration, centre, seed):
    if mask_type != "regular":
        make = line_mask if mask_type == "line" else gaussian_mask
        return make(shape, acceleration, seed=seed, centre=centre)
    centre = centre or 0
    mask = torch.zeros(shape, dtype=torch.bool)
    mask[torch.arange(0, shape[0], acceleration).long()] = True
    mask[torch.arange(-(centre // 2), centre - centre // 2)] = True
    return mask


def brush_figure(
    x: Tensor, keep: bool = True, region: str = "disc", row: int = 0, column: int = 0, size: int = 12
) -> Figure:
    """The image that is left when a region of k-space is all that is kept, or is erased, and what is missing then.

    For a real image a sample and its mirror image are one piece of information, so the region is kept or erased
    together with its point mirror.

    Args:
        x: image (H, W).
        keep: True keeps the region alone, False erases it.
        region: "disc", "square", "rows" or "columns".
        row, column: its centre, counted from DC.
        size: radius of the disc, half the side of the square, half the number of rows or columns.
    """
    return draw(_brush(x)(keep, region, row, column, size))


def kspace_brush(x: Tensor) -> Explorer:
    """:func:`brush_figure` with controls."""
    height, width = x.shape
    controls = {
        "keep": _choice("", {"keep the region": True, "erase the region": False}),
        "region": _choice("region", REGIONS),
        "row": _slider("row", 0, -height // 2, height // 2 - 1),
        "column": _slider("column", 0, -width // 2, width // 2 - 1),
        "size": _slider("size", 12, 1, max(height, width) // 2),
    }
    return Explorer(_brush(x), controls)


def _brush(x):
    k, scale = fft2(x), _log_limits(x)
    rows, columns = (torch.fft.fftfreq(n, 1 / n) for n in x.shape)

    def panels(keep, region, row, column, size):
        down, right = (rows - row).abs()[:, None].expand(x.shape), (columns - column).abs()[None].expand(x.shape)
        inside = {
            "disc": down**2 + right**2 < size**2,
            "square": torch.maximum(down, right) < size,
            "rows": down < size,
            "columns": right < size,
        }[region]
        inside = inside | mirror(inside)
        kept = k * (inside if keep else ~inside)
        image = ifft2(kept).real
        missing = (x - image).abs()
        energy = float(kept.abs().square().sum() / k.abs().square().sum())
        share = float((inside if keep else ~inside).float().mean())
        shown = plots.log_magnitude(np.fft.fftshift(kept.numpy()))
        return [
            Panel(f"{share:.2%} of k-space, {energy:.2%} of the energy", shown, scale, label="log10 |X|"),
            Panel(f"image, {metrics.psnr(x, image):.2f} dB", image.numpy(), _span(image), label="intensity"),
            Panel("what is missing", missing.numpy(), _span(missing), "magma", "|x - image|"),
        ]

    return panels


def cascade_figure(models: dict[str, DCCNN], batch: Batch, model: str, cascade: int = 1) -> Figure:
    """One cascade of a network at work: its input, the proposal of its CNN block, and both after data fidelity.

    Args:
        models: name -> network.
        batch: the first slice of it is reconstructed.
        model: name of the network.
        cascade: number from 1.
    """
    return draw(_cascade({model: models[model]}, batch)(model, cascade))


def cascade_stepper(models: dict[str, DCCNN], batch: Batch) -> Explorer:
    """:func:`cascade_figure` with controls for network and cascade."""
    controls = {
        "model": _choice("network", list(models)),
        "cascade": _slider("cascade", 1, 1, min(len(model.blocks) for model in models.values())),
    }
    return Explorer(_cascade(models, batch), controls)


@torch.no_grad()
def _cascade(models, batch):
    one = Batch(batch.x[:1], batch.x_u[:1], batch.y[:1], batch.mask)
    target, stages = one.x[0, 0].cpu().numpy(), {}
    for name, model in models.items():
        z = one.x_u
        images = [z]
        for block in model.blocks:
            proposal, _ = block(z)
            z = model.fidelity(proposal, one.y, one.mask)
            images += [proposal, z]
        stages[name] = [image[0, 0].cpu().numpy() for image in images]
    top = float(target.max())

    def panels(model, cascade):
        images = stages[model][2 * cascade - 2 : 2 * cascade + 1]
        start = "zero-filled" if cascade == 1 else f"after cascade {cascade - 1}"
        names = (start, f"proposal of CNN {cascade}", "after data fidelity")
        titles = [f"{name}, {metrics.psnr(target, image):.2f} dB" for name, image in zip(names, images)]
        limits = ((0, top), _span(images[1]), (0, top))
        error = Panel("error after this cascade", np.abs(target - images[2]), (0, 0.15 * top), "magma", "|x - x_k|")
        return [Panel(*panel, label="intensity") for panel in zip(titles, images, limits)] + [error]

    return panels


def attention_figure(
    teacher: DCCNN, students: dict[str, DCCNN], slices: Slices,
    student: str, cascade: int = 1, layer: str = "middle", number: int = 1,
) -> Figure:  # fmt: skip
    """Attention maps of teacher and student at one place, and their distance |q_S - q_T| (0 equal, 1.41 disjoint).

    Args:
        teacher: the network that is compared with.
        students: name -> network.
        slices: what they look at.
        student: name of the student.
        cascade: number from 1.
        layer: "first" convolution of the cascade's block, "middle" (as distillation takes it) or "last" (but one:
            the last that has feature maps).
        number: of the slice, from 1.
    """
    kept = slices.batch(torch.tensor([number - 1]))
    return draw(_attention(teacher, {student: students[student]}, [kept])(student, cascade, layer, 1))


def attention_viewer(teacher: DCCNN, students: dict[str, DCCNN], slices: Slices) -> Explorer:
    """:func:`attention_figure` with controls."""
    controls = {
        "student": _choice("student", list(students)),
        "cascade": _slider("cascade", 1, 1, len(teacher.blocks)),
        "layer": _choice("layer", LAYERS, "middle"),
        "number": _slider("slice", 1, 1, len(slices)),
    }
    return Explorer(_attention(teacher, students, list(slices.batches(1))), controls)


def _attention(teacher, students, batches):
    theirs = [_attention_maps(teacher, batch) for batch in batches]
    ours = {name: [_attention_maps(model, batch) for batch in batches] for name, model in students.items()}
    targets = [batch.x[0, 0].cpu().numpy() for batch in batches]
    norm = targets[0].size ** 0.5  # so that 1 is the root mean square of a map

    def panels(student, cascade, layer, number):
        t, s = (maps[number - 1][cascade - 1, LAYERS.index(layer)] for maps in (theirs, ours[student]))
        difference = np.abs(t - s)
        top = float(np.percentile([t, s], 99.5)) * norm
        return [
            Panel(f"slice {number}, cascade {cascade}", targets[number - 1], (0, float(targets[number - 1].max()))),
            Panel("attention of the teacher", t * norm, (0, top), "magma", "1 = root mean square"),
            Panel(f"attention of {student}", s * norm, (0, top), "magma", "1 = root mean square"),
            Panel(
                f"difference, distance {np.linalg.norm(t - s):.2f}",
                difference * norm,
                (0, top),
                "magma",
                "|difference|",
            ),
        ]

    return panels


@torch.no_grad()
def _attention_maps(model, batch):
    """Attention maps (cascades, LAYERS, H, W) of the first slice of a batch."""
    first, last = tap_layers("ends", model.depth)
    layers = [j - 1 for j in (first, *tap_layers("middle", model.depth), last)]
    _, taps = model(batch.x_u[:1], batch.y[:1], batch.mask, taps=set(layers))
    maps = [[attention_map(cascade[j].after.float()) for j in layers] for cascade in taps]
    return np.array([[m.reshape(batch.x.shape[-2:]).cpu().numpy() for m in row] for row in maps])


def reconstruction_figure(
    target: np.ndarray, reconstructions: dict[str, np.ndarray],
    model: str, number: int = 1, window: float = 1.0, level: float = 0.5, gain: float = 4.0,
) -> Figure:  # fmt: skip
    """Target, reconstruction and residue of one slice.

    Args:
        target: images (S, H, W).
        reconstructions: name -> images (S, H, W).
        model: name of the reconstruction.
        number: of the slice, from 1.
        window, level: grey values run from level - window / 2 to level + window / 2, as on a viewing station.
        gain: the residue's colours end at the target's maximum divided by it.
    """
    return draw(_reconstructions(target, reconstructions)(model, number, window, level, gain))


def reconstruction_browser(target: np.ndarray, reconstructions: dict[str, np.ndarray]) -> Explorer:
    """:func:`reconstruction_figure` with controls."""
    controls = {
        "model": _choice("network", list(reconstructions)),
        "number": _slider("slice", 1, 1, len(target)),
        "window": _slider("window", 1.0, 0.05, 1.5, 0.05),
        "level": _slider("level", 0.5, 0.0, 1.0, 0.05),
        "gain": _slider("residue gain", 4.0, 1, 20, 1.0),
    }
    return Explorer(_reconstructions(target, reconstructions), controls)


def _reconstructions(target, reconstructions):
    def panels(model, number, window, level, gain):
        x, p = target[number - 1], reconstructions[model][number - 1]
        grey = (level - window / 2, level + window / 2)
        scores = f"{metrics.psnr(x, p):.2f} dB, SSIM {metrics.ssim(x, p):.4f}"
        return [
            Panel(f"target, slice {number}", x, grey, label="intensity"),
            Panel(f"{model}: {scores}", p, grey, label="intensity"),
            Panel(f"residue, shown x {gain:g}", np.abs(x - p), (0, float(x.max()) / gain), "magma", "|target - image|"),
        ]

    return panels


def _slider(label, value, low, high, step=1):
    make = ipywidgets.FloatSlider if isinstance(value, float) else ipywidgets.IntSlider
    return make(value=value, min=low, max=high, step=step, description=label, style={"description_width": "initial"})


def _choice(label, options, value=None):
    first = next(iter(options.values())) if isinstance(options, dict) else options[0]
    return ipywidgets.Dropdown(
        options=options, value=value or first, description=label,
        layout={"width": "max-content"}, style={"description_width": "initial"},
    )  # fmt: skip


def _log_limits(x):
    shown = plots.log_magnitude(centred_fft2(x).numpy())
    return float(np.percentile(shown, 1)), float(shown.max())


def _span(image):
    low, high = float(image.min()), float(image.max())
    return min(low, 0.0), high if high > low else low + 1
