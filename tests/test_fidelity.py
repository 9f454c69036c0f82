import math

import pytest
import torch
from helpers import assert_adjoint, assert_idempotent, random_complex, random_image

from kdrecon.physics.fidelity import DataFidelity
from kdrecon.physics.fourier import fft2, ifft2
from kdrecon.physics.sampling import gaussian_mask, line_mask, mirror

SHAPES = [(24, 20), (25, 21), (24, 21)]
MASKS = {
    "lines along rows": lambda shape: line_mask(shape, "4x", axis=0),
    "lines along columns": lambda shape: line_mask(shape, "4x", axis=1),
    "points": lambda shape: gaussian_mask(shape, "4x"),
}
cases = pytest.mark.parametrize(
    "mask", [pytest.param(make(s), id=f"{name} {s}") for name, make in MASKS.items() for s in SHAPES]
)


def measured(mask):
    """An image, its k-space on the mask and another image that a network might propose."""
    x = random_image(2, 1, *mask.shape)
    return x, fft2(x) * mask, random_image(2, 1, *mask.shape, seed=1)


@cases
def test_real_mode_is_the_real_part_after_the_plain_formula(mask):
    _, y, x_cnn = measured(mask)
    plain = ifft2(torch.where(mask, y, fft2(x_cnn))).real
    torch.testing.assert_close(DataFidelity("real")(x_cnn, y, mask), plain)


@cases
def test_real_mode_averages_where_only_k_is_sampled(mask):
    _, y, x_cnn = measured(mask)
    out, both = fft2(DataFidelity("real")(x_cnn, y, mask)), mask & mirror(mask)
    torch.testing.assert_close(out[..., both], y[..., both])
    alone = mask & ~both
    torch.testing.assert_close(out[..., alone], (fft2(x_cnn) + y)[..., alone] / 2)


@cases
def test_hermitian_mode_is_exact_on_the_mask_and_its_mirror(mask):
    x, y, x_cnn = measured(mask)
    known = mask | mirror(mask)
    out = fft2(DataFidelity("hermitian")(x_cnn, y, mask))
    torch.testing.assert_close(out[..., known], fft2(x)[..., known])
    torch.testing.assert_close(out[..., ~known], fft2(x_cnn)[..., ~known])


@cases
def test_without_data_fidelity_the_proposal_stands(mask):
    _, y, x_cnn = measured(mask)
    layer = DataFidelity("none")
    assert torch.equal(layer(x_cnn, y, mask), x_cnn)
    assert torch.equal(layer.apply_to(x_cnn, layer.repeat(layer.measure(y[:1], mask), 2)), x_cnn)


@cases
def test_hermitian_mode_is_idempotent_and_real_mode_is_not(mask):
    _, y, x_cnn = measured(mask)
    hermitian, real = DataFidelity("hermitian"), DataFidelity("real")
    assert_idempotent(lambda x: hermitian(x, y, mask), x_cnn)
    once = real(x_cnn, y, mask)
    assert (real(once, y, mask) - once).abs().max() > 1e-3


@cases
@pytest.mark.parametrize("mode", ["real", "hermitian"])
def test_y_off_the_mask_never_matters(mask, mode):
    _, y, x_cnn = measured(mask)
    altered = y + ~mask * random_complex(2, 1, *mask.shape, seed=3)
    layer = DataFidelity(mode)
    assert torch.equal(layer(x_cnn, y, mask), layer(x_cnn, altered, mask))
    unmeasured = torch.where(mask, y, complex(math.nan, math.inf))
    assert torch.equal(layer(x_cnn, y, mask), layer(x_cnn, unmeasured, mask))


@cases
@pytest.mark.parametrize("mode", ["real", "hermitian"])
def test_linear_part_is_self_adjoint(mask, mode):
    def linear(x):
        return DataFidelity(mode)(x, torch.zeros_like(x, dtype=torch.complex128), mask)

    assert_adjoint(linear, linear, random_image(1, 1, *mask.shape), random_image(1, 1, *mask.shape, seed=2))


