"""What a training run minimises: one class per kind of training, all with the same two calls.

>>> import torch
>>> from kdrecon.models.dccnn import dc_cnn
>>> from kdrecon.physics.sampling import mask_for
>>> from kdrecon.tasks import Reconstruction
>>> from kdrecon.training.objectives import Supervised
>>> task = Reconstruction(mask_for("mrbrain", "4x", (64, 64)))
>>> x = torch.rand(2, 1, 64, 64)
>>> loss = Supervised(dc_cnn("D3C1"))(task.batch(x, *task.observe(x)))
>>> list(loss.terms), loss.total.requires_grad
(['reconstruction'], True)
"""

from collections.abc import Iterable
from functools import partial, reduce
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdrecon.distillation.base import full_precision, layer_pairs, select
from kdrecon.distillation.registry import check_method, get_method
from kdrecon.errors import InputError
from kdrecon.models.dccnn import DCCNN
from kdrecon.models.sft import SFT, sft_loss
from kdrecon.tasks import Batch


class Loss(NamedTuple):
    """The scalar to minimise and its named terms, which add up to it."""

    total: Tensor
    terms: dict[str, Tensor]


class Traits(NamedTuple):
    """What is known of a distillation method before its objective is built."""

    weight: float  # w of its loss term
    min_batch: int  # slices in the smallest batch that it learns from
    single_term: bool = False  # of its loss: then there are neither stages nor alpha
    min_cascades: int = 1  # of the networks that it compares


class Objective(nn.Module):
    """Base of all objectives.

    Attributes:
        network: the module whose weights are the result of the training.
        evaluated: the network whose validation L1 chooses the best epoch.
    """

    network: nn.Module
    evaluated: nn.Module

    def prepare(self, batch: Batch, epoch: Iterable[Batch] = ()) -> None:
        """Called once, before the first step.

        Args:
            batch: the first training batch.
            epoch: the batches of one pass over the training slices, for what is trained before the network; read once.
        """

    def forward(self, batch: Batch) -> Loss:
        """The loss on a batch; what it draws, it draws from torch's generators, whose state is saved."""
        raise NotImplementedError


