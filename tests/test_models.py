import pytest
import torch
from helpers import random_image
from torch.nn import functional as F

from kdrecon.distillation import TAPS, select, tap_layers
from kdrecon.errors import InputError
from kdrecon.models.blocks import AuthorsUNetBlock, CNNBlock, ImageConv2d, UNetBlock, VDSRBlock
from kdrecon.models.dccnn import DCCNN, count_parameters, dc_cnn
from kdrecon.models.sft import SFT
from kdrecon.physics.fourier import fft2, ifft2
from kdrecon.physics.sampling import line_mask, undersample
from kdrecon.results.cost import inference_cost
from kdrecon.tasks import Reconstruction


def example(shape=(17, 15)):
    mask = line_mask(shape, "4x")
    x = random_image(2, 1, *shape, dtype=torch.float32)
    return (*undersample(x, mask), mask)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("D5C5", 141_765),
        ("D4C5", 95_525),
        ("D3C5", 49_285),
        ("D2C5", 3_045),
        ("DC-UNet", 418_565),
        ("DC-UNet-author", 2_218_415),
        ("V12", 370_497),
        ("V4", 75_073),
        ("V11", 333_569),
        ("V7", 185_857),
    ],
)
def test_parameter_counts(name, parameters):
    model = dc_cnn(name)
    assert count_parameters(model) == parameters and model.name == name


@pytest.mark.parametrize("name", ["D1C5", "D5", "d5c5", "D5C0", "UNet", "V1", "V", "V12C1"])
def test_names_that_are_none(name):
    with pytest.raises(InputError, match=f"'{name}'.*DdCc"):
        dc_cnn(name)


