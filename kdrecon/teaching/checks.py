"""The checks of the exercises, in the order of the notebooks: a friendly verdict, never a traceback.

Every check takes the student's answer, tries it on small inputs of its own and returns a
:class:`kdrecon.teaching.verdict.Verdict`. Typical wrong answers get a hint of their own; whatever else an answer does
(nothing, a wrong type or shape, NaN, an error) is said in a sentence.
"""

import numpy as np
import torch
from torch import Tensor

from kdrecon.errors import InputError, first_line
from kdrecon.models.dccnn import DCCNN, dc_cnn
from kdrecon.models.sft import SFT
from kdrecon.physics.fidelity import DataFidelity
from kdrecon.physics.fourier import fft2, ifft2
from kdrecon.physics.sampling import line_mask, published_mask, undersample
from kdrecon.runs.parameters import Parameters
from kdrecon.teaching.verdict import NotYet, call, equal, exercise, kind, number, rule_out, tensor

# 00 Start here


@exercise
def parameters(answer) -> str:
    """00: a dict of parameters for 30 epochs and attention transfer alone."""
    if answer is None or answer == {}:
        raise NotYet("the dictionary is empty. Write the names from the parameters cell as keys.")
    if not isinstance(answer, dict):
        raise NotYet(f"the answer is {kind(answer)}: expected a dictionary of names and values.")
    if isinstance(answer.get("methods"), str):
        raise NotYet("methods is a text. It is a list even where it has one entry: write square brackets round it.")
    try:
        given = Parameters.from_mapping(answer)
    except InputError as error:
        raise NotYet(f"the run would be refused: {first_line(error)}.") from None
    if given.epochs != 30:
        raise NotYet(f"this run would train for {given.epochs} epochs: expected 30.")
    if given.methods != ["at"]:
        raise NotYet(f"this run would use the methods {given.methods}: expected attention transfer alone, key 'at'.")
    return "kdrecon run -p epochs=30 -p 'methods=[at]' says the same on the command line. All else keeps its default."


@exercise
def shared_subjects(answer) -> str:
    """00: (train, test), two lists of subjects, one entry a slice -> the set of subjects in both."""
    train, test = ["anna", "anna", "ben", "carl"], ["ben", "ben", "dora"]
    got = call(answer, train, test)
    if isinstance(got, bool):
        raise NotYet(
            "the function returns True or False: expected the set of subjects, so that one can look who it is."
        )
    if isinstance(got, int | float):
        raise NotYet("the function returns a number: expected the subjects themselves, as a set.")
    if not isinstance(got, set | frozenset | list | tuple):
        raise NotYet(f"the function returns {kind(got)}: expected a set of names.")
    if set(got) == set(train) | set(test):
        raise NotYet("these are all subjects (the union): expected only those in both splits (the intersection).")
    if set(got) == set(train) - set(test):
        raise NotYet("these are the subjects of the first split alone (a difference): expected those in both.")
    if set(got) != {"ben"} or set(call(answer, ["anna"], ["dora"])) != set():
        raise NotYet(f"for train {train} and test {test} the answer is {sorted(map(str, got))}: expected ben alone.")
    if not isinstance(got, set | frozenset):
        raise NotYet("the subjects are right, but in a list: return a set, in which nobody stands twice.")
    return "an empty set is what you want to see before you believe any test result."


# 01 k-space and undersampling


