"""Image quality, slice by slice, with an explicit data range.

Every metric takes a target and a prediction, (H, W) or (S, H, W), and returns a float, or one value a slice (S,). The
data range is each slice's target maximum unless given. Volume-wise figures are never formed here.

All raise ValueError for arrays of different or other shapes, values that are not finite, a target that is zero
everywhere, or a data range that is not above 0; hfn and vif also for a target without structure.

>>> import numpy as np
>>> from kdrecon.metrics import METRICS, psnr, ssim
>>> target = np.linspace(0, 1, 256).reshape(16, 16)
>>> round(psnr(target, target + 0.01), 3)
40.0
>>> round(ssim(target, target), 3)
1.0
>>> METRICS["nmse"].lower_is_better
True
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage
from skimage import metrics as skimage_metrics

VIF_NOISE = 2.0
SMALLEST = 17  # pixels along each axis that the coarsest window of vif needs


Signed = TypeVar("Signed")  # a number or an array of numbers


class SliceMetric(Protocol):
    """How every metric is called."""

    def __call__(
        self, target: ArrayLike, prediction: ArrayLike, data_range: float | None = None
    ) -> float | np.ndarray: ...


@dataclass(frozen=True)
class Metric:
    """A metric as tables, figures and statistics know it.

    Attributes:
        name: its column.
        compute: its function.
        title: how people write it.
        digits: decimals that tables show.
        unit: "dB"; "" where it has none.
        lower_is_better: whether a lower value is a better image.
    """

    name: str
    compute: SliceMetric
    title: str
    digits: int
    unit: str = ""
    lower_is_better: bool = False

    def __call__(self, target: ArrayLike, prediction: ArrayLike, data_range: float | None = None) -> float | np.ndarray:
        """As its function: (H, W) to a float, (S, H, W) to one a slice (S,)."""
        return self.compute(target, prediction, data_range)

    @property
    def heading(self) -> str:
        """Title and unit: "PSNR (dB)"."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    def text(self, value: float, sd: float = np.nan) -> str:
        """A value as tables show it, "31.52", with its standard deviation "31.52 ± 1.04"; "" for NaN."""
        spread = "" if np.isnan(sd) else f" ± {sd:.{self.digits}f}"
        return "" if np.isnan(value) else f"{value:.{self.digits}f}{spread}"

    def signed(self, difference: float) -> str:
        """A difference as tables show it, "+0.20"; "" for NaN."""
        return "" if np.isnan(difference) else f"{round(difference, self.digits) + 0.0:+.{self.digits}f}"

    def quantity(self, target: ArrayLike, prediction: ArrayLike) -> str:
        """Its value for an image (H, W) as figures write it: "31.52 dB", or "SSIM 0.9012" where it has no unit."""
        value = self.text(float(self.compute(target, prediction)))
        return f"{value} {self.unit}" if self.unit else f"{self.title} {value}"

    def gain(self, difference: Signed) -> Signed:
        """A difference of values, turned so that above 0 is better."""
        return -difference if self.lower_is_better else difference  # type: ignore[operator]


def _slicewise(metric: Callable[[np.ndarray, np.ndarray, float], float]) -> SliceMetric:
    @wraps(metric)
    def over_slices(target: ArrayLike, prediction: ArrayLike, data_range: float | None = None) -> float | np.ndarray:
        target, prediction = np.asarray(target, np.float64), np.asarray(prediction, np.float64)
        if target.shape != prediction.shape or target.ndim not in (2, 3):
            raise ValueError(
                f"target {target.shape} and prediction {prediction.shape}: expected the same shape, (H, W) or (S, H, W)"
            )
        if not (np.isfinite(target).all() and np.isfinite(prediction).all()):
            raise ValueError(
                "target or prediction holds NaN or infinite values: expected finite ones; check the network"
            )
        if target.ndim == 3:
            return np.array([over_slices(t, p, data_range) for t, p in zip(target, prediction)])
        if not target.any():
            raise ValueError("the target slice is zero everywhere: expected an image; leave empty slices out")
        span = target.max() if data_range is None else data_range
        if not (np.isfinite(span) and span > 0):
            raise ValueError(f"data range {span}: expected a number above 0; scale images to [0, 1] or give data_range")
        return float(metric(target, prediction, span))

    return over_slices


@_slicewise
def psnr(target: np.ndarray, prediction: np.ndarray, data_range: float) -> float:
    """Peak signal-to-noise ratio, 10 log10(range^2 / MSE), in dB; infinite for equal images."""
    with np.errstate(divide="ignore"):
        return skimage_metrics.peak_signal_noise_ratio(target, prediction, data_range=data_range)


@_slicewise
def ssim(target: np.ndarray, prediction: np.ndarray, data_range: float) -> float:
    """Structural similarity, mean over uniform windows of 7 x 7; 1 for equal images.

    The window is scikit-image's default and that of the released code; :func:`ssim_gaussian` has that of the original.
    """
    return skimage_metrics.structural_similarity(target, prediction, data_range=data_range)


