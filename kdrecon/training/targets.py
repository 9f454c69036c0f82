"""What a distillation needs of its frozen teacher, for every training slice: computed once and kept.

The teacher sees the same slices in every epoch, and most methods compare little of what it says: of its maps AT needs one
image a cascade, FSP a matrix of 32 x 32, SP the inner products between slices. Kept, losses and gradients are the same up
to rounding, and no step runs the teacher.

>>> import torch
>>> from kdrecon.data.splits import Split, load_split
>>> from kdrecon.models.dccnn import dc_cnn
>>> from kdrecon.training.objectives import Distillation
>>> from kdrecon.training.targets import keep
>>> slices = load_split(Split("sample", "validation", "4x", resolution=16))
>>> kept = keep(Distillation(dc_cnn("D2C2"), dc_cnn("D3C2"), "at"), slices, batch_size=4, passes=2, limit=2**20)
>>> [target.shape for target in kept.of(torch.tensor([5, 0, 3]))]
[torch.Size([3, 256]), torch.Size([3, 256])]
"""

import math
import os
from typing import NamedTuple

import torch
from torch import Tensor

from kdrecon.data.slices import Slices, memory_limit
from kdrecon.distillation.relational import products
from kdrecon.training.objectives import Distillation, Objective


class Targets(NamedTuple):
    """What a distillation needs of its teacher, of n slices; see :meth:`kdrecon.training.objectives.Distillation.ask`."""

    alone: list[Tensor]  # of each slice (n, ...)
    between: list[Tensor]  # between slices (n, n)

    def of(self, indices: Tensor) -> list[Tensor]:
        """That of a batch of slices with these indices (B,)."""
        on = indices.to([*self.alone, *self.between][0].device)
        return [part[on] for part in self.alone] + [part[on][:, on] for part in self.between]


@torch.no_grad()
def keep(objective: Objective, slices: Slices, batch_size: int, passes: int, limit: int) -> Targets | None:
    """The targets of all slices; None where the objective has none, they do not fit, or it would not pay.

    Args:
        objective: ready for its first step.
        slices: those of the training.
        batch_size: slices that the teacher sees at a time.
        passes: over the slices that the training would otherwise have the teacher make.
        limit: bytes that the targets may take up, with the maps that they are made of.
    """
    if not (isinstance(objective, Distillation) and objective.listens):
        return None
    n, first = len(slices), slices.batch(torch.arange(1))
    said, between = objective.ask(first), objective.compares and objective.method.between
    maps = objective.scaled_maps(first) if between else []
    cascades = len(maps)
    alone = said[: len(said) - cascades]
    size = n * sum(map(_bytes, alone)) + n * n * sum(map(_bytes, said[len(alone) :]))
    rows = (limit - size) // sum(_bytes(m.double()) for m in maps) if between else n  # whose maps are held at a time
    if size > limit or rows < 1 or bool(alone) + between * (1 + math.ceil(n / rows)) > passes:
        return None
    kept = Targets(
        [part.new_empty(n, *part.shape[1:]) for part in alone], [said[-1].new_empty(n, n) for _ in range(cascades)]
    )
    order = torch.arange(n)
    for indices in order.split(batch_size) if alone else ():
        for part, value in zip(kept.alone, objective.ask(slices.batch(indices))):
            part[indices] = value
    for held in order.split(int(rows)) if between else ():
        mine = [objective.scaled_maps(slices.batch(indices)) for indices in held.split(batch_size)]
        rows_of = [torch.cat([m.double() for m in cascade]) for cascade in zip(*mine)]
        for indices in order.split(batch_size):
            for part, q, r in zip(kept.between, rows_of, objective.scaled_maps(slices.batch(indices))):
                part[held[:, None], indices] = products(q, r.double()).to(part.dtype)
    return kept


def target_limit(device: torch.device) -> int:
    """Bytes that targets may take up: an eighth of the memory, of a CPU's in proportion to the threads of this process."""
    share = 1.0 if device.type == "cuda" else min(1.0, torch.get_num_threads() / (os.cpu_count() or 1))
    return int(share * memory_limit(device) / 2)


def _bytes(part: Tensor) -> int:
    return part[0].numel() * part.element_size()
