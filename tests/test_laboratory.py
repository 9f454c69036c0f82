import functools
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import TINY as TINY_FILE
from filelock import FileLock
from helpers import PAPER

from kdrecon import metrics, results
from kdrecon.app import cli
from kdrecon.distillation.registry import method_keys
from kdrecon.errors import InputError
from kdrecon.models.dccnn import count_parameters, dc_cnn
from kdrecon.results import evaluation
from kdrecon.results.archive import damaged
from kdrecon.results.report import write_report
from kdrecon.runs.experiment import TEACHERS, Experiment, kinds
from kdrecon.runs.laboratory import Laboratory
from kdrecon.runs.networks import build, load_network, open_network, start_from_sft, weights_hash
from kdrecon.runs.parameters import Parameters
from kdrecon.runs.record import Record, require_record, write_record
from kdrecon.runs.shipped import ONE_DEEP_CNN
from kdrecon.storage.files import alone_in
from kdrecon.storage.places import SHIPPED

TINY = PAPER | {
    "resolution": 32,
    "epochs": 1,
    "batch_size": 4,
    "ready": False,
    "device": "cpu",
}


def small_laboratory(run_root) -> Laboratory:
    lab = Laboratory(run_root=str(run_root), **TINY)
    lab.train, lab.validation = lab.train.subset(8), lab.validation.subset(4)
    return lab


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Laboratory:
    return small_laboratory(tmp_path_factory.mktemp("run"))


def test_a_network_is_trained_once_and_then_loaded(lab, capsys):
    first = lab.teacher()
    assert lab.teacher() is first
    second = small_laboratory(lab.parameters.run_root).teacher()
    assert first.origin == second.origin == "trained"
    assert weights_hash(first.model) == weights_hash(second.model)
    printed = capsys.readouterr().out
    assert printed.count("D5C5 teacher: trained, 1 epochs") == 1
    assert printed.count("D5C5 teacher: loaded from this run, 1 epochs") == 1
    record = json.loads((first.folder / "config.json").read_text(encoding="utf-8"))
    assert record["finished"] and record["environment"]["torch"] == torch.__version__
    assert {"best_model.pt", "model.pt", "log.csv", "summary"} <= {p.name for p in first.folder.iterdir()}


def test_networks_with_nearly_all_switches_together_are_found_again_and_stand_in_the_tables(tmp_path):
    everything = {
        "teacher_network": "D3C2", "student_network": "D2C2", "fidelity": "hermitian", "residual": True,
        "mask_type": "gaussian", "imitation": "released", "sft_terms": "without_student", "student_init": "random",
        "kd_form": "released", "schedule": "two_stage",
    }  # fmt: skip
    run = {**TINY, "run_root": str(tmp_path / "run"), "precision": "fp32", "batch_size": 48}
    labs = [Laboratory(**run, switches={**everything, "alpha": alpha}) for alpha in (0.25, 0.5)]
    networks = [lab.distilled("at", "sft") for lab in labs]
    assert networks[0].folder != networks[1].folder and all(len(n.folder.name) < 130 for n in networks)
    for lab, network in zip(labs, networks):
        results.evaluate(lab, network)
        again = Laboratory(**lab.parameters.__dict__).distilled("at", "sft")
        assert weights_hash(again.model) == weights_hash(network.model)
    table = results.write_summary(tmp_path / "run")
    assert table.alpha.tolist() == [0.25, 0.5] and write_report(tmp_path / "run", table).exists()


def test_steps_are_those_of_the_ready_start_and_of_the_training(tmp_path):
    """The ready SFT training took 50 epochs of 93 / 4 steps; 14 epochs of 93 / 3 come on top."""
    lab = Laboratory(resolution=120, epochs=14, batch_size=3, run_root=str(tmp_path), device="cpu")
    assert lab.student_steps(lab.sft_teacher()) == 1200
    assert lab._steps(lab.experiment("student", "sft", "at", "sft")) == 1200 + 14 * 31
    assert lab.student_steps(lab.distilled("at", "sft", ready=True)) == 2400


