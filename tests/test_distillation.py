import math

import numpy as np
import pytest
import torch

from kdrecon.distillation import METHODS, get_method, select, tap_layers
from kdrecon.errors import InputError
from kdrecon.models import dc_cnn
from kdrecon.sampling import line_mask, undersample

KEYS = [key for key, method in METHODS.items() if method.taps]
ZERO_AT_EQUALITY = ["at", "fitnets", "cc", "sp", "fsp"]
CASCADES = 2


def maps(key, *shape, seed=0, dtype=torch.float32, cascades=CASCADES):
    """Random maps in the form the method wants: a list over cascades of maps, for FSP of pairs of maps."""
    generator = torch.Generator().manual_seed(seed)
    count = 2 if METHODS[key].taps == "ends" else 1
    made = [[torch.randn(shape, generator=generator, dtype=dtype) for _ in range(count)] for _ in range(cascades)]
    return [tuple(cascade) if count > 1 else cascade[0] for cascade in made]


def flat(tensors) -> list[torch.Tensor]:
    return [t for cascade in tensors for t in (cascade if isinstance(cascade, tuple) else (cascade,))]


def same(tensors):
    return [tuple(t.clone() for t in c) if isinstance(c, tuple) else c.clone() for c in tensors]


def method(key, channels=4, cascades=CASCADES):
    return METHODS[key](channels=channels, cascades=cascades)


# ---- values worked out by hand ----


def test_at_of_disjoint_maps():
    s, t = torch.tensor([1.0, 0]).view(1, 1, 1, 2), torch.tensor([0, 5.0]).view(1, 1, 1, 2)
    assert method("at", 1, 1)([s], [t]).item() == pytest.approx(math.sqrt(2))


def test_fitnets_of_zeros_and_ones():
    s, t = torch.zeros(2, 3, 4, 5), torch.ones(2, 3, 4, 5)
    assert method("fitnets", 3, 1)([s], [t]).item() == pytest.approx(0.5)


def test_fsp_of_zeros_and_ones():
    s, t = torch.zeros(2, 3, 4, 5), torch.ones(2, 3, 4, 5)
    assert method("fsp", 3, 1)([(s, s)], [(t, t)]).item() == pytest.approx(1)


@pytest.mark.parametrize(
    ("key", "value"), [("sp", 1 - math.sqrt(0.5)), ("cc", (math.exp(-0.8) * (0.8 + 0.32)) ** 2 / 2)]
)
def test_relations_of_orthogonal_and_identical_samples(key, value):
    orthogonal = torch.tensor([[3.0, 0], [0, 0.5]]).view(2, 1, 1, 2)
    identical = torch.tensor([[2.0, 2], [2, 2]]).view(2, 1, 1, 2)
    assert value == pytest.approx({"sp": 0.2929, "cc": 0.1266}[key], abs=5e-5)
    assert method(key, 1, 1)([orthogonal], [identical]).item() == pytest.approx(value, rel=1e-5)


# ---- every loss a second time, in loops ----


def plain_at(s, t):
    def attention(f):
        q = (f**2).sum(0)
        return q / math.sqrt((q**2).sum())

    return np.mean([math.sqrt(((attention(s[b]) - attention(t[b])) ** 2).sum()) for b in range(len(s))])


def plain_fitnets(s, t):
    return sum(0.5 * (a - b) ** 2 for a, b in zip(s.ravel(), t.ravel())) / s.size


def plain_fsp(s, t):
    total, (batch, channels, height, width) = 0, s[0].shape
    for b in range(batch):
        for i in range(channels):
            for j in range(channels):
                g_s, g_t = ((f[0][b, i] * f[1][b, j]).sum() / (height * width) for f in (s, t))
                total += (g_t - g_s) ** 2
    return total / (batch * channels**2)


def plain_sp(s, t):
    def similarity(f):
        q = np.array([[np.vdot(a, b) for b in f] for a in f])
        return np.array([row / math.sqrt((row**2).sum()) for row in q])

    return ((similarity(s) - similarity(t)) ** 2).sum() / len(s) ** 2


def plain_cc(s, t):
    def kernel(f):
        unit = [a / math.sqrt((a**2).sum()) for a in f]
        cosines = np.array([[np.vdot(a, b) for b in unit] for a in unit])
        return math.exp(-0.8) * (1 + 0.8 * cosines + 0.32 * cosines**2)

    return ((kernel(s) - kernel(t)) ** 2).sum() / len(s) ** 2


