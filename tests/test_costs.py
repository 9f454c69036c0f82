"""What trainings cost, against counts by hand."""

from dataclasses import replace

import pytest
from helpers import PAPER

from kdrecon.distillation.registry import method_keys
from kdrecon.runs.costs import behind, epochs_of_cost, training_cost
from kdrecon.runs.experiment import Experiment
from kdrecon.runs.parameters import Parameters

SIDE = 96


def named(name: str, **parameters) -> Experiment:
    return Experiment.named(Parameters(**(PAPER | {"epochs": 10, "batch_size": 3} | parameters)), SIDE, name)


def forward(convolutions: int, cascades: int = 5) -> float:
    """Multiply-adds of the convolutions of a DdCc: each block pads the image once and then shrinks it, layer by layer."""
    widths = [1, *[32] * (convolutions - 1), 1]
    sides = [SIDE + 2 * (convolutions - 1 - layer) for layer in range(convolutions)]
    return cascades * sum(9 * a * b * side**2 for a, b, side in zip(widths, widths[1:], sides))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("teacher", 3 * forward(5)),
        ("student", 3 * forward(3)),
        ("sft", 3 * (forward(5) + 2 * forward(3))),  # the branches hold 1 + 2 + 3 + 4 student blocks
        ("kd-at", 3 * forward(3) + forward(5)),
    ],
)
def test_an_epoch_costs_what_its_convolutions_cost(name, expected):
    """Products for data fidelity, and what a method computes of maps, come on top: a few per cent."""
    found = training_cost([replace(named(name, augment="flips"), epochs=1)])
    assert 0.95 * expected < found < 1.06 * expected


def test_a_teacher_that_is_asked_once_costs_one_forward_pass_a_slice():
    kept, asked = (training_cost([named("kd-at", augment=augment)]) for augment in ("none", "flips"))
    once = (asked - kept) / (10 - 1)
    assert 0.95 * forward(5) < once < 1.06 * forward(5)


def test_what_lies_behind_a_student_is_counted_once():
    sft = named("sftkd-at", switches={"student_init": "sft"})
    assert {e.kind for e in behind(sft)} == {"sftkd-at", "sft"}
    third = named("kd-at", switches={"student_init": "sft_trained"})
    assert {e.kind for e in behind(third)} == {"kd-at", "teacher", "sft-student", "sft"}


@pytest.mark.parametrize("method", method_keys())
def test_every_method_has_a_cost(method):
    distilled = named(f"kd-{method}")
    alone = named("student")
    assert training_cost([distilled]) >= training_cost([alone]) * 0.99
    assert 30 < epochs_of_cost(distilled, alone) < 60


def test_both_stages_of_a_distillation_count():
    joint, staged = (training_cost([named("kd-at", switches={"schedule": s})]) for s in ("joint", "two_stage"))
    assert staged > 1.7 * joint
