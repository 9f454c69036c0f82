"""Trainings on a GPU beside the same on the processor; skipped where there is none."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import kdrecon
from helpers import PAPER, interrupted, objective, slices, weights

from kdrecon.distillation.registry import method_keys
from kdrecon.results import evaluate
from kdrecon.results.cost import inference_cost
from kdrecon.runs.laboratory import Laboratory
from kdrecon.training.loop import fit
from kdrecon.training.recipe import Recipe

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that PyTorch can use")
RECIPE = Recipe(epochs=3, batch_size=2, lr=1e-3, precision="fp32")
SMALL = PAPER | {
    "resolution": 60,
    "epochs": 2,
    "ready": False,
    "precision": "fp32",
}
CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(autouse=True)
def exact(monkeypatch):
    """Convolutions of fp32 in fp32, by algorithms that give the same bits each time."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)


def trained(kind, folder, device, recipe=RECIPE):
    made, data = objective(kind).to(device), slices(6, size=32)
    return made, fit(made, data.to(device), data.to(device), recipe, folder, {})


@pytest.mark.parametrize("augment", ["none", "flips"])
@pytest.mark.parametrize("kind", ["supervised", "sft", *method_keys()])
def test_a_training_on_a_gpu_is_that_of_the_processor(kind, augment, tmp_path):
    recipe = replace(RECIPE, augment=augment)
    (_, here), (_, there) = (trained(kind, tmp_path / d.type, d, recipe) for d in (CPU, GPU))
    np.testing.assert_allclose(there.total, here.total, rtol=2e-3)
    np.testing.assert_allclose(there.validation_l1, here.validation_l1, rtol=2e-3)


@pytest.mark.parametrize("kind", ["supervised", "sft", "at", "fitnets"])
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_on_a_gpu_is_near_fp32(kind, precision, tmp_path):
    (_, exact), (_, half) = (
        trained(kind, tmp_path / p, GPU, replace(RECIPE, precision=p)) for p in ("fp32", precision)
    )
    np.testing.assert_allclose(half.validation_l1, exact.validation_l1, rtol=0.03)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("kind", ["supervised", "sft", "at", "drawing"])
def test_an_interrupted_training_on_a_gpu_goes_on_as_if_it_had_not_been(kind, precision, tmp_path):
    recipe = replace(RECIPE, precision=precision)
    whole, _ = trained(kind, tmp_path / "whole", GPU, recipe)
    with interrupted(4):
        trained(kind, tmp_path / "cut", GPU, recipe)
    resumed, _ = trained(kind, tmp_path / "cut", GPU, recipe)
    torch.testing.assert_close(weights(resumed.network), weights(whole.network), rtol=0, atol=0)


@pytest.mark.parametrize("devices", [(CPU, GPU), (GPU, CPU)])
def test_a_training_goes_on_on_the_other_device(devices, tmp_path, capsys):
    begun, ended = devices
    whole, _ = trained("at", tmp_path / "whole", ended)
    with interrupted(4):
        trained("at", tmp_path / "cut", begun)
    resumed, _ = trained("at", tmp_path / "cut", ended)
    torch.testing.assert_close(weights(resumed.network), weights(whole.network), rtol=1e-2, atol=1e-4)
    assert f"going on on {ended.type} what began on {begun.type}" in capsys.readouterr().out


def test_networks_of_a_gpu_score_the_same_on_a_processor(tmp_path):
    there = Laboratory(**SMALL, run_root=str(tmp_path))
    networks = {name: evaluate(there, there.named(name)) for name in ("zero_filled", "kd-at", "sftkd-at")}
    here = Laboratory(**SMALL, run_root=str(tmp_path), device="cpu")
    for name, scores in networks.items():
        again = evaluate(here, here.named(name))
        np.testing.assert_allclose(scores.psnr, again.psnr, atol=1e-3)
        np.testing.assert_allclose(scores.ssim, again.ssim, atol=1e-5)


def test_slices_that_do_not_fit_into_memory_are_streamed_to_the_gpu(tmp_path):
    kept, streamed = (
        Laboratory(**SMALL, run_root=str(tmp_path / str(limit)), memory_limit=limit).student() for limit in (None, 0)
    )
    np.testing.assert_allclose(streamed.history.validation_l1, kept.history.validation_l1, rtol=0.01)


def test_the_cost_of_a_reconstruction_is_measured_on_the_gpu():
    table = inference_cost({"D3C5": objective("supervised").network}, slices(1, size=32).task, (32, 32), GPU)
    assert len(table) == 4 and (table["ms per slice"] > 0).all()


def test_the_command_line_trains_on_the_gpu(tmp_path):
    settings = [f"{name}={str(value).lower()}" for name, value in SMALL.items() if name != "ready"]
    assigned = [word for text in (*settings, "device=cuda") for word in ("-p", text)]
    done = kdrecon("train", "--network", "student", "--evaluate", "--out", tmp_path, *assigned)
    assert done.returncode == 0, done.stderr
    assert next(tmp_path.rglob("metrics.csv")).stat().st_size > 0
