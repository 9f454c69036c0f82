import contextlib
import copy
import signal
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
from torch import Tensor

from kdrecon import metrics, training
from kdrecon.data.slices import MemorySlices
from kdrecon.errors import InputError
from kdrecon.models.dccnn import dc_cnn
from kdrecon.physics.sampling import line_mask
from kdrecon.storage import checkpoints
from kdrecon.tasks import Reconstruction
from kdrecon.teaching import live
from kdrecon.training import loop
from kdrecon.training.loop import fit
from kdrecon.training.objectives import Loss, Supervised
from kdrecon.training.recipe import Recipe, resolve_layout, resolve_precision

KINDS = ["supervised", "sft", "at", "fitnets", "cc", "fsp", "sp", "drawing"]
RUNS = [
    *((kind, "none", "fp32") for kind in KINDS),
    ("supervised", "flips", "fp32"),
    ("sp", "flips", "fp32"),
    ("at", "none", "fp16"),
]
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


@pytest.mark.parametrize(("kind", "augment", "precision"), RUNS)
def test_interrupted_and_resumed_equals_uninterrupted(kind, augment, precision, tmp_path, monkeypatch):
    train, validation = slices(), slices(2, seed=1)
    recipe = Recipe(epochs=3, batch_size=4, precision=precision, augment=augment)
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


@pytest.mark.parametrize(
    ("precision", "device", "layout"),
    [("fp32", "cpu", "contiguous"), ("bf16", "cpu", "channels_last"), ("fp32", "cuda", "channels_last")],
)
def test_the_layout_is_that_of_the_faster_convolutions(precision, device, layout):
    assert resolve_layout("auto", precision, torch.device(device)) == layout
    assert resolve_layout("channels_last", precision, torch.device(device)) == "channels_last"
    with pytest.raises(InputError, match="layout 'blocked': expected 'auto', 'channels_last' or 'contiguous'"):
        resolve_layout("blocked", precision, torch.device(device))


@pytest.mark.parametrize(("precision", "contiguous"), [("fp32", True), ("bf16", False)])
def test_a_training_lays_its_maps_out_as_it_says(precision, contiguous, tmp_path, monkeypatch):
    trained, seen = objective("at"), []
    for conv in (network.blocks[0].convs[1] for network in (trained.network, trained.teacher)):
        conv.register_forward_hook(lambda conv, inputs, output: seen.append(output.is_contiguous()))
    fit_in(tmp_path, trained, slices(), replace(RECIPE, precision=precision))
    assert set(seen) == {contiguous}
    layout = torch.load(tmp_path / "best_model.pt", weights_only=True)["config"]["layout"]
    assert layout == ("contiguous" if contiguous else "channels_last")


def test_a_training_keeps_the_layout_it_began_with(tmp_path):
    fit_in(tmp_path, objective("at"), slices(), replace(RECIPE, layout="channels_last", epochs=1))
    fit_in(tmp_path, objective("at"), slices(), RECIPE)
    assert torch.load(tmp_path / "model.pt", weights_only=True)["config"]["layout"] == "channels_last"
    with pytest.raises(InputError, match=r"another configuration \(layout: 'channels_last' -> 'contiguous'\)"):
        fit_in(tmp_path, objective("at"), slices(), replace(RECIPE, layout="contiguous"))


