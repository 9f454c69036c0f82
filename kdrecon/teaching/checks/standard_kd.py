"""Soft answers and attention transfer: the checks of notebook 03.

>>> from kdrecon.teaching.checks.standard_kd import soft_answers
>>> soft_answers(lambda z, T: (z / T).softmax(dim=1)).right
True
"""

import torch
from torch import Tensor

from kdrecon.teaching.checks.inputs import random
from kdrecon.teaching.checks.verdict import call, equal, exercise, number, rule_out, tensor


@exercise
def soft_answers(answer: object) -> str:
    """(z, T) -> shares (B, C) at temperature T."""
    z = 9 * random(3, 4) - 3
    for T in (4.0, 0.5):
        want = (z / T).softmax(1)
        got = tensor(call(answer, z.clone(), T), like=want)
        rule_out(got, {
            "the temperature has no effect: divide z by T.": z.softmax(1),
            "z is multiplied by T, which hardens the answers: divide.": (z * T).softmax(1),
            "the shares are divided by T and not z: then a row no longer has the sum 1.": z.softmax(1) / T,
            "the sum runs over the images of the batch: over the classes of one image, dim=1.": (z / T).softmax(0),
            "one sum serves the whole batch: each row has a sum of its own.": (z / T).flatten().softmax(0).reshape(z.shape),
            "the sum is missing: divide by it.": (z / T).exp(),
            "these are logarithms of the shares.": (z / T).log_softmax(1),
        })  # fmt: skip
        equal(got, want, "exp(z / T), divided by its sum over each row")
    return "KL divergence between such shares of teacher and student is Hinton's distillation."


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
