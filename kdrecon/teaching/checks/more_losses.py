"""Relations between slices and between layers: the checks of notebook 11.

>>> from kdrecon.teaching.checks.more_losses import flow
>>> flow(lambda a, b: a.flatten(2) @ b.flatten(2).mT / a[0, 0].numel()).right
True
"""

import torch
from torch import Tensor

from kdrecon.teaching.checks.inputs import random
from kdrecon.teaching.checks.verdict import call, equal, exercise, number, rule_out, tensor


@exercise
def similarity_loss(answer: object) -> str:
    """(s, t) of (B, C, H, W) -> L_SP of one cascade, a scalar."""
    s, t = (random(3, 4, 5, 6, seed=k) * torch.tensor([1.0, 2.0, 4.0])[:, None, None, None] - 0.3 for k in (1, 2))

    def products(maps: Tensor, keep: int = 1) -> Tensor:
        q = maps.flatten(keep) if keep == 1 else maps.movedim(1, 0).flatten(1)
        return q @ q.T

    def rows(matrix: Tensor) -> Tensor:
        return matrix / matrix.norm(dim=1, keepdim=True)

    def cosines(maps: Tensor) -> Tensor:
        f = maps.flatten(1) / maps.flatten(1).norm(dim=1, keepdim=True)
        return f @ f.T

    p_s, p_t = products(s), products(t)
    difference = rows(p_t) - rows(p_s)
    got = number(call(answer, s.clone(), t.clone()))
    rule_out(got, {
        "the rows are not divided by their length.": (p_t - p_s).square().mean(),
        "one length serves the whole matrix: one per row.": (p_t / p_t.norm() - p_s / p_s.norm()).square().mean(),
        "these are cosines: the rows of Q are divided, and should be those of the product.":
            (cosines(t) - cosines(s)).square().mean(),
        "the rows are divided by their sum: by their length, the root of the sum of squares.":
            (p_t / p_t.sum(1, keepdim=True) - p_s / p_s.sum(1, keepdim=True)).square().mean(),
        "channels are related and not slices: a row of Q holds all features of a slice.":
            (rows(products(t, 2)) - rows(products(s, 2))).square().mean(),
        "the sum of squares is not divided by B squared.": difference.square().sum(),
        "it is divided by B and not by B squared.": difference.square().sum() / 3,
        "the root of the sum is taken: the loss has the squared norm.": difference.norm() / 9,
    })  # fmt: skip
    equal(got, difference.square().mean(), "flatten(1), q @ q.T, each row divided by its length, mean square")
    return "METHODS['sp'] averages this number over the cascades."


@exercise
def flow(answer: object) -> str:
    """(early, late) of (B, C, H, W) -> G (B, C, C)."""
    for shape in ((2, 3, 4, 5), (3, 2, 6, 4)):
        early, late = (random(*shape, seed=k) for k in (1, 2))
        a, b = early.flatten(2), late.flatten(2)
        want, pixels = torch.einsum("bin,bjn->bij", a, b) / a.shape[2], a.shape[2]
        got = tensor(call(answer, early.clone(), late.clone()), like=want)
        rule_out(got, {
            "early and late are swapped: a row belongs to an early channel.": want.mT,
            "the sum over the pixels is not divided by their number N.": want * pixels,
            "it is divided by the number of channels: by that of the pixels.": want * pixels / a.shape[1],
            "the early layer is related to itself.": a @ a.mT / pixels,
            "the late layer is related to itself.": b @ b.mT / pixels,
            "the slices are averaged: each has a matrix of its own.": want.mean(0).expand_as(want),
        })  # fmt: skip
        equal(got, want, "for each slice, the mean over pixels of early channel i times late channel j")
    return "FSP compares these matrices of teacher and student, entry by entry."
