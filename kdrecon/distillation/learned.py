"""Methods with parts of their own that learn how to compare.

>>> import torch
>>> from kdrecon.distillation.learned import VariationalInformation
>>> method = VariationalInformation(channels=4, cascades=2)
>>> maps = [torch.rand(1, 4, 8, 8) for _ in range(2)]
>>> method(maps, maps).requires_grad
True
"""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdrecon.distillation.base import Method


class FactorTransfer(Method):
    """FT: the teacher's maps are paraphrased into half as many, and the student translates its own into the same.

    L = mean_B |P(t) / |P(t)|_2 - R(s) / |R(s)|_2|_1 / sqrt(n), factors flattened to n = C / 2 x N. The paraphraser P, one a
    cascade, is the encoder of an autoencoder that learns to reconstruct the teacher's maps (mean squared error, Adam at
    3e-3, one epoch) and is then frozen. The translator R has the same shape and learns with the student.

    Source: Kim et al. 2018, with paraphrase rate 0.5 and p = 1. Shortened here: two 3x3 convolutions a part, no batch
    normalisation, one epoch for the paraphraser; and 1 / sqrt(n), so that the loss does not grow with the image.
    """

    weight = 6e-3

    def __init__(self, channels: int = 32, cascades: int = 5):
        super().__init__(channels, cascades)
        wide, narrow = channels, max(channels // 2, 1)
        self.paraphrasers, self.translators = (
            nn.ModuleList(two_convolutions(wide, narrow, narrow) for _ in range(cascades)) for _ in range(2)
        )
        self.decoders = nn.ModuleList(two_convolutions(narrow, narrow, wide) for _ in range(cascades))
        self.paraphrasers.requires_grad_(False)
        self.decoders.requires_grad_(False)

    def prepare(self, teachers: Iterable[Sequence]) -> None:
        parts = nn.ModuleList([self.paraphrasers, self.decoders]).requires_grad_(True)
        optimiser = torch.optim.Adam(parts.parameters(), lr=3e-3)
        for maps in teachers:
            errors = [
                F.mse_loss(decoder(paraphraser(t)), t)
                for paraphraser, decoder, t in zip(self.paraphrasers, self.decoders, maps, strict=True)
            ]
            optimiser.zero_grad(set_to_none=True)
            torch.stack(errors).sum().backward()
            optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        parts.requires_grad_(False)

    def target(self, t: Tensor, cascade: int) -> Tensor:
        return F.normalize(self.paraphrasers[cascade](t).flatten(1), dim=1)

    def loss(self, s: Tensor, target: Tensor, cascade: int) -> Tensor:
        factor = F.normalize(self.translators[cascade](s).flatten(1), dim=1)
        return (factor - target).abs().sum(1).mean() / math.sqrt(target.shape[1])


class VariationalInformation(Method):
    """VID: a Gaussian whose mean is read off the student should make the teacher's maps likely.

    L = mean over B, C, N of 1/2 [(t - mu(s))^2 / v_c + log v_c], v_c = softplus(a_c) + 1e-5, one variance a channel and
    cascade, 1 at the start. It is the negative log-likelihood without its constant and may be negative. mu are three 1x1
    convolutions with ReLU between them; mu and a, one set a cascade, learn with the student.

    Source: Ahn et al. 2019, the Gaussian with one variance a channel. There it is a sum over pixels and channels; the
    authors' code starts at a variance of 5.
    """

    weight = 0.1

    def __init__(self, channels: int = 32, cascades: int = 5):
        super().__init__(channels, cascades)
        self.means = nn.ModuleList(
            nn.Sequential(*(layer for _ in range(3) for layer in (nn.Conv2d(channels, channels, 1), nn.ReLU())))[:-1]
            for _ in range(cascades)
        )
        self.a = nn.Parameter(torch.full((cascades, channels), math.log(math.expm1(1 - 1e-5))))

    def loss(self, s: Tensor, target: Tensor, cascade: int) -> Tensor:
        variance = F.softplus(self.a[cascade])[:, None, None] + 1e-5
        return 0.5 * ((target - self.means[cascade](s)).square() / variance + variance.log()).mean()


def two_convolutions(first: int, middle: int, last: int) -> nn.Sequential:
    """Two 3x3 convolutions that keep the image's size, with a leaky ReLU between them."""
    convs = (nn.Conv2d(a, b, 3, padding=1) for a, b in ((first, middle), (middle, last)))
    return nn.Sequential(next(convs), nn.LeakyReLU(0.1), next(convs))