class Supervised(Objective):
    """A network trained alone: L = |x - x_rec|_1, mean over pixels and batch."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.network = self.evaluated = model

    def forward(self, batch: Batch) -> Loss:
        loss = F.l1_loss(self.network(*batch.inputs), batch.x)
        return Loss(loss, {"reconstruction": loss})


class StudentFriendly(Objective):
    """Teacher and student branches trained together: L_T + L_S + L_imit (see :func:`kdrecon.models.sft.sft_loss`).

    The best epoch is chosen by the teacher's validation L1 alone.
    """

    network: SFT

    def __init__(self, sft: SFT, imitation: str = "paper", terms: str = "all"):
        super().__init__()
        self.network, self.evaluated, self.imitation, self.terms = sft, sft.teacher, imitation, terms

    def forward(self, batch: Batch) -> Loss:
        x_teacher, x_branches = self.network(*batch.inputs)
        loss = sft_loss(batch.x, x_teacher, x_branches, self.imitation, self.terms)
        return Loss(loss.total, {"teacher": loss.teacher, "student": loss.student, "imitation": loss.imitation})


class Distillation(Objective):
    """A student that learns from the image and from a frozen teacher.

    L = (1 - alpha) |x - x_S|_1 + alpha |x_T - x_S|_1 + w L_KD, each |.|_1 a mean over pixels and batch.

    L_KD compares feature maps of teacher and student, both divided by sigma_k, the standard deviation of the
    teacher's map in cascade k on the first training batch (at least 1e-6). The teacher gets no gradient and builds no graph.

    Args:
        student: the network to train.
        teacher: the frozen network, as many cascades.
        method: key of :data:`kdrecon.distillation.METHODS`.
        kd_form: "paper" or "released", see :func:`kdrecon.distillation.get_method`; the released forms are not scaled.
        alpha: weight of the imitation of the teacher's output, 0 to 1. SFT-KD-Recon: 0; KD-MRI: 0.5, where alpha
            weighs the reconstruction.
        weight_factor: multiplies the method's w.
        stage: "joint" for all terms together; "features" for w L_KD alone, "reconstruction" for all but that.

    Raises:
        InputError: no such method or form, or a method without feature maps.
        ValueError: the numbers of cascades differ, or the stage is unknown.
    """

    STAGES = ("joint", "features", "reconstruction")
    network: DCCNN
    sigma: Tensor

    def __init__(
        self, student: DCCNN, teacher: DCCNN, method: str,
        kd_form: str = "paper", alpha: float = 0.0, stage: str = "joint", weight_factor: float = 1.0,
    ):  # fmt: skip
        super().__init__()
        if stage not in self.STAGES:
            raise ValueError(f"stage {stage!r} is unknown: expected one of {', '.join(self.STAGES)}")
        self.network = self.evaluated = student
        self.teacher = _frozen(teacher, student)
        self.alpha, self.stage = alpha, stage
        self.reconstructs, self.compares = stage != "features", stage != "reconstruction"
        self.imitates = bool(alpha) and self.reconstructs
        compared = get_method(method, kd_form)
        self.layers = layer_pairs(compared.taps, student, teacher)
        layers, _ = self.layers
        channels = student.convs[layers[0] - 1].out_channels
        self.method = compared(channels, cascades=len(student.blocks))
        self.weight = weight_factor * self.method.weight
        self.register_buffer("sigma", torch.ones(len(student.blocks), len(layers)))

    @property
    def listens(self) -> bool:
        """Whether the loss depends on the teacher."""
        return self.compares or self.imitates

    def prepare(self, batch: Batch, epoch: Iterable[Batch] = ()) -> None:
        if not self.compares:
            return
        if self.method.scaled:
            maps = self.teacher_maps(batch)
            deviations = [[float(tap.float().std()) for tap in cascade] for cascade in maps]
            self.sigma.copy_(torch.tensor(deviations).clamp(min=1e-6))
        if self.method.heeds_errors:
            self.method.calibrate(torch.cat([self._errors(self.teacher(*b.inputs), b) for b in epoch or [batch]]))
        else:
            self.method.prepare(self.scaled_maps(b) for b in epoch or [batch])

    def forward(self, batch: Batch, said: list[Tensor] | None = None) -> Loss:
        """The loss on a batch; ``said`` is what :meth:`ask` returns for it, where that is known already."""
        if said is None:
            said = self.ask(batch) if self.listens else []
        x_student, maps = self._reconstruct(self.network, batch, self.layers[0])
        terms = {}
        if self.reconstructs:
            terms["reconstruction"] = (1 - self.alpha) * F.l1_loss(x_student, batch.x)
        if self.imitates:
            terms["imitation"] = self.alpha * F.l1_loss(x_student, said[0])
        if self.compares:
            targets = said[int(self.imitates) :]
            terms["distillation"] = self.weight * self.method.towards(self._scaled(maps), targets)
        return Loss(reduce(torch.add, terms.values()), terms)

    @torch.no_grad()
    def ask(self, batch: Batch) -> list[Tensor]:
        """What the loss needs of the teacher: its image (B, 1, H, W) where that is imitated, then the method's targets."""
        x, maps = self._reconstruct(self.teacher, batch, self.layers[1])
        said = [x] * self.imitates + (self.method.targets(self._scaled(maps)) if self.compares else [])
        if self.compares and self.method.heeds_errors:
            said.append(self.method.confidence(self._errors(x, batch)))
        return said

    @torch.no_grad()
    def teacher_maps(self, batch: Batch) -> list[list[Tensor]]:
        """The teacher's compared maps, lists over cascades and layers, without a graph."""
        return self._reconstruct(self.teacher, batch, self.layers[1])[1]

    def scaled_maps(self, batch: Batch) -> list:
        """The teacher's maps as the method compares them, a list over cascades."""
        return self._scaled(self.teacher_maps(batch))

    @torch.no_grad()
    def _errors(self, x_teacher: Tensor, batch: Batch) -> Tensor:
        """Mean squared error of each of the teacher's images, (B,)."""
        return (full_precision(x_teacher) - batch.x).square().mean((1, 2, 3))

    def _reconstruct(self, model: DCCNN, batch: Batch, layers: list[int]) -> tuple[Tensor, list[list[Tensor]]]:
        x, maps = model.features(*batch.inputs, layers=[j - 1 for j in layers])
        return x, select(self.method.taps, maps, layers)

    def _scaled(self, maps: list[list[Tensor]]) -> list:
        scaled = [[full_precision(tap) / sigma for tap, sigma in zip(*pair)] for pair in zip(maps, self.sigma)]
        return [tuple(cascade) if len(cascade) > 1 else cascade[0] for cascade in scaled]


