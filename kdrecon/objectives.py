"""What a training run minimises: one class per kind of training, all with the same three calls."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdrecon.data import Batch
from kdrecon.distillation import get_method, select, tap_layers
from kdrecon.models import DCCNN
from kdrecon.sft import SFT, sft_loss


class Loss(NamedTuple):
    """The scalar to minimise and its named terms, which add up to it."""

    total: Tensor
    terms: dict[str, Tensor]


class Objective(nn.Module):
    """Base of all objectives.

    Attributes:
        network: the module whose weights are the result of the training.
        evaluated: the DC-CNN whose validation L1 chooses the best epoch.
    """

    network: nn.Module
    evaluated: DCCNN

    def prepare(self, batch: Batch) -> None:
        """Called once with the first training batch, before the first step."""

    def forward(self, batch: Batch) -> Loss:
        raise NotImplementedError

    def validate(self, batch: Batch) -> Tensor:
        """|x - x_rec|_1 of the evaluated network, mean over pixels and batch."""
        return F.l1_loss(self.evaluated(batch.x_u, batch.y, batch.mask), batch.x)


class Supervised(Objective):
    """A network trained alone: L = |x - x_rec|_1, mean over pixels and batch."""

    def __init__(self, model: DCCNN):
        super().__init__()
        self.network = self.evaluated = model

    def forward(self, batch: Batch) -> Loss:
        loss = F.l1_loss(self.network(batch.x_u, batch.y, batch.mask), batch.x)
        return Loss(loss, {"reconstruction": loss})


class StudentFriendly(Objective):
    """Teacher and student branches trained together: L_T + L_S + L_imit (see :func:`kdrecon.sft.sft_loss`).

    The best epoch is chosen by the teacher's validation L1 alone.
    """

    def __init__(self, sft: SFT, imitation: str = "paper"):
        super().__init__()
        self.network, self.evaluated, self.imitation = sft, sft.teacher, imitation

    def forward(self, batch: Batch) -> Loss:
        loss = sft_loss(batch.x, *self.network(batch.x_u, batch.y, batch.mask), imitation=self.imitation)
        return Loss(loss.total, {"teacher": loss.teacher, "student": loss.student, "imitation": loss.imitation})


class Distillation(Objective):
    """A student that learns from the image and from a frozen teacher: L = |x - x_S|_1 + w L_KD.

    L_KD compares feature maps of teacher and student, both divided by sigma_k, the standard deviation of the
    teacher's map in cascade k on the first training batch (at least 1e-6). The teacher gets no gradient and builds no graph.

    Args:
        student: the network to train.
        teacher: the frozen network, as many cascades.
        method: key of :data:`kdrecon.distillation.METHODS`.
    """

    def __init__(self, student: DCCNN, teacher: DCCNN, method: str):
        super().__init__()
        if len(student.blocks) != len(teacher.blocks):
            raise ValueError(
                f"student has {len(student.blocks)} cascades, teacher {len(teacher.blocks)}: expected equal numbers"
            )
        self.network = self.evaluated = student
        self.teacher = teacher.requires_grad_(False)
        self.method = get_method(method)(cascades=len(student.blocks))
        self.register_buffer("sigma", torch.ones(len(student.blocks), len(tap_layers(self.method.taps, student.depth))))

    def prepare(self, batch: Batch) -> None:
        maps = self.teacher_maps(batch)
        self.sigma.copy_(torch.tensor([[float(tap.float().std()) for tap in cascade] for cascade in maps]).clamp(min=1e-6))

    def forward(self, batch: Batch) -> Loss:
        teacher_maps = self.teacher_maps(batch)
        x_student, maps = self._reconstruct(self.network, batch)
        reconstruction = F.l1_loss(x_student, batch.x)
        distillation = self.method.weight * self.method(self._scaled(maps), self._scaled(teacher_maps))
        return Loss(reconstruction + distillation, {"reconstruction": reconstruction, "distillation": distillation})

    @torch.no_grad()
    def teacher_maps(self, batch: Batch) -> list[list[Tensor]]:
        """The teacher's compared maps, lists over cascades and layers, without a graph."""
        return self._reconstruct(self.teacher, batch)[1]

    def _reconstruct(self, model: DCCNN, batch: Batch) -> tuple[Tensor, list[list[Tensor]]]:
        layers = [j - 1 for j in tap_layers(self.method.taps, model.depth)]
        x, taps = model(batch.x_u, batch.y, batch.mask, taps=layers)
        return x, select(self.method.taps, taps)

    def _scaled(self, maps: list[list[Tensor]]) -> list:
        scaled = [[tap.float() / sigma for tap, sigma in zip(*pair)] for pair in zip(maps, self.sigma)]
        return [tuple(cascade) if len(cascade) > 1 else cascade[0] for cascade in scaled]
