"""What trainings cost, in multiply-adds.

>>> from kdrecon.runs.costs import behind, training_cost
>>> from kdrecon.runs.experiment import Experiment
>>> from kdrecon.runs.parameters import Parameters
>>> parameters = Parameters(epochs=50, preset="paper")
>>> alone, distilled = (Experiment.named(parameters, 120, name) for name in ("student", "kd-at"))
>>> round(training_cost(behind(distilled)) / training_cost([alone]), 2)
4.99
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache
from typing import cast

import torch
from torch.utils.flop_counter import FlopCounterMode

from kdrecon.models.dccnn import DCCNN
from kdrecon.runs.experiment import Experiment, sides
from kdrecon.runs.networks import build
from kdrecon.tasks import Batch, Reconstruction
from kdrecon.training.objectives import Distillation, Objective

ROUNDING = 1e-9  # of a quotient of sums
SLICES, LARGEST = (
    2,
    96,
)  # of the batch on which a step is counted; of larger images a corner, whose borders cost a little more


def behind(experiment: Experiment) -> set[Experiment]:
    """The trainings behind the weights of a network: its own, its teacher's, and those that its first weights come from."""
    return {experiment}.union(*map(behind, experiment.needs()))


def training_cost(experiments: Iterable[Experiment]) -> float:
    """Multiply-adds of trainings, for each of the slices that they train on.

    Counted are convolutions and matrix products of all steps, forwards and backwards. A frozen teacher is asked once a
    slice where the slices stay as they are, and at every step where they are augmented. What a method trains before the
    first step (FT's factors) is left out.
    """
    return sum(e.epochs * step + asked for e in experiments for step, asked in [_own(e)])


def epochs_of_cost(distilled: Experiment, control: Experiment) -> int:
    """Epochs of a student alone that cost as much as all trainings behind a distilled one, rounded up."""
    return math.ceil(training_cost(behind(distilled)) / training_cost([replace(control, epochs=1)]) - ROUNDING)


def _own(e: Experiment) -> tuple[float, float]:
    """Multiply-adds a slice: of an epoch, and once."""
    alike = replace(e, dataset="", acceleration="", epochs=1, batch_size=1, lr=0.0, seed=0, teacher_origin="")
    return _counted(replace(alike, init="random", precision="fp32"))


@cache
def _counted(e: Experiment) -> tuple[float, float]:
    teacher = cast(DCCNN, build(e.needs()[0]).evaluated) if e.method else None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        stages = [_stage(build(e, teacher, stage=stage), _batch(e), e.augment == "none") for stage in e.stages]
    return sum(epoch for epoch, _ in stages), sum(once for _, once in stages)


def _stage(objective: Objective, batch: Batch, kept: bool) -> tuple[float, float]:
    objective.prepare(batch)
    if not (kept and isinstance(objective, Distillation) and objective.listens):
        return _multiply_adds(lambda: objective(batch).total.backward()), 0.0
    said = objective.ask(batch)
    epoch = _multiply_adds(lambda: objective(batch, said).total.backward())
    return epoch, _multiply_adds(lambda: objective.ask(batch))


def _multiply_adds(call: Callable[[], object]) -> float:
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops() / 2 / SLICES


def _batch(e: Experiment) -> Batch:
    height, width = (min(side, LARGEST) for side in sides(e.resolution))
    task = Reconstruction((torch.arange(height) % 4 == 0)[:, None].expand(height, width))
    x = torch.rand(SLICES, 1, height, width, generator=torch.Generator().manual_seed(0))
    return task.batch(x, *task.observe(x))
