import numpy as np
import pytest
import torch
from helpers import SIZES, random_image
from hypothesis import given
from hypothesis import strategies as st

from kdrecon.errors import InputError
from kdrecon.physics import sampling
from kdrecon.runs.experiment import usual_resolution

PUBLISHED = {
    ("cardiac", "4x"): ((150, 150), 0, 37), ("cardiac", "5x"): ((150, 150), 0, 30), ("cardiac", "8x"): ((150, 150), 0, 18),
    ("mrbrain", "4x"): ((240, 240), 0, 60), ("mrbrain", "5x"): ((240, 240), 0, 48), ("mrbrain", "8x"): ((240, 240), 0, 30),
    ("knee", "4x"): ((640, 368), 1, 94), ("knee", "5x"): ((640, 368), 1, 74), ("knee", "8x"): ((640, 368), 1, 50),
}  # fmt: skip
CENTRE = {
    ("cardiac", "4x"): 10, ("cardiac", "5x"): 11, ("cardiac", "8x"): 10, ("mrbrain", "4x"): 12, ("mrbrain", "5x"): 9,
    ("mrbrain", "8x"): 11, ("knee", "4x"): 29, ("knee", "5x"): 29, ("knee", "8x"): 29,
}  # fmt: skip


def contiguous_centre(line: torch.Tensor) -> int:
    """Lines sampled without a gap around DC, in both directions."""
    up = int((~line).float().argmax())
    down = int((~line.flip(0)).float().argmax())
    return up + down


@pytest.mark.parametrize("key", PUBLISHED)
def test_published_masks(key):
    mask, (shape, axis, lines) = sampling.published_mask(*key), PUBLISHED[key]
    assert mask.dtype == torch.bool and tuple(mask.shape) == shape
    line = mask.any(1 - axis)
    assert torch.equal(line, mask.all(1 - axis))
    assert int(line.sum()) == lines and contiguous_centre(line) == CENTRE[key]


def test_what_the_cardiac_mask_knows():
    mask = sampling.published_mask("cardiac", "4x")
    line, known = mask[:, 0], (mask | sampling.mirror(mask))[:, 0]
    assert round(100 * line.double().mean().item(), 1) == 24.7
    assert round(100 * known.double().mean().item(), 1) == 40.7
    alone = line & ~sampling.mirror(mask)[:, 0]
    assert int(alone.sum()) == 24


@pytest.mark.parametrize(("family", "acceleration"), [("heart", "4x"), ("cardiac", "3x")])
def test_unknown_published_mask(family, acceleration):
    with pytest.raises(InputError, match="no published mask"):
        sampling.published_mask(family, acceleration)