@exercise
def lines(answer) -> str:
    """01: (n, every, centre) -> (n,) bool, every k-th line and a block of centre lines (odd) around DC."""
    n, every, centre = 30, 4, 5
    got, regular, half = call(answer, n, every, centre), torch.arange(n) % every == 0, centre // 2
    want, middle, first = regular.clone(), regular.clone(), regular.clone()
    want[torch.arange(-half, half + 1)] = True
    middle[n // 2 - half : n // 2 + half + 1] = True
    first[:centre] = True
    got = tensor(got, want)
    if got.dtype != torch.bool:
        raise NotYet(f"the mask holds {got.dtype}: expected torch.bool. Start from torch.zeros(n, dtype=torch.bool).")
    rule_out(got, {
        "the polarity is inverted: True must mark the lines that are measured.": ~want,
        "the block sits in the middle of the array. There are the highest frequencies: DC is at index 0, so the block "
        "goes round the ends, indices -2 to 2 for 5 lines.": middle,
        "it is shifted by half the array. The mask is stored unshifted, DC at index 0; shifting is for display.":
            torch.fft.fftshift(want),
        "the block holds positive frequencies only. Negative ones stand at the end of the array: index -1, -2, ...":
            first,
        "the block round DC is missing: only every k-th line is there.": regular,
    })  # fmt: skip
    equal(got, want, "compare your lines with the sketch in the exercise")
    other = torch.tensor([k % 3 == 0 or k < 4 or k > 17 for k in range(21)])
    got = tensor(call(answer, 21, 3, 7), other)
    equal(got, other, "it holds for 30 lines, but not for 21 with every third and 7 in the middle")
    return "unshifted, True where measured, a full centre: the three conventions of every mask here."


@exercise
def repair(answer) -> str:
    """01: (k, skipped) -> zero-filled image; k unshifted, skipped with DC in the middle and True = left out."""
    x, skipped = _random(15, 21), _random(15, 1).expand(15, 21) > 0.4
    skipped = skipped.clone()
    skipped[6:9] = False
    mask, k = ~torch.fft.ifftshift(skipped), fft2(x)
    want, complex_image = undersample(x, mask)[0], ifft2(k * mask)
    got = call(answer, k, skipped)
    rule_out(got, {
        "the image is complex: the zero-filled image is its magnitude, .abs().": complex_image,
        "the real part is not the magnitude: use .abs().": complex_image.real,
        "the mask still has its DC in the middle while k has it at [0, 0]: move it with torch.fft.ifftshift.":
            ifft2(k * ~skipped).abs(),
        "the polarity is inverted: skipped is True where nothing was measured, so the mask is ~skipped.":
            ifft2(k * ~mask).abs(),
        "centring and polarity are both the wrong way round: first ifftshift, then ~.": ifft2(k * skipped).abs(),
        "it was shifted the wrong way. For an odd size fftshift and ifftshift differ by one line: the way back to "
        "DC at [0, 0] is ifftshift.": ifft2(k * ~torch.fft.fftshift(skipped)).abs(),
        "the scale is off: the transform here is orthonormal, ifft2 of kdrecon or norm=\"ortho\".":
            torch.fft.ifft2(k * mask).abs(),
        "this is the image without undersampling: multiply k by the mask first.": x,
    })  # fmt: skip
    equal(tensor(got, want), want, "ask in turn: polarity, centring, transform, magnitude")
    return "when a reconstruction shows only edges, ask for polarity and centring first."


@exercise
def known_share(answer) -> str:
    """01: lines (n,) bool -> share of the lines that a real image lets one know."""
    measured = published_mask("cardiac", "4x").any(1)
    got = number(call(answer, measured))
    flipped, mirrored = measured.flip(0), measured.flip(0).roll(1)
    rule_out(got, {
        "this is the share that is measured. Each line also tells its opposite: unite the lines with their mirror.":
            measured.float().mean(),
        "it counts every line twice, also those whose opposite is measured anyway: unite (|), do not add.":
            2 * measured.float().mean(),
        "the mirror image is off by one line: -k of index 0 is index 0 itself, so flip(0) needs a roll(1) after it.":
            (measured | flipped).float().mean(),
        "it is a count: divide it by the number of lines.": (measured | mirrored).sum(),
        "it is in per cent: expected a share between 0 and 1.": 100 * (measured | mirrored).float().mean(),
        "these are only the lines whose opposite is measured too: unite (|) instead of intersecting (&).":
            (measured & mirrored).float().mean(),
    })  # fmt: skip
    equal(got, (measured | mirrored).float().mean(), "take a line at index k: its opposite is at index -k modulo n")
    return "24.7 % of the lines are measured, 40.7 % are known: a magnitude image makes 4x undersampling nearly 2.5x."


# 02 DC-CNN


@exercise
def data_fidelity(answer) -> str:
    """02: (x_cnn, y, mask, lam) -> x_rec (B, 1, H, W): noisy data fidelity, real part."""
    x, x_cnn, lam = _random(2, 1, 12, 12), _random(2, 1, 12, 12, seed=1), 3.0
    mask = torch.zeros(12, 12, dtype=torch.bool)
    mask[[0, 1, 3, 8, 11]] = True
    (_, y), X = undersample(x, mask), fft2(x_cnn)
    fused = torch.where(mask, (X + lam * y) / (1 + lam), X)
    got = call(answer, x_cnn, y, mask, lam)
    rule_out(got, {
        "the image is still complex: take the real part at the end.": ifft2(fused),
        "the result is k-space: transform it back with ifft2.": fused,
        "this is the magnitude. Data fidelity takes the real part: a magnitude would hide a wrong sign.":
            ifft2(fused).abs(),
        "lambda sits on the network's proposal. It says how far the measurement is"
        " trusted: (X + lambda y) / (1 + lambda).":
            ifft2(torch.where(mask, (lam * X + y) / (1 + lam), X)).real,
        "lines that were not measured are changed too. Off the mask there is no measurement: keep X there.":
            ifft2((X + lam * y) / (1 + lam)).real,
        "the sum is not divided by 1 + lambda: it is a weighted mean, the weights add up to 1.":
            ifft2(torch.where(mask, X + lam * y, X)).real,
        "this is the noiseless form: lambda does not occur.": ifft2(torch.where(mask, y, X)).real,
        "mask and proposal are swapped: the weighted mean belongs on the measured lines.":
            ifft2(torch.where(mask, X, (X + lam * y) / (1 + lam))).real,
    })  # fmt: skip
    want = DataFidelity("real", lam)(x_cnn, y, mask)
    equal(tensor(got, want), want, "go through it: fft2, a weighted mean on the mask, ifft2, real part")
    return 'the library\'s DataFidelity("real", lam) gives the same numbers.'


@exercise
def receptive_field(answer) -> str:
    """02: d -> side of the square of pixels that a block of d convolutions of 3 x 3 sees."""
    got = number(call(answer, 5))
    rule_out(got, {
        "the views do not add up to 3 d: the first convolution sees 3 pixels, each further one adds one on either side.": 15,
        "the views do not multiply: each convolution after the first adds one pixel on either side.": 3**5,
        "this is the number of pixels: expected the side of the square.": 11**2,
        "each convolution adds one pixel on *either* side, so two a convolution.": 6,
        "this is the reach on one side: the whole field has both sides and the pixel itself.": 5,
    })  # fmt: skip
    for d in (1, 2, 3, 5, 7):
        equal(number(call(answer, d)), 2 * d + 1, f"it does not hold for d = {d}")
    return "a D3 block sees 7 x 7 pixels, a D5 block 11 x 11: aliasing reaches along a whole axis."


@exercise
def cascade(answer) -> str:
    """02: (model, x_u, y, mask) -> list of the images after each cascade."""
    model, (x_u, y, mask) = _network("D2C3"), _measured()
    with torch.no_grad():
        got = call(answer, model, x_u, y, mask)
        want, chain, same, z = [], [], [], x_u
        measurement = model.fidelity.measure(y, mask)
        for k, block in enumerate(model.blocks):
            z, _ = model.cascade(k, z, measurement)
            want.append(z)
            chain.append(block(chain[-1] if chain else x_u)[0])
            same.append(model.fidelity(block(x_u)[0], y, mask))
        at_end = [*chain[:-1], model.fidelity(chain[-1], y, mask)]
    if isinstance(got, Tensor):
        raise NotYet("the function returns one tensor: expected a list with the image after each cascade.")
    if not isinstance(got, list | tuple) or not all(isinstance(image, Tensor) for image in got):
        raise NotYet(f"the function returns {kind(got)}: expected a list of images; a block returns (image, taps).")
    if len(got) != len(want):
        raise NotYet(f"the list has {len(got)} images: expected {len(want)}, one after each block of model.blocks.")
    if any(image.shape != x_u.shape for image in got):
        raise NotYet(f"an image is of {tuple(got[0].shape)}: expected {tuple(x_u.shape)}.")
    rule_out(torch.stack(list(got)), {
        "data fidelity is missing: apply model.fidelity(proposal, y, mask) after every block.": torch.stack(chain),
        "data fidelity comes only at the end: it belongs after every block.": torch.stack(at_end),
        "every block starts from x_u: each must start from the image that the cascade before it returned.":
            torch.stack(same),
    })  # fmt: skip
    equal(torch.stack(list(got)), torch.stack(want), "each turn: block, data fidelity, append")
    return "this loop is the whole network: model(x_u, y, mask) returns the last image of your list."


# 03 Standard distillation


@exercise
def attention_loss(answer) -> str:
    """03: (s, t) of (B, C, H, W) -> L_AT of one cascade, a scalar."""
    s, t = (_random(3, 4, 5, 6, seed=k) * torch.tensor([1.0, 2.0, 4.0])[:, None, None, None] for k in (1, 2))
    s, t = s - 0.3, t - 0.3

    def unit(q, **norm):
        return q / q.norm(keepdim=True, **norm)

    q_s, q_t = (maps.square().sum(1).flatten(1) for maps in (s, t))
    sums_s, sums_t = (maps.sum(1).square().flatten(1) for maps in (s, t))
    difference = unit(q_s, dim=1) - unit(q_t, dim=1)
    want = difference.norm(dim=1).mean()
    got = number(call(answer, s, t))
    rule_out(got, {
        "the maps are not normalised: divide each image's q by its own length.": (q_s - q_t).norm(dim=1).mean(),
        "it is normalised across the batch, pixel by pixel: with one slice every map would be 1. Divide each slice's map "
        "by its own length, dim=1 after flatten(1).": (unit(q_s, dim=0) - unit(q_t, dim=0)).norm(dim=1).mean(),
        "one length serves the whole batch: a bright slice would outshout the others. One length a slice.":
            (unit(q_s) - unit(q_t)).norm(dim=1).mean(),
        "the channels are summed before they are squared, so they can cancel: first square, then sum.":
            (unit(sums_s, dim=1) - unit(sums_t, dim=1)).norm(dim=1).mean(),
        "this is the squared distance: the loss is the distance, with its square root.": difference.square().sum(1).mean(),
        "this is a mean over pixels: the loss is the length of the difference, .norm(dim=1).": difference.square().mean(),
        "the distances of the slices are summed: take their mean.": difference.norm(dim=1).sum(),
        "there is one length for the whole batch in the end: take the length a slice, then the mean.": difference.norm(),
    })  # fmt: skip
    equal(got, want, "square, sum over channels (dim=1), flatten, normalise each slice, distance, mean over slices")
    return "METHODS['at'] averages this number over the cascades."


@exercise
def freeze(answer) -> str:
    """03: model -> the same model, with weights that take no part in training."""
    model = _network("D2C2").train()
    before = [p.detach().clone() for p in model.parameters()]
    got = call(answer, model)
    if not isinstance(got, torch.nn.Module):
        raise NotYet(f"the function returns {kind(got)}: return the model.")
    trainable = [p.requires_grad for p in got.parameters()]
    if len(trainable) != len(before) or any(not torch.equal(p, q) for p, q in zip(got.parameters(), before)):
        raise NotYet("the weights are other ones now: freezing keeps their values.")
    if all(trainable) and not got.training:
        raise NotYet(
            "eval() only switches layers such as dropout and batch norm. The weights still get gradients: "
            "set requires_grad to False, for instance with model.requires_grad_(False)."
        )
    if any(trainable):
        raise NotYet(f"{sum(trainable)} of {len(trainable)} tensors still ask for a gradient: requires_grad_(False).")
    return "no weight asks for a gradient, so no optimiser can move it."


@exercise
def distillation_loss(answer) -> str:
    """03: (x, x_student, students, teachers, compare, w) -> scalar; gradients reach the student alone."""
    x, x_student = _random(2, 1, 6, 6), _random(2, 1, 6, 6, seed=1).requires_grad_()
    s, t = ([_random(2, 3, 6, 6, seed=k).requires_grad_()] for k in (2, 3))
    w = 0.25

    def compare(students, teachers):
        return (students[0] - teachers[0]).square().mean()

    got, l1, kd = call(answer, x, x_student, s, t, compare, w), (x - x_student).abs().mean(), compare(s, t)
    value = number(got)
    rule_out(value, {
        "w is missing: the distillation term has its own weight.": l1 + kd,
        "w sits on the reconstruction: it belongs to the distillation term.": w * l1 + kd,
        "w weighs both terms: the reconstruction has weight 1.": w * (l1 + kd),
        "the reconstruction is squared: this course uses the mean absolute difference.":
            (x - x_student).square().mean() + w * kd,
        "the reconstruction is missing: the student must also match the image.": w * kd,
        "the distillation term is missing.": l1,
        "the absolute differences are summed: take their mean.": (x - x_student).abs().sum() + w * kd,
    })  # fmt: skip
    equal(value, l1 + w * kd, "L = mean |x - x_student| + w compare(students, teachers)")
    if not (isinstance(got, Tensor) and got.requires_grad):
        raise NotYet(
            "the value is right, but no gradient can flow through it: do not detach the student, nor use float()."
        )
    got.backward()
    if x_student.grad is None or s[0].grad is None:
        raise NotYet("the student's side is cut off: gradients must reach x_student and the student's maps.")
    if t[0].grad is not None:
        raise NotYet(
            "the teacher gets a gradient: it is the one who knows. Detach its maps, [t.detach() for t in teachers]."
        )
    return "reconstruction plus w times distillation, and the teacher stays where it is."


# 04 Student-friendly joint training


@exercise
def branch(answer) -> str:
    """04: (sft, i, x_u, y, mask) -> x_{S,i}: the branch that leaves the teacher after T_i."""
    sft, (x_u, y, mask) = SFT(_network("D3C4"), _network("D2C4", seed=1)), _measured()
    measurement, i = sft.teacher.fidelity.measure(y, mask), 2

    def path(letters):
        x = x_u
        for letter, k in letters:
            x, _ = (sft.teacher if letter == "T" else sft.student).cascade(k, x, measurement)
        return x

    with torch.no_grad():
        x_teacher, x_branches = sft(x_u, y, mask)
        got = call(answer, sft, i, x_u, y, mask)
        rule_out(got, {
            "the student starts one block too early, with S_i: T_i has done that stage already. Start with S_{i+1}.":
                path([("T", 0), ("T", 1), ("S", 1), ("S", 2), ("S", 3)]),
            "the branch leaves one block too late: count T_1 to T_i, which are the indices 0 to i - 1.":
                path([("T", 0), ("T", 1), ("T", 2), ("S", 3)]),
            "the branch leaves one block too early: count T_1 to T_i, which are the indices 0 to i - 1.":
                path([("T", 0), ("S", 1), ("S", 2), ("S", 3)]),
            "this is the teacher's own output: after T_i the student's blocks go on.": x_teacher,
            "this is the plain student: the first i stages belong to the teacher.": path([("S", k) for k in range(4)]),
            "a stage is missing between teacher and student: after index i - 1 of the teacher comes index i of the student.":
                path([("T", 0), ("T", 1), ("S", 3)]),
            "the student starts again from x_u: hand it the teacher's image.": path([("S", 2), ("S", 3)]),
        })  # fmt: skip
        equal(tensor(got, x_u), x_branches[1], "T_1 to T_i, then S_{i+1} to S_N")
        for i in (1, 3):
            other = tensor(call(answer, sft, i, x_u, y, mask), x_u)
            equal(other, x_branches[i - 1], f"it holds for branch 2, but not for {i}")
    return "sft(x_u, y, mask) returns the same images for all branches at once."


@exercise
def sft_loss(answer) -> str:
    """04: (x, x_teacher, x_branches) -> (L_T, L_S, L_imit), scalars; nothing detached."""
    x, x_teacher = _random(2, 1, 6, 6), _random(2, 1, 6, 6, seed=1).requires_grad_()
    x_branches = _random(3, 2, 1, 6, 6, seed=2).requires_grad_()
    got = call(answer, x, x_teacher, x_branches)
    l_t, l_s, l_i = (x - x_teacher).abs().mean(), (x - x_branches).abs().mean(), (x_teacher - x_branches).abs().mean()
    if isinstance(got, Tensor) and got.ndim == 0:
        raise NotYet(
            "the function returns one number: expected the three terms, return l_teacher, l_student, l_imitation."
        )
    if not isinstance(got, list | tuple) or len(got) != 3:
        raise NotYet(f"the function returns {kind(got)}: expected three terms, L_T, L_S and L_imit.")
    values = torch.stack([number(term) for term in got])
    squares = [(a - b).square().mean() for a, b in ((x, x_teacher), (x, x_branches), (x_teacher, x_branches))]
    rule_out(values, {
        "the branches are summed: L_S and L_imit are means over the N - 1 branches.": torch.stack([l_t, 3 * l_s, 3 * l_i]),
        "L_imit compares with x. That is L_S again: imitation is between x_teacher and the branches.":
            torch.stack([l_t, l_s, l_s]),
        "the differences are squared: all three terms are mean absolute differences.": torch.stack(squares),
        "L_imit is divided once more by the number of elements, as in the released code, and so vanishes.":
            torch.stack([l_t, l_s, l_i / x.numel()]),
        "the terms stand in another order: L_T, L_S, L_imit.": torch.stack([l_t, l_i, l_s]),
    })  # fmt: skip
    equal(
        values, torch.stack([l_t, l_s, l_i]), "each term is a mean of |a - b|: (x, x_T), (x, branches), (x_T, branches)"
    )
    if not (isinstance(got[2], Tensor) and got[2].requires_grad):
        raise NotYet("no gradient can flow through L_imit: return tensors and detach nothing.")
    grads = torch.autograd.grad(got[2], (x_teacher, x_branches), allow_unused=True)
    if grads[0] is None:
        raise NotYet("x_teacher is detached in L_imit. Then the teacher does not come to meet the branches.")
    if grads[1] is None:
        raise NotYet("the branches are detached in L_imit: they have to move towards the teacher as well.")
    return "three means, unit weights, nothing detached."


@exercise
def block_calls(answer) -> str:
    """04: n cascades -> (student block calls one by one, batched)."""
    got = call(answer, 5)
    if not isinstance(got, list | tuple) or len(got) != 2:
        raise NotYet(f"the function returns {kind(got)}: expected two numbers, one by one and batched.")
    got = torch.stack([number(value) for value in got])
    rule_out(got[:1], {
        "S_1 is counted, but no branch passes it: the longest branch has n - 1 blocks.": torch.tensor([15.0]),
        "there are n - 1 branches, but they are not equally long: branch i passes n - i blocks.": torch.tensor([20.0]),
        "that many blocks would all branches pass if each were as long as the first.": torch.tensor([16.0]),
    })  # fmt: skip
    rule_out(got, {
        "the batched way calls S_2 to S_N once each, which is n - 1, not n.": torch.tensor([10.0, 5.0]),
        "the two numbers are swapped.": torch.tensor([4.0, 10.0]),
    })  # fmt: skip
    for n in (2, 5, 6):
        values = torch.stack([number(value) for value in call(answer, n)])
        equal(values, torch.tensor([n * (n - 1) / 2, n - 1.0]), f"it does not hold for n = {n}: count in the figure")
    return "the work grows with n squared one by one, with n batched; the sums inside are the same."


# 05 SFT-KD


@exercise
def start(answer) -> str:
    """05: (student, branches) -> student with blocks S2 to SN copied, S1 fresh."""
    student, branches = _network("D2C3"), _network("D2C3", seed=1)
    fresh = {name: value.clone() for name, value in student.state_dict().items()}
    source = {name: value.clone() for name, value in branches.state_dict().items()}
    got = call(answer, student, branches)
    if not isinstance(got, torch.nn.Module):
        raise NotYet(f"the function returns {kind(got)}: return the student.")
    if got is branches:
        raise NotYet(
            "the function returns the network of the joint training itself: return the student with copied weights."
        )
    state = got.state_dict()
    if state.keys() != fresh.keys():
        raise NotYet("the student has other tensors now: copy values, change nothing else.")
    copied = {name: torch.equal(state[name], source[name]) for name in fresh}
    if not any(copied.values()):
        raise NotYet("nothing was copied: the student is as random as before. Silent, and training would still run.")
    if all(copied.values()):
        raise NotYet("S_1 was copied too. No branch passes it, so it was never trained: leave the fresh one.")
    first = {name for name in fresh if name.startswith("blocks.0.")}
    if any(not torch.equal(state[name], fresh[name]) for name in first):
        raise NotYet("S_1 has changed: it stays as it was.")
    missing = sorted(name for name in fresh if name not in first and not copied[name])
    if missing:
        expected = len(fresh) - len(first)
        raise NotYet(f"{len(missing)} of {expected} tensors of S_2 to S_N were not copied, {missing[0]} among them.")
    storages = {p.data_ptr() for p in branches.parameters()}
    if any(p.data_ptr() in storages for p in got.parameters()):
        raise NotYet(
            "both networks now share the same tensors: training the student would change the SFT network as well. "
            "Copy values, with load_state_dict or copy_."
        )
    return "S_2 to S_N copied, S_1 fresh, nothing shared."


@exercise
def effects(answer) -> str:
    """05: psnr[teacher, start] -> (effect of the teacher, effect of the start), means over the other factor."""
    psnr = {("standard", "random"): 30.0, ("standard", "sft"): 30.1, ("sft", "random"): 30.4, ("sft", "sft"): 30.9}
    got = call(answer, dict(psnr))
    if not isinstance(got, list | tuple) or len(got) != 2:
        raise NotYet(f"the function returns {kind(got)}: expected two numbers, of the teacher and of the start.")
    got = torch.stack([number(value) for value in got])
    rule_out(got, {
        "this is SFT-KD minus Std-KD, twice: teacher and start differ there. Change one at a time.":
            torch.tensor([0.9, 0.9]),
        "each effect is taken in one row only, beside the standard case. Take the mean of both rows.":
            torch.tensor([0.4, 0.1]),
        "each effect is taken beside the SFT case only. Take the mean of both rows.": torch.tensor([0.8, 0.5]),
        "the two numbers are swapped: first the teacher, then the start.": torch.tensor([0.3, 0.6]),
        "the signs are turned round: SFT minus standard, SFT start minus random start.": torch.tensor([-0.6, -0.3]),
        "the two rows are summed: take their mean.": torch.tensor([1.2, 0.6]),
    }, tolerance=1e-3)  # fmt: skip
    hint = "effect of the teacher: sft minus standard for each start, then the mean"
    equal(got, torch.tensor([0.6, 0.3]), hint, tolerance=1e-3)
    return "two effects, each with the other factor held fixed. In one run they are as uncertain as their four cells."


# 06 Evaluation


@exercise
def volume_psnr(answer) -> str:
    """06: (target, prediction) of (S, H, W) -> mean over slices of the PSNR with each slice's maximum as range."""
    target = _random(3, 12, 12).numpy() * np.array([1.0, 0.6, 0.3])[:, None, None]
    prediction = target + np.array([0.1, 0.05, 0.2])[:, None, None] * (_random(3, 12, 12, seed=1).numpy() - 0.5)
    mse, top = ((target - prediction) ** 2).mean((1, 2)), target.max((1, 2))
    got = call(answer, target, prediction)
    if np.shape(got) == (3,):
        raise NotYet("there is one value a slice: take their mean.")
    got = number(got)
    rule_out(got, {
        "the range is the maximum of the volume: take each slice's own.": np.mean(10 * np.log10(top.max() ** 2 / mse)),
        "there is one error for the whole volume: compute each slice's PSNR, then the mean.":
            10 * np.log10(top.max() ** 2 / mse.mean()),
        "the slices' errors are averaged before the logarithm: first the PSNR of each slice, then the mean.":
            10 * np.log10((top**2).mean() / mse.mean()),
        "the range is 255: these images lie between 0 and 1.": np.mean(10 * np.log10(255**2 / mse)),
        "the range is 1: take each slice's maximum.": np.mean(10 * np.log10(1 / mse)),
        "the range is not squared: R^2 over the mean squared error.": np.mean(10 * np.log10(top / mse)),
        "20 log10 goes with the root of the error, 10 log10 with the mean squared error.":
            np.mean(20 * np.log10(top**2 / mse)),
        "this is the natural logarithm: np.log10.": np.mean(10 * np.log(top**2 / mse)),
        "the sign is turned round: R^2 over the error, not the error over R^2.": -np.mean(10 * np.log10(top**2 / mse)),
    })  # fmt: skip
    equal(got, np.mean(10 * np.log10(top**2 / mse)), "for each slice 10 log10(max^2 / mse), then the mean")
    return "slice by slice, each slice's maximum: metrics.psnr(target, prediction).mean() is the same."


@exercise
def subject_gain(answer) -> str:
    """06: (a, b, subjects), a value a slice -> mean over subjects of each one's mean of a - b."""
    a, b = np.array([31.0, 32.0, 33.0, 30.0]), np.array([30.0, 31.0, 32.0, 30.2])
    got = number(call(answer, a, b, ["anna", "anna", "anna", "ben"]))
    rule_out(got, {
        "every slice counts the same, so whoever has many slices outvotes the others: take each subject's mean first.": 0.7,
        "the sign is turned round: a minus b.": -0.4,
        "the subjects are summed: take their mean.": 0.8,
        "this is the mean of a alone: subtract b.": 31.5,
    })  # fmt: skip
    equal(got, 0.4, "anna's slices differ by +1, ben's by -0.2, and each subject has one vote")
    return "one vote a subject: slices of one person are not independent."


def _random(*shape: int, seed: int = 0) -> Tensor:
    """Numbers between 0 and 1, float32, without touching the student's random state."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def _network(name: str, seed: int = 0) -> DCCNN:
    """A DC-CNN with random weights, twice PyTorch's, so that no block is without effect."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model = dc_cnn(name)
        for p in model.parameters():
            p.mul_(2)
        return model


def _measured() -> tuple[Tensor, Tensor, Tensor]:
    """x_u, y and mask of a batch of two small images."""
    mask = line_mask((16, 16), 2)
    return *undersample(_random(2, 1, 16, 16), mask), mask
