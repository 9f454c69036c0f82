import copy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from helpers import LAST_BIAS, objective, slices, weights
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from kdrecon import metrics, training
from kdrecon.errors import InputError
from kdrecon.storage import checkpoints
from kdrecon.teaching import live
from kdrecon.training import loop
from kdrecon.training.loop import fit
from kdrecon.training.recipe import Recipe

KINDS = ["supervised", "sft", "at", "fitnets", "cc", "fsp", "sp", "drawing"]
RECIPE = Recipe(epochs=2, batch_size=4, lr=1e-3, seed=0, precision="fp32")


def test_overfits_one_slice(tmp_path):
    one = slices(1)
    repeated = replace(one, labels=one.labels * 20, parts=tuple(part.repeat(20, 1, 1, 1) for part in one.parts))
    supervised = objective("supervised")
    before = training.validate(supervised, one, 1)[0]["validation_l1"]
    history = fit_in(tmp_path, supervised, repeated, Recipe(epochs=8, batch_size=1, lr=3e-3, precision="fp32"), one)
    assert history.validation_l1.min() < 0.2 * before


def fit_in(folder, objective, data, recipe, validation=None):
    return fit(objective, data, validation or data, recipe, folder, {"a": 1})


@pytest.mark.parametrize("seed", [2**50, 2**64 - 1])
def test_any_seed_of_64_bits_trains(seed, tmp_path):
    assert len(fit_in(tmp_path, objective("supervised"), slices(), replace(RECIPE, epochs=1, seed=seed))) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_interrupted_and_resumed_equals_uninterrupted(kind, tmp_path, monkeypatch):
    train, validation = slices(), slices(2, seed=1)
    recipe = Recipe(epochs=3, batch_size=4, precision="fp32")
    whole = objective(kind)
    history = fit_in(tmp_path / "whole", whole, train, recipe, validation)

    interrupted = objective(kind)
    real_validate, calls = training.validate, []

    def validate_twice(*args):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real_validate(*args)

    monkeypatch.setattr(loop, "validate", validate_twice)
    with pytest.raises(KeyboardInterrupt):
        fit_in(tmp_path / "cut", interrupted, train, recipe, validation)
    monkeypatch.setattr(loop, "validate", real_validate)
    resumed = objective(kind)
    resumed_history = fit_in(tmp_path / "cut", resumed, train, recipe, validation)
    assert torch.equal(weights(whole.network), weights(resumed.network))
    columns = [c for c in history if c != "seconds"]
    pd.testing.assert_frame_equal(history[columns], resumed_history[columns], check_exact=True)
    best = [torch.load(tmp_path / name / "best_model.pt", weights_only=True)["model"] for name in ("whole", "cut")]
    assert all(torch.equal(best[0][key], best[1][key]) for key in best[0])


def test_the_best_epoch_is_kept(tmp_path, monkeypatch):
    values = iter([0.5, 0.2, 0.9])
    monkeypatch.setattr(loop, "validate", lambda *_: ({"validation_l1": next(values)}, [np.ones((2, 8, 8))]))
    fit_in(tmp_path, objective("supervised"), slices(), Recipe(epochs=3, precision="fp32"))
    best = torch.load(tmp_path / "best_model.pt", weights_only=True)
    assert best["epoch"] == 2 and best["validation_l1"] == 0.2


def test_another_configuration_is_refused(tmp_path):
    data = slices()
    fit(objective("supervised"), data, data, RECIPE, tmp_path, {"lr": 1, "seed": 0})
    with pytest.raises(ValueError, match="lr: 1 -> 2.*delete its folder") as caught:
        fit(objective("supervised"), data, data, RECIPE, tmp_path, {"lr": 2, "seed": 0})
    assert "seed" not in str(caught.value)


def test_a_loss_that_is_not_finite_stops_and_names_the_slice(tmp_path):
    data = slices(3)
    data = replace(data, labels=[label._replace(file=Path("heart/7.h5")) for label in data.labels])
    data.x[1] = float("nan")
    with pytest.raises(FloatingPointError, match=r"the loss is nan in epoch 1 on heart/7.h5 slice 1: the last good"):
        fit_in(tmp_path, objective("supervised"), data, Recipe(epochs=1, batch_size=1, precision="fp32"))
    assert not (tmp_path / "model.pt").exists()


@pytest.mark.parametrize("kind", ["at", "fitnets", "cc", "fsp", "sp"])
def test_the_teacher_is_bit_identical_after_distillation(kind, tmp_path):
    distillation = objective(kind)
    before = copy.deepcopy(distillation.teacher.state_dict())
    student = weights(distillation.network)
    fit_in(tmp_path, distillation, slices(), RECIPE)
    assert all(torch.equal(value, before[name]) for name, value in distillation.teacher.state_dict().items())
    assert not any(p.requires_grad or p.grad is not None for p in distillation.teacher.parameters())
    assert not torch.equal(student, weights(distillation.network))


def test_teacher_maps_build_no_graph():
    distillation = objective("at")
    batch = slices().batch(torch.arange(2))
    assert not any(tap.requires_grad for cascade in distillation.teacher_maps(batch) for tap in cascade)


