"""Augmentation: training slices that look different each time they are seen.

>>> import torch
>>> from kdrecon.training.augmentation import Flips
>>> x = torch.arange(4.0).reshape(1, 1, 2, 2).repeat(3, 1, 1, 1)
>>> Flips(torch.tensor([0, 1, 6]))(x, torch.arange(3))[:, 0].tolist()
[[[0.0, 1.0], [2.0, 3.0]], [[1.0, 0.0], [3.0, 2.0]], [[2.0, 0.0], [3.0, 1.0]]]
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Flips:
    """The slices of an epoch, each in one of the eight positions that a square has.

    The mask stays, and k-space is that of the image in its position: the task is the same, the image another one.
    Images that are not square are never transposed, which leaves four positions.

    Attributes:
        positions: of each slice (N,), integers 0 to 7: flipped left-right (1), then up-down (2), then transposed (4).
    """

    positions: Tensor

    @classmethod
    def drawn(cls, n: int, generator: torch.Generator) -> Self:
        """Positions for n slices; each flip and the transposition with probability 1/2."""
        return cls(torch.randint(8, (n,), generator=generator))

    def __call__(self, x: Tensor, indices: Tensor) -> Tensor:
        """The images x (B, 1, H, W), which are the slices at the indices (B,), in their positions."""
        positions = self.positions[indices].to(x.device)[:, None, None, None]
        x = torch.where(positions & 1 > 0, x.flip(-1), x)
        x = torch.where(positions & 2 > 0, x.flip(-2), x)
        if x.shape[-1] == x.shape[-2]:
            x = torch.where(positions & 4 > 0, x.mT, x)
        return x.contiguous()
