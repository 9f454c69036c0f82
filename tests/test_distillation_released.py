"""The losses as the released code has them, and the switch between the two forms."""

import math

import numpy as np
import pytest
import torch
from helpers import objective, random_image, slices

from kdrecon.distillation import METHODS, RELEASED, get_method
from kdrecon.errors import InputError
from kdrecon.models.dccnn import dc_cnn
from kdrecon.training.objectives import Distillation

KEYS = list(RELEASED)


def maps(key, seed=0, cascades=5, batch=3, dtype=torch.float32):
    channels = 1 if RELEASED[key].taps == "output" else 4
    return list(random_image(cascades, batch, channels, 6, 5, seed=seed, dtype=dtype) * 2 - 0.6)


def image(*values):
    """One map (B, 1, 1, N), float64, with a row of N values for each sample."""
    return torch.tensor(values, dtype=torch.float64)[:, None, None]


# ---- values worked out by hand ----


def test_at_across_the_batch():
    s, t = image([3], [0]), image([1], [1])  # q_s = 9, 0 -> 1, 0; q_t = 1, 1 -> sqrt(1/2) twice
    expected = (1 - math.sqrt(0.5) + math.sqrt(0.5)) / 2
    assert RELEASED["at"]()([s], [t]).item() == pytest.approx(expected)


def test_ft_is_an_attention_transfer_without_factors():
    s, t = image([1, 0], [2, 2]), image([0, 3], [1, 1])  # q = 1, 0 and 0, 1: two pixels off by 1; equal patterns
    assert RELEASED["ft"]()([s], [t]).item() == pytest.approx((1 + 0) / 2)
    assert not list(RELEASED["ft"]().parameters())


def test_fitnets_sees_cascade_three_alone():
    s, t = image([3], [0]), image([1], [1])
    other = image([7], [-5])
    loss = RELEASED["fitnets"]()
    assert loss([other, other, s, other, other], [s, t, t, s, t]).item() == pytest.approx(0.5)


def test_fsp_is_one_number_a_pair_of_cascades():
    ones, twos = image([1, 1]), image([2, 2])  # g = 1 for ones, 16 for twos, 4 for one of each
    students, teachers = [ones] * 5, [ones, ones, twos, twos, ones]
    assert RELEASED["fsp"]()(students, teachers).item() == pytest.approx((0 + 3**2 + 15**2) / 3)


def test_cc_multiplies_the_errors_of_neighbours():
    t = image([0, 0], [0, 0], [0, 0])
    s = image([1, -2], [3, 0], [1, 5])
    assert RELEASED["cc"]()([s], [t]).item() == pytest.approx((3 + 0 + 3 + 0) / 4)


def test_sp_leaves_out_the_last_cascade():
    orthogonal, identical = image([3, 0], [0, 0.5]), image([2, 2], [2, 2])
    loss = RELEASED["sp"]()
    assert loss([orthogonal] * 5, [identical] * 4 + [orthogonal]).item() == pytest.approx(1 - math.sqrt(0.5), rel=1e-5)


# ---- every loss a second time, in loops ----


def plain_energy(f):
    q = (f**2).sum(1)
    return q / np.sqrt((q**2).sum(0))


def plain_at(students, teachers):
    return np.mean([abs(plain_energy(s) - plain_energy(t)).mean() for s, t in zip(students, teachers)])


def plain_fitnets(students, teachers):
    return abs(plain_energy(students[2]) - plain_energy(teachers[2])).mean()


def plain_fsp(students, teachers):
    values = []
    for k in range(3):
        for b in range(len(students[0])):
            g_s, g_t = ((side[k][b] ** 2 * side[k + 1][b] ** 2).mean() for side in (students, teachers))
            values.append((g_s - g_t) ** 2)
    return np.mean(values)


def plain_cc(students, teachers):
    values = []
    for s, t in zip(students, teachers):
        delta = abs(s - t)
        values.append(np.mean([delta[b] * delta[b + 1] for b in range(len(s) - 1)]))
    return np.mean(values)


def plain_sp(students, teachers):
    def similarity(f):
        q = np.array([[np.vdot(a, b) for b in f] for a in f])
        return np.array([row / math.sqrt((row**2).sum()) for row in q])

    pairs = list(zip(students, teachers))[:4]
    return np.mean([((similarity(s) - similarity(t)) ** 2).sum() / len(s) ** 2 for s, t in pairs])


def plain_ft(students, teachers):
    def attention(f):
        q = (f**2).mean(1).reshape(len(f), -1)
        return np.array([row / np.linalg.norm(row) for row in q])

    return np.mean([abs(attention(s) - attention(t)).mean() for s, t in zip(students, teachers)])


def plain_pkt(students, teachers):
    def probabilities(f):
        rows = f.reshape(len(f), -1)
        p = np.array([[(a @ b / np.linalg.norm(a) / np.linalg.norm(b) + 1) / 2 for b in rows] for a in rows])
        return p / p.sum(1, keepdims=True)

    pairs = [(probabilities(s), probabilities(t)) for s, t in zip(students, teachers)]
    return np.mean([(p_t * np.log((p_t + 1e-7) / (p_s + 1e-7))).mean() for p_s, p_t in pairs])