@given(
    n=st.integers(24, 200),
    factor=st.sampled_from(["4x", "5x", "8x"]),
    axis=st.integers(0, 1),
    seed=st.integers(0, 9),
)
def test_generated_line_masks(n, factor, axis, seed):
    shape = (n, 20) if axis == 0 else (20, n)
    mask = sampling.line_mask(shape, factor, axis, seed)
    line = mask.any(1 - axis)
    assert torch.equal(line, mask.all(1 - axis))
    budget = n // int(factor[0])
    assert int(line.sum()) == budget and line[0]
    assert contiguous_centre(line) >= min(10, n // 8, budget)
    assert torch.equal(mask, sampling.line_mask(shape, factor, axis, seed))


def test_generated_lines_have_the_density_of_the_authors_group():
    counts = sum(sampling.line_mask((150, 4), "4x", seed=s)[:, 0].double() for s in range(200))
    assert (counts[:5] == 200).all() and (counts[-5:] == 200).all() and counts[5] < 200 > counts[-6]
    near, far = counts[6:16].mean() / 200, counts[60:91].mean() / 200
    assert near == pytest.approx(0.47, abs=0.03) and far == pytest.approx(0.093, abs=0.01)  # 0.37, 0.04: normal, 0.2 N


def test_that_density_fits_the_published_outer_lines_better_than_a_normal_one():
    fit = {"group": 0.0, "normal": 0.0}
    for family, acceleration in PUBLISHED:
        if family == "knee":  # whose lines are uniform
            continue
        line = np.fft.fftshift(sampling.published_mask(family, acceleration)[:, 0].numpy())
        k = np.arange(len(line)) - len(line) // 2
        outer = (k < -5) | (k >= 5)
        for name, density in {
            "group": np.exp(-(k**2) / (2 * (len(k) / 10) ** 2)) + 1 / (2 * int(acceleration[0])),
            "normal": np.exp(-(k**2) / (2 * (0.2 * len(k)) ** 2)),
        }.items():
            fit[name] += np.log(density[outer & line] / density[outer].sum()).sum()
    assert fit == pytest.approx({"group": -813.5, "normal": -829.5}, abs=0.1)


@pytest.mark.parametrize("n", [8, 10])
def test_every_line_can_be_sampled(n):
    assert sampling.line_mask((n, 6), "1x").all() and sampling.line_mask((n, 6), "20x").sum() == 6


def test_gaussian_mask():
    mask = sampling.gaussian_mask((60, 50), "4x")
    assert int(mask.sum()) == 750 and mask[:2, :2].all()
    assert not torch.equal(mask, sampling.gaussian_mask((60, 50), "4x", seed=1))
    assert 0 < mask[0].sum() < 50


@pytest.mark.parametrize(
    ("shape", "factor", "sides"),
    [((256, 256), "4x", (64, 64)), ((150, 217), "4x", (38, 54)), ((120, 100), "8x", (16, 12)), ((9, 5), "8x", (2, 2))],
)
def test_lowpass_keeps_the_central_block(shape, factor, sides):
    rows, columns = (np.arange(n) - n // 2 for n in shape)
    inside = [(k >= -n // 2) & (k < n // 2) for k, n in zip((rows, columns), sides)]
    mask = sampling.lowpass_mask(shape, factor)
    assert np.array_equal(np.fft.fftshift(mask.numpy()), np.outer(*inside)) and mask.sum() == np.prod(sides)


@pytest.mark.parametrize("shape", SIZES)
def test_lowpass_of_factor_one_keeps_everything(shape):
    assert sampling.mask_for("anything", "1x", shape, "lowpass").all()


def test_low_resolution_is_interpolation_by_sinc():
    x = torch.rand(1, 1, 32, 32)
    k = np.fft.fftshift(np.fft.fft2(x[0, 0].numpy().astype(float)))  # as in the code released with KD-MRI
    kept = np.zeros_like(k)
    kept[12:20, 12:20] = k[12:20, 12:20]
    x_u, _ = sampling.undersample(x, sampling.mask_for("anything", "4x", (32, 32), "lowpass"))
    assert np.abs(x_u[0, 0].numpy() - np.abs(np.fft.ifft2(kept))).max() < 1e-6


def test_a_data_set_has_the_size_of_its_published_masks():
    sizes = {"sample": 240, "mrbrain": 240, "cardiac": 150, "sunnybrook": 150, "knee": "640x368", "heart": None}
    assert {name: usual_resolution(name) for name in sizes} == sizes


def test_mask_for_takes_the_published_mask_where_it_fits():
    assert torch.equal(sampling.mask_for("sample", "4x", (240, 240)), sampling.published_mask("mrbrain", "4x"))
    assert torch.equal(sampling.mask_for("sunnybrook", "5x", (150, 150)), sampling.published_mask("cardiac", "5x"))
    assert tuple(sampling.mask_for("sample", "4x", (120, 120)).shape) == (120, 120)
    assert tuple(sampling.mask_for("anything", "8x", (31, 30)).shape) == (31, 30)


def test_knee_masks_have_lines_along_columns_and_thirty_in_the_centre():
    line = sampling.mask_for("knee", "4x", (40, 320))[0]
    assert line.sum() == 80 and line[:15].all() and line[-15:].all() and not line[:17].all()
    assert torch.equal(sampling.mask_for("knee", "4x", (40, 320)), line.expand(40, 320))


def test_files_of_format_version_1_keep_their_masks():
    line = sampling.mask_for("anything", "4x", (40, 30), format_version=1)[:, 0]
    assert torch.nonzero(line).flatten().tolist() == [0, 1, 3, 4, 8, 11, 23, 26, 34, 39]
    columns = sampling.mask_for("knee", "8x", (20, 100), format_version=1)[0]
    assert torch.nonzero(columns).flatten().tolist() == [0, 1, 2, 3, 10, 19, 59, 65, 86, 97, 98, 99]
    published = sampling.published_mask("cardiac", "4x")
    assert torch.equal(sampling.mask_for("cardiac", "4x", (150, 150), format_version=1), published)


def test_mask_for_refuses_an_acceleration_without_mask():
    with pytest.raises(InputError, match="'3x' has no mask.*4x, 5x, 8x"):
        sampling.mask_for("sample", "3x", (120, 120))
    with pytest.raises(InputError, match="acceleration '0.5x' is not a factor"):
        sampling.mask_for("sample", "0.5x", (120, 120), "lowpass")


@pytest.mark.parametrize("shape", SIZES)
def test_mirror(shape):
    k = random_image(*shape)
    mirrored = sampling.mirror(k)
    for i, j in [(0, 0), (1, 0), (0, 1), (3, 2)]:
        assert mirrored[i, j] == k[-i % shape[0], -j % shape[1]]
    assert torch.equal(sampling.mirror(mirrored), k)


def test_undersample():
    x = random_image(2, 1, 24, 20, dtype=torch.float32)
    mask = sampling.line_mask((24, 20), "4x")
    x_u, y = sampling.undersample(x, mask)
    assert y.dtype == torch.complex64 and (y[..., ~mask] == 0).all()
    torch.testing.assert_close(y[..., mask], torch.fft.fft2(x, norm="ortho")[..., mask])
    torch.testing.assert_close(x_u, torch.fft.ifft2(y, norm="ortho").abs())


def test_undersample_refuses_another_size():
    with pytest.raises(ValueError, match=r"mask of \(20, 24\).*equal sizes"):
        sampling.undersample(torch.rand(1, 1, 24, 20), torch.ones(20, 24, dtype=torch.bool))


@pytest.mark.parametrize("centre", [0, 1, 7, 30])
def test_the_number_of_centre_lines_can_be_chosen(centre):
    mask = sampling.line_mask((120, 60), "4x", centre=centre)
    lines = np.flatnonzero(np.fft.fftshift(mask[:, 0].numpy())) - 60
    assert len(lines) == 30 and set(range(-(centre // 2), centre - centre // 2)) <= set(lines)
    square = np.fft.fftshift(sampling.gaussian_mask((40, 50), 4, centre=centre).numpy())
    assert square[20 - centre // 2 : 20 + centre - centre // 2, 25 - centre // 2 : 25 + centre - centre // 2].all()


def test_more_centre_lines_than_lines_are_all_of_them_and_fewer_than_none_are_refused():
    assert sampling.line_mask((40, 40), 4, centre=25).sum() == 10 * 40
    for make in (sampling.line_mask, sampling.gaussian_mask):
        with pytest.raises(InputError, match="centre = -1: expected"):
            make((40, 40), 4, centre=-1)
