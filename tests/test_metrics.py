import math

import numpy as np
import pytest
import torch
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity

from kdrecon.metrics import METRICS, hfn, mse, nmse, psnr, ssim, ssim_gaussian, vif

SIZES = [(32, 32), (33, 45), (48, 41)]


def pair(*shape, seed=0):
    """A smooth image in [0, 0.8] and a disturbed copy in [0, 1], float32."""
    rng = np.random.default_rng(seed)
    rows, columns = (np.linspace(0, 6, n) for n in shape[-2:])
    x = 0.4 + 0.4 * np.sin(rows)[:, None] * np.cos(columns) * rng.uniform(0.5, 1, (*shape[:-2], 1, 1))
    return x.astype(np.float32), (x + 0.05 * rng.standard_normal(x.shape)).clip(0, 1).astype(np.float32)


def test_the_registry_is_in_the_order_of_the_tables():
    assert list(METRICS) == ["psnr", "ssim", "nmse", "mse", "hfn", "vif"]


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_the_worse_image_loses(metric):
    x, p = pair(48, 41)
    assert metric.gain(metric(x, x + 2 * (p - x)) - metric(x, p)) < 0


@pytest.mark.parametrize(
    "name, heading, text, spread, signed",
    [
        ("psnr", "PSNR (dB)", "31.25", "31.25 ± 1.00", "+0.00"),
        ("nmse", "NMSE", "31.2500", "31.2500 ± 1.0000", "-0.0040"),
    ],
)
def test_how_tables_write_a_metric(name, heading, text, spread, signed):
    metric = METRICS[name]
    assert [metric.heading, metric.text(31.25), metric.text(31.25, 1.0)] == [heading, text, spread]
    assert metric.signed(-0.004) == signed and metric.text(math.nan, 1.0) == metric.signed(math.nan) == ""


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("data_range", [None, 1.0, 0.7])
def test_scikit_image_slice_by_slice(shape, data_range):
    x, p = pair(3, *shape)
    for s in range(3):
        target, prediction = x[s].astype(np.float64), p[s].astype(np.float64)
        span = target.max() if data_range is None else data_range
        assert psnr(x, p, data_range)[s] == pytest.approx(
            peak_signal_noise_ratio(target, prediction, data_range=span), rel=1e-12
        )
        assert ssim(x, p, data_range)[s] == pytest.approx(
            structural_similarity(target, prediction, win_size=7, data_range=span), rel=1e-12
        )
        assert mse(x, p, data_range)[s] == pytest.approx(mean_squared_error(target, prediction), rel=1e-12)
    assert len(set(psnr(x, p, data_range))) == 3


@pytest.mark.parametrize("name", METRICS)
def test_a_stack_is_its_slices(name):
    x, p = pair(2, 33, 45)
    values = METRICS[name](x, p)
    assert values.shape == (2,) and values.dtype == np.float64
    one = METRICS[name](x[1], p[1])
    assert type(one) is float and one == values[1]
    assert METRICS[name](torch.from_numpy(x[1]), torch.from_numpy(p[1])) == one


@pytest.mark.parametrize("shape", SIZES)
def test_identical_images(shape):
    x, _ = pair(*shape)
    assert psnr(x, x) == math.inf
    assert (mse(x, x), nmse(x, x), hfn(x, x)) == (0, 0, 0)
    assert ssim(x, x) == pytest.approx(1, abs=1e-12) and vif(x, x) == pytest.approx(1, abs=1e-8)


def test_by_hand():
    x, p = np.full((8, 8), 0.5), np.full((8, 8), 0.4)
    assert mse(x, p) == pytest.approx(0.01) and nmse(x, p) == pytest.approx(0.04)
    assert psnr(x, p) == pytest.approx(10 * math.log10(0.25 / 0.01))
    assert psnr(x, p, data_range=1) == pytest.approx(20)
    assert ssim(x, p) == pytest.approx((2 * 0.2 + 0.005**2) / (0.25 + 0.16 + 0.005**2))  # C1 = (0.01 range)^2


def test_only_psnr_ssim_and_vif_depend_on_the_range():
    x, p = pair(48, 41)
    changed = [name for name, metric in METRICS.items() if metric(x, p, 1.0) != metric(x, p, 0.5)]
    assert changed == ["psnr", "ssim", "vif"]


def laplacian(image):
    """Five-point stencil, the border repeated."""
    padded = np.pad(image.astype(np.float64), 1, mode="edge")
    return padded[2:, 1:-1] + padded[:-2, 1:-1] + padded[1:-1, 2:] + padded[1:-1, :-2] - 4 * image.astype(np.float64)


@pytest.mark.parametrize("shape", SIZES)
def test_hfn(shape):
    x, p = pair(*shape)
    expected = ((laplacian(x) - laplacian(p)) ** 2).sum() / (laplacian(x) ** 2).sum()
    assert hfn(x, p) == pytest.approx(expected, rel=1e-10)
    assert hfn(x, x + np.float32(0.125)) == pytest.approx(0, abs=1e-10)  # a constant has no edges
    assert hfn(x, np.full_like(x, 0.3)) == pytest.approx(1, rel=1e-6)


