"""Trainings that begin with the weights of a network that another run has trained."""

import json
from pathlib import Path

import pytest
import torch
from conftest import TINY as TINY_FILE
from helpers import PAPER, interrupted, one_line

from kdrecon import results
from kdrecon.app import cli
from kdrecon.errors import InputError
from kdrecon.runs.laboratory import Laboratory
from kdrecon.runs.networks import open_network, weights_hash
from kdrecon.runs.record import require_record
from kdrecon.runs.shipped import find_network
from kdrecon.runs.starts import read_start

TINY = PAPER | {"resolution": 32, "epochs": 2, "batch_size": 4, "ready": False, "device": "cpu"}


def small_laboratory(run_root, **parameters) -> Laboratory:
    lab = Laboratory(run_root=str(run_root), **TINY | parameters)
    lab.train, lab.validation = lab.train.subset(8), lab.validation.subset(4)
    return lab


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Laboratory:
    return small_laboratory(tmp_path_factory.mktemp("sample"), epochs=1)


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Laboratory:
    return small_laboratory(tmp_path_factory.mktemp("people"), dataset="people")


@pytest.mark.parametrize("name", ["teacher", "sft", "kd-at"])
def test_the_first_weights_are_those_of_the_other_run(name, source, lab):
    start = read_start((source.student() if name == "kd-at" else source.named(name)).folder)
    experiment = lab.distillation("at") if name == "kd-at" else lab.experiment({"sft": "sft_teacher"}.get(name, name))
    started, plain = (
        lab._objective(e, [lab.network(needed) for needed in e.needs()])
        for e in (lab.started(experiment, start.path), experiment)
    )
    assert weights_hash(started.network) == weights_hash(start.network) != weights_hash(plain.network)


def test_a_started_network_has_a_folder_of_its_own_and_its_record_says_from_where(source, lab, capsys):
    before, plain = source.student(), lab.student()
    started = lab.named("student", start=before.folder / "best_model.pt")
    assert started.folder != plain.folder and weights_hash(started.model) != weights_hash(plain.model)
    init = f"sample-{weights_hash(before.model)}"
    assert started.experiment.init == init and f"_init-{init}_" in started.folder.name
    record = require_record(started.folder)
    assert (record.config["init"], record.steps, require_record(plain.folder).steps) == (init, 2 + 4, 4)
    assert record.others["start"]["dataset"] == "sample" and record.others["start"]["steps"] == 2
    assert f"D3C5 student, {init} start: trained" in capsys.readouterr().out
    again = small_laboratory(lab.parameters.run_root, dataset="people")
    assert weights_hash(again.named("student", start=before.folder).model) == weights_hash(started.model)
    assert "loaded from this run" in capsys.readouterr().out
    assert open_network(started.folder).experiment == started.experiment


def test_other_weights_are_another_run(source, lab, tmp_path):
    other = small_laboratory(tmp_path, epochs=1, seed=1).student()
    starts = [lab.started(lab.experiment("student"), network.folder) for network in (source.student(), other)]
    assert len({e.folder(tmp_path) for e in starts}) == 2


def test_a_started_training_goes_on_to_the_same_weights_after_an_interruption(source, tmp_path):
    start = source.student().folder
    whole = small_laboratory(tmp_path / "whole").named("student", start=start)
    with interrupted(3):
        small_laboratory(tmp_path / "cut").named("student", start=start)
    resumed = small_laboratory(tmp_path / "cut").named("student", start=start)
    assert weights_hash(resumed.model) == weights_hash(whole.model)


def test_tables_and_comparisons_tell_a_started_network_from_a_plain_one(source, lab):
    for network in (lab.student(), lab.named("student", start=source.student().folder)):
        results.evaluate(lab, network)
    table = results.summary(lab.parameters.run_folder)
    assert len(table) == 2
    names = results.formatted(table).network.tolist()
    init = f"sample-{weights_hash(source.student().model)}"
    assert names == ["student", f"student, init {init}"]
    compared = results.write_comparisons(lab.parameters.run_folder)
    assert set(zip(compared.network, compared.reference)) == {(names[1], names[0])}


