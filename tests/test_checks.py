"""Every exercise: solution, stub, typical wrong answers and nonsense, without running notebooks."""

import ast
import itertools

import jupytext
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from torch.nn import functional as F

from kdrecon.physics.fourier import fft2, ifft2
from kdrecon.physics.sampling import line_mask
from kdrecon.storage.places import project_root
from kdrecon.teaching import checks
from kdrecon.teaching.checks.verdict import Verdict

NAMES = checks.__all__


def exercises():
    """Check's name -> (source of the imports of the cells before it, of stub, solution and check)."""
    found = {}
    for path in sorted((project_root() / "lessons").glob("[0-9]*.py")):
        cells, imports = [cell for cell in jupytext.read(path).cells if cell.cell_type == "code"], []
        for k, cell in enumerate(cells):
            if "exercise" in cell.metadata.get("tags", []):
                name = cells[k + 2].source.removeprefix("checks.").partition("(")[0]
                found[name] = ("\n".join(imports), *(part.source for part in cells[k : k + 3]))
            imports += [
                ast.unparse(x) for x in ast.parse(cell.source).body if isinstance(x, ast.Import | ast.ImportFrom)
            ]
    return found


EXERCISES = exercises()


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """The arrays are tiny: more threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def answer_of(name, stub=False):
    """What stands between the brackets of the check after the stub, or the solution, has run."""
    imports, *parts, check = EXERCISES[name]
    scope = {}
    exec(imports, scope)
    exec(parts[0 if stub else 1], scope)
    return scope[check.partition("(")[2].removesuffix(")")]


def test_every_check_has_its_exercise():
    assert sorted(EXERCISES) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_solutions_are_right_and_stubs_are_not_yet(name):
    solved, unsolved = (getattr(checks, name)(answer_of(name, stub)) for stub in (False, True))
    assert solved.right, solved
    assert repr(solved).startswith("right: ")
    assert not unsolved.right
    assert "returns nothing yet" in unsolved.message or "is empty" in unsolved.message


def fail(*arguments):
    raise ZeroDivisionError("division by zero")


NONSENSE = {
    "None": None,
    "number": 3,
    "text": "text",
    "list": [],
    "returns text": lambda *a: "text",
    "returns a list": lambda *a: [1, "two", None],
    "returns another shape": lambda *a: torch.zeros(7, 3),
    "returns NaN": lambda *a: float("nan"),
    "returns NaN images": lambda *a: torch.full(a[0].shape, torch.nan) if isinstance(a[0], torch.Tensor) else np.nan,
    "returns complex": lambda *a: torch.zeros(1, dtype=torch.complex64),
    "returns True": lambda *a: True,
    "returns its argument": lambda *a: a[0],
    "takes nothing": lambda: 0,
    "stops": fail,
}


@pytest.mark.parametrize("nonsense", NONSENSE)
@pytest.mark.parametrize("name", NAMES)
def test_nonsense_gets_a_sentence(name, nonsense):
    verdict = getattr(checks, name)(NONSENSE[nonsense])
    assert isinstance(verdict, Verdict)
    assert not verdict.right and verdict.message.endswith(".")
    assert "could not be checked" not in verdict.message, verdict


@pytest.mark.parametrize("nonsense", [key for key, value in NONSENSE.items() if callable(value)])
@pytest.mark.parametrize("name", [name for name in NAMES if callable(answer_of(name))])
def test_nonsense_after_a_right_answer_gets_a_sentence(name, nonsense):
    answers = itertools.chain([answer_of(name)], itertools.repeat(NONSENSE[nonsense]))
    verdict = getattr(checks, name)(lambda *arguments: next(answers)(*arguments))
    assert verdict.right or "could not be checked" not in verdict.message, verdict


def test_an_error_is_told_with_its_line():
    def mine(s, t):
        return s.shape[99]

    verdict = checks.attention_loss(mine)
    assert 'stopped in the line "return s.shape[99]": IndexError' in verdict.message


def test_no_answer_and_two_answers():
    assert "0 answers were given" in checks.attention_loss().message
    assert "2 answers were given" in checks.attention_loss(1, 2).message


def test_a_verdict_in_a_notebook_is_escaped():
    assert "a &lt;b&gt;" in Verdict(False, "a <b>")._repr_html_()
    assert Verdict(True, "so")._repr_html_().endswith("<b>right</b>: so</div>")


def lines(n, every, block, dtype=torch.bool):
    mask = torch.zeros(n, dtype=dtype)
    mask[::every] = True
    mask[block] = True
    return mask


def block(n, side, both=torch.logical_and, lines=lambda k, side: (k >= -(side // 2)) & (k < side // 2)):
    inside = lines(torch.fft.fftfreq(n, 1 / n), side)
    return both(inside[:, None], inside[None])


def around_dc(n, centre):
    return torch.arange(-(centre // 2), centre // 2 + 1)


def fidelity(x_cnn, y, mask, lam, on=lambda X, y, lam: (X + lam * y) / (1 + lam), off=lambda X, y, lam: X):
    X = fft2(x_cnn)
    return ifft2(torch.where(mask, on(X, y, lam), off(X, y, lam)))


def counted(d, kernel=9, bias=1):
    """Numbers of one block of d convolutions."""
    widths = [1] + [32] * (d - 1) + [1]
    return sum(kernel * a * b + bias * b for a, b in zip(widths, widths[1:]))


def q(maps):
    return maps.square().sum(1).flatten(1)


def sums(maps):
    return maps.sum(1).square().flatten(1)


def unit(q, **norm):
    return q / q.norm(keepdim=True, **norm)


def kl(own, shown, reduction="batchmean"):
    return F.kl_div(own.log_softmax(1), shown.softmax(1), reduction=reduction)


def qq(maps):
    return maps.flatten(1) @ maps.flatten(1).T


def sp(s, t):
    return (unit(qq(t), dim=1) - unit(qq(s), dim=1)).square().mean()


def gram(early, late):
    return early.flatten(2) @ late.flatten(2).mT / early[0, 0].numel()


def walk(sft, path, x, y, mask):
    measurement = sft.teacher.fidelity.measure(y, mask)
    for letter, k in path:
        x = (sft.teacher if letter == "T" else sft.student).cascade(k, x, measurement).image
    return x


def turns(i, n=4, first=0):
    return [("T" if k < i else "S", k) for k in range(first, n)]


def l1(a, b):
    return (a - b).abs().mean()


def norms(term, *images):
    grads = torch.autograd.grad(term, images, retain_graph=True, allow_unused=True)
    return [0.0 if g is None else float(g.norm()) for g in grads]


def accumulated(terms, *images):
    found = {}
    for name, term in terms.items():
        term.backward(retain_graph=True)
        found[name] = [0.0 if image.grad is None else float(image.grad.norm()) for image in images]
    return found


def gains(a, b, subjects):
    return pd.Series(a - b).groupby(list(subjects)).mean().to_numpy()


def around(d, t=None, level=0.975, lost=1, n=None, ddof=1):
    t = t or stats.t.ppf(level, len(d) - lost)
    half = t * d.std(ddof=ddof) / np.sqrt(n or len(d))
    return d.mean() - half, d.mean() + half


def two(first, second):
    return first, second, second - first


def effects_of_teacher(p):
    return two(p["sft", "random"] - p["standard", "random"], p["sft", "sft"] - p["standard", "sft"])


def copied(student, branches, blocks):
    for k in blocks:
        student.blocks[k].load_state_dict(branches.blocks[k].state_dict())
    return student


def shared(student, branches):
    student.blocks = torch.nn.ModuleList([student.blocks[0], *branches.blocks[1:]])
    return student


def with_first_changed(student, branches):
    student.blocks[0].convs[0].weight.data.zero_()
    return copied(student, branches, (1, 2))


def grouped(psnr, subjects, own=np.mean):
    """One value per person, in the order of their first slices."""
    return [own([v for v, name in zip(psnr, subjects) if name == person]) for person in dict.fromkeys(subjects)]


def runs(psnr, subjects):
    return [
        np.mean([value for value, _ in run]) for _, run in itertools.groupby(zip(psnr, subjects), lambda pair: pair[1])
    ]


def spent(events, name=""):
    """Time of the operators of a name, or of all."""
    return sum(e["dur"] for e in events if e["cat"] == "Node" and name in e["args"]["op_name"])


WRONG = {
    "parameters": [
        ({}, "dictionary is empty"),
        ([("epochs", 30)], "expected a dictionary"),
        ({"epochs": 30, "methods": "at"}, "square brackets"),
        ({"epoch": 30, "methods": ["at"]}, "unknown parameter 'epoch'"),
        ({"epochs": "30", "methods": ["at"]}, "expected an integer"),
        ({"epochs": 30}, "expected attention transfer alone"),
        ({"methods": ["at"]}, "epochs: expected 30"),
    ],
    "shared_subjects": [
        (lambda a, b: bool(set(a) & set(b)), "True or False"),
        (lambda a, b: len(set(a) & set(b)), "returns a number"),
        (lambda a, b: set(a) | set(b), "the union"),
        (lambda a, b: set(a) - set(b), "a difference"),
        (lambda a, b: [s for s in a if s in b], "in a list"),
        (lambda a, b: {"ben"}, "expected ben alone"),
    ],
    "mean_over_people": [
        (lambda p, s: np.mean(p), "the mean over slices"),
        (lambda p, s: sum(grouped(p, s)), "not divided by the number of people"),
        (lambda p, s: np.median(grouped(p, s)), "the median of"),
        (lambda p, s: np.mean(grouped(p, s, lambda own: own[0])), "with the first slice alone"),
        (lambda p, s: np.mean(grouped(p, s, lambda own: own[-1])), "with the last or the best slice"),
        (lambda p, s: np.mean(runs(p, s)), "count as two people"),
        (lambda p, s: np.mean(grouped(p, s, sum)), "divide by how many"),
        (lambda p, s: grouped(p, s), "a list of 3: expected one number"),
        (lambda p, s: sum(p) / len(set(s)) - 64 / 3, "not hold for other slices"),
        (lambda p, s: 76 / 3, "not hold for other slices"),
    ],
    "lines": [
        (lambda n, e, c: ~lines(n, e, around_dc(n, c)), "polarity is inverted"),
        (lambda n, e, c: lines(n, e, around_dc(n, c) + n // 2), "middle of the array"),
        (lambda n, e, c: torch.fft.fftshift(lines(n, e, around_dc(n, c))), "shifted by half"),
        (lambda n, e, c: lines(n, e, torch.arange(c)), "positive frequencies only"),
        (lambda n, e, c: lines(n, e, []), "block round DC is missing"),
        (lambda n, e, c: lines(n, e, around_dc(n, c), torch.int64), "expected torch.bool"),
        (lambda n, e, c: lines(30, 4, around_dc(30, 5)), "shape (30,)"),
    ],
    "repair": [
        (lambda k, s: ifft2(k * ~torch.fft.ifftshift(s)), "complex"),
        (lambda k, s: ifft2(k * ~torch.fft.ifftshift(s)).real, "not the magnitude"),
        (lambda k, s: ifft2(k * ~s).abs(), "still has its DC in the middle"),
        (lambda k, s: ifft2(k * torch.fft.ifftshift(s)).abs(), "polarity is inverted"),
        (lambda k, s: ifft2(k * s).abs(), "centring and polarity"),
        (lambda k, s: ifft2(k * ~torch.fft.fftshift(s)).abs(), "the wrong way. For an odd size"),
        (lambda k, s: torch.fft.ifft2(k * ~torch.fft.ifftshift(s)).abs(), "orthonormal"),
        (lambda k, s: ifft2(k).abs(), "without undersampling"),
    ],
    "known_share": [
        (lambda m: m.float().mean(), "share that is measured"),
        (lambda m: 2 * m.float().mean(), "counts every line twice"),
        (lambda m: (m | m.flip(0)).float().mean(), "off by one line"),
        (lambda m: (m | m.flip(0).roll(1)).sum(), "it is a count"),
        (lambda m: 100 * (m | m.flip(0).roll(1)).float().mean(), "per cent"),
        (lambda m: (m & m.flip(0).roll(1)).float().mean(), "instead of intersecting"),
    ],
    "lowpass": [
        (lambda n, f: ~block(n, n // f), "polarity is inverted"),
        (lambda n, f: torch.fft.fftshift(block(n, n // f)), "middle of the array"),
        (lambda n, f: block(n, n // f, lines=lambda k, side: (k >= 0) & (k < side)), "positive frequencies only"),
        (lambda n, f: block(n, n // f, lambda a, b: a.expand(n, n)), "whole lines: keep only"),
        (lambda n, f: block(n, n // f)[0], "expected (24, 24)"),
        (lambda n, f: block(n, n // f, torch.logical_or), "a cross"),
        (lambda n, f: block(n, n // f, lines=lambda k, side: k.abs() <= side / 2), "one frequency too many"),
        (lambda n, f: block(n, n // f, lines=lambda k, side: k.abs() < side / 2), "lacks one frequency"),
        (lambda n, f: block(n, n // f).int(), "expected torch.bool"),
        (lambda n, f: block(n, n // 4), "but not for n = 32"),
        (lambda n, f: block(n, n // f**2), "-3 to 2 along each axis"),
    ],
    "branch_view": [
        (lambda i, a, b: 2 * i * a // b + 1, "the teacher's group sees"),
        (lambda i, a, b: 2 * (i * a // b + b) + 1, "student's convolutions 1 to i"),
        (lambda i, a, b: 2 * b + 1, "not one: this is what the plain student sees"),
        (lambda i, a, b: 2 * a + 1, "what the teacher sees"),
        (lambda i, a, b: i * a // b + b - i, "number of convolutions"),
        (lambda i, a, b: 2 * (i * a // b + b - i), "the pixel itself is missing"),
        (lambda i, a, b: 3 * (i * a // b + b - i), "do not see 3 pixels more"),
        (lambda i, a, b: (2 * (i * a // b + b - i) + 1) ** 2, "number of pixels"),
        (lambda i, a, b: 2 * (3 * i + b - i) + 1, "does not hold for i = 2, a = 10, b = 5"),
    ],
    "data_fidelity": [
        (fidelity, "take the real part"),
        (lambda x, y, m, w: fft2(fidelity(x, y, m, w)), "the result is k-space"),
        (lambda x, y, m, w: fidelity(x, y, m, w).abs(), "this is the magnitude"),
        (lambda x, y, m, w: fidelity(x, y, m, w, on=lambda X, y, w: (w * X + y) / (1 + w)).real, "lambda sits on"),
        (lambda x, y, m, w: fidelity(x, y, m, w, off=lambda X, y, w: (X + w * y) / (1 + w)).real, "not measured are changed"),
        (lambda x, y, m, w: fidelity(x, y, m, w, on=lambda X, y, w: X + w * y).real, "not divided"),
        (lambda x, y, m, w: fidelity(x, y, m, w, on=lambda X, y, w: y).real, "noiseless form"),
        (lambda x, y, m, w: fidelity(x, y, ~m, w).real, "mask and proposal are swapped"),
    ],
    "receptive_field": [
        (lambda d: 3 * d, "do not add up"),
        (lambda d: 3**d, "do not multiply"),
        (lambda d: (2 * d + 1) ** 2, "number of pixels"),
        (lambda d: d + 1, "two a convolution"),
        (lambda d: d, "reach on one side"),
        (lambda d: 11, "does not hold for d = 1"),
    ],
    "weights": [
        (lambda d, c: counted(d), "this is one block"),
        (lambda d, c: c * counted(d, bias=0), "biases are missing"),
        (lambda d, c: c * d * (9 * 32 * 32 + 32), "counted from 32 to 32"),
        (lambda d, c: c * (d - 2) * (9 * 32 * 32 + 32), "first and the last convolution are missing"),
        (lambda d, c: c * counted(d + 2), "come on top of d"),
        (lambda d, c: c * counted(d + 1), "d - 2 stand between"),
        (lambda d, c: c * (counted(d) + 31), "so it has one bias"),
        (lambda d, c: c * counted(d, kernel=3), "not 3"),
        (lambda d, c: 141765, "does not hold for D2C5"),
        (lambda d, c: 5 * counted(d), "does not hold for D17C1"),
        (lambda d, c: "141,765", "expected one number"),
    ],
    "attention_loss": [
        (lambda s, t: (q(s) - q(t)).norm(dim=1).mean(), "not normalised"),
        (lambda s, t: (unit(q(s), dim=0) - unit(q(t), dim=0)).norm(dim=1).mean(), "across the batch"),
        (lambda s, t: (unit(q(s)) - unit(q(t))).norm(dim=1).mean(), "one length serves"),
        (lambda s, t: (unit(sums(s), dim=1) - unit(sums(t), dim=1)).norm(dim=1).mean(), "summed before they are squared"),
        (lambda s, t: (unit(q(s), dim=1) - unit(q(t), dim=1)).square().sum(1).mean(), "squared distance"),
        (lambda s, t: (unit(q(s), dim=1) - unit(q(t), dim=1)).square().mean(), "mean over pixels"),
        (lambda s, t: (unit(q(s), dim=1) - unit(q(t), dim=1)).norm(dim=1).sum(), "take their mean"),
        (lambda s, t: (unit(q(s), dim=1) - unit(q(t), dim=1)).norm(), "in the end"),
    ],
    "hinton_loss": [
        (lambda s, t, T: T**2 * kl(t / T, s / T), "swapped"),
        (lambda s, t, T: kl(s / T, t / T), "T squared is missing"),
        (lambda s, t, T: T**2 * kl(s, t), "no effect on the shares"),
        (lambda s, t, T: T**2 * kl(s * T, t * T), "hardens the answers"),
        (lambda s, t, T: T**2 * kl(s / T, t / T, "sum"), "the images are summed"),
        (lambda s, t, T: T**2 * kl(s / T, t / T, "mean"), "a mean over classes, too"),
        (lambda s, t, T: T**2 * kl(s.T / T, t.T / T, "sum") / len(s), "over the images of the batch"),
        (lambda s, t, T: T**2 * F.cross_entropy(s / T, (t / T).softmax(1)), "cross-entropy"),
        (lambda s, t, T: -(T**2) * kl(s / T, t / T), "turned round"),
        (lambda s, t, T: 16 * kl(s / 4, t / 4), "times the mean over images"),
        (lambda s, t, T: 2 * T * kl(s / T, t / T), "times the mean over images"),
    ],
    "similarity_loss": [
        (lambda s, t: (qq(t) - qq(s)).square().mean(), "not divided by their length"),
        (lambda s, t: (unit(qq(t)) - unit(qq(s))).square().mean(), "one length serves"),
        (lambda s, t: (qq(unit(t.flatten(1), dim=1)) - qq(unit(s.flatten(1), dim=1))).square().mean(), "these are cosines"),
        (lambda s, t: (qq(t) / qq(t).sum(1, True) - qq(s) / qq(s).sum(1, True)).square().mean(), "divided by their sum"),
        (lambda s, t: sp(s.movedim(1, 0), t.movedim(1, 0)), "channels are related"),
        (lambda s, t: (unit(qq(t), dim=1) - unit(qq(s), dim=1)).square().sum(), "not divided by B squared"),
        (lambda s, t: (unit(qq(t), dim=1) - unit(qq(s), dim=1)).square().sum() / len(s), "by B and not"),
        (lambda s, t: (unit(qq(t), dim=1) - unit(qq(s), dim=1)).norm() / len(s) ** 2, "the root of the sum"),
        (lambda s, t: 0.01, "q @ q.T"),
    ],
    "flow": [
        (lambda a, b: gram(b, a), "are swapped"),
        (lambda a, b: gram(a, b) * a[0, 0].numel(), "not divided by their number"),
        (lambda a, b: gram(a, b) * a[0, 0].numel() / a.shape[1], "number of channels"),
        (lambda a, b: gram(a, a), "early layer is related to itself"),
        (lambda a, b: gram(b, b), "late layer is related to itself"),
        (lambda a, b: gram(a, b).mean(0), "expected (2, 3, 3)"),
        (lambda a, b: gram(a, b).mean(0).expand(len(a), -1, -1), "the slices are averaged"),
        (lambda a, b: gram(a, b) * a[0, 0].numel() / 20, "mean over pixels"),
    ],
    "branch": [
        (lambda sft, i, *a: walk(sft, [*turns(i)[:i], *turns(0)[i - 1 :]], *a), "one block too early, with S_i"),
        (lambda sft, i, *a: walk(sft, turns(i + 1), *a), "one block too late"),
        (lambda sft, i, *a: walk(sft, turns(i - 1), *a), "leaves one block too early"),
        (lambda sft, i, *a: walk(sft, turns(4), *a), "teacher's own output"),
        (lambda sft, i, *a: walk(sft, turns(0), *a), "plain student"),
        (lambda sft, i, *a: walk(sft, [*turns(i)[:i], *turns(i, first=i + 1)], *a), "a stage is missing"),
        (lambda sft, i, *a: walk(sft, turns(0, first=i), *a), "starts again from x_u"),
    ],
    "sft_cost": [
        (lambda n, t, s: 1 + n * (n + 1) / 2 * s / (n * t), "S_1 is counted"),
        (lambda n, t, s: 1 + (n - 1) ** 2 * s / (n * t), "not equally long"),
        (lambda n, t, s: 1 + (n - 1) * s / (n * t), "count boxes"),
        (lambda n, t, s: (n - 1) / 2 * s / t, "teacher runs as well"),
        (lambda n, t, s: 1 + n * (n - 1) / 2 * s / t, "one teacher block"),
        (lambda n, t, s: n * t + n * (n - 1) / 2 * s, "in multiply-adds"),
        (lambda n, t, s: 1.5, "does not hold for n = 2"),
    ],
    "audit": [
        (lambda terms, t, b: [norms(term, t, b) for term in terms.values()], "expected a dictionary"),
        (lambda terms, t, b: {"teacher": norms(terms["teacher"], t, b)}, "expected a dictionary"),
        (lambda terms, t, b: {k: norms(term, t, b)[::-1] for k, term in terms.items()}, "swapped"),
        (lambda terms, t, b: {k: [n**2 for n in norms(term, t, b)] for k, term in terms.items()}, "squared"),
        (lambda terms, t, b: dict.fromkeys(terms, norms(sum(terms.values()), t, b)), "one and the same loss"),
        (accumulated, "accumulates into .grad"),
        (lambda terms, t, b: {k: torch.autograd.grad(term, (t, b)) for k, term in terms.items()}, "stopped"),
        (lambda terms, t, b: dict.fromkeys(terms, (0.1, 0.2)), "not the expected ones"),
    ],
    "start": [
        (lambda s, b: s, "nothing was copied"),
        (lambda s, b: copied(s, b, range(3)), "S_1 was copied too"),
        (lambda s, b: copied(s, b, [1]), "4 of 8 tensors"),
        (lambda s, b: b, "joint training itself"),
        (shared, "share the same tensors"),
        (with_first_changed, "S_1 has changed"),
    ],
    "interaction": [
        (effects_of_teacher, "effect of the teacher"),
        (lambda p: two(p["standard", "sft"] - 30, p["sft", "sft"] - 30), "at once"),
        (lambda p: (-0.1, -0.5, -0.4), "signs"),
        (lambda p: (0.1, 0.5, -0.4), "difference is turned round"),
        (lambda p: two(p["sft", "sft"] - p["sft", "random"], p["standard", "sft"] - p["standard", "random"]), "swapped"),
        (lambda p: (0.1, 0.5, 0.3), "is a mean"),
        (lambda p: (0.1, 0.5, 0.4), "whatever the cells hold"),
    ],
    "translation": [
        (lambda p, m: p + 20 * np.log10(m / m.max()), "one value a slice"),
        (lambda p, m: p.mean(), "nothing was translated"),
        (lambda p, m: (p - 20 * np.log10(m / m.max())).mean(), "sign"),
        (lambda p, m: (p + 10 * np.log10(m / m.max())).mean(), "stands squared"),
        (lambda p, m: p.mean() + 20 * np.log10(m.mean() / m.max()), "averaged before"),
        (lambda p, m: (p + 20 * np.log(m / m.max())).mean(), "natural logarithm"),
        (lambda p, m: (p + m / m.max()).mean(), "decibels are logarithms"),
        (lambda p, m: (p + 20 * np.log10(m)).mean(), "the mean"),
    ],
    "interval": [
        (lambda a, b, s: around(a - b), "every slice counts as a person"),
        (lambda a, b, s: around(-gains(a, b, s)), "sign is turned round"),
        (lambda a, b, s: around(gains(a, b, s))[::-1], "high stands before low"),
        (lambda a, b, s: around(gains(a, b, s), t=1), "one standard error"),
        (lambda a, b, s: around(gains(a, b, s), t=1.96), "1.96 is too small"),
        (lambda a, b, s: around(gains(a, b, s), lost=0), "n - 1 degrees of freedom"),
        (lambda a, b, s: around(gains(a, b, s), level=0.95), "at 0.975"),
        (lambda a, b, s: around(gains(a, b, s), n=1), "single people"),
        (lambda a, b, s: around(gains(a, b, s), n=len(a)), "not of slices"),
        (lambda a, b, s: around(gains(a, b, s), n=len(set(s)) ** 2), "not by its root"),
        (lambda a, b, s: around(gains(a, b, s), ddof=0), "ddof=1"),
        (lambda a, b, s: np.array(around(gains(a, b, s))), "expected a pair of numbers"),
        (lambda a, b, s: (-0.4047708, 0.9547708), "not the expected ones"),
    ],
    "upright": [
        (lambda v, c: v.transpose(2, 1, 0), "exchanged, but not flipped"),
        (lambda v, c: np.flip(v.transpose(2, 1, 0), 1), "patient's left is on the left"),
        (lambda v, c: np.flip(v.transpose(2, 1, 0), 2), "forehead is down"),
        (lambda v, c: np.flip(v.transpose(2, 1, 0)), "highest slice comes first"),
        (lambda v, c: np.flip(v.transpose(2, 1, 0), 0), "every axis runs the wrong way"),
        (lambda v, c: np.flip(v.transpose(2, 0, 1), (1, 2)), "expected (3, 4, 5)"),
        (lambda v, c: np.flip(v, (1, 2)), "expected (3, 4, 5)"),
        (lambda v, c: np.flip(v.transpose(2, 1, 0), (1, 2)) / v.max(), "not the expected ones"),
        (lambda v, c: np.flip(v.transpose(2, 1, 0), (1, 2)), "not to LPS"),
    ],
    "people": [
        (lambda paths: set(paths), "these are files"),
        (lambda paths: {path.split("/")[0] for path in paths}, "still have sub-"),
        (lambda paths: {path.split("/")[1] for path in paths}, "these are visits"),
        (lambda paths: {path[4:7] for path in paths}, "two people"),
        (lambda paths: [path.split("/")[0][4:] for path in paths], "in a list"),
        (lambda paths: len({path.split("/")[0] for path in paths}), "expected a set of names"),
        (lambda paths: {"anna"}, "the answer makes"),
        (lambda paths: {"anna", "ann", "ben"}, "zoe"),
    ],
    "parity": [
        (lambda a, b, xs: np.abs(a(xs[0]) - b(xs[0])).max(), "only the first input"),
        (lambda a, b, xs: np.max([(a(x) - b(x)).max() for x in xs]), "signed"),
        (lambda a, b, xs: np.max([np.abs(a(x) - b(x)).mean() for x in xs]), "this is a mean"),
        (lambda a, b, xs: np.max([np.sqrt(((a(x) - b(x)) ** 2).mean()) for x in xs]), "root mean square"),
        (lambda a, b, xs: np.sum([np.abs(a(x) - b(x)).sum() for x in xs]), "this is a sum"),
        (lambda a, b, xs: max(np.abs(a(x) - b(x)).max() for x in xs), "np.max keeps NaN"),
    ],
    "dominant": [
        (lambda events: "Conv", "a name alone"),
        (lambda events: ("MatMul", 0.3), "longest single call"),
        (lambda events: ("Relu", 0.5), "called most often"),
        (lambda events: ("Session", 0.5), "the op_name of an operator"),
        (lambda events: ("Conv", 100 * spent(events, "Conv") / spent(events)), "per cent"),
        (lambda events: ("Conv", spent(events, "Conv")), "this is a time"),
        (lambda events: ("Conv", spent(events, "Conv") / sum(e["dur"] for e in events)), "cat 'Session'"),
        (lambda events: ("Conv", 3 / 8), "share of the calls"),
        (lambda events: ("Conv", 41 / spent(events)), "only one call"),
    ],
    "reading": [
        (lambda low, high: "better" if low + high > 0 else "worse", "only its middle is looked at"),
        (lambda low, high: "better" if low > 0 else "not shown", "expected 'worse', not 'not shown'"),
        (lambda low, high: "worse" if low > 0 else "better", "expected 'better', not 'worse'"),
        (lambda low, high: low > 0, "expected 'better', 'worse' or 'not shown'"),
        (lambda low, high: "better" if low > 0 else "worse" if high < 0 else "equal", "'equal': expected"),
        (lambda low, high: "better" if low > 0 else "worse", "holds 0"),
    ],
    "half_width": [
        (lambda p, n, s, k: (p**2 / n + 2 * s**2 / k) ** 0.5, "two of them to either side"),
        (lambda p, n, s, k: 4 * (p**2 / n + 2 * s**2 / k) ** 0.5, "half of it"),
        (lambda p, n, s, k: 2 * (p**2 / n + s**2 / k) ** 0.5, "count twice"),
        (lambda p, n, s, k: 2 * p / n**0.5, "trainings are left out"),
        (lambda p, n, s, k: 2 * (2 * s**2 / k) ** 0.5, "people are left out"),
        (lambda p, n, s, k: 2 * (p / n + 2 * s / k) ** 0.5, "enters as its square"),
        (lambda p, n, s, k: 2 * (p**2 / n + 2 * s**2 / k), "root is missing"),
        (lambda p, n, s, k: 2 * (p / n**0.5 + (2 * s**2 / k) ** 0.5), "not the sum of the roots"),
        (lambda p, n, s, k: 2 * (p**2 / n + 2 * s**2 / (k * n)) ** 0.5, "not the expected ones"),
    ],
    "question": [
        ("Std-KD AT", "expected a pair of names"),
        (("Std-KD AT", "Std-KD AT"), "the same network"),
        (("SFT-KD AT", "Std-KD AT"), "teacher and first weights differ"),
        (("Std-KD AT, epochs 12, weight_factor 3.0", "Std-KD AT"), "epochs and weight_factor differ"),
    ],
}  # fmt: skip
CASES = [(name, answer, hint) for name, answers in WRONG.items() for answer, hint in answers]


def test_every_exercise_has_typical_wrong_answers():
    assert sorted(WRONG) == sorted(NAMES) and min(map(len, WRONG.values())) >= 4


@pytest.mark.parametrize("name, answer, hint", CASES, ids=[f"{name}: {hint}" for name, _, hint in CASES])
def test_a_typical_wrong_answer_gets_its_hint(name, answer, hint):
    verdict = getattr(checks, name)(answer)
    assert not verdict.right
    assert hint in verdict.message, verdict


@pytest.mark.parametrize("shape", [(48, 48), (48, 64), (65, 48), (31, 30)])
def test_the_mistakes_of_notebook_01_are_mistakes_for_every_shape(shape):
    cells = jupytext.read(project_root() / "lessons" / "01_kspace_undersampling.py").cells
    (cell,) = [cell.source for cell in cells if "mistakes = {" in cell.source]
    scope = {"torch": torch, "line_mask": line_mask, "acceleration": "4x", "mask": line_mask(shape, "4x")}
    exec(cell.split("shown =")[0], scope)
    right, *wrong = scope["mistakes"].values()
    k = fft2(torch.rand(shape, generator=torch.Generator().manual_seed(0)))
    assert len(wrong) == 3 and torch.equal(right, scope["mask"])
    for mask in wrong:
        assert mask.shape == right.shape and not torch.allclose(k * mask, k * right)
    assert torch.equal(wrong[-1].any(0), wrong[-1].all(0)), "columns are measured"