class Interactive(Objective):
    """A student whose cascades practise among those of a frozen teacher (IKD): L = |x - x_rec|_1.

    x_rec is the output of a network drawn anew at each step: every cascade is the student's or the teacher's with
    probability 1/2, drawn again where none is the student's. Gradients pass through the teacher's cascades to the
    student's before them; a student cascade that was not drawn does not move. Evaluated are the student's cascades alone.

    Args:
        student: the network to train.
        teacher: the frozen network, as many cascades and the same data fidelity.
        alpha, stage, weight_factor: as in :class:`Distillation`; the single term of the loss leaves no choice.

    Raises:
        InputError: another alpha, stage or factor.
        ValueError: the numbers of cascades or the data-fidelity modes differ.

    Source: Fu et al. 2020 (arXiv 2007.01476), where blocks of a classifier are swapped.
    """

    traits = Traits(weight=1.0, min_batch=1, single_term=True, min_cascades=2)
    network: DCCNN

    def __init__(
        self, student: DCCNN, teacher: DCCNN, alpha: float = 0.0, stage: str = "joint", weight_factor: float = 1.0
    ):
        super().__init__()
        if alpha or stage != "joint" or weight_factor != 1:
            raise InputError(
                "method 'ikd' has a single loss term: expected schedule 'joint', alpha 0 and weight_factor 1"
            )
        self.network = self.evaluated = student
        self.teacher = _frozen(teacher, student)

    def draw(self) -> list[bool]:
        """For each cascade whether it is the student's; at least one is."""
        own = torch.zeros(len(self.network.blocks), dtype=torch.bool)
        while not own.any():
            own = torch.rand(len(own)) < 0.5
        return own.tolist()

    def mixed(self) -> DCCNN:
        """A network of cascades of both, drawn anew."""
        pairs = zip(self.draw(), self.network.blocks, self.teacher.blocks)
        return DCCNN("mixed", (ours if own else theirs for own, ours, theirs in pairs), self.network.fidelity)

    def forward(self, batch: Batch) -> Loss:
        loss = F.l1_loss(self.mixed()(*batch.inputs), batch.x)
        return Loss(loss, {"reconstruction": loss})


class Imitation(Distillation):
    """A student that learns from the images alone, the true one and the teacher's, and compares no maps.

    L = (1 - alpha) |x - x_S|_1 + alpha |x_T - x_S|_1, each |.|_1 a mean over pixels and batch. A run whose alpha is 0
    takes KD-MRI's 0.5 for it (:meth:`kdrecon.runs.switches.Switches.acting_on`).

    Args:
        student, teacher: as in :class:`Distillation`.
        alpha: weight of the imitation, 0 to 1; 1 leaves the true image out.
        stage, weight_factor: as in :class:`Distillation`; without a method there is one stage, and nothing to weigh.

    Raises:
        InputError: another stage.
        ValueError: the networks do not fit each other.

    Source: KD-MRI, the imitation loss, alone as in its Fig. 3.
    """

    traits = Traits(weight=0.0, min_batch=1)

    def __init__(
        self, student: DCCNN, teacher: DCCNN, alpha: float = 0.5, stage: str = "joint", weight_factor: float = 1.0
    ):
        Objective.__init__(self)
        if stage != "joint":
            raise InputError("method 'image' compares no maps: expected schedule 'joint'")
        self.network = self.evaluated = student
        self.teacher = _frozen(teacher, student)
        self.alpha, self.reconstructs, self.compares, self.imitates = alpha, True, False, bool(alpha)
        self.layers = [], []

    def _reconstruct(self, model: DCCNN, batch: Batch, layers: list[int]) -> tuple[Tensor, list[list[Tensor]]]:
        return model(*batch.inputs), []


OBJECTIVES: dict[str, type[Interactive | Imitation]] = {
    "ikd": Interactive,
    "image": Imitation,
}  # methods that are an objective of their own; all others are a Distillation


def traits_of(method: str, kd_form: str = "paper") -> Traits:
    """What a method states of itself, whatever its objective.

    Raises:
        InputError: no such method or form.
    """
    if method in OBJECTIVES:
        return OBJECTIVES[method].traits
    chosen = get_method(method, kd_form)
    return Traits(chosen.weight, chosen.min_batch, min_cascades=chosen.min_cascades)


def distil(
    student: DCCNN, teacher: DCCNN, method: str, kd_form: str = "paper", alpha: float = 0.0, stage: str = "joint",
    weight_factor: float = 1.0,
) -> Objective:  # fmt: skip
    """The objective of a distillation method: its own in :data:`OBJECTIVES`, else :class:`Distillation`.

    Args:
        student: the network to train.
        teacher: the frozen network, as many cascades.
        method: one of :func:`kdrecon.distillation.method_keys`.
        kd_form, alpha, stage, weight_factor: see :class:`Distillation`.

    Raises:
        InputError: no such method or form, or another stage, alpha or factor for "ikd".
        ValueError: the networks do not fit each other.
    """
    check_method(method, kd_form)
    build = OBJECTIVES.get(method) or partial(Distillation, method=method, kd_form=kd_form)
    return build(student, teacher, alpha=alpha, stage=stage, weight_factor=weight_factor)


def _frozen(teacher: DCCNN, student: DCCNN) -> DCCNN:
    """The teacher without gradients, if it fits the student."""
    for name, ours, theirs in (
        ("cascades", len(student.blocks), len(teacher.blocks)),
        ("data fidelity", student.fidelity.mode, teacher.fidelity.mode),
    ):
        if ours != theirs:
            raise ValueError(f"{name} of the student: {ours}, of the teacher: {theirs}; expected the same")
    return teacher.requires_grad_(False)