def test_one_cycle_goes_up_and_then_down_to_nearly_nothing_and_resumes(tmp_path):
    recipe, rates = replace(RECIPE, epochs=10, lr_schedule="one_cycle"), []
    whole = objective("supervised")
    history = fit_in(tmp_path / "whole", whole, slices(), recipe)
    assert history.lr.argmax() == 2 and history.lr.max() == pytest.approx(1e-3, rel=0.02) and history.lr.iloc[-1] < 1e-8
    cut = objective("supervised")

    @contextlib.contextmanager
    def listener(title):
        yield lambda rows: rates.append(len(rows)) or (len(rates) == 4 and signal.raise_signal(signal.SIGINT))

    with pytest.raises(KeyboardInterrupt):
        fit(cut, slices(), slices(), recipe, tmp_path / "cut", {"a": 1}, listeners=[listener])
    resumed = objective("supervised")
    fit_in(tmp_path / "cut", resumed, slices(), recipe)
    assert rates == [1, 2, 3, 4] and torch.equal(weights(resumed.network), weights(whole.network))
    with pytest.raises(InputError, match=r"another configuration \(lr_schedule: 'one_cycle' -> 'steps'\)"):
        fit_in(tmp_path / "cut", resumed, slices(), replace(recipe, lr_schedule="steps"))


