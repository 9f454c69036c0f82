"""The losses as the code released with SFT-KD-Recon has them: ``kd_form="released"``.

They are applied to the features as they come, without a scale. The released code compares maps of the image padded by
5 pixels; here the maps end at the image's border, and on maps of one size the two are equal. It minimises them without a
weight, in a stage of their own, where Adam's steps hardly depend on one; the weights here are for training jointly.

>>> import torch
>>> from kdrecon.distillation.released import across_batch, energy
>>> q = across_batch(energy(torch.rand(4, 32, 8, 8)))
>>> torch.allclose(q.square().sum(0), torch.ones(8, 8))
True
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from kdrecon.distillation.base import Method
from kdrecon.distillation.features import attention_map
from kdrecon.distillation.relational import ProbabilisticTransfer, products, similarity_matrix


class ReleasedAttentionTransfer(Method):
    """AT of the released code: energy maps of the middle layers, normalised across the batch, not within a map.

    L = mean |q_s - q_t| over batch and pixels, q = sum_c F_c^2 (B, H, W), divided by its L2 norm over the B samples at
    each pixel. With a batch of one every q is 0 or 1, and the gradient vanishes.

    Source: SFT-KD-Recon, ``train_feature.py``; the paper normalises each map.
    """

    scaled = False
    weight = 0.12

    def target(self, t: Tensor, cascade: int) -> Tensor:
        return energy(t)

    def loss(self, s: Tensor, target: Tensor, cascade: int) -> Tensor:
        return F.l1_loss(across_batch(energy(s)), across_batch(target))


class ReleasedFitNets(Method):
    """FitNets of the released code: the squared output image of cascade 3 alone, no regressor.

    L = mean |q_s - q_t| over batch and pixels, q as in :class:`ReleasedAttentionTransfer` of the one-channel block output
    before data fidelity. With fewer than three cascades it is that of the last one. Where all outputs of a batch are near 0,
    outside the head, the normalisation makes the gradient as large as they are small.

    Source: SFT-KD-Recon, ``train_feature_fitnets.py``; the paper's hint is a hidden layer's 32 channels.
    """

    taps = "output"
    scaled = False
    weight = 3e-3

    def compare(self, students: list[Tensor], targets: list[Tensor]) -> Tensor:
        s, t = (across_batch(energy(outputs[:3][-1])) for outputs in (students, targets))
        return F.l1_loss(s, t)


class ReleasedFlowOfSolution(Method):
    """FSP of the released code: one number for each pair of consecutive block outputs o of cascades 1 to 4.

    L = mean over B and three pairs of (g_s - g_t)^2, g_k = mean over pixels of o_k^2 o_{k+1}^2.

    Source: SFT-KD-Recon, ``train_feature_fsp.py``; the paper's Gram matrices are C x C, between hidden layers.
    """

    taps = "output"
    scaled = False
    weight = 4e3
    min_cascades = 2

    def compare(self, students: list[Tensor], targets: list[Tensor]) -> Tensor:
        def flow(outputs: list[Tensor]) -> Tensor:
            energies = torch.stack([energy(o) for o in outputs[:4]])  # (K, B, H, W)
            return (energies[:-1] * energies[1:]).mean((2, 3))

        return F.mse_loss(flow(students), flow(targets))


class ReleasedCorrelationCongruence(Method):
    """CC of the released code: errors of the block outputs at the same pixel in neighbouring samples of the batch.

    L = mean over cascades, B - 1 neighbours and pixels of delta_b delta_{b+1}, delta = |s - t| (B, 1, H, W).

    Source: SFT-KD-Recon, ``train_feature_cc.py``. A batch of one is NaN there and an exact zero here; the paper compares
    correlations between samples.
    """

    taps = "output"
    scaled = False
    weight = 3e-2
    min_batch = 2

    def loss(self, s: Tensor, target: Tensor, cascade: int) -> Tensor:
        delta = (s - target).abs()
        return (delta[:-1] * delta[1:]).sum(1).mean()


class ReleasedSimilarityPreserving(Method):
    """SP of the released code: the paper's formula, on the block outputs of cascades 1 to 4.

    L = mean over cascades of |G_t - G_s|_F^2 / B^2, G the row-normalised Q Q^T (B, B), Q (B, H W).

    Source: SFT-KD-Recon, ``train_feature_sp.py``, which imports a class that is not there and cannot start.
    """

    taps = "output"
    scaled = False
    weight = 0.2
    min_batch = 2

    def compare(self, students: list[Tensor], targets: list[Tensor]) -> Tensor:
        return super().compare(students[:4], targets[:4])

    def loss(self, s: Tensor, target: Tensor, cascade: int) -> Tensor:
        return F.mse_loss(similarity_matrix(products(s)), similarity_matrix(products(target)))


class ReleasedFactorTransfer(Method):
    """FT of the group's super-resolution: an attention transfer, with neither paraphraser nor translator.

    L = mean over B and pixels of |q_s - q_t|, q = sum_c F_c^2 of the middle layers as a vector of unit L2 norm per sample.

    Source: ``kd_methods.py`` of the code released with SFT-KD-Recon, which no script of it calls; the paper has factors.
    """

    scaled = False
    weight = 0.5

    def target(self, t: Tensor, cascade: int) -> Tensor:
        return attention_map(t)

    def loss(self, s: Tensor, target: Tensor, cascade: int) -> Tensor:
        return F.l1_loss(attention_map(s), target)


class ReleasedProbabilisticTransfer(ProbabilisticTransfer):
    """PKT as its authors' code has it: the paper's divergence as a mean over the B^2 pairs, a B-th of the sum over j.

    Source: ``kd_methods.py`` of the code released with SFT-KD-Recon; how the maps became vectors is not known, here all of
    a sample's is one.
    """

    scaled = False
    weight = 60.0

    def loss(self, s: Tensor, target: Tensor, cascade: int) -> Tensor:
        return super().loss(s, target, cascade) / len(s)


def energy(maps: Tensor) -> Tensor:
    """sum_c F_c^2 of maps (B, C, H, W): (B, H, W)."""
    return maps.square().sum(1)


def across_batch(energies: Tensor) -> Tensor:
    """Energies (B, H, W) of unit L2 norm over the batch at each pixel: (B, H, W)."""
    return F.normalize(energies, dim=0)
