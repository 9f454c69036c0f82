"""Methods that compare feature maps, or statistics of them, sample by sample."""

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

    def loss(self, s: Tensor, t: Tensor, cascade: int) -> Tensor:
        difference = attention_map(s) - attention_map(t)
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
            nn.init.dirac_(regressor.weight)
            nn.init.zeros_(regressor.bias)

    def loss(self, s: Tensor, t: Tensor, cascade: int) -> Tensor:
        return 0.5 * F.mse_loss(self.regressors[cascade](s), t)


class FlowOfSolution(Method):
    """FSP: the step from an early to a late layer should be the same, whatever the layers hold.

    L = mean over B and C^2 of (G_t - G_s)^2, G = F_a^T F_b / N (B, C, C), of the maps after conv 1 (a) and conv d - 1 (b).

    Source: Yim et al. 2017, eqs. 1 and 2. There the pairs span the stages of a residual network, |.|^2 is a sum over
    C^2, and the loss is a stage of its own that initialises the student.
    """

    taps = "ends"
    weight = 3e-3

    def loss(self, s: tuple[Tensor, Tensor], t: tuple[Tensor, Tensor], cascade: int) -> Tensor:
        return F.mse_loss(gram_matrix(*s), gram_matrix(*t))


def attention_map(maps: Tensor) -> Tensor:
    """q = sum_c F_c^2, flattened and of unit norm: (B, C, H, W) -> (B, H W)."""
    return F.normalize(maps.square().sum(1).flatten(1), dim=1)


def gram_matrix(first: Tensor, last: Tensor) -> Tensor:
    """G = F_a^T F_b / N of two maps (B, C, H, W) -> (B, C, C), N = H W."""
    a, b = (maps.movedim(1, -1).flatten(1, 2) for maps in (first, last))
    return a.mT @ b / a.shape[1]
