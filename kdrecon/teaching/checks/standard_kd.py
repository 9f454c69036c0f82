"""Hinton's loss and attention transfer: the checks of notebook 03.

>>> from kdrecon.teaching.checks.standard_kd import hinton_loss
>>> hinton_loss(None).right
False
"""

import torch
from torch import Tensor

from kdrecon.teaching.checks.inputs import random
from kdrecon.teaching.checks.verdict import call, equal, exercise, number, rule_out


@exercise
def hinton_loss(answer: object) -> str:
    """(z_s, z_t, T) of (B, C) -> T^2 KL(teacher's shares | student's shares), a mean over images, a scalar."""
    z_s, z_t = (9 * random(3, 4, seed=k) - 3 for k in (1, 2))
    for T in (4.0, 0.5):

        def divergence(own: Tensor, shown: Tensor, dim: int = 1) -> Tensor:
            p, q = (z.log_softmax(dim) for z in (shown, own))
            return (p.exp() * (p - q)).sum(dim)

        soft_s, soft_t = z_s / T, z_t / T
        want = T**2 * divergence(soft_s, soft_t).mean()
        got = number(call(answer, z_s.clone(), z_t.clone(), T))
        rule_out(got, {
            "student and teacher are swapped: the shares before the logarithm are the teacher's.":
                T**2 * divergence(soft_t, soft_s).mean(),
            "the factor of T squared is missing.": divergence(soft_s, soft_t).mean(),
            "the temperature has no effect on the shares: divide both z by T.": T**2 * divergence(z_s, z_t).mean(),
            "z is multiplied by T, which hardens the answers: divide.": T**2 * divergence(z_s * T, z_t * T).mean(),
            "the images are summed: take their mean.": T**2 * divergence(soft_s, soft_t).sum(),
            "it is a mean over classes, too: sum over the classes of an image, then take the mean over images.":
                T**2 * divergence(soft_s, soft_t).mean() / 4,
            "the shares run over the images of the batch: over the classes of one image, dim=1.":
                T**2 * divergence(soft_s, soft_t, 0).sum() / 3,
            "this is the cross-entropy: the teacher's own logarithm is missing, so it is not 0 where both say the same.":
                -(T**2) * (soft_t.softmax(1) * soft_s.log_softmax(1)).sum(1).mean(),
            "the fraction is turned round: the teacher's share stands above.": -T**2 * divergence(soft_s, soft_t).mean(),
        })  # fmt: skip
        equal(got, want, "T squared times the mean over images of the sum over classes")
    return "torch.nn.functional.kl_div(log p_S, p_T, reduction='batchmean') is this without T squared."


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
        "one length serves the whole batch: a bright slice would outshout the others. One length per slice.":
            (unit(q_s) - unit(q_t)).norm(dim=1).mean(),
        "the channels are summed before they are squared, so they can cancel: first square, then sum.":
            (unit(sums_s, dim=1) - unit(sums_t, dim=1)).norm(dim=1).mean(),
        "this is the squared distance: the loss is the distance, with its square root.": difference.square().sum(1).mean(),
        "this is a mean over pixels: the loss is the length of the difference, .norm(dim=1).": difference.square().mean(),
        "the distances of the slices are summed: take their mean.": difference.norm(dim=1).sum(),
        "there is one length for the whole batch in the end: take the length per slice, then the mean.": difference.norm(),
    })  # fmt: skip
    equal(got, want, "square, sum over channels (dim=1), flatten, normalise each slice, distance, mean over slices")
    return "the library's AT averages this number over the cascades."