@cases
@pytest.mark.parametrize("mode", ["real", "hermitian"])
def test_gradient(mask, mode):
    _, y, x_cnn = measured(mask)
    layer = DataFidelity(mode)
    x_cnn = x_cnn[:1, :, :, :].requires_grad_()
    assert torch.autograd.gradcheck(lambda x: layer(x, y[:1], mask), x_cnn, fast_mode=True)


def test_noisy_form():
    mask = line_mask((24, 20), "4x")
    mask = mask | mirror(mask)
    _, y, x_cnn = measured(mask)
    out = fft2(DataFidelity("real", lam=3.0)(x_cnn, y, mask))
    torch.testing.assert_close(out[..., mask], ((fft2(x_cnn) + 3.0 * y) / 4.0)[..., mask])
    torch.testing.assert_close(DataFidelity("real", lam=1e12)(x_cnn, y, mask), DataFidelity("real")(x_cnn, y, mask))


def test_full_mask_gives_the_image_back():
    mask = torch.ones(9, 8, dtype=torch.bool)
    x, y, x_cnn = measured(mask)
    for mode in ("real", "hermitian"):
        torch.testing.assert_close(DataFidelity(mode)(x_cnn, y, mask), x)


def test_half_precision_input_is_corrected_in_float32():
    mask = line_mask((24, 20), "4x")
    x = random_image(1, 1, 24, 20, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        out = DataFidelity()(x.bfloat16(), fft2(x) * mask, mask)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out, DataFidelity()(x.bfloat16().float(), fft2(x) * mask, mask))


@pytest.mark.parametrize(
    ("arguments", "message"), [(("complex",), "'complex' is unknown"), (("real", 0.0), "lam = 0.0")]
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        DataFidelity(*arguments)


def test_mask_of_another_size():
    with pytest.raises(ValueError, match="equal sizes"):
        DataFidelity(lam=math.inf)(
            torch.rand(1, 1, 8, 8), torch.zeros(1, 1, 8, 8, dtype=torch.complex64), torch.ones(8, 9).bool()
        )


def test_a_mask_that_changes_is_looked_at_again():
    layer, mask = DataFidelity(), line_mask((8, 8), "4x")
    x, y = random_image(1, 1, 8, 8), random_complex(1, 1, 8, 8)
    before = layer(x, y, mask)
    assert torch.equal(layer(x, y, mask), before)
    mask[:] = line_mask((8, 8), "4x", axis=1, seed=1)
    after = layer(x, y, mask)
    assert not torch.equal(after, before) and torch.equal(after, DataFidelity()(x, y, mask.clone()))
    assert torch.equal(layer(x, y, line_mask((8, 8), "4x")), before)


@pytest.mark.parametrize("lam", [0.3, 4.0])
def test_weights_beside_those_of_least_squares(lam):
    mask = line_mask((24, 20), "4x")
    opposite = mirror(mask)
    x, y, x_cnn = measured(mask)
    single, both, gap = mask & ~opposite, mask & opposite, (fft2(x) - fft2(x_cnn))
    assert single.any() and both.any()
    weight = (lam / (2 + lam)) * (single | mirror(single)) + (lam / (1 + lam)) * both
    best = (x_cnn + ifft2(weight * gap).real).requires_grad_()
    cost = (best - x_cnn).square().sum() + lam * (fft2(best) * mask - y).abs().square().sum()
    (gradient,) = torch.autograd.grad(cost, best)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient))
    for mode, own in {"real": lam / (2 + 2 * lam), "hermitian": lam / (1 + lam)}.items():
        moved = fft2(DataFidelity(mode, lam)(x_cnn, y, mask)) - fft2(x_cnn)
        torch.testing.assert_close(moved[..., single], own * gap[..., single])
        torch.testing.assert_close(moved[..., both], lam / (1 + lam) * gap[..., both])