PLAIN = {"at": plain_at, "fitnets": plain_fitnets, "fsp": plain_fsp, "sp": plain_sp, "cc": plain_cc}


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("shape", [(3, 4, 7, 5), (2, 4, 6, 9)])
def test_a_second_writing(key, shape):
    students, teachers = maps(key, *shape), maps(key, *shape, seed=1)
    for m in flat(students):
        m.abs_()  # samples that resemble each other, unlike the teacher's
    s, t = ([[m.double().numpy() for m in flat([c])] for c in side] for side in (students, teachers))
    values = [PLAIN[key](*((a, b) if key == "fsp" else (a[0], b[0]))) for a, b in zip(s, t)]
    assert min(values) > 1e-3
    assert method(key)(students, teachers).item() == pytest.approx(np.mean(values), rel=1e-4)


def test_cc_is_near_the_gaussian_kernel_it_expands():
    f = torch.randn(2, 50, generator=torch.Generator().manual_seed(0)).double()
    unit = f / f.norm(dim=1, keepdim=True)
    s = unit.view(2, 2, 5, 5)
    t = unit[[0, 0]].view(2, 2, 5, 5)
    exact = ((torch.exp(-0.4 * (unit[0] - unit[1]).square().sum()) - 1) ** 2 / 2).item()
    assert method("cc", 2, 1)([s], [t]).item() == pytest.approx(exact, rel=0.15)


# ---- laws that all methods share ----


@pytest.mark.parametrize("key", KEYS)
def test_the_registry_says_what_a_training_run_needs(key):
    made = METHODS[key]()
    assert made.taps in ("middle", "ends") and made.weight > 0
    assert made.min_batch == (2 if key in ("sp", "cc") else 1)
    assert get_method(key) is METHODS[key]


def test_an_unknown_method():
    with pytest.raises(InputError, match=rf"'attention'.*{', '.join(METHODS)}") as error:
        get_method("attention")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("key", KEYS)
def test_the_mean_over_cascades(key):
    students, teachers = maps(key, 3, 4, 5, 5, cascades=3), maps(key, 3, 4, 5, 5, seed=1, cascades=3)
    single = [method(key, cascades=1)([s], [t]).item() for s, t in zip(students, teachers)]
    assert method(key, cascades=3)(students, teachers).item() == pytest.approx(np.mean(single), rel=1e-5)
    with pytest.raises(ValueError, match="shorter"):
        method(key, cascades=3)(students, teachers[:2])


@pytest.mark.parametrize("key", KEYS)
def test_gradients_reach_the_student_only(key):
    students, teachers = maps(key, 3, 4, 7, 5), maps(key, 3, 4, 7, 5, seed=1)
    for m in flat(students) + flat(teachers):
        m.requires_grad_()
    loss = method(key)(students, teachers)
    assert loss.shape == ()
    loss.backward()
    assert all(m.grad.norm() > 0 for m in flat(students))
    assert all(m.grad is None for m in flat(teachers))


@pytest.mark.parametrize("key", ZERO_AT_EQUALITY)
def test_zero_with_finite_gradients_where_student_equals_teacher(key):
    teachers = maps(key, 3, 4, 7, 5)
    students = same(teachers)
    for m in flat(students):
        m.requires_grad_()
    loss = method(key)(students, teachers)
    loss.backward()
    assert 0 <= loss.item() <= (2e-6 if key == "at" else 1e-10)
    assert all(m.grad.isfinite().all() for m in flat(students))


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("dead", ["student", "teacher", "both", "one sample"])
def test_dead_maps_give_numbers(key, dead):
    students, teachers = maps(key, 3, 4, 7, 5), maps(key, 3, 4, 7, 5, seed=1)
    for side, tensors in (("student", students), ("teacher", teachers)):
        for m in flat(tensors):
            if dead in (side, "both"):
                m.zero_()
            elif dead == "one sample":
                m[1] = 0
    for m in flat(students):
        m.requires_grad_()
    loss = method(key)(students, teachers)
    loss.backward()
    assert loss.isfinite() and all(m.grad.isfinite().all() for m in flat(students))


@pytest.mark.parametrize("key", KEYS)
def test_a_batch_of_one(key):
    students, teachers = maps(key, 1, 4, 7, 5), maps(key, 1, 4, 7, 5, seed=1)
    for m in flat(students):
        m.requires_grad_()
    loss = method(key)(students, teachers)
    loss.backward()
    if METHODS[key].min_batch > 1:
        assert loss.item() == 0 and all(m.grad is not None and not m.grad.any() for m in flat(students))
    else:
        assert loss.item() > 0


