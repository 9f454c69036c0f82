"""What all distillation methods share, and which feature maps they look at.

>>> from kdrecon.distillation.base import tap_layers
>>> tap_layers("middle", 5), tap_layers("ends", 5), tap_layers("output", 3)
([3], [1, 4], [3])
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from kdrecon.errors import InputError
from kdrecon.models.architectures import counterpart
from kdrecon.models.blocks import AuthorsUNetBlock, Tap
from kdrecon.models.dccnn import DCCNN, VDSR


class Layer(NamedTuple):
    """A feature map of a CNN block: number (from 1) of its convolution in a block of depth d, and the side of the ReLU."""

    conv: Callable[[int], int]
    side: str = "after"


TAPS: dict[str, tuple[Layer, ...]] = {
    "middle": (Layer(lambda d: -(-d // 2)),),
    "middle_before": (Layer(lambda d: -(-d // 2), "before"),),
    "ends": (Layer(lambda d: 1), Layer(lambda d: d - 1)),
    "output": (Layer(lambda d: d),),  # one channel, no ReLU, before data fidelity
}


class Method(nn.Module):
    """A distillation loss between feature maps of student and teacher: a mean over cascades.

    L_KD = 1/K sum_k loss(s_k, target(t_k)). The maps s, t are (B, C, H, W). The division by the standard deviation of the
    teacher's map is not done here but before, by :class:`kdrecon.training.objectives.Distillation`. Half-precision maps
    become float32, also under autocast, and the teacher's maps are detached.

    A new method is a subclass with :meth:`loss` and an entry in :data:`kdrecon.distillation.METHODS`. Parameters of its
    own are trained with the student, or in :meth:`prepare` and then frozen; they never become part of the student. Where
    the loss needs less than the teacher's maps, :meth:`target` says what: a training computes it once for each slice
    and keeps it, see :mod:`kdrecon.training.targets`.

    Args:
        channels: channels C of the maps, for methods with parameters of their own.
        cascades: number of cascades K, likewise.

    Attributes:
        taps: which maps are compared, a key of :data:`TAPS`.
        scaled: whether the maps are divided by the standard deviation of the teacher's.
        heeds_errors: whether slices count by how good the teacher's own image of them is; see :meth:`confidence`.
        between: whether the target is the inner products between the slices of a batch, (B, B), and not one of each slice.
        min_batch: smallest batch it can compare; a smaller one gives an exact zero, connected to the graph.
        min_cascades: smallest number of cascades it can compare.
        weight: w in L = |x - x_S|_1 + w L_KD, one constant a method, chosen with benchmarks/method_weights.py.

    Raises:
        InputError: fewer cascades than min_cascades.
    """

    taps = "middle"
    scaled = True
    heeds_errors = False
    between = False
    min_batch = 1
    min_cascades = 1
    weight = 1.0

    def __init__(self, channels: int = 32, cascades: int = 5):
        super().__init__()
        if cascades < self.min_cascades:
            raise InputError(f"{type(self).__name__} on {cascades} cascade(s): expected at least {self.min_cascades}")

    def prepare(self, teachers: Iterable[Sequence]) -> None:
        """Train what learns before the student, from the teacher's maps, batch by batch, of one epoch."""

    def calibrate(self, errors: Tensor) -> None:
        """Take note of the teacher's squared errors of all training slices (N,), before the first step."""

    def confidence(self, errors: Tensor) -> Tensor:
        """What slices count by the teacher's squared errors (B,); where errors are heeded it follows the targets, (B,)."""
        return torch.ones_like(errors)

    def forward(self, students: Sequence, teachers: Sequence) -> Tensor:
        """The loss of lists over cascades of maps, or of pairs of maps where two layers are compared, a scalar."""
        return self.towards(students, self.targets(teachers))

    def towards(self, students: Sequence, targets: Sequence[Tensor]) -> Tensor:
        """The loss of the student's maps as in :meth:`forward` with the teacher's targets, one a cascade, a scalar."""
        first = _first(students)
        with torch.autocast(first.device.type, enabled=False):
            if len(first) < self.min_batch:
                return torch.stack([0.0 * _first([s]).float().sum() for s in students]).sum()
            return self.compare([_plain(s) for s in students], list(targets))

    @torch.no_grad()
    def targets(self, teachers: Sequence) -> list[Tensor]:
        """What the loss needs of the teacher's maps, one tensor (B, ...) a cascade, detached."""
        with torch.autocast(_first(teachers).device.type, enabled=False):
            return [self.target(_plain(t), k).detach() for k, t in enumerate(teachers)]

    def target(self, t: Any, cascade: int) -> Tensor:
        """What the loss of one cascade (number from 0) needs of the teacher's maps, (B, ...); by default the maps."""
        return t

    def compare(self, students: list, targets: list[Tensor]) -> Tensor:
        """Mean of :meth:`loss` over cascades, a scalar."""
        pairs = enumerate(zip(students, targets, strict=True))
        return torch.stack([self.loss(s, target, k) for k, (s, target) in pairs]).mean()

    def loss(self, s: Any, target: Any, cascade: int) -> Tensor:
        """The loss of one cascade (number from 0), a scalar."""
        raise NotImplementedError