@pytest.mark.parametrize("depth", [2, 3, 5])
def test_block_equals_same_convolutions_on_a_padded_image(depth):
    block, x = CNNBlock(depth), random_image(2, 1, 11, 9, dtype=torch.float32)
    z = F.pad(x, [5] * 4)
    maps = []
    for j, conv in enumerate(block.convs):
        before = F.conv2d(z, conv.weight, conv.bias, padding=1)
        z = before.relu() if j < depth - 1 else before
        maps.append([t[..., 5:-5, 5:-5] for t in (before, z)])
    out, taps = block(x, taps=True)
    torch.testing.assert_close(out, maps[-1][1], rtol=1e-5, atol=1e-6)
    assert len(taps) == depth
    for tap, expected in zip(taps, maps):
        torch.testing.assert_close(tap.before, expected[0], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(tap.after, expected[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(16, 24), (17, 15)])
def test_the_authors_unet_block_equals_its_description(shape):
    block, x = AuthorsUNetBlock(), random_image(2, 1, *shape, dtype=torch.float32)

    def convolved(conv, z):
        z = F.conv2d(z, conv.weight, conv.bias, padding=1)
        mean, variance = z.mean((2, 3), keepdim=True), z.var((2, 3), correction=0, keepdim=True)
        return ((z - mean) / (variance + 1e-5).sqrt()).relu()

    def halved(z):
        return z.unflatten(-1, (-1, 2)).unflatten(-3, (-1, 2)).amax(dim=(-1, -3))

    first, last, output = block.convs
    full = convolved(first, F.pad(x, [0, -shape[1] % 8, 0, -shape[0] % 8]))
    half = convolved(block.down[0], halved(full))
    quarter = convolved(block.down[1], halved(half))
    z = convolved(block.down[2], halved(quarter))
    for skip, conv in ((quarter, block.up[0]), (half, block.up[1]), (full, last)):
        z = convolved(conv, torch.cat([skip, F.interpolate(z, scale_factor=2, mode="bilinear")], 1))
    proposal = output(block.tail(z))[..., : shape[0], : shape[1]]
    found, taps = block(x, taps=True)
    torch.testing.assert_close(found, x + proposal)
    torch.testing.assert_close(taps[1].after, z[..., : shape[0], : shape[1]])
    torch.testing.assert_close(taps[2].after, proposal)
    assert [tap.before.shape for tap in taps] == [(2, c, *shape) for c in (32, 32, 1)]


def test_vdsr_block_equals_a_plain_loop():
    block, x = VDSRBlock(4), random_image(2, 1, 11, 9, dtype=torch.float32)
    z, maps = x, []
    for j, conv in enumerate(block.convs):
        before = F.conv2d(z, conv.weight, conv.bias, padding=1)
        z = before.relu() if j < 3 else before
        maps.append((before, z))
    out, taps = block(x, taps=True)
    torch.testing.assert_close(out, x + z)
    torch.testing.assert_close([tuple(tap) for tap in taps], maps)
    assert [tap.after.shape[1] for tap in taps] == [64, 64, 64, 1]
    _, some = block(x, taps=[2])
    assert some[1] is None and torch.equal(some[2].after, taps[2].after)
    torch.testing.assert_close(block.between(1, 3, taps[0].after), taps[2].after)


def test_a_vdsr_without_data_fidelity_sees_the_image_alone():
    model, (x_u, y, mask) = dc_cnn("V4", "none"), example()
    alone = model(x_u, y, mask)
    assert torch.equal(alone, model.blocks[0](x_u)[0])
    assert torch.equal(alone, model(x_u, torch.full_like(y, torch.nan), ~mask))
    held = dc_cnn("V4", "hermitian")
    held.load_state_dict(model.state_dict())
    torch.testing.assert_close(held(x_u, y, mask), held.fidelity(alone, y, mask))


@pytest.mark.parametrize("shape", [(12, 16), (11, 9), (75, 1)])
def test_unet_block_equals_its_description(shape):
    block, x = UNetBlock(), random_image(2, 1, *shape, dtype=torch.float32)
    (w0, b0), (w1, b1), (w2, b2) = ((c.weight, c.bias) for c in block.convs)
    (v0, a0), (v1, a1) = ((c.weight, c.bias) for c in block.coarse)
    first = F.conv2d(x, w0, b0, padding=1)
    rows, columns = (-(-n // 2) for n in shape)
    even = F.pad(first.relu(), [0, 2 * columns - shape[1], 0, 2 * rows - shape[0]])
    z = even.unflatten(-1, (columns, 2)).unflatten(-3, (rows, 2)).amax(dim=(-1, -3))
    z = F.conv2d(F.conv2d(z, v0, a0, padding=1).relu(), v1, a1, padding=1).relu()
    z = z.repeat_interleave(2, -1).repeat_interleave(2, -2)[..., : shape[0], : shape[1]]
    last = F.conv2d(torch.cat([first.relu(), z], 1), w1, b1, padding=1)
    expected = F.conv2d(last.relu(), w2, b2, padding=1)
    output, taps = block(x, taps=True)
    torch.testing.assert_close(output, expected)
    assert [tap.before.shape[1] for tap in taps] == [32, 32, 1]
    torch.testing.assert_close(taps[1].before, last)
    torch.testing.assert_close(taps[1].after, last.relu())
    residual = UNetBlock(residual=True)
    residual.load_state_dict(block.state_dict())
    torch.testing.assert_close(residual(x)[0], output + x)


@pytest.mark.parametrize("taps", TAPS)
def test_taps_of_a_unet_are_full_size_maps_like_those_of_a_student(taps):
    inputs = example()
    teacher, student = (
        [m.shape for m in select(taps, dc_cnn(n)(*inputs, taps=True)[1])[0]] for n in ("DC-UNet", "D3C5")
    )
    assert teacher == student and {shape[-2:] for shape in teacher} == {(17, 15)}
    assert tap_layers("middle", dc_cnn("DC-UNet").depth) == [2]  # the last map of 32 channels at full resolution


@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize("channels", [(1, 8), (8, 1), (2, 8), (8, 2), (4, 4)])
def test_a_convolution_with_an_image_at_one_end_is_one(channels, padding):
    conv, x = ImageConv2d(*channels, padding).double(), random_image(3, channels[0], 9, 7).requires_grad_()
    expected = F.conv2d(x, conv.weight, conv.bias, padding=padding)
    assert (conv(x) - expected).abs().max() < 1e-12
    upstream, varied = random_image(*expected.shape, seed=1), [x, *conv.parameters()]
    gradients = (torch.autograd.grad(output, varied, upstream) for output in (conv(x), expected))
    for found, wanted in zip(*gradients):
        torch.testing.assert_close(found, wanted)
    with torch.no_grad():
        assert torch.equal(conv(x), expected)  # evaluation takes the library's


def test_taps_of_a_network():
    model, inputs = dc_cnn("D3C5"), example()
    x_rec, taps = model(*inputs, taps=True)
    assert torch.equal(x_rec, model(*inputs)) and torch.equal(x_rec, model.forward(*inputs))
    assert len(taps) == 5 and taps[0][1].after.shape == (2, 32, 17, 15)
    _, some = model(*inputs, taps=[1])
    assert some[2][0] is None and torch.equal(some[2][1].after, taps[2][1].after)


def test_the_stages_of_a_reconstruction():
    model, (z, y, mask) = dc_cnn("D2C3", fidelity="hermitian"), example()
    stages = list(model.stages(z, y, mask))
    assert len(stages) == 3 and torch.equal(stages[-1].image, model(z, y, mask))
    for stage, block in zip(stages, model.blocks):
        assert torch.equal(stage.proposal, block(z)[0])
        z = model.fidelity(stage.proposal, y, mask)
        torch.testing.assert_close(stage.image, z)


class TwoCoils:
    """A measurement of complex images, two channels, by two coils that see the left and the right half better."""

    mode = "two coils"

    def __init__(self, width: int):
        left = torch.linspace(0.9, 0.1, width).sqrt()
        self.sensitivity = torch.stack([left, 1j * (1 - left**2).sqrt()])[:, None]  # (coils, 1, W), squares add up to 1

    def k_space(self, x):
        return fft2(self.sensitivity * torch.complex(*x.unbind(1))[:, None])

    def measure(self, y, mask):
        return torch.where(mask, y, 0), mask

    def repeat(self, measured, times):
        return measured[0].repeat(times, 1, 1, 1), measured[1]

    def apply_to(self, x_cnn, measured):
        image = (self.sensitivity.conj() * ifft2(torch.where(measured[1], measured[0], self.k_space(x_cnn)))).sum(1)
        return torch.stack([image.real, image.imag], dim=1)


def complex_network(depth, coils, block=CNNBlock):
    arguments = (depth,) if block is CNNBlock else ()
    return DCCNN("complex", [block(*arguments, channels=2, width=4) for _ in range(3)], coils)


@pytest.mark.parametrize("block", [CNNBlock, UNetBlock])
def test_a_complex_measurement_by_several_coils_stands_beside_the_magnitude_one(block):
    coils, x = TwoCoils(9), random_image(3, 2, 8, 9, dtype=torch.float32)
    model, mask, everything = complex_network(3, coils, block), line_mask((8, 9), "4x"), torch.ones(8, 9).bool()
    torch.testing.assert_close(model(torch.zeros_like(x), coils.k_space(x), everything), x)
    x_u = coils.apply_to(torch.zeros_like(x), coils.measure(coils.k_space(x), mask))
    x_rec, maps = model.features(x_u, coils.k_space(x), mask)
    assert x_rec.shape == x.shape and maps[0][1].after.shape == (3, 4, 8, 9)
    x_rec.sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_branches_of_a_complex_network_equal_the_networks_that_they_are():
    coils, x, mask = TwoCoils(9), random_image(3, 2, 8, 9, dtype=torch.float32), line_mask((8, 9), "4x")
    teacher, student = complex_network(3, coils), complex_network(2, coils)
    x_teacher, x_branches = SFT(teacher, student)(x, coils.k_space(x), mask)
    torch.testing.assert_close(x_teacher, teacher(x, coils.k_space(x), mask))
    for i, x_branch in enumerate(x_branches, start=1):
        branch = DCCNN("branch", [*teacher.blocks[:i], *student.blocks[i:]], coils)
        torch.testing.assert_close(x_branch, branch(x, coils.k_space(x), mask))


def test_residual_adds_the_input_of_each_block():
    plain, residual = CNNBlock(3), CNNBlock(3, residual=True)
    residual.load_state_dict(plain.state_dict())
    x = random_image(1, 1, 9, 8, dtype=torch.float32)
    torch.testing.assert_close(residual(x)[0], plain(x)[0] + x)


def test_the_cost_of_a_network():
    task = Reconstruction(line_mask((16, 12), "4x"))
    table = inference_cost({"small": dc_cnn("D2C5")}, task, (16, 12), torch.device("cpu"), batches=(1, 2))
    first = 9 * 32 * 18 * 14  # valid convolutions on an image padded by 2
    last, fidelity = 9 * 32 * 16 * 12, 16 * 16 * 12  # a line mask: one 16 x 16 matrix
    assert set(table.network) == {"small"} and set(table.parameters) == {3045}
    assert table["multiply-adds (G)"].iloc[0] == pytest.approx(5 * (first + last + fidelity) / 1e9)
    fp32 = table[table.precision == "fp32"]
    maps = 32 * 18 * 14 + 20 * 16  # input and output of the first convolution
    expected = [4 * (3045 + n * maps) / 2**20 for n in (1, 2)]
    torch.testing.assert_close(fp32["memory (MiB)"].tolist(), expected)
    assert fp32.batch.tolist() == [1, 2] and (table["ms per slice"] > 0).all()
    torch.testing.assert_close((fp32["ms per slice"] * fp32["slices per second"]).tolist(), [1000.0, 1000.0])
