"""Distillation methods in a training: own parts, preparation, resuming."""

import pytest
import torch
from helpers import LAST_BIAS, maps, method, objective, slices, weights

from kdrecon.distillation import method_keys
from kdrecon.models.blocks import CNNBlock
from kdrecon.models.dccnn import DCCNN, dc_cnn
from kdrecon.physics.fidelity import DataFidelity
from kdrecon.training.loop import fit
from kdrecon.training.objectives import distil
from kdrecon.training.recipe import Recipe

RECIPE = Recipe(epochs=2, batch_size=4, precision="fp32")  # five slices: the last batch of an epoch is one slice


@pytest.mark.parametrize("key", method_keys())
def test_a_training_moves_the_student_and_own_parts_alone(key, tmp_path):
    made, train = objective(key), slices()
    before = {name: value.clone() for name, value in made.state_dict().items()}
    history = fit(made, train, train, RECIPE, tmp_path, {"a": 1})
    moved = {name for name, value in before.items() if not torch.equal(value, made.state_dict()[name])}
    frozen = ("teacher.", "method.paraphrasers", "method.decoders", "sigma")
    assert {name for name in before if not name.startswith(frozen) and not name.endswith(LAST_BIAS)} <= moved
    assert not any(name.startswith("teacher.") for name in moved)
    assert history.notna().all(axis=None) and not any(p.grad is not None for p in made.teacher.parameters())
    best = torch.load(tmp_path / "best_model.pt", weights_only=True)["model"]
    assert best.keys() == dc_cnn("D3C5").state_dict().keys()


@pytest.mark.parametrize("key", method_keys())
def test_a_teacher_whose_maps_are_dead_gives_finite_losses(key):
    made, batch = objective(key), slices().batch(torch.arange(4))
    for block in made.teacher.blocks:
        for conv in block.convs:
            torch.nn.init.zeros_(conv.weight)
            torch.nn.init.constant_(conv.bias, -1.0)
    made.prepare(batch)
    loss = made(batch)
    loss.total.backward()
    assert loss.total.isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in made.network.parameters())


@pytest.mark.parametrize("key", ["fitnets", "ft", "vid", "ah"])
def test_own_parts_are_as_wide_as_the_maps(key):
    blocks = ([CNNBlock(depth, width=8) for _ in range(2)] for depth in (3, 5))
    made, batch = distil(*(DCCNN("narrow", b, DataFidelity()) for b in blocks), key), slices().batch(torch.arange(3))
    made.prepare(batch)
    assert made(batch).terms["distillation"].isfinite()


@pytest.mark.parametrize("key", ["ft", "vid", "ah"])
def test_interrupted_and_resumed_equals_uninterrupted(key, tmp_path, monkeypatch):
    monkeypatch.setattr(Recipe, "lr_step", 1)

    def run(folder, epochs):
        made = objective(key)
        fit(made, slices(), slices(2, seed=1), Recipe(epochs, 2, precision="fp32"), tmp_path / folder, {"a": 1})
        return made

    whole = run("whole", 2)
    run("cut", 1)
    resumed = run("cut", 2)
    assert torch.equal(weights(whole.network), weights(resumed.network))
    assert torch.equal(weights(whole.method), weights(resumed.method))


def test_an_attentive_hint_trusts_the_teacher_as_far_as_its_images_are_good():
    """From 1, for the slice that the teacher does best, to 0, for the one that it does worst."""
    made, train = objective("ah"), slices()
    made.prepare(train.batch(torch.arange(2)), train.batches(2))
    with torch.no_grad():
        errors = (made.teacher(*train.whole.inputs) - train.x).square().mean((1, 2, 3))
        by_hand = (errors.max() - errors) / (errors.max() - errors.min())
        confidence = made.ask(train.whole)[-1]
        torch.testing.assert_close(confidence, by_hand)
        hints = [float(made(train.batch(torch.tensor([i]))).terms["distillation"]) for i in range(len(train))]
    assert (min(by_hand), max(by_hand)) == (0, 1)
    assert min(hints) == hints[by_hand.argmin()] < 1e-4 * max(hints)


# ---- FT's paraphrasers, which learn before the student ----


def reconstruction_error(ft, teachers) -> float:
    """Mean squared error of the autoencoders over all cascades."""
    parts = zip(ft.paraphrasers, ft.decoders, teachers)
    return float(torch.stack([(d(p(t)) - t).square().mean() for p, d, t in parts]).mean())


def redundant_maps(seed):
    """Maps whose four channels are two patterns and their opposites: half as many can say the same."""
    return [torch.cat([t, -t], dim=1) for t in maps("ft", 2, 2, 9, 9, seed=seed)]


def test_paraphrasers_learn_to_say_what_the_teacher_says():
    ft = method("ft")
    before = reconstruction_error(ft, redundant_maps(0))
    ft.prepare(redundant_maps(seed) for seed in range(1, 60))
    assert reconstruction_error(ft, redundant_maps(0)) < 0.8 * before
    assert not any(
        p.requires_grad or p.grad is not None for p in [*ft.paraphrasers.parameters(), *ft.decoders.parameters()]
    )
    assert all(p.requires_grad for p in ft.translators.parameters())


def test_preparation_is_repeatable():
    made = [method("ft") for _ in range(2)]
    for ft in made:
        torch.rand(3)
        ft.prepare(redundant_maps(seed) for seed in range(3))
    assert torch.equal(*(weights(ft) for ft in made))


def test_preparation_sees_every_slice_once(monkeypatch):
    made, train = objective("ft"), slices()
    seen = []
    monkeypatch.setattr(made.method, "prepare", lambda teachers: seen.extend(len(maps[0]) for maps in teachers))
    first = train.batch(torch.arange(2))
    made.prepare(first, train.batches(2))
    assert seen == [2, 2, 1]
    seen.clear()
    made.prepare(first)  # as a notebook does that wants the size of the loss
    assert seen == [2]


def test_paraphrasers_see_scaled_maps(monkeypatch):
    made, train = objective("ft"), slices()
    deviations = []
    monkeypatch.setattr(
        made.method, "prepare", lambda batches: deviations.extend(float(m.std()) for b in batches for m in b)
    )
    made.prepare(train.batch(torch.arange(2)))
    assert deviations == pytest.approx([1] * 5, rel=1e-4)