def plain_nst(students, teachers):
    def kernel(a, b):
        a, b = (f.reshape(*f.shape[:2], -1) for f in (a, b))
        cosines = [[x / np.linalg.norm(x) @ (y / np.linalg.norm(y)) for y in v] for u, v in zip(a, b) for x in u]
        return np.mean(np.square(cosines))

    return np.mean([kernel(t, t) + kernel(s, s) - 2 * kernel(s, t) for s, t in zip(students, teachers)])


PLAIN = {
    "at": plain_at, "fitnets": plain_fitnets, "fsp": plain_fsp, "cc": plain_cc, "sp": plain_sp, "ft": plain_ft,
    "pkt": plain_pkt, "nst": plain_nst,
}  # fmt: skip


@pytest.mark.parametrize("key", KEYS)
def test_a_second_writing(key):
    students, teachers = maps(key), maps(key, seed=1)
    expected = PLAIN[key](*([m.double().numpy() for m in side] for side in (students, teachers)))
    assert RELEASED[key]()(students, teachers).item() == pytest.approx(expected, rel=1e-4) and expected > 1e-4


# ---- what they share ----


@pytest.mark.parametrize("key", KEYS)
def test_zero_with_finite_gradients_where_student_equals_teacher(key):
    teachers = maps(key)
    students = [t.clone().requires_grad_() for t in teachers]
    loss = RELEASED[key]()(students, teachers)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-10)
    assert all(s.grad is None or s.grad.isfinite().all() for s in students)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("batch", [1, 3])
def test_dead_maps_and_a_batch_of_one_give_numbers(key, batch):
    for dead in (0, 1, 2):
        sides = [maps(key, seed, batch=batch) for seed in (0, 1)]
        for side in sides[:dead]:
            for m in side:
                m.zero_()
        students = [m.requires_grad_() for m in sides[0]]
        loss = RELEASED[key]()(students, sides[1])
        loss.backward()
        assert loss.isfinite() and all(m.grad is None or m.grad.isfinite().all() for m in students)


@pytest.mark.parametrize("key", KEYS)
def test_gradcheck(key):
    cascades = [m.requires_grad_() for m in maps(key, cascades=4, batch=2, dtype=torch.float64)]
    teachers = maps(key, seed=1, cascades=4, batch=2, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda *s: RELEASED[key]()(list(s), teachers), cascades)


@pytest.mark.parametrize("key", ["cc", "sp", "pkt"])
def test_a_batch_of_one_is_an_exact_zero(key):
    students = [m.requires_grad_() for m in maps(key, batch=1)]
    loss = RELEASED[key]()(students, maps(key, seed=1, batch=1))
    loss.backward()
    assert loss.item() == 0 and not any(m.grad.any() for m in students)


# ---- the switch ----


def test_forms_of_the_registry():
    assert list(RELEASED) == ["at", "fitnets", "cc", "fsp", "sp", "ft", "pkt", "nst"]
    for key in METHODS:
        assert get_method(key) is get_method(key, form="paper") is METHODS[key]
    for key in RELEASED:
        assert get_method(key, form="released") is RELEASED[key]
        assert (RELEASED[key] is METHODS[key]) == (key == "nst")


@pytest.mark.parametrize(
    ("key", "form", "message"),
    [
        (
            "ikd",
            "released",
            "method 'ikd' has no released form: expected one of at, fitnets, cc, fsp, sp, ft, pkt, nst",
        ),
        ("at", "original", "kd_form 'original' is unknown: expected one of paper, released"),
        ("magic", "released", "method 'magic' is unknown"),
    ],
)
def test_forms_that_are_not_there(key, form, message):
    with pytest.raises(InputError, match=message) as error:
        get_method(key, form=form)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("key", [key for key in KEYS if key != "nst"])
def test_the_switch_kd_form_chooses_the_loss_of_a_training(key):
    """The paper's form scales hidden maps by the teacher's deviation; the released one takes its maps as they come."""
    teacher, batch = objective("at").teacher, slices().batch(torch.arange(3))
    values = {}
    for form, kind in {"paper": METHODS[key], "released": RELEASED[key]}.items():
        torch.manual_seed(0)
        made = Distillation(dc_cnn("D3C5"), teacher, key, kd_form=form)
        made.prepare(batch)
        assert type(made.method) is kind
        assert torch.equal(made.sigma, torch.ones_like(made.sigma)) == (form == "released")
        values[form] = float(made(batch).terms["distillation"].detach()) / made.method.weight
    assert abs(values["paper"] - values["released"]) > 1e-3 * max(values.values())


def test_paper_is_the_default():
    made = objective("fitnets")
    assert type(made.method) is METHODS["fitnets"]
