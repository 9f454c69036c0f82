"""Methods that compare how the samples of a batch relate to each other.

>>> import torch
>>> from kdrecon.distillation.relational import products, similarity_matrix
>>> similarity_matrix(products(torch.rand(3, 32, 8, 8))).shape
torch.Size([3, 3])
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from kdrecon.distillation.base import Method


class Relational(Method):
    """Base of the methods here: of the teacher they need the inner products between the samples of a batch alone, (B, B)."""

    between = True

    def target(self, t: Tensor, cascade: int) -> Tensor:
        return products(t)


class SimilarityPreserving(Relational):
    """SP: samples that are alike for the teacher should be alike for the student.

    L = |G_t - G_s|_F^2 / B^2, G the row-normalised Q Q^T (B, B), Q the maps flattened to (B, C N).

    Source: Tung & Mori 2019, section 2; there the layer pairs are summed, not averaged.
    """

    min_batch = 2
    weight = 4.0

    def loss(self, s: Tensor, target: Tensor, cascade: int) -> Tensor:
        return (similarity_matrix(target) - similarity_matrix(products(s))).square().mean()


class CorrelationCongruence(Relational):
    """CC: as SP, with a correlation that a Gaussian kernel measures.

    L = |K_t - K_s|_F^2 / B^2, K_ij = exp(-2 g) sum_{p=0..2} (2 g)^p / p! (f_i . f_j)^p, g = 0.4: the second-order Taylor
    expansion of exp(-g |f_i - f_j|^2) for f of unit norm, flattened to (B, C N).

    Source: Peng et al. 2019, section 3. There f are the embeddings before the classifier and the logits are distilled
    as well; here f are whole feature maps.
    """

    min_batch = 2
    weight = 2.0

    def loss(self, s: Tensor, target: Tensor, cascade: int) -> Tensor:
        return (correlation_matrix(target) - correlation_matrix(products(s))).square().mean()


class ProbabilisticTransfer(Relational):
    """PKT: each sample sees the others as a probability distribution of likeness; the student should see the same.

    L = mean_i sum_j p_t log((p_t + e) / (p_s + e)), p = row-normalised (1 + f_i . f_j) / 2 (B, B), f the maps flattened to
    (B, C N) and of unit norm, e = 1e-7.

    Source: Passalis & Tefas 2018, with the cosine kernel. The paper leaves out j = i; its authors' code keeps it, and so
    does this, because with a batch of two nothing else could differ.
    """

    min_batch = 2
    weight = 15.0

    def loss(self, s: Tensor, target: Tensor, cascade: int) -> Tensor:
        p_s, p_t = (F.normalize((1 + cosines(product)) / 2, p=1, dim=1) for product in (products(s), target))
        return (p_t * ((p_t + 1e-7) / (p_s + 1e-7)).log()).sum(1).mean()


class RelationalDistillation(Relational):
    """RKD: distances and angles between samples should be the same up to scale.

    L = mean over B^2 of h(d_t / mean d_t - d_s / mean d_s) + 2 mean over B^3 of h(a_t - a_s), where d_ij = |q_i - q_j|,
    a_ijk is the cosine of the angle at q_j between q_i and q_k (0 where it has no meaning), q are the maps flattened to
    (B, C N), mean d runs over pairs of different samples, and h is the Huber loss with threshold 1.

    Source: Park et al. 2019, distance-wise and angle-wise loss in the authors' ratio of 1 to 2. There q are the embeddings
    of an image, and the losses are sums. Under the roots stands 1e-12, which keeps the gradient finite.
    """

    min_batch = 3
    weight = 0.3

    def target(self, t: Tensor, cascade: int) -> Tensor:
        return products(t - t.mean(0))  # the mean cancels in distances and angles; without it less is lost to rounding

    def loss(self, s: Tensor, target: Tensor, cascade: int) -> Tensor:
        (d_s, angles_s), (d_t, angles_t) = (distances_and_angles(p) for p in (self.target(s, cascade), target))
        return F.smooth_l1_loss(d_s, d_t) + 2 * F.smooth_l1_loss(angles_s, angles_t)


def similarity_matrix(product: Tensor) -> Tensor:
    """Inner products (B, B) with rows of unit norm."""
    return F.normalize(product, dim=1)


def correlation_matrix(product: Tensor, gamma: float = 0.4) -> Tensor:
    """Gaussian-kernel correlation of samples with the inner products (B, B), Taylor-expanded to second order: (B, B)."""
    cosine = cosines(product)
    return math.exp(-2 * gamma) * (1 + 2 * gamma * cosine + (2 * gamma) ** 2 / 2 * cosine**2)


def distances_and_angles(product: Tensor) -> tuple[Tensor, Tensor]:
    """Distances between samples over their mean (B, B), and cosines of the angles at j between i and k (B, B, B), [j, i, k].

    All follow from the inner products (B, B) between samples.
    """
    squared = product.diagonal() + product.diagonal()[:, None] - 2 * product
    different = 1 - torch.eye(len(product), dtype=product.dtype, device=product.device)
    d = (squared.clamp(min=0) + 1e-12).sqrt() * different
    angles = product + product.diagonal()[:, None, None] - product[:, :, None] - product[:, None, :]
    inverse = different / (d + 1 - different)  # of the distance, 0 on the diagonal
    angles = angles * inverse[:, :, None] * inverse[:, None, :]
    return d / (d.sum() / different.sum()), angles


def cosines(product: Tensor) -> Tensor:
    """Cosine of the angle between samples with the inner products (B, B): (B, B)."""
    norm = product.diagonal().clamp(min=1e-24).sqrt()
    return product / (norm[:, None] * norm)


def products(maps: Tensor, others: Tensor | None = None) -> Tensor:
    """Q R^T: the inner products of samples (A, C, H, W), the rows of Q, with others (B, C, H, W) or themselves, (A, B)."""
    others = maps if others is None else others
    if maps.is_contiguous():
        return maps.flatten(1) @ others.flatten(1).T
    q, r = (
        m.movedim(1, -1).flatten(1) for m in (maps, others)
    )  # in the order in which channels-last maps lie in memory
    return q @ r.T
