"""The value of every distillation loss: worked out by hand, and computed a second time in loops."""

import math

import numpy as np
import pytest
import torch
from helpers import flat, maps, method

from kdrecon.distillation import METHODS

KEYS = list(METHODS)


def samples(*rows):
    """Maps (B, 1, 1, N), float64: a row of N values for each sample."""
    return torch.tensor(rows, dtype=torch.float64)[:, None, None]


# ---- values worked out by hand ----


def test_at_of_disjoint_maps():
    s, t = torch.tensor([1.0, 0]).view(1, 1, 1, 2), torch.tensor([0, 5.0]).view(1, 1, 1, 2)
    assert method("at", 1, 1)([s], [t]).item() == pytest.approx(math.sqrt(2))


def test_fitnets_of_zeros_and_ones():
    s, t = torch.zeros(2, 3, 4, 5), torch.ones(2, 3, 4, 5)
    assert method("fitnets", 3, 1)([s], [t]).item() == pytest.approx(0.5)


def test_an_attentive_hint_counts_by_the_confidence_of_its_slice():
    ah, s, t = method("ah", 3, 1), torch.zeros(2, 3, 4, 5), torch.ones(2, 3, 4, 5)
    ah.calibrate(torch.tensor([4.0, 2.0, 6.0, 5.0]))
    found = ah.confidence(torch.tensor([2.0, 3, 4, 6, 1, 7]))
    assert found.tolist() == [1, 0.75, 0.5, 0, 1, 0]  # beyond the training slices' errors it is cut
    assert ah.towards([s], [t, found[1:3]]).item() == pytest.approx(0.5 * (0.75 + 0.5) / 2)
    ah.calibrate(torch.tensor([3.0]))
    assert ah.confidence(torch.tensor([3.0])).item() == 1


def test_fsp_of_zeros_and_ones():
    s, t = torch.zeros(2, 3, 4, 5), torch.ones(2, 3, 4, 5)
    assert method("fsp", 3, 1)([(s, s)], [(t, t)]).item() == pytest.approx(1)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("sp", 1 - math.sqrt(0.5)),
        ("cc", (math.exp(-0.8) * (0.8 + 0.32)) ** 2 / 2),
        ("pkt", (math.log(1 / 2 / (2 / 3)) + math.log(1 / 2 / (1 / 3))) / 2),
    ],
)
def test_relations_of_orthogonal_and_identical_samples(key, value):
    orthogonal, identical = samples([3, 0], [0, 0.5]), samples([2, 2], [2, 2])
    assert value == pytest.approx({"sp": 0.2929, "cc": 0.1266, "pkt": 0.0589}[key], abs=5e-5)
    assert method(key, 1, 1)([orthogonal], [identical]).item() == pytest.approx(value, rel=1e-5)


def test_kl_of_two_pixels():
    s, t = samples([0, 0]), samples([math.log(3), 0])  # probabilities 1/2, 1/2 and 3/4, 1/4
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert method("kl", 1, 1)([s], [t]).item() == pytest.approx(expected) == pytest.approx(0.1308, abs=5e-5)


def test_ab_of_a_student_on_the_boundary():
    assert method("ab", 1, 1)([samples([0, 0])], [samples([1, -1])]).item() == pytest.approx(1)


@pytest.mark.parametrize(
    ("s", "t", "value"), [(1, 5, 0), (2, 5, 0), (0.5, 5, 0.25), (-1, 5, 4), (-2, -5, 0), (1, 0, 4)]
)
def test_ab_asks_for_the_side_and_a_margin(s, t, value):
    assert method("ab", 1, 1)([samples([s])], [samples([t])]).item() == pytest.approx(value)


def test_nst_of_disjoint_channels():
    assert method("nst", 1, 1)([samples([3, 0])], [samples([0, 5])]).item() == pytest.approx(2)


