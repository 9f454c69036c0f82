"""Student-friendly training (SFT) of a teacher: it learns together with unfolded student branches.

>>> import torch
>>> from kdrecon.models.dccnn import dc_cnn
>>> from kdrecon.models.sft import SFT
>>> from kdrecon.physics.sampling import mask_for, undersample
>>> mask = mask_for("mrbrain", "4x", (64, 64))
>>> x_u, y = undersample(torch.rand(1, 1, 64, 64), mask)
>>> x_teacher, x_branches = SFT(dc_cnn("D5C5"), dc_cnn("D3C5"))(x_u, y, mask)
>>> x_teacher.shape, x_branches.shape
(torch.Size([1, 1, 64, 64]), torch.Size([4, 1, 1, 64, 64]))
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdrecon.choices import IMITATIONS, SFT_TERMS
from kdrecon.models.architectures import FITTING, fits
from kdrecon.models.dccnn import DCCNN, VDSR


class SFTLoss(NamedTuple):
    """The three terms of the SFT loss and their sum, scalars."""

    teacher: Tensor
    student: Tensor
    imitation: Tensor
    total: Tensor


class SFT(nn.Module):
    """Teacher blocks T1..TN with student branches: branch i leaves after T_i and runs through S_{i+1}..S_N.

    At cascade k all live branches pass the same student block S_k, so they travel as one batch, and the teacher's
    output joins them after each cascade: N - 1 student block calls instead of N (N - 1) / 2. S1 takes no part.

    In a VDSR the blocks S are the student's convolutions and T groups of the teacher's; feature maps are handed over.

    Args:
        teacher: the network that is trained to be student-friendly, N cascades; or a VDSR.
        student: the network whose blocks form the branches, as many cascades and the same data fidelity; or a VDSR of N
            convolutions, no more than the teacher's.

    Raises:
        ValueError: the networks do not fit each other (:data:`kdrecon.models.architectures.FITTING`), or their data-fidelity
            modes differ.

    Source: SFT-KD-Recon, section 3 and Fig. 2. The paper does not say how it unfolds a VDSR; for V12 and V4 this is what
    the first author's public folders do.
    """

    def __init__(self, teacher: DCCNN, student: DCCNN):
        super().__init__()
        vdsr, counts = isinstance(teacher, VDSR), (len(teacher.parts), len(student.parts))
        if isinstance(student, VDSR) != vdsr or not fits(*counts, vdsr):
            kind = "convolutions" if vdsr else "cascades"
            raise ValueError(
                f"teacher {teacher.name} has {counts[0]} {kind}, student {student.name}: expected {FITTING}"
            )
        if teacher.fidelity.mode != student.fidelity.mode:
            raise ValueError(
                f"data fidelity {teacher.fidelity.mode!r} of the teacher, {student.fidelity.mode!r} of the student: "
                "expected the same mode"
            )
        self.teacher, self.student = teacher, student

    def forward(self, x_u: Tensor, y: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstructions of the teacher and of all branches.

        Args:
            x_u: zero-filled images (B, 1, H, W), float32.
            y: measured k-space (B, 1, H, W), complex64.
            mask: (H, W), bool.

        Returns:
            x_teacher (B, 1, H, W) and x_branches (N - 1, B, 1, H, W), branch 1 (the longest) first.
        """
        fidelity = self.teacher.fidelity
        measured = fidelity.measure(y, mask)
        n, batch = len(self.student.parts), len(x_u)
        x_teacher = self.teacher.part(0, n, x_u, x_u, measured)
        branches = x_teacher
        for k in range(1, n):
            shared = fidelity.repeat(measured, len(branches) // batch)
            branches = self.student.part(k, n, branches, x_u, shared)
            x_teacher = self.teacher.part(k, n, x_teacher, x_u, measured)
            if k < n - 1:
                branches = torch.cat([branches, x_teacher])
        return x_teacher, branches.unflatten(0, (n - 1, batch))


def sft_loss(x: Tensor, x_teacher: Tensor, x_branches: Tensor, imitation: str = "paper", terms: str = "all") -> SFTLoss:
    """L_SFT = L_T + L_S + L_imit, each |.|_1 a mean over pixels and batch, with unit weights.

    L_T = |x - x_T|_1, L_S = mean over branches of |x - x_S,i|_1, L_imit = mean over branches of |x_T - x_S,i|_1.
    Nothing is detached: the imitation term moves teacher and branches towards each other.

    Args:
        x: fully sampled images (B, 1, H, W).
        x_teacher: (B, 1, H, W).
        x_branches: (N - 1, B, 1, H, W).
        imitation: "paper"; or "released", where the mean is divided once more by the number of elements B H W, as
            the released code does, which leaves the term without influence.
        terms: "all"; for an ablation "without_student" or "without_imitation", where that term is zero.

    Returns:
        the terms teacher, student, imitation and their total.

    Raises:
        ValueError: unknown imitation form or terms.

    Source: SFT-KD-Recon, eqs. 3 to 5; their sum stands in Algorithm 1.
    """
    if imitation not in IMITATIONS:
        raise ValueError(f"imitation {imitation!r} is unknown: expected 'paper' or 'released'")
    if terms not in SFT_TERMS:
        raise ValueError(f"terms {terms!r} are unknown: expected one of {', '.join(SFT_TERMS)}")
    teacher = F.l1_loss(x_teacher, x)
    student = (x_branches - x).abs().mean() * (terms != "without_student")
    imit = (x_branches - x_teacher).abs().mean() * (terms != "without_imitation")
    if imitation == "released":
        imit = imit / x.numel()
    return SFTLoss(teacher, student, imit, teacher + student + imit)
