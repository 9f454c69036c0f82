"""Laws that all distillation methods share, and the maps they look at."""

import numpy as np
import pytest
import torch
from helpers import flat, maps, method

from kdrecon.distillation import METHODS, get_method, layer_pairs, select, tap_layers
from kdrecon.errors import InputError
from kdrecon.models.dccnn import dc_cnn
from kdrecon.physics.sampling import line_mask, undersample

KEYS = list(METHODS)
ZERO_AT_EQUALITY = ["at", "fitnets", "cc", "fsp", "sp", "kl", "pkt", "kdsvd", "nst", "rkd", "ah"]
OWN_PARAMETERS = ["fitnets", "ft", "vid", "ah"]


def same(tensors):
    return [tuple(t.clone() for t in c) if isinstance(c, tuple) else c.clone() for c in tensors]


# ---- laws that all methods share ----


PUBLISHED = ["at", "fitnets", "cc", "fsp", "sp", "kl", "pkt", "ab", "ft", "vid", "kdsvd", "nst", "rkd", "ah"]


@pytest.mark.parametrize("key", PUBLISHED)
def test_the_registry_says_what_a_training_run_needs(key):
    made = METHODS[key]()
    taps = {"fsp": "ends", "ab": "middle_before"}
    assert made.taps == taps.get(key, "middle") and made.weight > 0 and made.scaled
    assert made.min_batch == {"sp": 2, "cc": 2, "pkt": 2, "rkd": 3}.get(key, 1)
    assert get_method(key) is METHODS[key]


def test_an_unknown_method():
    with pytest.raises(InputError, match=rf"'attention'.*{', '.join(METHODS)}, ikd, image$") as error:
        get_method("attention")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("key", [key for key in KEYS if key not in ("ft", "vid", "kdsvd")])
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
@pytest.mark.parametrize("dead", ["student", "teacher", "both", "one sample", "two channels"])
def test_dead_maps_give_numbers(key, dead):
    students, teachers = maps(key, 3, 4, 7, 5), maps(key, 3, 4, 7, 5, seed=1)
    for side, tensors in (("student", students), ("teacher", teachers)):
        for m in flat(tensors):
            if dead in (side, "both"):
                m.zero_()
            elif dead == "one sample":
                m[1] = 0
            elif dead == "two channels":
                m[:, :2] = 0
    for m in flat(students):
        m.requires_grad_()
    loss = method(key)(students, teachers)
    loss.backward()
    assert loss.isfinite() and all(m.grad.isfinite().all() for m in flat(students))


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("batch", [1, 2])
def test_a_small_batch(key, batch):
    students, teachers = maps(key, batch, 4, 7, 5), maps(key, batch, 4, 7, 5, seed=1)
    for m in flat(students):
        m.requires_grad_()
    loss = method(key)(students, teachers)
    loss.backward()
    if batch < METHODS[key].min_batch:
        assert loss.item() == 0 and all(m.grad is not None and not m.grad.any() for m in flat(students))
    else:
        assert loss.item() > 0 and all(m.grad.any() for m in flat(students))


@pytest.mark.parametrize("key", KEYS)
def test_gradcheck(key):
    shape = (METHODS[key].min_batch, 2, 3, 3)
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


@pytest.mark.parametrize("key", KEYS)
def test_own_parameters_learn(key):
    loss = method(key)
    own = [p for p in loss.parameters() if p.requires_grad]
    assert bool(own) == (key in OWN_PARAMETERS)
    students, teachers = maps(key, 3, 4, 7, 5), maps(key, 3, 4, 7, 5, seed=1)
    before = loss(students, teachers)
    if own:
        before.backward()
        assert all(p.grad.norm() > 0 for p in own)
        with torch.no_grad():
            for p in own:
                p -= 0.01 * p.grad
        assert loss(students, teachers) < before


def test_the_regressors_of_fitnets():
    assert [tuple(r.weight.shape) for r in method("fitnets", cascades=3).regressors] == [(4, 4, 1, 1)] * 3


def test_one_cascade_has_no_next_one():
    with pytest.raises(InputError, match="SingularVectors on 1 cascade.*expected at least 2"):
        METHODS["kdsvd"](cascades=1)


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


@pytest.mark.parametrize(
    ("teacher", "student", "middle", "ends", "output"),
    [
        ("V12", "V4", ([3], [9]), ([1, 3], [3, 9]), ([4], [12])),  # as in the first author's public folders
        ("V11", "V7", ([4], [6]), ([1, 6], [2, 9]), ([7], [11])),  # as in KD-MRI
        ("V12", "V2", ([1], [6]), ([1, 1], [6, 6]), ([2], [12])),
        ("DC-UNet-author", "D3C5", ([3], [3]), ([1, 2], [1, 2]), ([3], [3])),  # outputs instead of the middle
        ("D5C5", "D3C5", ([2], [3]), ([1, 2], [1, 4]), ([3], [5])),
    ],
)
def test_layers_that_are_compared_with_each_other(teacher, student, middle, ends, output):
    networks = dc_cnn(student), dc_cnn(teacher)
    for taps, pair in {"middle": middle, "middle_before": middle, "ends": ends, "output": output}.items():
        assert layer_pairs(taps, *networks) == pair


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
@pytest.mark.parametrize("name", ["D4C5", "D2C5"])
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
