"""What a distillation needs of its teacher, kept for all slices: the same losses and gradients, and no teacher in a step."""

from dataclasses import replace

import pytest
import torch
from helpers import interrupted, slices, weights

from kdrecon.distillation import FORMS, METHODS
from kdrecon.models.dccnn import dc_cnn
from kdrecon.training import loop
from kdrecon.training.loop import ASKED, KEPT, Training, fit
from kdrecon.training.objectives import Distillation, Supervised, distil
from kdrecon.training.recipe import Recipe
from kdrecon.training.targets import keep

RECIPE = Recipe(epochs=3, batch_size=3, precision="fp32")
ALL = [(key, form) for form, methods in FORMS.items() for key in methods]
ROOMY = 2**30


def objective(key, form="paper", alpha=0.0, stage="joint", dtype=torch.float64) -> Distillation:
    torch.manual_seed(0)
    teacher, student = dc_cnn("D5C5"), dc_cnn("D3C5")
    made = distil(student, teacher, key, kd_form=form, alpha=alpha, stage=stage).to(dtype)
    assert isinstance(made, Distillation)
    return made


def doubles(n=7):
    """Slices in double precision, where nothing that rounds is as large as what a method might leave out."""
    made = slices(n)
    return replace(
        made, parts=made.task.observe(made.x.double()) and (made.x.double(), *made.task.observe(made.x.double()))
    )


@pytest.mark.parametrize("alpha", [0.0, 0.5])
@pytest.mark.parametrize(("key", "form"), ALL)
def test_losses_and_gradients_are_those_with_the_teacher(key, form, alpha):
    data = doubles()
    made = objective(key, form, alpha)
    made.prepare(data.batch(torch.arange(3)), data.batches(3))
    kept = keep(made, data, batch_size=2, passes=4, limit=ROOMY)
    for indices in (torch.tensor([5, 0, 3]), torch.tensor([6])):
        batch, losses, gradients = data.batch(indices), [], []
        for said in ((), (kept.of(indices),)):
            made.zero_grad()
            losses.append(made(batch, *said))
            losses[-1].total.backward()
            gradients.append([p.grad.clone() for p in made.parameters() if p.grad is not None])
        torch.testing.assert_close(losses[1].terms, losses[0].terms, rtol=1e-8, atol=1e-12)
        torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize("key", METHODS)
def test_a_step_with_kept_targets_does_not_run_the_teacher(key, tmp_path, monkeypatch):
    made, train = objective(key, dtype=torch.float32), slices()
    training = Training(made, train, RECIPE, tmp_path, {})
    made.prepare(train.batch(torch.arange(3)), train.batches(3))
    training.keep_targets()
    monkeypatch.setattr(made.teacher, "forward", None)
    monkeypatch.setattr(made.teacher, "features", None)
    training.epoch(lambda: None, lambda _: None)
    assert training.config["targets"] == KEPT


@pytest.mark.parametrize(
    ("stage", "alpha", "parts"), [("joint", 0.5, 6), ("features", 0.5, 5), ("reconstruction", 0.5, 1)]
)
def test_each_stage_keeps_what_its_loss_has(stage, alpha, parts):
    made, data = objective("at", alpha=alpha, stage=stage), doubles()
    assert len(keep(made, data, 3, 3, ROOMY).of(torch.arange(2))) == parts


def test_nothing_is_kept_where_there_is_no_teacher_to_ask():
    data = doubles()
    assert keep(Supervised(dc_cnn("D3C5")), data, 3, 3, ROOMY) is None
    assert keep(objective("at", stage="reconstruction"), data, 3, 3, ROOMY) is None
    assert keep(distil(dc_cnn("D3C5"), dc_cnn("D5C5"), "ikd"), data, 3, 3, ROOMY) is None


@pytest.mark.parametrize(
    ("key", "size"), [("at", 7 * 5 * 256 * 8), ("fitnets", 7 * 5 * 32 * 256 * 8), ("fsp", 7 * 5 * 1024 * 8)]
)
def test_what_does_not_fit_is_not_kept(key, size):
    made, data = objective(key), doubles()
    assert keep(made, data, 3, 3, size) is not None
    assert keep(made, data, 3, 3, size - 1) is None


def test_products_between_slices_are_made_in_pieces_where_the_maps_do_not_fit():
    made, data = objective("sp"), doubles()
    products, maps = 5 * 7 * 7 * 8, 5 * 32 * 256 * 8
    whole, pieces = (keep(made, data, 3, 9, products + held * maps) for held in (7, 2))
    torch.testing.assert_close(pieces.between, whole.between)
    assert keep(made, data, 3, 9, products + maps - 1) is None  # not one slice's maps
    assert keep(made, data, 3, 4, products + 2 * maps) is None  # five passes to spare four


def test_a_training_resumes_as_it_began(tmp_path, monkeypatch, capsys):
    train = slices()

    def run(folder):
        made = objective("at", dtype=torch.float32)
        fit(made, train, slices(2, seed=1), RECIPE, folder, {"a": 1})
        return weights(made.network), torch.load(folder / "model.pt", weights_only=True)["config"]["targets"]

    def cut(folder, limit):
        with monkeypatch.context() as patch:
            patch.setattr(loop, "target_limit", lambda device: limit)
            with interrupted(3):
                run(folder)

    (kept, noted) = run(tmp_path / "kept")
    assert noted == KEPT
    cut(tmp_path / "cut", ROOMY)
    again, noted = run(tmp_path / "cut")
    assert torch.equal(again, kept) and noted == KEPT

    cut(tmp_path / "small", 0)
    asked, noted = run(tmp_path / "small")
    assert noted == ASKED
    torch.testing.assert_close(asked, kept, rtol=1e-3, atol=1e-5)

    cut(tmp_path / "moved", ROOMY)
    monkeypatch.setattr(loop, "target_limit", lambda device: 0)
    _, noted = run(tmp_path / "moved")
    assert noted == ASKED and "does not fit into memory here" in capsys.readouterr().out


def test_slices_that_change_are_asked_about_at_every_step(tmp_path):
    made, train = objective("at", dtype=torch.float32), slices()
    fit(made, train, train, replace(RECIPE, augment="flips", epochs=1), tmp_path, {})
    assert torch.load(tmp_path / "model.pt", weights_only=True)["config"]["targets"] == ASKED


def test_a_checkpoint_of_an_older_version_goes_on_asking(tmp_path, monkeypatch):
    train, recipe = slices(), replace(RECIPE, epochs=1)
    made = objective("at", dtype=torch.float32)
    fit(made, train, train, recipe, tmp_path, {})
    state = torch.load(tmp_path / "model.pt", weights_only=True)
    del state["config"]["targets"]
    torch.save(state, tmp_path / "model.pt")
    made = objective("at", dtype=torch.float32)
    fit(made, train, train, RECIPE, tmp_path, {})
    assert torch.load(tmp_path / "model.pt", weights_only=True)["config"]["targets"] == ASKED
