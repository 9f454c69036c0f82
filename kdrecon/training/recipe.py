"""How long, how fast and in which arithmetic a network is trained.

>>> from kdrecon.training.recipe import Recipe
>>> Recipe().lr_step, Recipe(epochs=15).lr_step
(40, 4)
"""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kdrecon.choices import AUGMENTATIONS, LR_SCHEDULES
from kdrecon.errors import InputError, shown

if TYPE_CHECKING:
    import torch

PRECISIONS = ("fp32", "bf16", "fp16")
LAYOUTS = ("channels_last", "contiguous")
TENSOR_CORES = 7, 0  # compute capability of the first GPUs that have them
JOBS = "KDRECON_JOBS"  # environment variable: the trainings side by side where nothing else is said
UNKNOWN_BEFORE = {  # to older versions, whose records and checkpoints mean these values
    "augment": "none", "lr_schedule": "steps", "weight_factor": 1.0, "teacher_epochs": 0, "train_slices": 0,
    "selection": "halves",
}  # fmt: skip
AT_ONCE = 5  # trainings by default at the most, as many as the course distils with one call


@dataclass(frozen=True)
class Recipe:
    """How long and how fast to train: Adam, learning rate divided by 10 every 40 of 150 epochs.

    A shorter run shortens the schedule in proportion: step = max(1, round(40 epochs / 150)). Epochs and learning rate are
    those of SFT-KD-Recon; schedule and batch size those of the code released with it.

    Attributes:
        precision: of the convolutions, see :func:`resolve_precision`.
        layout: of feature maps in memory, see :func:`resolve_layout`; results agree up to rounding.
        lr_schedule: "steps" as above, or "one_cycle": up from lr / 25 to lr in the first 30 per cent of the steps, then
            down to nearly nothing, along cosines (Smith & Topin 2018), which makes more of few epochs.
        augment: how a training slice changes from epoch to epoch, "none" (the papers) or "flips"
            (:class:`kdrecon.training.augmentation.Flips`).
    """

    epochs: int = 150
    batch_size: int = 4
    lr: float = 1e-3
    seed: int = 0
    precision: str = "auto"
    layout: str = "auto"
    augment: str = "none"
    lr_schedule: str = "steps"

    @property
    def lr_step(self) -> int:
        """Epochs after which the learning rate is divided by 10."""
        return max(1, round(40 * self.epochs / 150))

    def scheduler(self, optimiser: "torch.optim.Optimizer", slices: int) -> "torch.optim.lr_scheduler.LRScheduler":
        """The course of the learning rate over the epochs, or with one_cycle over the steps, of so many slices."""
        from torch.optim.lr_scheduler import OneCycleLR, StepLR

        if self.lr_schedule == "steps":
            return StepLR(optimiser, self.lr_step, gamma=0.1)
        steps = self.epochs * -(-slices // self.batch_size)
        return OneCycleLR(
            optimiser, self.lr, steps + 1, cycle_momentum=False
        )  # one more is asked for, after the last step

    @property
    def augmented(self) -> bool:
        """Whether a slice differs from epoch to epoch, so that nothing computed of it may be kept for the next one."""
        return self.augment != "none"


def check_choices(augment: str, lr_schedule: str) -> None:
    """Raise InputError for an augmentation or a schedule of the learning rate that there is not."""
    chosen = {"augment": (augment, AUGMENTATIONS), "lr_schedule": (lr_schedule, LR_SCHEDULES)}
    for name, (value, known) in chosen.items():
        if value not in known:
            raise InputError(f"{name} {shown(value)}: expected {' or '.join(map(repr, known))}")


def check_precision(precision: str) -> None:
    """Raise InputError for a precision that :func:`resolve_precision` does not know."""
    if precision not in ("auto", *PRECISIONS):
        raise InputError(f"precision {shown(precision)}: expected 'auto', 'fp32', 'bf16' or 'fp16'")


def resolve_precision(precision: str, device: "torch.device") -> str:
    """The precision, "fp32", "bf16" or "fp16": "auto" takes bf16 where the hardware multiplies bf16 matrices natively.

    A GPU that multiplies fp16 alone, as a T4 does, takes that, with the loss scaled so that small gradients are not lost.
    ONEDNN_MAX_CPU_ISA=AVX2 makes a processor one that has no bf16. Only the convolutions of the training steps run in 16
    bits; weights, data fidelity, losses and every evaluation stay in fp32.

    Raises:
        InputError: precision is not "auto", "fp32", "bf16" or "fp16".
    """
    import torch

    check_precision(precision)
    if precision != "auto":
        return precision
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16"
        return "fp16" if torch.cuda.get_device_capability(device) >= TENSOR_CORES else "fp32"
    units, most = torch.cpu.get_capabilities(), os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()
    native = units.get("avx512_bf16") or units.get("amx_bf16")
    taken = not most or any(name in most for name in ("BF16", "FP16", "AMX", "AVX10", "DEFAULT", "ALL"))
    return "bf16" if device.type == "cpu" and native and taken else "fp32"


def resolve_layout(layout: str, precision: str, device: "torch.device") -> str:
    """The layout, "channels_last" or "contiguous": "auto" takes the one whose convolutions are faster.

    In fp32 on a CPU that is contiguous: without AVX-512 the gradient of the weights takes half as long as in
    channels-last, with it as long (benchmarks/training.py). In 16 bits, and on a GPU, channels-last is faster.

    Raises:
        InputError: layout is not "auto", "channels_last" or "contiguous".
    """
    if layout not in ("auto", *LAYOUTS):
        raise InputError(f"layout {shown(layout)}: expected 'auto', 'channels_last' or 'contiguous'")
    if layout != "auto":
        return layout
    return "contiguous" if (precision, device.type) == ("fp32", "cpu") else "channels_last"


def check_jobs(jobs: int | str, name: str) -> int:
    """The number of trainings side by side that a text or a number says, or InputError."""
    try:
        if (count := int(jobs)) < 1:
            raise ValueError
    except ValueError:
        raise InputError(f"{name} = {shown(jobs)}: expected how many trainings run side by side, 1 or more") from None
    return count


def resolve_jobs(jobs: int | None, device: "torch.device") -> int:
    """How many trainings run side by side on the device at the most.

    On a GPU it is one. On a processor it is what is said here, else in the environment variable KDRECON_JOBS, else the number
    of cores, at most 5. Cores are the threads that PyTorch takes, OMP_NUM_THREADS where it is set.

    Raises:
        InputError: a number below 1, or none.
    """
    import torch

    if device.type != "cpu":
        return 1
    if jobs is None and (said := os.environ.get(JOBS)):
        return check_jobs(said, JOBS)
    return min(torch.get_num_threads(), AT_ONCE) if jobs is None else check_jobs(jobs, "jobs")
