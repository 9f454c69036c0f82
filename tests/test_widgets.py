"""The explorers, without a browser: what their panels show, and that every control changes the picture."""

import io

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
from helpers import slices  # noqa: E402
from PIL import Image  # noqa: E402

from kdrecon import (
    metrics,  # noqa: E402
    results,  # noqa: E402
)
from kdrecon.data.splits import Split, load_split  # noqa: E402
from kdrecon.distillation import METHODS, select  # noqa: E402
from kdrecon.models.dccnn import dc_cnn  # noqa: E402
from kdrecon.physics.fourier import fft2  # noqa: E402
from kdrecon.physics.sampling import (
    line_mask,  # noqa: E402
    undersample,  # noqa: E402
)
from kdrecon.teaching import widgets  # noqa: E402


@pytest.fixture(scope="module")
def some():
    return load_split(Split("sample", "test", "4x", 40)).subset(3)


@pytest.fixture(scope="module")
def networks():
    torch.manual_seed(0)
    return {"teacher": dc_cnn("D5C5").eval(), "student": dc_cnn("D3C5").eval(), "Std-KD AT": dc_cnn("D3C5").eval()}


@pytest.fixture(scope="module")
def explorers(some, networks):
    x, others = some.x[1, 0], {name: networks[name] for name in ("student", "Std-KD AT")}
    reconstructions = {name: results.reconstruct(model, some) for name, model in networks.items()}
    return {
        "undersampling": widgets.undersampling_explorer(x),
        "brush": widgets.kspace_brush(x),
        "cascade": widgets.cascade_stepper(networks, some.batch(torch.tensor([1]))),
        "attention": widgets.attention_viewer(networks["teacher"], others, some),
        "reconstruction": widgets.reconstruction_browser(some.x[:, 0].numpy(), reconstructions),
    }


def shown(figure) -> list[np.ndarray]:
    return [np.asarray(ax.images[0].get_array()) for ax in figure.axes if ax.images and ax.get_label() != "<colorbar>"]


def titles(figure) -> list[str]:
    return [ax.get_title() for ax in figure.axes]


def extremes(control) -> list:
    """All values of a choice, both ends of a slider."""
    if hasattr(control, "max"):
        return [control.min, control.max]
    return list(control.options.values() if isinstance(control.options, dict) else control.options)


@pytest.mark.parametrize("name", ["undersampling", "brush", "cascade", "attention", "reconstruction"])
def test_every_control_changes_the_picture(explorers, name):
    explorer = explorers[name]
    size = Image.open(io.BytesIO(explorer.picture.value)).size
    for setting, control in explorer.controls.items():
        before, first = explorer.picture.value, control.value
        control.value = next(value for value in extremes(control) if value != first)
        assert explorer.picture.value != before, setting
        assert Image.open(io.BytesIO(explorer.picture.value)).size == size
        control.value = first
        assert explorer.picture.value == before, f"{setting}: the same settings, another picture"


@pytest.mark.parametrize("name", ["undersampling", "brush", "cascade", "attention", "reconstruction"])
def test_every_choice_and_the_ends_of_every_slider_can_be_drawn(explorers, name):
    explorer = explorers[name]
    for control in explorer.controls.values():
        first = control.value
        for value in extremes(control):
            control.value = value
            assert all(np.isfinite(panel.image).all() for panel in explorer.panels(**explorer.settings))
        control.value = first


def test_explorers_leave_no_figure_open_and_the_number_of_threads_alone(some):
    threads = torch.get_num_threads()
    widgets.kspace_brush(some.x[0, 0]).controls["size"].value = 3
    assert plt.get_fignums() == [] and torch.get_num_threads() == threads


def test_undersampling_figure(some):
    x = some.x[0, 0]
    mask = line_mask((40, 40), 5.0, seed=3, centre=4)
    x_u, _ = undersample(x, mask)
    figure = widgets.undersampling_figure(x, 5.0, 4, "line", 3)
    drawn_mask, _, image, error = shown(figure)
    np.testing.assert_array_equal(np.fft.ifftshift(drawn_mask), mask)
    np.testing.assert_array_equal(image, x_u)
    np.testing.assert_array_equal(error, (x - x_u).abs())
    assert f"zero-filled, {metrics.psnr(x, x_u):.2f} dB" in titles(figure)


