"""Methods that compare feature maps, or statistics of them, sample by sample.

>>> import torch
>>> from kdrecon.distillation.features import AttentionTransfer, attention_map
>>> maps = torch.rand(2, 32, 8, 8)
>>> attention_map(maps).shape
torch.Size([2, 64])
>>> AttentionTransfer()([maps] * 5, [maps] * 5).item() < 1e-5
True
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdrecon.distillation.base import Method


class AttentionTransfer(Method):
    """AT: both networks should look at the same places.

    L = mean_B sqrt(|q_s - q_t|^2 + 1e-12), q = sum_c F_c^2 as a vector (B, N), of unit L2 norm per sample.

    Source: Zagoruyko & Komodakis 2017, eq. 2 with p = 2; KD-MRI, eq. 3. There the layers are summed and weighted by
    beta / 2, which w replaces; the 1e-12 is ours and keeps the gradient finite at equality.
    """

    weight = 5e-3

    def target(self, t: Tensor, cascade: int) -> Tensor:
        return attention_map(t)

    def loss(self, s: Tensor, target: Tensor, cascade: int) -> Tensor:
        difference = attention_map(s) - target
        return (difference.square().sum(1) + 1e-12).sqrt().mean()


class FitNets(Method):
    """FitNets: the student's middle layer should be able to say what the teacher's says.

    L = 1/2 mean (t - r(s))^2 with a regressor r, here a 1x1 convolution that starts as the identity, one a cascade,
    trained with the student and not part of it.

    Source: Romero et al. 2015, eq. 3. There the squared norm is a sum, one layer gives the hint, the regressor's kernel
    is larger, and the hint is trained in a stage of its own.
    """

    weight = 7e-3

    def __init__(self, channels: int = 32, cascades: int = 5):
        super().__init__(channels, cascades)
        self.regressors = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(cascades))
        for regressor in self.regressors:
            nn.init.dirac_(regressor.get_parameter("weight"))
            nn.init.zeros_(regressor.get_parameter("bias"))

    def loss(self, s: Tensor, target: Tensor, cascade: int) -> Tensor:
        return 0.5 * F.mse_loss(self.regressors[cascade](s), target)


class AttentiveHint(FitNets):
    """AH: a hint counts the less, the farther the teacher's own image of the slice is from the truth.

    L = 1/2 mean_B Phi_i mean (t_i - r(s_i))^2, Phi_i = 1 - (e_i - min e) / (max e - min e), r as in :class:`FitNets`,
    e_i = mean |x_i - x_T,i|^2. Smallest and largest e are those of the training slices before the first step; where
    augmentation brings another one, Phi is cut to [0, 1].

    Source: Saputra et al. 2019, there for poses, with Phi_i = 1 - e_i / (max e - min e). That is below 0 for
    every e above max e - min e, as on most slices here, where even the best e is far from 0; then the loss would drive
    the student away from the teacher. To subtract min e is ours: it moves all Phi by one number to [0, 1], and changes
    nothing for a teacher that is right somewhere. How KD-MRI made the method of its Fig. 3 fit images is not known.
    """

    weight = 1.6e-3
    heeds_errors = True
    extremes: Tensor

    def __init__(self, channels: int = 32, cascades: int = 5):
        super().__init__(channels, cascades)
        self.register_buffer("extremes", torch.tensor([0.0, 1.0]))

    def calibrate(self, errors: Tensor) -> None:
        self.extremes.copy_(torch.stack([errors.min(), errors.max()]))

    def confidence(self, errors: Tensor) -> Tensor:
        low, high = self.extremes
        return (1 - (errors - low) / (high - low).clamp(min=1e-12)).clamp(0, 1)

    def compare(self, students: list, targets: list[Tensor]) -> Tensor:
        hints, confidence = targets[: len(students)], targets[len(students) :]
        pairs = enumerate(zip(students, hints, strict=True))
        each = torch.stack([0.5 * (self.regressors[k](s) - t).square().mean((1, 2, 3)) for k, (s, t) in pairs])
        return (each * confidence[0] if confidence else each).mean()


class FlowOfSolution(Method):
    """FSP: the step from an early to a late layer should be the same, whatever the layers hold.

    L = mean over B and C^2 of (G_t - G_s)^2, G = F_a^T F_b / N (B, C, C), of the maps after conv 1 (a) and conv d - 1 (b).

    Source: Yim et al. 2017, eqs. 1 and 2. There the pairs span the stages of a residual network, |.|^2 is a sum over
    C^2, and the loss is a stage of its own that initialises the student.
    """

    taps = "ends"
    weight = 3e-3

    def target(self, t: tuple[Tensor, Tensor], cascade: int) -> Tensor:
        return gram_matrix(*t)

    def loss(self, s: tuple[Tensor, Tensor], target: Tensor, cascade: int) -> Tensor:
        return F.mse_loss(gram_matrix(*s), target)


class SoftmaxDivergence(Method):
    """KL: where in the image each channel is strong, as a probability over pixels.

    L = mean over B and C of sum_n p_t log(p_t / p_s), p = softmax over the N = H W pixels of a channel.

    Source: Hinton et al. 2015, in the channel-wise form of Shu et al. 2021. Hinton's softmax runs over classes, which an
    image does not have: over one channel it would be constant. Shu et al. soften with a temperature and multiply by its
    square; here the temperature is 1, in units of the map's scale.
    """

    weight = 3e-2

    def target(self, t: Tensor, cascade: int) -> Tensor:
        return t.flatten(2).log_softmax(2)

    def loss(self, s: Tensor, target: Tensor, cascade: int) -> Tensor:
        return F.kl_div(s.flatten(2).log_softmax(2), target, reduction="sum", log_target=True) / (
            s.shape[0] * s.shape[1]
        )


class ActivationBoundaries(Method):
    """AB: the student's neurons should fire where the teacher's do, by a margin m = 1; how strongly is left open.

    L = mean over B, C, N of [t > 0] (m - s)_+^2 + [t <= 0] (m + s)_+^2, of the maps before ReLU (B, C, H, W). It is not
    zero at s = t, unless every |t| is at least m.

    Source: Heo et al. 2019, the piecewise differentiable loss. There it is a sum over neurons, a 1x1 convolution with batch
    normalisation connects networks of different width, and the transfer is a stage of its own.
    """

    taps = "middle_before"
    weight = 5e-3

    def target(self, t: Tensor, cascade: int) -> Tensor:
        return t > 0

    def loss(self, s: Tensor, target: Tensor, cascade: int) -> Tensor:
        return torch.where(target, 1 - s, 1 + s).relu().square().mean()


class NeuronSelectivity(Method):
    """NST: the channels of both networks should be drawn from one distribution of patterns, in whatever order.

    L = mean (t_c . t_c')^2 + mean (s_c . s_c')^2 - 2 mean (s_c . t_c')^2 over the C^2 pairs of channels, then over B: the
    squared maximum mean discrepancy with kernel k(a, b) = (a . b)^2. The channels are vectors of N pixels of unit L2 norm.

    Source: Huang & Wang 2017, with the polynomial kernel of degree d = 2 and c = 0.
    """

    weight = 2e-2

    def target(self, t: Tensor, cascade: int) -> Tensor:
        return F.normalize(pixels_by_channels(t), dim=1)

    def loss(self, s: Tensor, target: Tensor, cascade: int) -> Tensor:
        s, t = F.normalize(pixels_by_channels(s), dim=1), target
        return ((t.mT @ t).square() + (s.mT @ s).square() - 2 * (s.mT @ t).square()).mean()


def attention_map(maps: Tensor) -> Tensor:
    """q = sum_c F_c^2, flattened and of unit norm: (B, C, H, W) -> (B, H W)."""
    return F.normalize(maps.square().sum(1).flatten(1), dim=1)


def gram_matrix(first: Tensor, last: Tensor) -> Tensor:
    """G = F_a^T F_b / N of two maps (B, C, H, W) -> (B, C, C), N = H W."""
    a, b = pixels_by_channels(first), pixels_by_channels(last)
    return a.mT @ b / a.shape[1]


def pixels_by_channels(maps: Tensor) -> Tensor:
    """Maps (B, C, H, W) as matrices (B, N, C), N = H W: the order in which channels-last maps lie in memory."""
    return maps.movedim(1, -1).flatten(1, 2)