@pytest.mark.parametrize("key", KEYS)
def test_gradcheck(key):
    shape = (2, 2, 3, 3)
    students, teachers = maps(key, *shape, dtype=torch.float64), maps(key, *shape, seed=1, dtype=torch.float64)
    loss, pairs = method(key, 2).double(), isinstance(students[0], tuple)

    def value(*tensors):
        return loss(list(zip(tensors[::2], tensors[1::2])) if pairs else list(tensors), teachers)

    assert torch.autograd.gradcheck(value, [m.requires_grad_() for m in flat(students)])


@pytest.mark.parametrize("key", KEYS)
def test_float32_under_autocast_and_from_half_precision(key):
    students, teachers = maps(key, 3, 4, 7, 5), maps(key, 3, 4, 7, 5, seed=1)
    made = method(key)
    expected = made(students, teachers)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(made(students, teachers), expected)
        one = [tuple(m[:1].bfloat16() for m in c) if isinstance(c, tuple) else c[:1].bfloat16() for c in students]
        assert made(one, one).dtype == torch.float32


def test_the_regressors_of_fitnets():
    loss = method("fitnets", channels=4, cascades=3)
    assert [tuple(r.weight.shape) for r in loss.regressors] == [(4, 4, 1, 1)] * 3
    students, teachers = maps("fitnets", 3, 4, 7, 5, cascades=3), maps("fitnets", 3, 4, 7, 5, seed=1, cascades=3)
    before = loss(students, teachers)
    before.backward()
    assert all(p.grad.norm() > 0 for p in loss.parameters())
    with torch.no_grad():
        for p in loss.parameters():
            p -= 0.1 * p.grad
    assert loss(students, teachers) < before
    assert not any(list(method(key).parameters()) for key in KEYS if key != "fitnets")


# ---- which layers are compared ----


@pytest.mark.parametrize(
    ("taps", "depth", "layers"),
    [
        ("middle", 5, [3]),
        ("middle", 4, [2]),
        ("middle", 3, [2]),
        ("middle", 2, [1]),
        ("ends", 5, [1, 4]),
        ("ends", 4, [1, 3]),
        ("ends", 3, [1, 2]),
        ("ends", 2, [1, 1]),
        ("middle_before", 5, [3]),
        ("middle_before", 2, [1]),
        ("output", 5, [5]),
        ("output", 3, [3]),
    ],
)
def test_tap_layers(taps, depth, layers):
    assert tap_layers(taps, depth) == layers


@pytest.mark.parametrize("name", ["D5C5", "D3C5", "D2C5"])
@pytest.mark.parametrize(("taps", "channels"), [("middle", 32), ("ends", 32), ("middle_before", 32), ("output", 1)])
def test_selected_maps(name, taps, channels):
    mask = line_mask((17, 15), "4x")
    model, measured = dc_cnn(name), undersample(torch.rand(2, 1, 17, 15), mask)
    _, all_maps = model(*measured, mask, taps=True)
    selected = select(taps, all_maps)
    assert len(selected) == 5
    for cascade, chosen in zip(all_maps, selected):
        layers = tap_layers(taps, model.depth)
        assert len(chosen) == len(layers)
        for j, m in zip(layers, chosen):
            assert m.shape == (2, channels, 17, 15)
            before = cascade[j - 1].before
            assert torch.equal(m, before.relu() if taps in ("middle", "ends") else before)


def test_the_output_tap_is_the_block_output():
    mask = line_mask((17, 15), "4x")
    model, (x_u, y) = dc_cnn("D3C5"), undersample(torch.rand(2, 1, 17, 15), mask)
    _, all_maps = model(x_u, y, mask, taps=True)
    assert torch.equal(select("output", all_maps)[0][0], model.blocks[0](x_u)[0])


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("name", ["D4C5", "D3C5", "D2C5"])
def test_on_the_maps_of_networks(key, name):
    mask = line_mask((17, 15), "4x")
    measured = undersample(torch.rand(3, 1, 17, 15, generator=torch.Generator().manual_seed(0)), mask)
    student, teacher = dc_cnn(name), dc_cnn("D5C5")
    taps = METHODS[key].taps
    both = [select(taps, model(*measured, mask, taps=True)[1]) for model in (student, teacher)]
    students, teachers = ([tuple(c) if taps == "ends" else c[0] for c in side] for side in both)
    loss = METHODS[key]()(students, teachers)
    loss.backward()
    assert loss.isfinite() and loss > 0
    assert student.blocks[0].convs[0].weight.grad.norm() > 0
    assert all(p.grad is None for p in teacher.parameters())
