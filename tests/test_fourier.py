import numpy as np
import pytest
import torch
from helpers import SIZES, assert_adjoint, random_complex, random_image

from kdrecon.physics import fourier


@pytest.mark.parametrize("shape", SIZES)
def test_equals_numpy(shape):
    x = random_image(2, *shape)
    np.testing.assert_allclose(fourier.fft2(x).numpy(), np.fft.fft2(x.numpy(), norm="ortho"), atol=1e-12)


@pytest.mark.parametrize("shape", SIZES)
def test_inverse_is_adjoint_and_inverse(shape):
    x, k = random_complex(*shape), random_complex(*shape, seed=1)
    assert_adjoint(fourier.fft2, fourier.ifft2, x, k)
    torch.testing.assert_close(fourier.ifft2(fourier.fft2(x)), x)


def test_dc_is_at_the_origin_unshifted_and_in_the_middle_centred():
    x = torch.ones(6, 5)
    assert fourier.fft2(x).abs().argmax() == 0
    assert torch.equal(torch.tensor(divmod(int(fourier.centred_fft2(x).abs().argmax()), 5)), torch.tensor([3, 2]))


@pytest.mark.parametrize("shape", SIZES)
def test_centred_pair_is_inverse(shape):
    x = random_complex(*shape)
    torch.testing.assert_close(fourier.centred_ifft2(fourier.centred_fft2(x)), x)


@pytest.mark.parametrize(("shape", "size"), [((12, 12), 8), ((13, 12), 7), ((9, 9), 9)])
def test_crop_keeps_a_constant_and_low_frequencies(shape, size):
    torch.testing.assert_close(fourier.crop_kspace(torch.full(shape, 0.7), size), torch.full((size, size), 0.7))


def test_crop_samples_a_band_limited_image_exactly():
    phase = 2 * torch.pi * torch.arange(12, dtype=torch.float64) / 12
    image = (2 + phase.cos())[:, None].expand(12, 12)
    torch.testing.assert_close(fourier.crop_kspace(image, 6), image[::2, ::2])


@pytest.mark.parametrize("size", [0, 13])
def test_crop_refuses_a_size_that_does_not_fit(size):
    with pytest.raises(ValueError, match=f"{size} does not fit"):
        fourier.crop_kspace(torch.ones(12, 12), size)
