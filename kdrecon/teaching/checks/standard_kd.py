"""Attention transfer, freezing and the loss of a distillation: the checks of notebook 03.

>>> from kdrecon.teaching.checks.standard_kd import freeze
>>> freeze(lambda network: network.requires_grad_(False)).right
True
"""

import torch
from torch import Tensor

from kdrecon.teaching.checks.inputs import network, random
from kdrecon.teaching.checks.verdict import NotYet, call, equal, exercise, kind, number, rule_out


@exercise
def attention_loss(answer: object) -> str:
    """(s, t) of (B, C, H, W) -> L_AT of one cascade, a scalar."""
    s, t = (random(3, 4, 5, 6, seed=k) * torch.tensor([1.0, 2.0, 4.0])[:, None, None, None] for k in (1, 2))
    s, t = s - 0.3, t - 0.3

    def unit(q: Tensor, dim: int | None = None) -> Tensor:
        return q / q.norm(dim=dim, keepdim=True)

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
def freeze(answer: object) -> str:
    """(model) -> the same model, with weights that take no part in training."""
    model = network("D2C2").train()
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
def distillation_loss(answer: object) -> str:
    """(x, x_student, students, teachers, compare, w) -> scalar; gradients reach the student alone."""
    x, x_student = random(2, 1, 6, 6), random(2, 1, 6, 6, seed=1).requires_grad_()
    s, t = ([random(2, 3, 6, 6, seed=k).requires_grad_()] for k in (2, 3))
    w = 0.25

    def compare(students: list[Tensor], teachers: list[Tensor]) -> Tensor:
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