def test_hfn_clips_the_prediction():
    x = np.zeros((9, 9))
    x[4, 4] = 1
    assert hfn(x, 3 * x - 0.5) == pytest.approx(0, abs=1e-12)


def plain_vif(x, p):
    """Pixel-domain VIF in loops, window by window, for images in 0..255."""

    def blurred(image, weights):
        n = len(weights)
        rows, columns = (size - n + 1 for size in image.shape)
        return np.array([[(image[i : i + n, j : j + n] * weights).sum() for j in range(columns)] for i in range(rows)])

    kept = total = 0
    for n in (17, 9, 5, 3):
        offsets = np.arange(n) - (n - 1) / 2
        weights = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * (n / 5) ** 2))
        weights /= weights.sum()
        if n < 17:
            x, p = blurred(x, weights)[::2, ::2], blurred(p, weights)[::2, ::2]
        for i in range(x.shape[0] - n + 1):
            for j in range(x.shape[1] - n + 1):
                a, b = x[i : i + n, j : j + n], p[i : i + n, j : j + n]
                mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
                var_a, var_b = (weights * (a - mean_a) ** 2).sum(), (weights * (b - mean_b) ** 2).sum()
                gain = (weights * (a - mean_a) * (b - mean_b)).sum() / var_a
                gain, noise = (gain, var_b - gain**2 * var_a) if gain > 0 else (0, var_b)
                kept += math.log(1 + gain**2 * var_a / (noise + 2))
                total += math.log(1 + var_a / 2)
    return kept / total


@pytest.mark.parametrize("shape", [(41, 43), (48, 45)])
@pytest.mark.parametrize("data_range", [None, 1.0])
def test_vif_against_loops(shape, data_range):
    x, p = pair(*shape)
    scale = 255 / (x.max() if data_range is None else data_range)
    expected = plain_vif(x.astype(np.float64) * scale, p.astype(np.float64) * scale)
    assert 0.05 < expected < 0.95
    assert vif(x, p, data_range) == pytest.approx(expected, rel=1e-6)


def test_vif_properties():
    x, p = pair(64, 64)
    contrast = (x - x.mean()) * 1.2 + x.mean()
    assert vif(x, contrast) > 1 > vif(x, (x - x.mean()) * 0.5 + x.mean()) > 0
    assert vif(x, np.full_like(x, 0.3)) == pytest.approx(0, abs=1e-8)
    assert vif(x, x.max() - x) == pytest.approx(0, abs=1e-8)  # negative gain carries nothing
    assert vif(x, p) > vif(x, 2 * p - x) > 0
    half = np.where(np.arange(64) < 32, 0, x).astype(np.float32)  # flat background is harmless
    assert vif(half, half) == pytest.approx(1, abs=1e-8) and np.isfinite(vif(half, p))


@pytest.mark.parametrize("name", METRICS)
def test_refusals(name):
    metric, (x, p) = METRICS[name], pair(2, 32, 32)
    for target, prediction in [(x, p[0]), (x[0], p[0, :-1]), (x[0, 0], p[0, 0]), (x[None], p[None])]:
        with pytest.raises(ValueError, match="expected the same shape"):
            metric(target, prediction)
    for bad in (np.nan, np.inf):
        spoilt = np.where(np.arange(32) == 3, bad, x)
        for arguments in [(spoilt, p), (x, spoilt)]:
            with pytest.raises(ValueError, match="NaN or infinite"):
                metric(*arguments)
    with pytest.raises(ValueError, match="zero everywhere"):
        metric(np.stack([x[0], 0 * x[0]]), p)
    for span in (0, -1.0, np.nan):
        with pytest.raises(ValueError, match="data range .* above 0"):
            metric(x, p, span)


def test_refusals_of_single_metrics():
    x, p = pair(32, 32)
    for metric in (hfn, vif):
        with pytest.raises(ValueError, match="0.5 everywhere: expected an image with edges"):
            metric(np.full((32, 32), 0.5), p)
    with pytest.raises(ValueError, match="17 x 17"):
        vif(x[:16], p[:16])


def test_ssim_with_gaussian_windows_is_that_of_wang():
    x, p = (image.astype(float) for image in pair(33, 45))
    offsets = np.arange(11) - 5
    window = np.exp(-0.5 * (offsets[:, None] ** 2 + offsets[None] ** 2) / 1.5**2)
    window /= window.sum()

    def mean(image):
        return (np.lib.stride_tricks.sliding_window_view(image, (11, 11)) * window).sum((2, 3))

    mx, mp, c1, c2 = mean(x), mean(p), 0.01**2, 0.03**2
    covariance, variances = mean(x * p) - mx * mp, mean(x * x) - mx**2 + mean(p * p) - mp**2
    by_hand = (2 * mx * mp + c1) * (2 * covariance + c2) / ((mx**2 + mp**2 + c1) * (variances + c2))
    assert ssim_gaussian(x, p, data_range=1.0) == pytest.approx(by_hand.mean())
    assert abs(ssim(x, p, data_range=1.0) - by_hand.mean()) > 1e-2
    assert "ssim_gaussian" not in METRICS  # the tables have one SSIM
