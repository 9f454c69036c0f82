"""What all distillation methods share."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from kdrecon.models import Tap


class Method(nn.Module):
    """A distillation loss between feature maps of student and teacher: a mean over cascades.

    L_KD = 1/K sum_k loss(s_k, t_k). The maps s, t are (B, C, H, W). The division by the standard deviation of the
    teacher's map is not done here but before, by :class:`kdrecon.objectives.Distillation`. Half-precision maps become
    float32, also under autocast, and the teacher's maps are detached.

    A new method is a subclass with :meth:`loss` and an entry in :data:`kdrecon.distillation.METHODS`.

    Args:
        channels: channels C of the maps, for methods with parameters of their own.
        cascades: number of cascades K, likewise.

    Attributes:
        taps: which convolutions are compared, "middle" or "ends" (see :func:`tap_layers`).
        min_batch: smallest batch it can compare; a smaller one gives an exact zero, connected to the graph.
        weight: w in L = |x - x_S|_1 + w L_KD, one constant a method, chosen with benchmarks/method_weights.py.
    """

    taps = "middle"
    min_batch = 1
    weight = 1.0

    def __init__(self, channels: int = 32, cascades: int = 5):
        super().__init__()

    def forward(self, students: Sequence, teachers: Sequence) -> Tensor:
        """Mean loss over cascades of lists of maps (for "ends": of pairs of maps), a scalar."""
        first = _first(students)
        with torch.autocast(first.device.type, enabled=False):
            if len(first) < self.min_batch:
                return sum(0.0 * _first([s]).float().sum() for s in students)
            pairs = enumerate(zip(students, teachers, strict=True))
            return torch.stack([self.loss(_plain(s), _plain(t, detach=True), k) for k, (s, t) in pairs]).mean()

    def loss(self, s, t, cascade: int) -> Tensor:
        """The loss of one cascade (number from 0), a scalar."""
        raise NotImplementedError


def tap_layers(taps: str, depth: int) -> list[int]:
    """Numbers (from 1) of the convolutions that are compared in a block of the given depth d.

    "middle": conv ceil(d / 2); "ends": conv 1 and conv d - 1.
    """
    return {"middle": [-(-depth // 2)], "ends": [1, depth - 1]}[taps]


def select(taps: str, maps: list[list[Tap | None]]) -> list[list[Tensor]]:
    """The compared maps after ReLU of each cascade, from what a network returns with taps=True."""
    return [[cascade[j - 1].after for j in tap_layers(taps, len(cascade))] for cascade in maps]


def _first(maps: Sequence) -> Tensor:
    return maps[0] if isinstance(maps[0], Tensor) else maps[0][0]


def _plain(maps: Tensor | Sequence[Tensor], detach: bool = False):
    if isinstance(maps, Tensor):
        maps = maps.to(torch.promote_types(maps.dtype, torch.float32))
        return maps.detach() if detach else maps
    return tuple(_plain(m, detach) for m in maps)