@_slicewise
def ssim_gaussian(target: np.ndarray, prediction: np.ndarray, data_range: float) -> float:
    """Structural similarity as in its original form: Gaussian windows of 11 x 11, sigma 1.5 pixels; 1 for equal images.

    Source: Wang et al. 2004. Its values do not compare with those of :func:`ssim`.
    """
    return skimage_metrics.structural_similarity(
        target, prediction, data_range=data_range, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )


@_slicewise
def nmse(target: np.ndarray, prediction: np.ndarray, data_range: float) -> float:
    """Normalised mean squared error, |x - p|^2 / |x|^2."""
    return ((target - prediction) ** 2).sum() / (target**2).sum()


@_slicewise
def mse(target: np.ndarray, prediction: np.ndarray, data_range: float) -> float:
    """Mean squared error."""
    return skimage_metrics.mean_squared_error(target, prediction)


@_slicewise
def hfn(target: np.ndarray, prediction: np.ndarray, data_range: float) -> float:
    """High-frequency norm error, |L x - L p|^2 / |L x|^2 with the Laplacian L and predictions clipped to [0, 1].

    Raises ValueError for a constant target. Source: released code of SFT-KD-Recon.
    """
    _check_structure(target)
    edges = ndimage.laplace(target)
    return ((edges - ndimage.laplace(prediction.clip(0, 1))) ** 2).sum() / (edges**2).sum()


@_slicewise
def vif(target: np.ndarray, prediction: np.ndarray, data_range: float) -> float:
    """Visual information fidelity in the pixel domain: information the prediction keeps of the target; 1 for equal images.

    Over four scales: sum log2(1 + g^2 s_x^2 / (s_v^2 + s_n^2)) / sum log2(1 + s_x^2 / s_n^2), with local gain g and
    residual variance s_v^2 under Gaussian windows and s_n^2 = 2 for images scaled to 0..255. It exceeds 1 where the
    prediction has more contrast than the target. Images below 41 x 41 pixels have fewer scales.

    Raises ValueError for a constant target or images below 17 x 17. Source: Sheikh & Bovik 2006 (pixel-domain form).
    """
    _check_structure(target)
    if min(target.shape) < SMALLEST:
        least = f"{SMALLEST} x {SMALLEST}"
        raise ValueError(f"images of {target.shape}: vif needs at least {least} pixels; leave it out for smaller ones")
    x, p = target * 255 / data_range, prediction * 255 / data_range
    kept = total = 0.0
    for scale in range(4):
        size = 2 ** (4 - scale) + 1
        window = _gaussian_window(size)
        if scale:
            x, p = (_filter(image, window)[::2, ::2] for image in (x, p))
        if min(x.shape) < size:
            break
        mean_x, mean_p = _filter(x, window), _filter(p, window)
        var_x = (_filter(x * x, window) - mean_x**2).clip(min=0)
        var_p = (_filter(p * p, window) - mean_p**2).clip(min=0)
        covariance = _filter(x * p, window) - mean_x * mean_p
        gain = covariance / (var_x + 1e-10)
        residual = var_p - gain * covariance
        gain, residual = np.where(var_x < 1e-10, 0, gain), np.where(var_x < 1e-10, var_p, residual)
        gain, residual = np.where(var_p < 1e-10, 0, gain), np.where(var_p < 1e-10, 0, residual)
        residual = np.where(gain < 0, var_p, residual).clip(min=1e-10)
        gain = gain.clip(min=0)
        kept += np.log2(1 + gain**2 * var_x / (residual + VIF_NOISE)).sum()
        total += np.log2(1 + var_x / VIF_NOISE).sum()
    return kept / total


PSNR = Metric("psnr", psnr, "PSNR", digits=2, unit="dB")
SSIM = Metric("ssim", ssim, "SSIM", digits=4)
NMSE = Metric("nmse", nmse, "NMSE", digits=4, lower_is_better=True)
MSE = Metric("mse", mse, "MSE", digits=4, lower_is_better=True)
HFN = Metric("hfn", hfn, "HFN", digits=4, lower_is_better=True)
VIF = Metric("vif", vif, "VIF", digits=4)
METRICS = {metric.name: metric for metric in (PSNR, SSIM, NMSE, MSE, HFN, VIF)}
PUBLISHED = (PSNR, SSIM)  # what papers report: tables show their spread, too


def _check_structure(target: np.ndarray) -> None:
    if np.ptp(target) == 0:
        raise ValueError(f"the target slice is {target.flat[0]} everywhere: expected an image with edges")


def _gaussian_window(size: int) -> np.ndarray:
    offsets = np.arange(size) - size // 2
    window = np.exp(-0.5 * (offsets / (size / 5)) ** 2)
    return window / window.sum()


def _filter(image: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Separable filter, 'valid' part only."""
    half = len(window) // 2
    for axis in (0, 1):
        image = ndimage.correlate1d(image, window, axis=axis)
    return image[half : image.shape[0] - half, half : image.shape[1] - half]