def test_nst_ignores_the_order_of_channels():
    t = torch.rand(2, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    assert method("nst", 4, 1)([t[:, [2, 0, 3, 1]]], [t]).item() == pytest.approx(0, abs=1e-6)


def test_vid_of_an_error_of_one():
    vid, t = method("vid", 3, 1), torch.ones(2, 3, 4, 5)
    for conv in vid.means[0][::2]:
        torch.nn.init.zeros_(conv.weight)
        torch.nn.init.zeros_(conv.bias)
    assert vid([t], [t]).item() == pytest.approx(0.5)
    torch.nn.init.constant_(vid.a, math.log(math.expm1(4)))  # a variance of 4 + 1e-5
    assert vid([t], [t]).item() == pytest.approx(0.5 * (1 / 4 + math.log(4)), rel=1e-4)


def test_ft_of_equal_factors():
    ft, (t,) = method("ft", 4, 1), maps("ft", 3, 4, 7, 5, cascades=1)
    assert ft([t], [t]).item() > 0.1
    ft.translators.load_state_dict(ft.paraphrasers.state_dict())
    assert ft([t], [t]).item() == 0


def test_kdsvd_of_equal_maps():
    t = maps("kdsvd", 2, 4, 5, 5, cascades=3)
    assert method("kdsvd", 4, 3)(t, t).item() == 0


@pytest.mark.parametrize(("rank", "found"), [(1, True), (4, True), (5, False)])
def test_kdsvd_looks_for_the_teachers_vector_among_four(rank, found):
    """Channels that are bright in a pixel of their own have unit vectors as singular vectors, in order of brightness."""
    weaker = torch.tensor([0.5, 0.4, 0.3, 0.2, 0.1])
    teacher = torch.cat([torch.ones(1), weaker]).diag()[None, :, None]
    student = torch.cat([weaker.new_tensor([1 - 0.15 * (rank - 1)]), torch.tensor([0.9, 0.75, 0.6, 0.45, 0.1])]).diag()
    value = method("kdsvd", 6, 2)([student[None, :, None]] * 2, [teacher] * 2).item()
    assert value == pytest.approx(0, abs=1e-9) if found else value > 1e-3


def test_rkd_of_a_triangle_and_a_line():
    triangle, line = samples([1, 0, 0], [0, 1, 0], [0, 0, 1]), samples([0, 0, 0], [1, 0, 0], [2, 0, 0])
    distances = (4 * 0.25**2 / 2 + 2 * 0.5**2 / 2) / 9  # 1, 1, 1 against 3/4, 3/4, 3/2, each twice
    angles = (4 * 0.5**2 / 2 + 2 * (1.5 - 0.5)) / 27  # 1/2 against 1 at the ends, against -1 in the middle
    value = method("rkd", 1, 1)([triangle], [line]).item()
    assert value == pytest.approx(distances + 2 * angles, rel=1e-4) == pytest.approx(0.0417 + 2 * 0.0926, abs=2e-4)


# ---- every loss a second time, in loops ----


def plain_at(s, t):
    def attention(f):
        q = (f**2).sum(0)
        return q / math.sqrt((q**2).sum())

    return np.mean([math.sqrt(((attention(s[b]) - attention(t[b])) ** 2).sum()) for b in range(len(s))])


def plain_fitnets(s, t):
    return sum(0.5 * (a - b) ** 2 for a, b in zip(s.ravel(), t.ravel())) / s.size


plain_ah = plain_fitnets  # where all slices count alike


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


def plain_kl(s, t):
    total, (batch, channels) = 0, s.shape[:2]
    for b in range(batch):
        for c in range(channels):
            p_s, p_t = (np.exp(f[b, c]) / np.exp(f[b, c]).sum() for f in (s, t))
            total += (p_t * np.log(p_t / p_s)).sum()
    return total / (batch * channels)


def plain_pkt(s, t):
    def probabilities(f):
        unit = [a / math.sqrt((a**2).sum()) for a in f]
        k = np.array([[(np.vdot(a, b) + 1) / 2 for b in unit] for a in unit])
        return np.array([row / row.sum() for row in k])

    p_s, p_t = probabilities(s), probabilities(t)
    return np.mean([sum(q * math.log(q / p) for p, q in zip(*rows)) for rows in zip(p_s, p_t)])


def plain_ab(s, t):
    losses = [(max(1 - a, 0) if b > 0 else max(1 + a, 0)) ** 2 for a, b in zip(s.ravel(), t.ravel())]
    return np.mean(losses)


def plain_conv(f, conv):
    """A 'same' convolution of (B, C, H, W) in loops over the kernel."""
    weight, bias = (p.detach().double().numpy() for p in (conv.weight, conv.bias))
    margin, (height, width) = weight.shape[-1] // 2, f.shape[-2:]
    padded = np.pad(f, [(0, 0), (0, 0), (margin, margin), (margin, margin)])
    out = np.zeros((len(f), len(weight), height, width)) + bias[:, None, None]
    for i in range(weight.shape[2]):
        for j in range(weight.shape[3]):
            out += np.einsum("oc,bchw->bohw", weight[:, :, i, j], padded[:, :, i : i + height, j : j + width])
    return out


def plain_ft(s, t, made, cascade):
    def factor(f, parts):
        f = plain_conv(f, parts[0])
        f = plain_conv(np.where(f > 0, f, 0.1 * f), parts[2])
        return [a / math.sqrt((a**2).sum()) for a in f]

    pairs = zip(factor(s, made.translators[cascade]), factor(t, made.paraphrasers[cascade]))
    return np.mean([abs(a - b).sum() / math.sqrt(a.size) for a, b in pairs])


def plain_vid(s, t, made, cascade):
    for conv in made.means[cascade][:-1:2]:
        s = np.maximum(plain_conv(s, conv), 0)
    error = (t - plain_conv(s, made.means[cascade][-1])) ** 2
    v = np.log(1 + np.exp(made.a[cascade].detach().double().numpy())) + 1e-5
    return np.mean([0.5 * (error[:, c] / v[c] + math.log(v[c])) for c in range(len(v))])


def plain_nst(s, t):
    values = []
    for b in range(len(s)):
        x, y = ([c.ravel() / math.sqrt((c**2).sum()) for c in f[b]] for f in (s, t))

        def kernel(one, other):
            return np.mean([np.dot(a, b) ** 2 for a in one for b in other])

        values.append(kernel(y, y) + kernel(x, x) - 2 * kernel(x, y))
    return np.mean(values)


def plain_rkd(s, t):
    def huber(x):
        return 0.5 * x**2 if abs(x) < 1 else abs(x) - 0.5

    def relations(f):
        n = len(f)
        d = [math.sqrt(((f[i] - f[j]) ** 2).sum()) for i in range(n) for j in range(n)]
        mean = sum(d) / (n * (n - 1))
        angles = []
        for j in range(n):
            for i in range(n):
                for k in range(n):
                    a, b = f[i] - f[j], f[k] - f[j]
                    lengths = math.sqrt((a**2).sum() * (b**2).sum())
                    angles.append((a * b).sum() / lengths if lengths else 0)
        return [x / mean for x in d], angles

    (d_s, a_s), (d_t, a_t) = relations(s), relations(t)
    return np.mean([huber(x - y) for x, y in zip(d_s, d_t)]) + 2 * np.mean([huber(x - y) for x, y in zip(a_s, a_t)])


def plain_kdsvd(students, teachers):
    def vectors(f, count):
        return np.linalg.svd(f.reshape(len(f), -1).T)[2][:count]

    values = []
    for b in range(len(students[0])):
        before = None
        for s, t in zip(students, teachers):
            v_t = vectors(t[b], 1)[0]
            v_t = v_t * np.sign(v_t.sum())
            v_s = max(vectors(s[b], 4), key=lambda v: abs(v @ v_t))
            v_s = v_s * np.sign(v_s @ v_t)
            if before:
                r_s, r_t = (np.exp(-(np.subtract.outer(u, v) ** 2) / 8) for u, v in zip(before, (v_s, v_t)))
                values.append(((r_s - r_t) ** 2).sum())
            before = (v_s, v_t)
    return np.mean(values)


PLAIN = {key: globals()[f"plain_{key}"] for key in KEYS}


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("shape", [(3, 4, 7, 5), (4, 4, 6, 9)])
def test_a_second_writing(key, shape):
    students, teachers = maps(key, *shape, cascades=3), maps(key, *shape, seed=1, cascades=3)
    for m in flat(students):
        m.abs_()  # samples that resemble each other, unlike the teacher's
    made = method(key, cascades=3)
    with torch.no_grad():
        for p in made.parameters():  # no weight as it was made
            p += 0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(len(p)))
    s, t = ([[m.double().numpy() for m in flat([c])] for c in side] for side in (students, teachers))
    s, t = ([c if len(c) > 1 else c[0] for c in side] for side in (s, t))
    if key == "kdsvd":
        expected = plain_kdsvd(s, t)
    elif key in ("ft", "vid"):
        expected = np.mean([PLAIN[key](a, b, made, k) for k, (a, b) in enumerate(zip(s, t))])
    elif key in ("fitnets", "ah"):
        mapped = [plain_conv(a, regressor) for a, regressor in zip(s, made.regressors)]
        expected = np.mean([plain_fitnets(a, b) for a, b in zip(mapped, t)])
    else:
        expected = np.mean([PLAIN[key](a, b) for a, b in zip(s, t)])
    assert abs(expected) > 1e-3
    assert made(students, teachers).item() == pytest.approx(expected, rel=2e-4)


def test_cc_is_near_the_gaussian_kernel_it_expands():
    f = torch.randn(2, 50, generator=torch.Generator().manual_seed(0)).double()
    unit = f / f.norm(dim=1, keepdim=True)
    s = unit.view(2, 2, 5, 5)
    t = unit[[0, 0]].view(2, 2, 5, 5)
    exact = ((torch.exp(-0.4 * (unit[0] - unit[1]).square().sum()) - 1) ** 2 / 2).item()
    assert method("cc", 2, 1)([s], [t]).item() == pytest.approx(exact, rel=0.15)
