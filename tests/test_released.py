"""Our networks against an independent writing of the released ones: same weights, same figures, same gradients.

Here everything is done the plain way: the image zero-padded by 5, 'same' convolutions, a full complex FFT in each data
fidelity, one branch after the other.
"""

import pytest
import torch
from helpers import random_complex, random_image
from torch.nn import functional as F

from kdrecon.errors import InputError
from kdrecon.models.dccnn import count_parameters, dc_cnn
from kdrecon.models.sft import SFT, sft_loss
from kdrecon.physics.sampling import gaussian_mask, line_mask, published_mask, undersample
from kdrecon.released.weights import load_weights

N = 5
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-11}
MASKS = {
    "lines-0": lambda shape: line_mask(shape, "4x", axis=0),
    "lines-1": lambda shape: line_mask(shape, "4x", axis=1),
    "gaussian": lambda shape: gaussian_mask(shape, "4x"),
    "lines-without-dc": lambda shape: line_mask(shape, "4x").index_fill(0, torch.tensor([0]), False),
}
CASES = [
    pytest.param(shape, mask(shape), dtype, id=f"{shape[0]}x{shape[1]}-{name}-{str(dtype)[6:]}")
    for shape in [(17, 15), (24, 20), (16, 21)]
    for name, mask in MASKS.items()
    for dtype in (torch.float32, torch.float64)
]