@pytest.mark.parametrize("name", ["control-kd-at", "zero_filled", "sft-student", "cost-control-sftkd-at"])
def test_a_network_whose_first_weights_are_settled_starts_nowhere_else(name, lab):
    with pytest.raises(InputError, match=f"{name} cannot start from weights of another run: expected .*sft") as error:
        lab.named(name, start=find_network("D2C5_student"))
    one_line(error)


def damaged(network, tmp_path, damage):
    """A checkpoint of the network in which a tensor is not what it should be."""
    state = torch.load(network.folder / "best_model.pt", weights_only=True)
    damage(state["model"])
    torch.save(state, tmp_path / "best_model.pt")
    return tmp_path / "best_model.pt"


DAMAGES = {
    "missing: 1 (blocks.1.convs.0.bias)": lambda weights: weights.pop("blocks.1.convs.0.bias"),
    "unexpected: 1 (extra)": lambda weights: weights.update(extra=torch.zeros(1)),
    "of another shape: 1 (blocks.0.convs.0.bias)": lambda weights: weights.update(
        {"blocks.0.convs.0.bias": torch.ones(3)}
    ),
}


@pytest.mark.parametrize("problem", DAMAGES)
def test_tensors_that_do_not_fit_are_named(problem, source, lab, tmp_path):
    path = damaged(source.student(), tmp_path, DAMAGES[problem])
    with pytest.raises(InputError) as error:
        lab.named("student", start=path)
    assert problem in one_line(error)


def test_what_no_training_can_start_from(source, lab, tmp_path):
    (tmp_path / "text.pt").write_text("no checkpoint", encoding="utf-8")
    torch.save({"model": {}}, tmp_path / "bare.pt")
    (tmp_path / "student.onnx").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    folders = {name: source.named(name).folder for name in ("teacher", "sft")}
    for name, start, message in (
        (
            "student",
            "D2C5_student",
            "holds a D2C5 with residual blocks (D2C5 student): expected a D3C5, as student is here",
        ),
        ("student", folders["teacher"], "holds a D5C5 (D5C5 teacher): expected a D3C5, as student is here"),
        ("teacher", folders["sft"], "(D5C5 sft) does not fit D5C5 teacher, missing: 50 ("),
        ("sft", folders["teacher"], "(D5C5 teacher) does not fit D5C5 sft, missing: 80 ("),
        ("student", tmp_path / "text.pt", "text.pt cannot be read"),
        ("student", tmp_path / "bare.pt", "bare.pt does not say what network it holds"),
        ("student", tmp_path / "student.onnx", "is an exported network: expected its best_model.pt"),
        ("student", tmp_path / "empty", "holds no finished experiment"),
        ("student", tmp_path / "nowhere", "is not there: expected an experiment folder"),
    ):
        with pytest.raises(InputError) as error:
            lab.named(name, start=find_network(str(start)))
        assert message in one_line(error)


def test_steps_that_no_record_tells_are_not_counted(source, lab, tmp_path, capsys):
    path = damaged(source.student(), tmp_path, lambda weights: None)
    assert read_start(path).steps == 0
    assert "no record tells how many steps lie behind it" in capsys.readouterr().out
    record = json.loads((source.student().folder / "config.json").read_text(encoding="utf-8"))
    record["config"]["seed"] = 7  # of another network
    (tmp_path / "config.json").write_text(json.dumps(record), encoding="utf-8")
    assert read_start(path).steps == 0


def test_the_command_line_starts_a_training_and_draws_its_curve_beside_the_plain_one(source, tmp_path, capsys):
    folders = []
    for start in ("", str(source.student().folder)):
        cli.train("student", TINY_FILE, tmp_path / "run", assignments=["resolution=32", "dataset=people"], start=start)
        folders.append(Path(capsys.readouterr().out.splitlines()[-1].partition(": ")[2]))
    assert len(set(folders)) == 2
    cli.curves(folders, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    for wrong, message in (
        ([folders[0]] * 2, "student is named twice: expected each folder once"),
        ([tmp_path], "holds no experiment: expected the folder of a trained network"),
    ):
        with pytest.raises(InputError, match=message) as error:
            cli.curves(wrong, tmp_path / "other.png")
        one_line(error)
    assert not (tmp_path / "other.png").exists()
