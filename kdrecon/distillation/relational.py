"""Methods that compare how the samples of a batch relate to each other."""

import math

from torch import Tensor
from torch.nn import functional as F

from kdrecon.distillation.base import Method


class SimilarityPreserving(Method):
    """SP: samples that are alike for the teacher should be alike for the student.

    L = |G_t - G_s|_F^2 / B^2, G the row-normalised Q Q^T (B, B), Q the maps flattened to (B, C N).

    Source: Tung & Mori 2019, section 2; there the layer pairs are summed, not averaged.
    """

    min_batch = 2
    weight = 4.0

    def loss(self, s: Tensor, t: Tensor, cascade: int) -> Tensor:
        return (similarity_matrix(t) - similarity_matrix(s)).square().mean()


class CorrelationCongruence(Method):
    """CC: as SP, with a correlation that a Gaussian kernel measures.

    L = |K_t - K_s|_F^2 / B^2, K_ij = exp(-2 g) sum_{p=0..2} (2 g)^p / p! (f_i . f_j)^p, g = 0.4: the second-order Taylor
    expansion of exp(-g |f_i - f_j|^2) for f of unit norm, flattened to (B, C N).

    Source: Peng et al. 2019, section 3. There f are the embeddings before the classifier and the logits are distilled
    as well; here f are whole feature maps.
    """

    min_batch = 2
    weight = 2.0

    def loss(self, s: Tensor, t: Tensor, cascade: int) -> Tensor:
        return (correlation_matrix(t) - correlation_matrix(s)).square().mean()


def similarity_matrix(maps: Tensor) -> Tensor:
    """Row-normalised Q Q^T of maps (B, C, H, W): (B, B)."""
    return F.normalize(products(maps), dim=1)


def correlation_matrix(maps: Tensor, gamma: float = 0.4) -> Tensor:
    """Gaussian-kernel correlation of maps (B, C, H, W), Taylor-expanded to second order: (B, B)."""
    product = products(maps)
    norm = product.diagonal().clamp(min=1e-24).sqrt()
    cosine = product / (norm[:, None] * norm)
    return math.exp(-2 * gamma) * sum((2 * gamma) ** p / math.factorial(p) * cosine**p for p in range(3))


def products(maps: Tensor) -> Tensor:
    """Q Q^T, the inner products between samples, of maps (B, C, H, W) flattened to rows of Q: (B, B)."""
    q = maps.movedim(1, -1).flatten(1)  # in the order in which channels-last maps lie in memory
    return q @ q.T