def test_kspace_is_grey_as_in_the_other_figures(some):
    x = some.x[0, 0]
    for figure, title in ((widgets.undersampling_figure(x), "measured"), (widgets.brush_figure(x), "% of k-space")):
        (image,) = [ax.images[0] for ax in figure.axes if title in ax.get_title()]
        assert image.get_cmap().name == "gray"


def test_regular_lines_are_evenly_spaced_besides_the_centre(some):
    mask, *_ = shown(widgets.undersampling_figure(some.x[0, 0], 4.0, 5, "regular"))
    lines = np.flatnonzero(np.fft.ifftshift(mask)[:, 0])
    assert set(lines) == set(range(0, 40, 4)) | {38, 39, 0, 1, 2}


@pytest.mark.parametrize("region", widgets.REGIONS)
def test_what_the_brush_keeps_and_erases_adds_up_to_the_image(some, region):
    x = some.x[0, 0]
    _, kept, without = shown(widgets.brush_figure(x, True, region, 5, -3, 6))
    _, rest, _ = shown(widgets.brush_figure(x, False, region, 5, -3, 6))
    np.testing.assert_allclose(kept + rest, x, atol=1e-5)
    np.testing.assert_allclose(without, np.abs(x.numpy() - kept), atol=1e-6)


def test_one_sample_is_one_pattern_of_stripes(some):
    _, stripes, _ = shown(widgets.brush_figure(some.x[0, 0], True, "disc", 6, 0, 1))
    spectrum = fft2(torch.from_numpy(stripes)).abs()
    assert set(map(tuple, (spectrum > 1e-3).nonzero().tolist())) == {(6, 0), (34, 0)}


def test_the_last_cascade_shows_the_reconstruction(some, networks):
    batch = some.batch(torch.tensor([1]))
    figure = widgets.cascade_figure(networks, batch, "student", cascade=5)
    with torch.no_grad():
        expected = networks["student"](*batch[1:])[0, 0].numpy()
    *_, image, error = shown(figure)
    np.testing.assert_allclose(image, expected, atol=1e-5)
    np.testing.assert_allclose(error, np.abs(batch.x[0, 0].numpy() - expected), atol=1e-5)
    zero_filled, *_ = shown(widgets.cascade_figure(networks, batch, "student", cascade=1))
    np.testing.assert_array_equal(zero_filled, batch.x_u[0, 0])
    assert titles(figure)[2].startswith("after data fidelity, ")
    free = {"V2": dc_cnn("V2", "none")}
    assert titles(widgets.cascade_figure(free, batch, "V2"))[2].startswith("passed on as it is, ")


def test_attention_distances_are_the_distillation_loss(some, networks):
    teacher, student = networks["teacher"], networks["student"]
    batch = some.batch(torch.tensor([2]))
    with torch.no_grad():
        maps = [[m for (m,) in select("middle", model(*batch[1:], taps=True)[1])] for model in (student, teacher)]
        loss = float(METHODS["at"]()(*maps))
    distances = [
        titles(widgets.attention_figure(teacher, {"student": student}, some, "student", k, "middle", 3))[3]
        for k in range(1, 6)
    ]
    assert np.mean([float(title.rpartition(" ")[2]) for title in distances]) == pytest.approx(loss, abs=0.01)


def test_the_window_changes_the_grey_scale_and_the_gain_the_residue():
    data = slices(n=2)
    target, image = data.x[:, 0].numpy(), data.whole.x_u[:, 0].numpy()
    figure = widgets.reconstruction_figure(target, {"zero-filled": image}, "zero-filled", 2, 0.4, 0.3, 5.0)
    limits = [ax.images[0].get_clim() for ax in figure.axes[:3]]
    assert limits[0] == limits[1] == pytest.approx((0.1, 0.5))
    assert limits[2] == pytest.approx((0, target[1].max() / 5))
    np.testing.assert_array_equal(shown(figure)[2], np.abs(target[1] - image[1]))
    assert f"{metrics.psnr(target[1], image[1]):.2f} dB" in titles(figure)[1]