def test_sft_leaves_the_first_student_block_at_its_initial_weights(tmp_path):
    sft = objective("sft")
    before = copy.deepcopy(sft.network.student.state_dict())
    fit_in(tmp_path, sft, slices(), RECIPE)
    for name, value in sft.network.student.state_dict().items():
        if name.startswith("blocks.0.") or not name.endswith(LAST_BIAS):
            assert torch.equal(value, before[name]) == name.startswith("blocks.0."), name


def test_sft_is_chosen_by_the_teacher_alone():
    sft, data = objective("sft"), slices()
    with torch.no_grad():
        x = sft.network.teacher(*data.whole.inputs)
    figures, watched = training.validate(sft, data, 2)
    assert figures["validation_l1"] == pytest.approx(float((x - data.x).abs().mean()), rel=1e-6)
    target, prediction = data.x[:, 0].numpy(), x[:, 0].numpy()
    assert figures["validation_psnr"] == pytest.approx(metrics.psnr(target, prediction).mean(), rel=1e-5)
    assert figures["validation_ssim"] == pytest.approx(metrics.ssim(target, prediction).mean(), rel=1e-5)
    np.testing.assert_array_equal([pair[0] for pair in watched], target)


def test_empty_slices_are_not_watched():
    data = slices()
    data.x[0] = 0
    figures, watched = training.validate(objective("supervised"), data, 2)
    assert len(watched) == 4 and np.isfinite(list(figures.values())).all()


@pytest.mark.parametrize(("epochs", "step"), [(150, 40), (15, 4), (12, 3), (1, 1)])
def test_schedule_shrinks_with_the_run(epochs, step):
    assert Recipe(epochs=epochs).lr_step == step


def test_learning_rate_falls_by_ten_every_step(tmp_path):
    history = fit_in(tmp_path, objective("supervised"), slices(2), Recipe(epochs=4, precision="fp32"))
    assert history.lr.tolist() == pytest.approx([1e-3, 1e-4, 1e-5, 1e-6])


def test_terms_add_up_and_are_logged(tmp_path):
    history = fit_in(tmp_path, objective("at"), slices(), RECIPE)
    pd.testing.assert_series_equal(
        history.total, history.reconstruction + history.distillation, check_names=False, rtol=1e-5
    )
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "log.csv"), history, check_dtype=False)


def test_tensorboard_shows_terms_figures_and_a_panel(tmp_path):
    history = fit_in(tmp_path, objective("at"), slices(), RECIPE)
    shown = EventAccumulator(str(tmp_path / "summary")).Reload()
    assert shown.Tags()["scalars"] == list(history) and {"lr", "distillation", "validation_ssim"} <= set(history)
    for name in history:
        np.testing.assert_allclose([event.value for event in shown.Scalars(name)], history[name], rtol=1e-6)
    (panels,) = shown.Tags()["images"]
    assert [(e.step, e.width, e.height) for e in shown.Images(panels)] == [(1, 48, 48), (2, 48, 48)]


@pytest.mark.parametrize(
    ("variables", "curves"), [(("JPY_SESSION_NAME",), 4), ((), 0), (("JPY_SESSION_NAME", "TQDM_DISABLE"), 0)]
)
def test_a_curve_grows_where_a_notebook_is_watched(variables, curves, tmp_path, monkeypatch):
    for name in ("JPY_SESSION_NAME", "TQDM_DISABLE"):
        monkeypatch.delenv(name, raising=False)
    for name in variables:
        monkeypatch.setenv(name, "1")
    shown = []
    handle = SimpleNamespace(update=shown.append)
    monkeypatch.setattr(live, "display", lambda first, display_id: shown.append(first) or handle)
    fit(objective("supervised"), slices(2), slices(2), RECIPE, tmp_path, {}, listeners=[live.curve])
    assert [type(item).__name__ for item in shown] == ["HTML", "Figure", "Figure", "HTML"][:curves]
    assert not plt.get_fignums()


def test_layouts_agree(tmp_path):
    layouts = ("channels_last", "contiguous")
    totals = [fit_in(tmp_path / k, objective("at"), slices(), replace(RECIPE, layout=k)).total for k in layouts]
    np.testing.assert_allclose(*totals, rtol=1e-4)


def test_an_unknown_precision(tmp_path):
    with pytest.raises(InputError, match="precision 'fp16': expected 'auto', 'fp32' or 'bf16'"):
        fit_in(tmp_path, objective("supervised"), slices(), replace(RECIPE, precision="fp16"))


def test_another_precision_is_another_configuration(tmp_path):
    fit_in(tmp_path, objective("supervised"), slices(), RECIPE)
    with pytest.raises(InputError, match=r"another configuration \(precision: 'fp32' -> 'bf16'\)"):
        fit_in(tmp_path, objective("supervised"), slices(), replace(RECIPE, precision="bf16"))


def test_drawing_leaves_the_callers_generator_alone(tmp_path):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    fit_in(tmp_path, objective("supervised"), slices(2), RECIPE)
    trained = objective("drawing")
    torch.set_rng_state(before)
    fit_in(tmp_path / "drawing", trained, slices(2), RECIPE)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_failed_write_leaves_the_checkpoint_whole(tmp_path, monkeypatch):
    path = tmp_path / "model.pt"
    checkpoints.save_checkpoint({"epoch": 1}, path)

    def half(state, file):
        file.write(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(InputError, match="No space"):
        checkpoints.save_checkpoint({"epoch": 2}, path)
    assert torch.load(path, weights_only=True) == {"epoch": 1}