def released_state(dtype, seed=0, **depths) -> dict[str, torch.Tensor]:
    """Random weights by released name, strong enough for the input to reach the output through every layer."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for prefix, depth in depths.items():
        widths = [1, *[32] * (depth - 1), 1]
        for k in range(1, N + 1):
            for j in range(1, depth + 1):
                fan_in, fan_out = widths[j - 1], widths[j]
                weight = torch.randn(fan_out, fan_in, 3, 3, generator=generator, dtype=torch.float64)
                bias = torch.randn(fan_out, generator=generator, dtype=torch.float64)
                state[f"{prefix}cascade{k}.conv{j}.weight"] = (weight * (2 / (9 * fan_in)) ** 0.5).to(dtype)
                state[f"{prefix}cascade{k}.conv{j}.bias"] = (bias * 0.1).to(dtype)
    return state


def released_block(x, state, cascade):
    z, j = F.pad(x, (5, 5, 5, 5)), 1
    while f"{cascade}.conv{j}.weight" in state:
        z = F.relu(z) if j > 1 else z
        z = F.conv2d(z, state[f"{cascade}.conv{j}.weight"], state[f"{cascade}.conv{j}.bias"], padding=1)
        j += 1
    return z[:, :, 5:-5, 5:-5]


def released_fidelity(x_cnn, y, mask):
    m = mask.to(y.dtype)
    k = torch.fft.fft2(torch.complex(x_cnn, torch.zeros_like(x_cnn)), norm="ortho")
    return torch.fft.ifft2((1 - m) * k + m * y, norm="ortho").real


def released_net(state, prefix, x, y, mask, first=1):
    for k in range(first, N + 1):
        x = released_fidelity(released_block(x, state, f"{prefix}cascade{k}"), y, mask)
    return x


def released_sft(state, x_u, y, mask):
    x, branches = x_u, []
    for k in range(1, N + 1):
        x = released_fidelity(released_block(x, state, f"tcascade{k}"), y, mask)
        if k < N:
            branches.append(released_net(state, "s", x, y, mask, first=k + 1))
    return x, branches


def released_losses(x, x_teacher, branches, imitation):
    teacher = (x_teacher - x).abs().mean()
    student = sum((branch - x).abs().mean() for branch in branches) / (N - 1)
    imit = sum((x_teacher - branch).abs().mean() for branch in branches) / (N - 1)
    if imitation == "released":
        imit = imit / (x.shape[0] * x.shape[2] * x.shape[3])
    return teacher, student, imit, teacher + student + imit


def measured(shape, mask, dtype, batch=2):
    """Images, their zero-filled versions and noisy k-space: not that of a real image, and not zero off the mask."""
    x = random_image(batch, 1, *shape, dtype=dtype)
    x_u, y = undersample(x, mask)
    return x, x_u, y + 0.05 * random_complex(batch, 1, *shape, dtype=y.dtype, seed=1)


def released_name(name):
    half, _, block, _, conv, kind = name.split(".")
    return f"{half[0]}cascade{int(block) + 1}.conv{int(conv) + 1}.{kind}"


def assert_same(actual, expected, dtype, what=""):
    assert actual.dtype == expected.dtype and actual.shape == expected.shape, what
    error = (actual - expected).norm() / expected.norm()
    assert expected.norm() > 0 and error < TOLERANCE[dtype], f"{what}: relative error {error:.1e}"


@pytest.mark.parametrize(("shape", "mask", "dtype"), CASES)
@pytest.mark.parametrize(("prefix", "name", "depth"), [("t", "D5C5", 5), ("s", "D3C5", 3)])
def test_teacher_and_student_alone(prefix, name, depth, shape, mask, dtype):
    state = released_state(dtype, **{prefix: depth})
    _, x_u, y = measured(shape, mask, dtype)
    model = load_weights(dc_cnn(name).to(dtype), state)
    with torch.no_grad():
        expected = released_net(state, prefix, x_u, y, mask)
        assert_same(model(x_u, y, mask), expected, dtype)
    assert (expected - x_u).norm() > 0.1 * x_u.norm()  # the comparison is not one of inputs handed through


@pytest.mark.parametrize("imitation", ["paper", "released"])
@pytest.mark.parametrize(("shape", "mask", "dtype"), CASES)
def test_sft_outputs_losses_and_gradients(shape, mask, dtype, imitation):
    """Gradients in float64 alone: |.| and ReLU have a kink at 0, and in float32 some value is within rounding of it."""
    state = {name: w.requires_grad_() for name, w in released_state(dtype, t=5, s=3).items()}
    x, x_u, y = measured(shape, mask, dtype)
    model = load_weights(SFT(dc_cnn("D5C5"), dc_cnn("D3C5")).to(dtype), state)

    x_teacher, branches = released_sft(state, x_u, y, mask)
    expected = released_losses(x, x_teacher, branches, imitation)
    expected[-1].backward()
    our_teacher, our_branches = model(x_u, y, mask)
    loss = sft_loss(x, our_teacher, our_branches, imitation=imitation)
    loss.total.backward()

    assert_same(our_teacher, x_teacher, dtype, "teacher")
    assert len(our_branches) == len(branches) == N - 1
    for i in range(N - 1):
        assert_same(our_branches[i], branches[i], dtype, f"branch {i + 1}")
    for term, value in zip(("teacher", "student", "imitation", "total"), expected, strict=True):
        assert_same(getattr(loss, term), value, dtype, term)
    for name in (n.removesuffix(".weight") for n, _ in model.named_parameters() if n.endswith("weight")):
        conv, (weight, bias) = (
            model.get_submodule(name),
            (state[released_name(f"{name}.{p}")] for p in ("weight", "bias")),
        )
        if name.startswith("student.blocks.0."):
            assert weight.grad is None and bias.grad is None
            assert all(p.grad is None or not p.grad.any() for p in conv.parameters()), name
        elif dtype == torch.float64:
            # Weight and bias in one: the last bias of a block only moves DC, so where DC is sampled its gradient is 0.
            gradients = [torch.cat([w.grad.flatten(), b.grad]) for w, b in ((conv.weight, conv.bias), (weight, bias))]
            assert_same(*gradients, dtype, name)


def test_the_imitation_forms_have_different_gradients():
    """Else the comparison above could not tell them apart."""
    mask = line_mask((17, 15), "4x")
    x, x_u, y = measured((17, 15), mask, torch.float64)
    model = SFT(dc_cnn("D5C5"), dc_cnn("D3C5")).double()
    load_weights(model, released_state(torch.float64, t=5, s=3))
    gradients = []
    for imitation in ("paper", "released"):
        model.zero_grad()
        sft_loss(x, *model(x_u, y, mask), imitation=imitation).total.backward()
        gradients.append(model.teacher.blocks[2].convs[1].weight.grad.clone())
    assert (gradients[0] - gradients[1]).norm() > 1e-2 * gradients[0].norm()


def test_at_full_size_on_a_published_mask():
    mask = published_mask("cardiac", "4x")
    state = released_state(torch.float64, t=5)
    _, x_u, y = measured((150, 150), mask, torch.float64, batch=1)
    with torch.no_grad():
        actual = load_weights(dc_cnn("D5C5").double(), state)(x_u, y, mask)
        assert_same(actual, released_net(state, "t", x_u, y, mask), torch.float64)


@pytest.mark.parametrize("fidelity", ["real", "hermitian"])
@pytest.mark.parametrize("shape", [(17, 15), (24, 20)])
@pytest.mark.parametrize("kind", MASKS)
def test_what_was_not_sampled_changes_nothing(kind, shape, fidelity):
    mask = MASKS[kind](shape)
    _, x_u, y = measured(shape, mask, torch.float32)
    altered = y + 1e6 * random_complex(*y.shape, dtype=y.dtype, seed=2) * ~mask
    on_mask = y + 0.1 * mask
    teacher, student = dc_cnn("D5C5", fidelity), dc_cnn("D3C5", fidelity)
    sft = load_weights(SFT(teacher, student), released_state(torch.float32, t=5, s=3))
    with torch.no_grad():
        for model in (teacher, student):
            assert torch.equal(model(x_u, y, mask), model(x_u, altered, mask))
            assert not torch.equal(model(x_u, y, mask), model(x_u, on_mask, mask))
        for before, after in zip(sft(x_u, y, mask), sft(x_u, altered, mask), strict=True):
            assert torch.equal(before, after)


def test_every_tensor_lands_in_its_place():
    state = released_state(torch.float32, t=5, s=3)
    teacher, student = dc_cnn("D5C5"), dc_cnn("D3C5")
    model = SFT(teacher, student)
    assert load_weights(model, state) is model
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[released_name(name)]), name
    assert sum(w.numel() for w in state.values()) == count_parameters(model) == 141_765 + 49_285


def test_one_half_of_an_sft_checkpoint():
    state = released_state(torch.float32, t=5, s=3)
    model = SFT(*(load_weights(dc_cnn(n), state, part=p) for n, p in [("D5C5", "teacher"), ("D3C5", "student")]))
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[released_name(name)]), name


def test_the_prefix_of_data_parallel_is_dropped():
    state = released_state(torch.float32, s=3)
    model = load_weights(dc_cnn("D3C5"), {f"module.{name}": w for name, w in state.items()})
    assert torch.equal(model.blocks[4].convs[2].bias, state["scascade5.conv3.bias"])


def without(state, name):
    return {n: w for n, w in state.items() if n != name}


TEACHER, STUDENT = released_state(torch.float32, t=5), released_state(torch.float32, s=3)
BOTH = TEACHER | STUDENT
REFUSED = {
    "missing": ("D3C5", without(STUDENT, "scascade2.conv3.bias"), None, r"missing: 1 \(scascade2.conv3.bias\)"),
    "unexpected": ("D3C5", STUDENT | {"norm.weight": torch.ones(1)}, None, r"unexpected: 1 \(norm.weight\)"),
    "misshapen": (
        "D3C5",
        STUDENT | {"scascade1.conv1.bias": torch.ones(31)},
        None,
        r"of another shape: 1 \(scascade1.conv1.bias\)",
    ),
    "deeper": ("D3C5", TEACHER, None, r"unexpected: 20 \(.* and 17 more\); of another shape: 10 \("),
    "shallower": ("D5C5", STUDENT, None, r"missing: 20 \(.* and 17 more\)"),
    "nothing": ("D3C5", {}, None, "no tcascade or scascade tensor among the checkpoint's 0"),
    "our own names": (
        "D3C5",
        dc_cnn("D3C5").state_dict(),
        None,
        "no tcascade or scascade tensor .* 30: expected names",
    ),
    "which half": ("D3C5", BOTH, None, "part=None: .* teacher and student; give part='teacher' or 'student'"),
    "no such half": ("D5C5", TEACHER, "student", "part='student': .* tensors of teacher; give part='teacher'"),
    "no such part": ("D5C5", BOTH, "tutor", "part='tutor': .* give part='teacher' or 'student'"),
    "whole checkpoint": ("D3C5", {"epoch": 3, "model": STUDENT}, None, r"no tensors, 2 \(epoch, model\)"),
    "prefix on one": (
        "D3C5",
        without(STUDENT, "scascade1.conv1.bias") | {"module.scascade1.conv1.bias": STUDENT["scascade1.conv1.bias"]},
        None,
        "missing: 1",
    ),
    "SFT from a teacher": ("sft", TEACHER, None, r"missing: 30 \("),
    "SFT from nothing": ("sft", {}, None, r"missing: 80 \("),
    "SFT with a part": ("sft", BOTH, "teacher", "part='teacher' for an SFT model: expected None"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_and_left_untouched(case):
    name, state, part, message = REFUSED[case]
    model = SFT(dc_cnn("D5C5"), dc_cnn("D3C5")) if name == "sft" else dc_cnn(name)
    before = {n: w.clone() for n, w in model.state_dict().items()}
    with pytest.raises(InputError, match=message) as error:
        load_weights(model, state, part)
    assert "\n" not in str(error.value)
    assert all(torch.equal(w, before[n]) for n, w in model.state_dict().items())


def test_a_residual_or_foreign_network_is_refused():
    with pytest.raises(InputError, match="'weight' has no counterpart"):
        load_weights(torch.nn.Linear(2, 2), TEACHER)
