"""The slices of a run: its three splits, on its device, and who of them reports.

>>> from kdrecon.runs.data import open_splits
>>> from kdrecon.runs.parameters import Parameters
>>> splits = open_splits(Parameters(dataset="sample", resolution=60))
>>> len(splits.train), splits.reporting, splits.mask.shape
(48, 'test', torch.Size([60, 60]))
"""

from typing import NamedTuple

import torch
from torch import Tensor

from kdrecon.data.slices import Slices
from kdrecon.data.splits import Split, load_split
from kdrecon.errors import InputError
from kdrecon.metrics import SMALLEST
from kdrecon.runs.parameters import Parameters
from kdrecon.storage.places import project_root
from kdrecon.tasks import Reconstruction


class Splits(NamedTuple):
    """The data of a run; without a test split half of the validation people stand in for it, or all of them."""

    train: Slices
    validation: Slices
    test: Slices
    reporting: str  # name of the split that test holds
    mask: Tensor  # (H, W), of all of them


def open_splits(parameters: Parameters, memory_limit: int | None = None, device: torch.device | None = None) -> Splits:
    """The slices that a run trains on, chooses its best epochs by, and reports.

    Args:
        parameters: data set, acceleration, resolution, and the switches mask_type, train_slices and selection.
        memory_limit: bytes that a split may take up in memory before it is streamed from its files instead.
        device: where they are given out; by default the processor.

    Raises:
        InputError: a split cannot be read, holds too few slices, other masks than the others, or images too small.
    """
    p, switches = parameters, parameters.chosen
    root = p.data_root and str(project_root() / p.data_root)

    def split(name: str) -> Split:
        return Split(p.dataset, name, p.acceleration, p.resolution, data_root=root, mask_type=switches.mask_type)

    reporting = "test" if split("test").files else "validation"
    train, validation, *tested = (
        load_split(split(name), limit=memory_limit, scored=name == reporting).to(device or torch.device("cpu"))
        for name in dict.fromkeys(("train", "validation", reporting))
    )
    if (wanted := switches.train_slices) > len(train):
        raise InputError(
            f"switch train_slices = {wanted}: expected at most {len(train)}, the training slices of {p.dataset!r}; "
            "0 takes all"
        )
    train = train.subset(wanted) if wanted else train
    validation, test = (validation, *tested) if tested else _halved(validation, switches.selection)
    mask, *others = (s.task.mask for s in (train, validation, test) if isinstance(s.task, Reconstruction))
    if not all(torch.equal(mask, other) for other in others):
        raise InputError(
            f"the splits of {p.dataset!r} carry different masks: expected one mask; prepare the data set anew"
        )
    if min(shape := tuple(mask.shape)) < SMALLEST:
        raise InputError(
            f"images of {shape[0]} x {shape[1]}: expected at least {SMALLEST} x {SMALLEST}, which the metric vif needs; "
            "raise resolution, or take larger images"
        )
    return Splits(train, validation, test, reporting, mask)


def _halved(slices: Slices, selection: str) -> tuple[Slices, Slices]:
    """Of validation slices those that choose the best epoch and those that report it: every second person each."""
    people = sorted(set(slices.subject))
    if selection == "paper" or len(people) < 2:
        return slices, slices
    return slices.of_subjects(people[1::2]), slices.of_subjects(people[::2])