def tap_layers(taps: str, depth: int) -> list[int]:
    """Numbers (from 1) of the convolutions that are compared in a block of the given depth d.

    "middle" and "middle_before": conv ceil(d / 2); "ends": conv 1 and conv d - 1; "output": conv d.
    """
    return [layer.conv(depth) for layer in TAPS[taps]]


def layer_pairs(taps: str, student: DCCNN, teacher: DCCNN) -> tuple[list[int], list[int]]:
    """Numbers (from 1) of the convolutions of student and teacher that are compared with each other.

    In a network of cascades those of :func:`tap_layers` in either. A VDSR teacher is compared after the convolution that
    ends where the student's does (:func:`kdrecon.models.architectures.counterpart`), and the middle of a VDSR student is
    conv floor(d / 2) + 1: 9 with 3 of V12 and V4, as in the first author's public folders, 6 with 4 of V11 and V7 (KD-MRI).
    With DC-UNet-author the outputs of one channel stand for the middle, as there.
    """
    if isinstance(teacher.blocks[0], AuthorsUNetBlock) and taps.startswith("middle"):
        taps = "output"
    if not (isinstance(student, VDSR) and isinstance(teacher, VDSR)):
        return tap_layers(taps, student.depth), tap_layers(taps, teacher.depth)
    middle = min(student.depth // 2 + 1, student.depth - 1)
    own = [middle] if taps.startswith("middle") else tap_layers(taps, student.depth)
    return own, [counterpart(j, teacher.depth, student.depth) for j in own]


def select(taps: str, maps: list[list[Tap | None]], layers: Sequence[int] = ()) -> list[list[Tensor]]:
    """The compared maps of each cascade, from what a network returns with taps=True.

    Args:
        taps: key of :data:`TAPS`.
        maps: of the network.
        layers: numbers (from 1) of the convolutions; by default those of :func:`tap_layers`.
    """
    layers = layers or tap_layers(taps, len(maps[0]))
    return [[getattr(cascade[j - 1], layer.side) for j, layer in zip(layers, TAPS[taps])] for cascade in maps]


def _first(maps: Sequence) -> Tensor:
    return maps[0] if isinstance(maps[0], Tensor) else maps[0][0]


def full_precision(maps: Tensor) -> Tensor:
    """Half-precision maps as float32, others as they are."""
    return maps.to(torch.promote_types(maps.dtype, torch.float32))


def _plain(maps: Tensor | Sequence[Tensor]) -> Tensor | tuple:
    return full_precision(maps) if isinstance(maps, Tensor) else tuple(full_precision(m) for m in maps)
