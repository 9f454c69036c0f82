"""What networks are for: a task says what one is given, what it shall return, and what there is without any.

A task is reconstruction from undersampled k-space. Another one, such as super-resolution, is a class with the members of
:class:`Task`, its batch and its baseline; training and evaluation call ``network(*batch.inputs)`` and know no more.

>>> import torch
>>> from kdrecon.physics.sampling import mask_for
>>> from kdrecon.tasks import Reconstruction, ZeroFilled
>>> task = Reconstruction(mask_for("mrbrain", "4x", (64, 64)))
>>> x = torch.rand(2, 1, 64, 64)
>>> batch = task.batch(x, *task.observe(x))
>>> ZeroFilled()(*batch.inputs).shape
torch.Size([2, 1, 64, 64])
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from kdrecon.physics.sampling import undersample


class Batch(Protocol):
    """What a training step sees, whatever the task."""

    @property
    def x(self) -> Tensor:
        """The images (B, 1, H, W), float32, that a network shall return."""

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """What it is called with: ``network(*batch.inputs)``."""


class Baseline(nn.Module):
    """What there is without a network, in a network's clothes.

    Attributes:
        name: in records, where it stands for architecture and role; a key of :data:`kdrecon.choices.BASELINES`.
    """

    name: ClassVar[str]


class Task(Protocol):
    """What a network is given and what it shall return.

    Attributes:
        baseline: what it is compared with.
    """

    baseline: ClassVar[type[Baseline]]

    def observe(self, x: Tensor) -> tuple[Tensor, ...]:
        """What is observed of images x (B, 1, H, W): tensors (B, ...), computed once and kept beside the images."""

    def batch(self, x: Tensor, *observed: Tensor) -> Batch:
        """The batch of images x (B, 1, H, W) and of what :meth:`observe` made of them."""

    def to(self, device: torch.device) -> "Task":
        """The same task on another device."""


class ZeroFilled(Baseline):
    """The zero-filled image x_u."""

    name = "zero_filled"

    def forward(self, x_u: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        """x_u (B, 1, H, W) as it is given."""
        return x_u


class MeasuredBatch(NamedTuple):
    """The batch of a reconstruction."""

    x: Tensor  # images (B, 1, H, W), float32
    x_u: Tensor  # zero-filled images (B, 1, H, W), float32
    y: Tensor  # k-space (B, 1, H, W), complex64
    mask: Tensor  # (H, W), bool

    @property
    def inputs(self) -> tuple[Tensor, Tensor, Tensor]:
        """x_u, y and mask."""
        return self.x_u, self.y, self.mask


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """An image out of a part of its k-space: network(x_u, y, mask) -> x, with y and x_u of :func:`undersample`.

    Attributes:
        mask: (H, W), bool.
    """

    mask: Tensor
    baseline: ClassVar[type[Baseline]] = ZeroFilled

    def observe(self, x: Tensor) -> tuple[Tensor, ...]:
        """Zero-filled images (B, 1, H, W) float32 and k-space (B, 1, H, W) complex64 of images x (B, 1, H, W)."""
        return undersample(x, self.mask)

    def batch(self, x: Tensor, *observed: Tensor) -> MeasuredBatch:
        """x with x_u, y and the mask."""
        x_u, y = observed
        return MeasuredBatch(x, x_u, y, self.mask)

    def to(self, device: torch.device) -> "Reconstruction":
        """The same task on another device."""
        return Reconstruction(self.mask.to(device))
