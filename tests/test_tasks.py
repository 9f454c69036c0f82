"""Another task than reconstruction goes through training, evaluation and cost, which know of none."""

from dataclasses import replace
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from helpers import slices
from torch import Tensor, nn
from torch.nn import functional as F

from kdrecon import results
from kdrecon.choices import BASELINES
from kdrecon.data.slices import MemorySlices
from kdrecon.tasks import Baseline, Reconstruction, ZeroFilled
from kdrecon.training.loop import fit
from kdrecon.training.objectives import Supervised
from kdrecon.training.recipe import Recipe


class Nearest(Baseline):
    name = "nearest"

    def forward(self, small: Tensor) -> Tensor:
        return F.interpolate(small, scale_factor=2)


class Pair(NamedTuple):
    x: Tensor
    small: Tensor

    @property
    def inputs(self) -> tuple[Tensor]:
        return (self.small,)


class Enlarging:
    """Images of half the resolution are to be enlarged: a network takes one image, and there is no mask."""

    baseline: ClassVar[type[Baseline]] = Nearest

    def observe(self, x: Tensor) -> tuple[Tensor]:
        return (F.avg_pool2d(x, 2),)

    def batch(self, x: Tensor, *observed: Tensor) -> Pair:
        return Pair(x, *observed)

    def to(self, device: torch.device) -> "Enlarging":
        return self


class Enlarger(Nearest):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, small: Tensor) -> Tensor:
        return super().forward(small) + self.conv(super().forward(small))


def test_another_task_trains_and_is_evaluated(tmp_path):
    torch.manual_seed(0)
    images = slices(6, size=32)
    data = MemorySlices.of(images.x, Enlarging(), images.labels)
    network = Enlarger()
    history = fit(Supervised(network), data, data, Recipe(epochs=2, batch_size=2, lr=1e-3), tmp_path, {})
    assert len(history) == 2 and history.validation_l1.iloc[1] < history.validation_l1.iloc[0]
    target = data.x[:, 0].numpy()
    for model in (network, data.task.baseline()):
        output = results.reconstruct(model, data)
        np.testing.assert_array_equal(output, model(*data.whole.inputs)[:, 0].detach())
        assert np.isfinite(results.score(target, output)).all(axis=None)
    cost = results.inference_cost({"enlarger": network}, data.task, (32, 32), torch.device("cpu"), batches=(1,))
    assert cost["multiply-adds (G)"].iloc[0] * 1e9 == 9 * 32 * 32
    assert data.subset(2).batch(torch.tensor([1])).small.shape == (1, 1, 16, 16)


def test_reconstruction_is_a_task_whose_baseline_is_told_in_the_tables():
    data = slices(3)
    assert isinstance(data.task, Reconstruction) and data.task.baseline is ZeroFilled and ZeroFilled.name in BASELINES
    for batch in (data.whole, replace(data).batch(torch.arange(3))):
        x, x_u, y, mask = batch
        assert x is batch.x and batch.inputs[0] is x_u and batch.inputs[1] is y and batch.inputs[2] is mask
        assert torch.equal(data.task.baseline()(*batch.inputs), x_u)
