"""A distillation loss that somebody wrote in a notebook: entered, trained, recorded, refused."""

import json

import pytest
import torch
from helpers import PAPER, maps
from torch import nn

from kdrecon import results
from kdrecon.distillation import FORMS, METHODS, Method, own_method
from kdrecon.errors import InputError
from kdrecon.results.comparisons import comparisons
from kdrecon.runs.laboratory import Laboratory
from kdrecon.runs.record import require_record


@pytest.fixture(autouse=True)
def forget(monkeypatch):
    for methods in FORMS.values():
        monkeypatch.setattr(methods, "data", dict(methods.data))


def own_attention(s, t):
    q_s, q_t = (nn.functional.normalize(m.square().sum(1).flatten(1)) for m in (s, t))
    return (q_s - q_t).norm(dim=1).mean()


class Scaled(nn.Module):
    def __init__(self, power=2):
        super().__init__()
        self.power, self.factor = power, nn.Parameter(torch.ones(()))

    def forward(self, s, t):
        return (self.factor * s - t).abs().pow(self.power).mean()


class Strength(Method):
    weight = 0.25

    def loss(self, s, target, cascade):
        return (s.mean() - target.mean()).square()


@pytest.fixture
def lab(tmp_path):
    settings = PAPER | {"resolution": 32, "batch_size": 4, "ready": False, "device": "cpu", "precision": "fp32"}
    small = {"teacher_network": "D3C2", "student_network": "D2C2"}
    made = Laboratory(run_root=str(tmp_path), epochs=2, switches=small, **settings)
    made.train, made.validation = made.train.subset(8), made.validation.subset(4)
    return made


def test_ones_own_attention_transfer_trains_like_the_librarys_and_is_recorded_under_its_name(lab):
    library, own = lab.distilled("at"), lab.distilled(own_attention, weight=METHODS["at"].weight)
    assert own.history.distillation.tolist() == pytest.approx(library.history.distillation.tolist(), rel=1e-3)
    assert own.folder.name.startswith("D2C2_kd-own_attention-") and own.folder != library.folder
    record = require_record(own.folder)
    assert record.config["weight"] == METHODS["at"].weight and "def own_attention" in record.others["method_source"]
    assert "method_source" not in json.loads((library.folder / "config.json").read_text(encoding="utf-8"))
    assert lab.distilled(own_attention, weight=METHODS["at"].weight) is own


def test_tables_need_not_know_the_method(lab):
    own = lab.distilled(own_attention)
    for network in (own, lab.student(), lab.control(own)):
        results.evaluate(lab, network)
    for methods in FORMS.values():
        del methods[own.experiment.method]
    table = comparisons(lab.parameters.run_folder, metrics=("psnr",))
    assert f"Std-KD {own.experiment.method}" in {*table.network} and own.experiment.method.startswith("own_attention-")


def test_another_weight_or_setting_is_another_method():
    given = [(own_attention, None), (own_attention, 2), (Scaled(), None), (Scaled(power=1), None), (Strength, None)]
    keys = [own_method(*arguments) for arguments in given]
    assert len(set(keys)) == 5 and keys == [own_method(*arguments) for arguments in given]
    assert [METHODS[key].weight for key in keys] == [1, 2, 1, 1, 0.25]
    assert [key.partition("-")[0] for key in keys] == ["own_attention"] * 2 + ["Scaled"] * 2 + ["Strength"]
    assert all(methods[key] is METHODS[key] for key in keys for methods in FORMS.values())


def test_every_cascade_has_a_copy_of_a_module():
    module = Scaled()
    made = METHODS[own_method(module)](channels=3, cascades=2)
    students, teachers = maps("at", 4), maps("at", 4, seed=1)
    made(students[:2], teachers[:2]).backward()
    copies = list(made.parameters())
    assert len(copies) == 2 and all(p.grad.abs() > 0 for p in copies) and module.factor.grad is None
    want = sum((s - t).square().mean() for s, t in zip(students[:2], teachers[:2])) / 2
    assert made(students[:2], teachers[:2]).item() == pytest.approx(float(want))


def stub(s, t): ...


def per_slice(s, t):
    return (s - t).square().mean((1, 2, 3))


def broken(s, t):
    return s + t[..., :5]


def deaf(s, t):
    return t.mean()


@pytest.mark.parametrize(
    "loss, weight, message",
    [
        (stub, None, r"stub of random maps \(2, 32, 32, 32\) is None: expected a scalar tensor"),
        (per_slice, None, r"is a tensor \(2,\): expected a scalar tensor"),
        (broken, None, "stops with RuntimeError: .*; correct it"),
        (deaf, None, "does not depend on the student"),
        (lambda s, t: (s - t).mean(), None, "method <function .*: expected a key, a function with a name"),
        (3, None, "method 3: expected a key"),
        (Scaled, None, "method <class .*Scaled.*: expected a key, a function with a name, a module"),
        (own_attention, 0, "weight = 0 of own_attention: expected a positive number"),
        (own_attention, "1", "weight = '1' of own_attention"),
        (own_attention, float("nan"), "weight = nan of own_attention"),
        ("at", 2, "weight = 2 of method 'at': expected it with a loss of your own alone; the switch weight_factor"),
    ],
)
def test_what_no_training_could_minimise_is_refused_before_anything_is_written(loss, weight, message, lab):
    with pytest.raises(InputError, match=message):
        lab.distilled(loss, weight=weight)
    assert not lab.parameters.run_folder.joinpath("experiments").exists()


def test_a_function_without_a_source_is_refused():
    scope = {}
    exec("def typed_in(s, t): return (s - t).mean()", scope)
    with pytest.raises(InputError, match="method typed_in: expected a source that can be read"):
        own_method(scope["typed_in"])