def test_the_four_cells_and_the_control_of_equal_steps_ship(tmp_path, monkeypatch):
    """Notebook 06 opens on them; a control of other steps is trained."""
    lab = Laboratory(resolution=120, run_root=str(tmp_path), device="cpu")
    trained = []

    def train(experiments, shares):
        trained.extend(experiments)
        return {e: SimpleNamespace(experiment=e, origin="trained") for e in experiments}

    monkeypatch.setattr(lab, "_train", train)
    cells = lab.networks(lab.distillation("at", teacher, init) for teacher in TEACHERS for init in ("random", "sft"))
    control = lab.control(cells[-1])
    assert [network.origin for network in (*cells, control)] == ["ready"] * 5 and not trained
    assert [lab.student_steps(network) for network in (*cells, control)] == [1200, 2400, 1200, 2400, 2400]
    assert not [network for network in cells if require_record(network.folder).evaluation], "its figures do not ship"
    with pytest.raises(InputError, match="cost of D2C5 sftkd-at: expected a teacher that this run has trained"):
        lab.control(cells[-1], "cost")
    lab.control(cells[0])
    assert [(e.role, e.epochs) for e in trained] == [("control", 1200 // 47 + 1)]
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 3 * 2**20


def test_one_deep_cnn_as_large_as_the_teacher_ships(tmp_path):
    lab = Laboratory(run_root=str(tmp_path), device="cpu")
    cascade = lab.teacher()
    deep = lab.network(replace(lab.experiment("teacher"), architecture=ONE_DEEP_CNN))
    assert (deep.origin, len(deep.model.blocks), deep.experiment.epochs) == ("ready", 1, cascade.experiment.epochs)
    sizes = [count_parameters(network.model) for network in (deep, cascade)]
    assert sizes == [139_329, 141_765]


def test_the_steps_of_a_network_of_version_0_1_are_counted_when_it_is_loaded(lab):
    path = lab.student().folder / "config.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({key: value for key, value in record.items() if key != "steps"}), encoding="utf-8")
    assert small_laboratory(lab.parameters.run_root).student().experiment == lab.student().experiment
    assert json.loads(path.read_text(encoding="utf-8")) == record and record["steps"] == 2


def test_what_another_version_wrote_into_a_record_survives_a_rewrite(lab):
    network = lab.teacher()
    results.evaluate(lab, network)
    path = network.folder / "config.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    record["evaluation"]["metrics"] = record["cluster"] = {"name": ["a", 1, None]}
    path.write_text(json.dumps({key: value for key, value in record.items() if key != "steps"}), encoding="utf-8")
    small_laboratory(lab.parameters.run_root).teacher()
    assert json.loads(path.read_text(encoding="utf-8")) == record


def test_student_of_sft_kd_starts_from_the_sft_student_blocks(lab):
    sft = lab.sft_teacher()
    at = lab.distilled("at", teacher="sft")
    assert at.experiment.init == "sft" and at.folder.name.startswith("D3C5_sftkd-at")
    student = build(at.experiment, sft.model, sft.student).network
    fresh = lab.new_student()
    for name, value in student.state_dict().items():
        source = fresh if name.startswith("blocks.0.") else sft.student
        assert torch.equal(value, source.state_dict()[name]), name


def test_a_training_begins_with_the_same_weights_whether_or_not_its_start_was_opened_before(tmp_path):
    """The layers that VID trains for itself are drawn by the seed alone."""
    small_laboratory(tmp_path).sft_teacher()
    networks = []
    for opened in (True, False):
        lab = small_laboratory(tmp_path)
        if opened:
            lab.sft_teacher()
        networks.append(lab.distilled("vid", "standard", "sft"))
        shutil.rmtree(networks[-1].folder)
    assert weights_hash(networks[0].model) == weights_hash(networks[1].model)


def test_start_from_sft_returns_what_it_loaded_and_refuses_loading_nothing():
    student = dc_cnn("D3C5")
    assert len(start_from_sft(student, dc_cnn("D3C5"))) == 24
    before = weights_hash(student)
    with pytest.raises(InputError, match="D2C5, the student is a D3C5: nothing was loaded"):
        start_from_sft(student, dc_cnn("D2C5"))
    assert weights_hash(student) == before


def test_all_cells_of_teacher_and_init_have_their_own_folder(lab):
    cells = [lab.distilled("at", teacher, init) for teacher in ("standard", "sft") for init in ("random", "sft")]
    assert len({cell.folder for cell in cells}) == 4 and len({weights_hash(cell.model) for cell in cells}) == 4


def test_zero_filled_and_the_table(lab):
    for network in (lab.zero_filled(), lab.teacher(), lab.student(), lab.sft_teacher()):
        results.evaluate(lab, network)
    table = results.write_summary(lab.parameters.run_folder)
    assert table.model.tolist()[:4] == ["zero_filled", "teacher", "student", "sft_teacher"]
    assert np.isfinite(table.select_dtypes("number")).all(axis=None)
    np.testing.assert_array_equal(pd.read_csv(lab.parameters.run_folder / "summary.csv").psnr, table.psnr)
    assert (table.split == "test").all() and (table.n == len(lab.test)).all()


def test_the_precision_that_is_asked_for_is_taken_and_told(tmp_path):
    tables = {}
    for precision in ("fp32", "bf16"):
        lab = Laboratory(run_root=str(tmp_path), precision=precision, **TINY)
        lab.train, lab.validation = lab.train.subset(8), lab.validation.subset(4)
        tables[precision] = results.evaluate(lab, lab.student()).psnr
    table = results.summary(tmp_path).set_index("precision")
    assert table.index.tolist() == ["bf16", "fp32"] and table.layout.tolist() == ["channels_last", "contiguous"]
    assert table.psnr.bf16 == tables["bf16"].mean() != tables["fp32"].mean() == table.psnr.fp32
    page = write_report(tmp_path, table.reset_index()).read_text(encoding="utf-8")
    assert "training steps in bf16 (channels_last) and fp32 (contiguous), every evaluation in fp32" in page


def test_figures_follow_from_the_results(lab):
    network = lab.student()
    table = results.evaluate(lab, network)
    values = []
    for path in sorted((network.folder / "results").glob("*.h5")):
        with h5py.File(path) as file:
            values.append(metrics.psnr(file["target"][:], file["reconstruction"][:]))
    np.testing.assert_allclose(np.concatenate(values), table.psnr)
    with h5py.File(path) as file:
        assert file["reconstruction"].shape == (len(lab.test), 32, 32)
    assert "slices of 1 subject" in (network.folder / "report.txt").read_text(encoding="utf-8")


def test_an_augmented_network_says_so_and_is_scored_on_test_slices_as_they_are(tmp_path):
    lab = Laboratory(run_root=str(tmp_path), **(TINY | {"augment": "flips"}))
    lab.train, lab.validation = lab.train.subset(8), lab.validation.subset(4)
    network = lab.student()
    results.evaluate(lab, network)
    assert "_augment-flips_" in network.folder.name and open_network(network.folder).experiment.augment == "flips"
    with h5py.File(network.folder / "results" / "1.h5") as file:
        np.testing.assert_array_equal(file["target"][:], lab.test.x[:, 0])


def test_evaluation_is_read_back_while_weights_and_data_are_the_same(lab, monkeypatch):
    network = lab.student()
    first = results.evaluate(lab, network)
    monkeypatch.setattr(evaluation, "reconstruct", None)
    pd.testing.assert_frame_equal(results.evaluate(lab, network), first)
    network.model.blocks[0].convs[0].bias.data += 1
    with pytest.raises(TypeError):
        results.evaluate(lab, network)


@pytest.mark.parametrize("content", [None, b"", b"volume,slice\n1,0\n", b"\x00"])
def test_a_lost_table_is_evaluated_anew(content, lab):
    network = lab.zero_filled()
    first, path = results.evaluate(lab, network), network.folder / "metrics.csv"
    path.unlink() if content is None else path.write_bytes(content)
    pd.testing.assert_frame_equal(results.evaluate(lab, network), first)
    assert damaged(lab.parameters.run_folder) == []


@pytest.mark.parametrize("writer", ["write_result", "write_text", "write_record", "write_table"])
@pytest.mark.parametrize("again", [False, True], ids=["first", "of other data"])
def test_an_evaluation_that_is_killed_leaves_no_table_that_its_record_does_not_know(
    again, writer, tmp_path, monkeypatch
):
    lab = small_laboratory(tmp_path)
    network = lab.zero_filled()
    if again:
        results.evaluate(lab, network)
        lab.test = lab.test.subset(3)
    path = network.folder / "metrics.csv"
    before = path.read_bytes() if again else None

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(evaluation, writer, killed)
        with pytest.raises(KeyboardInterrupt):
            results.evaluate(lab, network)
    assert not path.exists() or path.read_bytes() == before and require_record(network.folder).evaluation
    found = results.evaluate(lab, network)
    assert len(found) == len(lab.test.x) and len(results.summary(tmp_path)) == 1 and not damaged(tmp_path)


def test_a_lost_log_is_written_anew_and_nothing_is_trained(lab):
    first = open_network(lab.student().folder)
    (first.folder / "log.csv").unlink()
    lab._networks.clear()
    again = lab.student()
    pd.testing.assert_frame_equal(again.history, first.history)
    assert weights_hash(again.model) == weights_hash(first.model)


def test_two_evaluations_of_one_network_do_not_meet(tmp_path, monkeypatch):
    lab, reconstruct = small_laboratory(tmp_path), results.reconstruct
    network, calls = lab.zero_filled(), []

    def alone(*args):
        with pytest.raises(InputError, match="another process is at work in"), alone_in(network.folder):
            pass
        calls.append(1)
        return reconstruct(*args)

    monkeypatch.setattr(evaluation, "reconstruct", alone)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: results.evaluate(lab, network), range(2))
    pd.testing.assert_frame_equal(first, second)
    assert calls == [1]  # the other one has waited, and read what the first one wrote


def test_an_evaluation_that_another_process_keeps_is_given_up(lab, monkeypatch):
    monkeypatch.setattr(evaluation, "PATIENCE", 0.1)
    network = lab.distilled("at")
    with FileLock(network.folder / ".lock"), pytest.raises(InputError, match="another process is at work in"):
        results.evaluate(lab, network)


def test_a_folder_of_another_configuration_is_refused(lab):
    other = Laboratory(run_root=lab.parameters.run_root, **TINY)
    lab.teacher()
    with pytest.raises(InputError, match="another configuration .data:"):
        other.teacher()


@pytest.mark.parametrize("name", ["sft-student", "control-sftkd-at", "cost-control-kd-at"])
def test_what_a_name_would_give_is_what_it_gives(name, tmp_path):
    lab = small_laboratory(tmp_path)
    foreseen, record = lab.outlook(name)
    assert record is None and not list(tmp_path.iterdir())
    network = lab.named(name)
    assert network.experiment == foreseen and lab.outlook(name) == (foreseen, require_record(network.folder))
    with pytest.raises(InputError, match="network 'zero_filled' is a baseline: expected one that is trained"):
        lab.outlook("zero_filled")


def test_where_networks_come_from_is_told_before_any_is_opened_or_trained(tmp_path, monkeypatch):
    for name in ("open_network", "trained"):
        monkeypatch.setattr(f"kdrecon.runs.laboratory.{name}", None)
    lab = Laboratory(run_root=str(tmp_path), epochs=6, methods=["at", "cc"])
    student = lab.experiment("student")
    record = Record(lab._config(student), parameters=1, finished=True)  # of an older version: no origin
    write_record(record, student.folder(tmp_path))
    write_record(
        replace(record, config=lab._config(lab.experiment("teacher")), finished=False),
        lab.experiment("teacher").folder(tmp_path),
    )
    ready, own = "ready-made: 50 epochs, seed 0", "trained here when asked for: 6 epochs, seed 0"
    assert results.origins(lab).T.to_dict("list") == {
        "teacher": [ready, "begun here, goes on when asked for: 6 epochs, seed 0"],
        "student": ["trained in this run: 6 epochs, seed 0"] * 2,
        "SFT teacher": [ready, own],
        "Std-KD AT": [ready, own],
        "Std-KD CC": [own, own],
        "SFT-KD AT": [ready, own],
        "SFT-KD CC": [own, own],
        "control": ["ready-made: 100 epochs, seed 0", "trained here when asked for: 12 epochs, seed 0"],
    }
    own_lab = Laboratory(run_root=str(tmp_path), epochs=6, methods=["at", "cc"], ready=False)
    assert results.origins(own_lab).origin.to_dict() == results.origins(lab)["with ready=False"].to_dict()


@pytest.mark.parametrize("preset", ["paper", "super_resolution"])
def test_one_column_tells_the_origins_where_nothing_is_ready(preset, tmp_path):
    lab = Laboratory(**TINY | {"preset": preset, "ready": True, "run_root": str(tmp_path)})
    table = results.origins(lab, "teacher", "kd-at")
    assert list(table) == ["origin"] and list(table.index) == ["teacher", "Std-KD AT"]
    assert set(table.iloc[:, 0]) == {"trained here when asked for: 1 epochs, seed 0"}


def test_a_student_of_a_ready_teacher_says_so_however_it_is_asked_for(tmp_path, monkeypatch):
    lab = Laboratory(resolution=120, epochs=1, run_root=str(tmp_path), device="cpu")
    monkeypatch.setattr(lab, "_train", lambda experiments, shares: {e: e for e in experiments})
    for trained in (lab.distilled("sp"), lab.named("kd-sp"), lab.network(lab.experiment("student", "standard", "sp"))):
        assert trained.teacher_origin == "ready"


def test_one_network_is_trained_by_name_after_what_it_needs(tmp_path, capsys):
    def train(name: str) -> list[str]:
        cli.train(name, TINY_FILE, tmp_path / "run", seed=3, assignments=["resolution=32", "ready=true"])
        return capsys.readouterr().out.splitlines()

    control = train("control-sftkd-at")
    assert [line.partition(":")[0] for line in control] == [
        "D5C5 sft", "D3C5 sftkd-at", "D3C5 control", "D3C5 control, seed 3",
    ]  # fmt: skip
    folder = Path(control[-1].partition(": ")[2])
    assert folder.is_relative_to(tmp_path / "run") and open_network(folder).experiment.seed == 3
    assert [line.partition(": ")[2] for line in train("sftkd-at")[:-1]] == ["loaded from this run, 1 epochs"] * 2


def test_origins_name_a_student_by_what_it_learns_from(tmp_path):
    lab = Laboratory(run_root=str(tmp_path), **TINY | {"switches": {"alpha": 0.5, "weight_factor": 0}})
    assert list(results.origins(lab, "teacher", "kd-at").index) == ["teacher", "Std-KD image"]


def test_every_kind_of_training_is_what_its_name_says(lab):
    assert {f"{kind}-{method}" for kind in ("kd", "sftkd") for method in method_keys()} < kinds().keys()
    for name in kinds():
        assert Experiment.named(lab.parameters, 32, name).kind == name


def test_a_network_is_built_of_its_experiment_and_what_that_needs():
    """Neither data nor a folder: nothing can be trained, read or written."""
    make = functools.partial(Experiment.of, Parameters(preset="kd_mri"), 32)
    sft, student = build(make("sft_teacher")).network, make("student", "sft", "at", "sft")
    random = torch.get_rng_state()
    stages = [build(student, sft.teacher, sft.student, stage) for stage in student.stages]
    assert [objective.stage for objective in stages] == ["features", "reconstruction"]
    assert len({weights_hash(objective.network) for objective in stages}) == 1
    assert torch.equal(stages[0].network.blocks[1].convs[0].weight, sft.student.blocks[1].convs[0].weight)
    assert torch.equal(torch.get_rng_state(), random)


@pytest.mark.parametrize(
    "name", ["", "at", "kd", "control", "control-zero_filled", "control-teacher", "control-control-kd-at"]
)
def test_a_name_that_no_network_has(lab, name):
    with pytest.raises(
        InputError, match="is unknown: expected one of teacher, student, sft, sft-student, kd-at, .*control-sftkd-at$"
    ):
        lab.named(name)


@pytest.mark.parametrize(
    ("call", "message"),
    [(("magic",), "method 'magic'"), (("at", "wise"), "teacher 'wise'"), (("at", "sft", "zeros"), "init 'zeros'")],
)
def test_unknown_choices(lab, call, message):
    with pytest.raises(InputError, match=f"{message} is unknown: expected one of"):
        lab.distilled(*call)


def test_an_acceleration_without_a_mask():
    with pytest.raises(InputError, match="'3x' has no mask"):
        Laboratory(**(TINY | {"acceleration": "3x"}))


@pytest.mark.parametrize("damage", ["missing", "unexpected", "misshapen"])
def test_a_checkpoint_that_does_not_fit_names_the_tensor(lab, damage, tmp_path):
    path = tmp_path / "best_model.pt"
    state = torch.load(lab.student().folder / "best_model.pt", weights_only=True)
    weights = state["model"]
    if damage == "missing":
        del weights["blocks.1.convs.0.bias"]
    elif damage == "unexpected":
        weights["blocks.9.convs.0.bias"] = torch.zeros(3)
    else:
        weights["blocks.1.convs.0.bias"] = torch.zeros(3)
    torch.save(state, path)
    with pytest.raises(InputError, match=r"blocks\.[19]\.convs\.0\.bias"):
        load_network(dc_cnn("D3C5"), path, torch.device("cpu"))


def test_a_pickle_that_is_no_checkpoint_never_executes(tmp_path):
    class Hostile:
        def __reduce__(self):
            return (open, (str(tmp_path / "executed"), "w"))

    torch.save({"model": Hostile()}, tmp_path / "best_model.pt")
    with pytest.raises(InputError, match="best_model.pt"):
        load_network(dc_cnn("D3C5"), tmp_path / "best_model.pt", torch.device("cpu"))
    assert not (tmp_path / "executed").exists()
