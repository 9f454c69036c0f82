"""What networks do on the way and in the end.

>>> import numpy as np
>>> from kdrecon.teaching.widgets.networks import reconstruction_figure
>>> x = np.random.default_rng(0).random((2, 32, 32))
>>> figure = reconstruction_figure(x, {"student": 0.9 * x}, model="student", number=2)
>>> len(figure.axes) > 1
True
"""

import numpy as np
import torch
from matplotlib.figure import Figure

from kdrecon.data.slices import Slices
from kdrecon.distillation.base import layer_pairs
from kdrecon.distillation.features import attention_map
from kdrecon.metrics import PSNR, SSIM
from kdrecon.models.dccnn import DCCNN
from kdrecon.tasks import Batch, MeasuredBatch
from kdrecon.teaching.widgets.explorer import Explorer, Panel, Panels, choice, draw, slider, span

LAYERS = ("first", "middle", "last")


def cascade_figure(models: dict[str, DCCNN], batch: MeasuredBatch, model: str, cascade: int = 1) -> Figure:
    """One cascade of a network at work: its input, the proposal of its CNN block, and both after data fidelity.

    Args:
        models: name -> network.
        batch: the first slice of it is reconstructed.
        model: name of the network.
        cascade: number from 1.
    """
    return draw(_cascade({model: models[model]}, batch)(model, cascade))


def cascade_stepper(models: dict[str, DCCNN], batch: MeasuredBatch) -> Explorer:
    """:func:`cascade_figure` with controls for network and cascade."""
    controls = {
        "model": choice("network", list(models)),
        "cascade": slider("cascade", 1, 1, min(len(model.blocks) for model in models.values())),
    }
    return Explorer(_cascade(models, batch), controls)


@torch.no_grad()
def _cascade(models: dict[str, DCCNN], batch: MeasuredBatch) -> Panels:
    one = MeasuredBatch(batch.x[:1], batch.x_u[:1], batch.y[:1], batch.mask)
    target, stages = one.x[0, 0].cpu().numpy(), {}
    for name, model in models.items():
        images = [one.x_u]
        for stage in model.stages(one.x_u, one.y, one.mask):
            images += [stage.proposal, stage.image]
        stages[name] = [image[0, 0].cpu().numpy() for image in images]
    top = float(target.max())

    def panels(model: str, cascade: int) -> list[Panel]:
        images = stages[model][2 * cascade - 2 : 2 * cascade + 1]
        start = "zero-filled" if cascade == 1 else f"after cascade {cascade - 1}"
        kept = "after data fidelity" if models[model].fidelity.mode != "none" else "passed on as it is"
        names = (start, f"proposal of CNN {cascade}", kept)
        titles = [f"{name}, {PSNR.quantity(target, image)}" for name, image in zip(names, images)]
        limits = ((0, top), span(images[1]), (0, top))
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
        "student": choice("student", list(students)),
        "cascade": slider("cascade", 1, 1, len(teacher.blocks)),
        "layer": choice("layer", LAYERS, "middle"),
        "number": slider("slice", 1, 1, len(slices)),
    }
    return Explorer(_attention(teacher, students, list(slices.batches(1))), controls)


def _attention(teacher: DCCNN, students: dict[str, DCCNN], batches: list[Batch]) -> Panels:
    layers = [_layers(model, teacher) for model in students.values()]
    theirs = [_attention_maps(teacher, batch, layers[0][1]) for batch in batches]
    ours = {
        name: [_attention_maps(model, batch, own) for batch in batches]
        for (name, model), (own, _) in zip(students.items(), layers)
    }
    targets = [batch.x[0, 0].cpu().numpy() for batch in batches]
    norm = targets[0].size ** 0.5  # so that 1 is the root mean square of a map

    def panels(student: str, cascade: int, layer: str, number: int) -> list[Panel]:
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


def _layers(student: DCCNN, teacher: DCCNN) -> list[list[int]]:
    """Numbers (from 1) of the convolutions that are LAYERS, of student and teacher."""
    ends, middles = (layer_pairs(taps, student, teacher) for taps in ("ends", "middle"))
    return [[first, *middle, last] for (first, last), middle in zip(ends, middles)]


@torch.no_grad()
def _attention_maps(model: DCCNN, batch: Batch, layers: list[int]) -> np.ndarray:
    """Attention maps (cascades, LAYERS, H, W) of the first slice of a batch."""
    x_u, y, mask = batch.inputs
    _, maps = model.features(x_u[:1], y[:1], mask, layers=[j - 1 for j in layers])
    taps = [[tap.after.float() for j in layers if (tap := cascade[j - 1])] for cascade in maps]
    return np.array([[attention_map(z).reshape(z.shape[-2:]).cpu().numpy() for z in row] for row in taps])


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
        "model": choice("network", list(reconstructions)),
        "number": slider("slice", 1, 1, len(target)),
        "window": slider("window", 1.0, 0.05, 1.5, 0.05),
        "level": slider("level", 0.5, 0.0, 1.0, 0.05),
        "gain": slider("residue gain", 4.0, 1, 20, 1.0),
    }
    return Explorer(_reconstructions(target, reconstructions), controls)


def _reconstructions(target: np.ndarray, reconstructions: dict[str, np.ndarray]) -> Panels:
    def panels(model: str, number: int, window: float, level: float, gain: float) -> list[Panel]:
        x, p = target[number - 1], reconstructions[model][number - 1]
        grey = (level - window / 2, level + window / 2)
        scores = f"{PSNR.quantity(x, p)}, {SSIM.quantity(x, p)}"
        return [
            Panel(f"target, slice {number}", x, grey, label="intensity"),
            Panel(f"{model}: {scores}", p, grey, label="intensity"),
            Panel(f"residue, shown x {gain:g}", np.abs(x - p), (0, float(x.max()) / gain), "magma", "|target - image|"),
        ]

    return panels