@pytest.mark.parametrize(
    ("most", "precision"), [("", "bf16"), ("AVX512_CORE_AMX", "bf16"), ("avx2", "fp32"), ("AVX512_CORE_VNNI", "fp32")]
)
def test_bf16_is_native_where_the_convolutions_may_use_it(most, precision, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", most)
    assert resolve_precision("auto", torch.device("cpu")) == precision


@pytest.mark.parametrize(("capability", "precision"), [((7, 5), "fp16"), ((6, 1), "fp32")])
def test_a_gpu_without_bf16_computes_in_fp16_where_it_has_tensor_cores(capability, precision, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert resolve_precision("auto", torch.device("cuda")) == precision


class Overflowing(Supervised):
    """A training whose first step has gradients beyond fp16."""

    def forward(self, batch):
        loss = super().forward(batch)
        self.seen = [*getattr(self, "seen", []), weights(self.network)]
        return Loss(
            loss.total * (torch.inf if len(self.seen) == 1 else 1.0) if self.training else loss.total, loss.terms
        )


def test_a_step_in_fp16_whose_gradients_overflow_is_left_out(tmp_path):
    trained = Overflowing(dc_cnn("D3C1"))
    training = loop.Training(trained, slices(), replace(RECIPE, precision="fp16"), tmp_path, {})
    for indices in torch.arange(4).split(2):
        training.step(indices, slices().batch(indices))
    assert torch.equal(*trained.seen) and not torch.equal(trained.seen[1], weights(trained.network))
    assert training.scaler.get_scale() == 2.0**15


def test_an_unknown_precision(tmp_path):
    with pytest.raises(InputError, match="precision 'fp8': expected 'auto', 'fp32', 'bf16' or 'fp16'"):
        fit_in(tmp_path, objective("supervised"), slices(), replace(RECIPE, precision="fp8"))


def test_another_precision_is_another_configuration(tmp_path):
    fit_in(tmp_path, objective("supervised"), slices(), RECIPE)
    with pytest.raises(InputError, match=r"another configuration \(precision: 'fp32' -> 'bf16'\)"):
        fit_in(tmp_path, objective("supervised"), slices(), replace(RECIPE, precision="bf16"))


class Watching(Supervised):
    """A supervised training that keeps what it saw, by epoch."""

    def __init__(self):
        super().__init__(dc_cnn("D2C1"))
        self.seen: list[list] = [[]]

    def forward(self, batch):
        self.seen[-1].append(batch)
        return super().forward(batch)

    def train(self, mode: bool = True):
        self.seen += [[]] if mode else []
        return super().train(mode)


def seen(folder, recipe, shape=(12, 12)) -> tuple[MemorySlices, list[Tensor]]:
    """The slices of a training, and the images (N, 1, H, W) that it saw, by epoch and in the order of slices."""
    mask = line_mask(shape, "4x")
    x = torch.rand(8, 1, *shape, generator=torch.Generator().manual_seed(0))
    data = MemorySlices.of(x, Reconstruction(mask), slices(8).labels)
    watching, epochs = Watching(), []
    fit_in(folder, watching, data, recipe)
    for number, batches in enumerate(batches for batches in watching.seen if len(batches) > 1):
        order = torch.randperm(8, generator=torch.Generator().manual_seed(recipe.seed * 1_000_003 + number))
        for batch in batches:
            for part, expected in zip(batch.inputs, data.task.observe(batch.x)):
                assert torch.equal(part, expected)
            assert batch.mask is mask
        epochs.append(torch.cat([batch.x for batch in batches])[order.argsort()])
    return data, epochs


def positions(image) -> list[Tensor]:
    """A square image (1, H, W) in the eight positions of a square, another one in four: quarter turns, then mirrored."""
    turns = range(4) if image.shape[-1] == image.shape[-2] else (0, 2)
    return [side for k in turns for side in (image.rot90(k, (-2, -1)), image.rot90(k, (-2, -1)).flip(-1))]


@pytest.mark.parametrize(("shape", "number"), [((12, 12), 8), ((12, 9), 4)])
def test_flips_show_each_slice_in_every_position_and_observe_it_there(shape, number, tmp_path):
    recipe = Recipe(epochs=12, batch_size=3, precision="fp32", augment="flips")
    data, epochs = seen(tmp_path, recipe, shape)
    assert len(epochs) == 12
    counts = torch.zeros(number)
    for x in epochs:
        for image, shown in zip(data.x, x):
            (position,) = [i for i, turned in enumerate(positions(image)) if torch.equal(turned, shown)]
            counts[position] += 1
    assert counts.sum() == 96 and counts.min() >= 48 / number  # half of what would be even
    assert not torch.equal(epochs[0], epochs[1])


def test_flips_do_not_depend_on_batches_and_depend_on_the_seed(tmp_path):
    recipe = Recipe(epochs=2, batch_size=3, precision="fp32", augment="flips")
    runs = [recipe, replace(recipe, batch_size=5), replace(recipe, seed=1)]
    one, other, third = (torch.cat(seen(tmp_path / str(k), run)[1]) for k, run in enumerate(runs))
    assert torch.equal(one, other) and not torch.equal(one, third)


def test_without_augmentation_slices_stay_as_they_are(tmp_path):
    data, epochs = seen(tmp_path, Recipe(epochs=2, batch_size=3, precision="fp32"))
    assert [torch.equal(x, data.x) for x in epochs] == [True, True]


def test_validation_is_never_augmented(tmp_path, monkeypatch):
    real, validated = loop.validate, []
    monkeypatch.setattr(loop, "validate", lambda *args: validated.append(real(*args)) or validated[-1])
    fit_in(tmp_path, objective("supervised"), data := slices(), replace(RECIPE, augment="flips"))
    for _, watched in validated:
        np.testing.assert_array_equal([target for target, _ in watched], data.x[:, 0])


def test_a_training_of_a_version_without_augmentation_goes_on(tmp_path):
    fit_in(tmp_path, objective("supervised"), slices(), RECIPE)
    state = torch.load(tmp_path / "model.pt", weights_only=True)
    assert state["config"].pop("augment") == "none"
    torch.save(state, tmp_path / "model.pt")
    assert len(fit_in(tmp_path, objective("supervised"), slices(), RECIPE)) == 2
    with pytest.raises(InputError, match=r"another configuration \(augment: 'none' -> 'flips'\)"):
        fit_in(tmp_path, objective("supervised"), slices(), replace(RECIPE, augment="flips"))


def test_a_training_that_does_not_know_a_switch_of_later_goes_on_with_its_default(tmp_path):
    train = lambda **config: loop.fit(objective("supervised"), slices(), slices(), RECIPE, tmp_path, config)  # noqa: E731
    train()
    assert len(train(train_slices=0)) == 2
    with pytest.raises(InputError, match=r"another configuration \(train_slices: 0 -> 12\)"):
        train(train_slices=12)


def test_an_unknown_augmentation(tmp_path):
    with pytest.raises(InputError, match="augment 'turns': expected 'none' or 'flips'"):
        fit_in(tmp_path, objective("supervised"), slices(), replace(RECIPE, augment="turns"))


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
