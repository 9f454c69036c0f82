import argparse
import json
import os
import pathlib
import pickle
import re

import numpy as np
import pytest
import torch
from test_released import released_name, released_state

from kdrecon import results
from kdrecon.app import cli
from kdrecon.errors import InputError
from kdrecon.models.dccnn import dc_cnn
from kdrecon.models.sft import SFT
from kdrecon.released import importing, weights
from kdrecon.runs.laboratory import Laboratory
from kdrecon.runs.networks import open_network
from kdrecon.runs.record import read_record

ARGUMENTS = {
    "seed": 42, "batch_size": 4, "num_epochs": 150, "lr": 0.001, "lr_step_size": 40, "device": "cuda",
    "exp_dir": pathlib.Path("exp/cardiac/acc_4x"), "train_path": "/home/someone/train", "acceleration_factor": "4x",
    "dataset_type": "cardiac", "mask_type": "cartesian", "student_pretrained": True, "weight_decay": 0.0,
}  # fmt: skip
KINDS = {
    "teacher": ("D5C5", "teacher", {"t": 5}),
    "student": ("D3C5", "student", {"s": 3}),
    "sft": ("D5C5", "sft_teacher", {"t": 5, "s": 3}),
    "shallow student": ("D2C5", "student", {"s": 2}),
}


def write_checkpoint(path, depths, prefix="", legacy=False, arguments=None, **content):
    """A best_model.pt as the released training scripts write it."""
    state = {prefix + name: value for name, value in released_state(torch.float32, **depths).items()}
    optimiser = torch.optim.Adam([torch.nn.Parameter(value) for value in state.values()])
    args = argparse.Namespace(**ARGUMENTS | (arguments or {}))
    whole = {"epoch": 136, "args": args, "model": state, "optimizer": optimiser.state_dict()}
    whole |= {"best_dev_loss": min(1e9, np.mean([0.01, 0.02])), "exp_dir": args.exp_dir}
    torch.save(whole | content, path, _use_new_zipfile_serialization=not legacy)
    return path


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("kind", KINDS)
def test_role_and_architecture_are_those_of_the_tensors(kind, prefix, legacy, tmp_path):
    name, role, depths = KINDS[kind]
    found = weights.read_released(write_checkpoint(tmp_path / "best_model.pt", depths, prefix, legacy))
    network = found.network.teacher if isinstance(found.network, SFT) else found.network
    assert (network.name, found.role, found.epoch) == (name, role, 137) and found.validation_l1 == pytest.approx(0.015)
    assert found.arguments["exp_dir"] == "exp/cardiac/acc_4x" and found.arguments["student_pretrained"] is True


def test_a_file_written_with_an_older_numpy_is_read(tmp_path):
    path = write_checkpoint(tmp_path / "best_model.pt", {"s": 3}, legacy=True)
    old = path.read_bytes().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert old != path.read_bytes()
    path.write_bytes(old)
    assert weights.read_released(path).validation_l1 == pytest.approx(0.015)


@pytest.mark.parametrize("kind", ["teacher", "student", "sft"])
def test_an_imported_network_holds_every_tensor_in_its_place(kind, tmp_path):
    name, role, depths = KINDS[kind]
    folder = importing.import_checkpoint(write_checkpoint(tmp_path / "best_model.pt", depths), tmp_path / "run")
    assert folder.parent == tmp_path / "run" / "experiments" / "cardiac" / "acc_4x"
    network, state = open_network(folder), released_state(torch.float32, **depths)
    parts = {"teacher": network.model, "student": network.student} if kind == "sft" else {kind: network.model}
    for part, model in parts.items():
        for tensor, value in model.state_dict().items():
            assert torch.equal(value, state[released_name(f"{part}.{tensor}")]), tensor
    record = read_record(folder)
    assert record.origin == "released" and record.others["released"]["arguments"]["train_path"] == "/home/someone/train"
    assert (network.experiment.architecture, network.experiment.role, network.experiment.resolution) == (
        name,
        role,
        150,
    )
    assert (record.config["imitation"] == "released") == (kind == "sft") and record.config["seed"] == 42


def test_importing_twice_is_the_same_and_another_network_is_never_overwritten(tmp_path):
    path = write_checkpoint(tmp_path / "best_model.pt", {"s": 3})
    folder = importing.import_checkpoint(path, tmp_path / "run")
    (folder / "config.json").unlink()  # as if the first time had been interrupted
    for _ in range(2):
        assert importing.import_checkpoint(path, tmp_path / "run") == folder
    assert open_network(folder).origin == "released"
    before = (folder / "best_model.pt").read_bytes()
    state = released_state(torch.float32, seed=1, s=3)
    with pytest.raises(InputError, match="holds another network: expected a new folder; choose another --out"):
        importing.import_checkpoint(write_checkpoint(path, {"s": 3}, model=state), tmp_path / "run")
    assert (folder / "best_model.pt").read_bytes() == before


@pytest.mark.parametrize("mask_type, switch", [("cartesian", "line"), ("gaussian", "gaussian")])
def test_the_kind_of_mask_is_kept(mask_type, switch, tmp_path):
    path = write_checkpoint(tmp_path / "best_model.pt", {"s": 3}, arguments={"mask_type": mask_type})
    folder = importing.import_checkpoint(path, tmp_path / "run")
    assert open_network(folder).experiment.switches.mask_type == switch


def test_a_distilled_student_needs_to_be_told_from_a_plain_one(tmp_path):
    path = write_checkpoint(tmp_path / "best_model.pt", {"s": 3}, arguments={"teacher_checkpoint": "/a/best_model.pt"})
    with pytest.raises(InputError, match="distilled student: expected --method and --teacher"):
        importing.import_checkpoint(path, tmp_path / "run")
    folder = importing.import_checkpoint(path, tmp_path / "run", method="at", teacher="sft")
    experiment = open_network(folder).experiment
    assert (experiment.method, experiment.teacher, experiment.switches.kd_form) == ("at", "sft", "released")
    with pytest.raises(InputError, match="holds a teacher: expected neither --method"):
        importing.import_checkpoint(write_checkpoint(path, {"t": 5}), tmp_path / "run", method="at")


class Hostile:
    def __init__(self, call, *arguments):
        self.reduced = call, arguments

    def __reduce__(self):
        return self.reduced


def test_a_hostile_file_is_refused_and_nothing_in_it_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    attacks = [
        Hostile(os.system, "touch ran"),
        Hostile(eval, "open('ran', 'w')"),
        Hostile(pathlib.Path.touch, pathlib.Path("ran")),
        Hostile(getattr, argparse.Namespace(), "__class__"),
    ]
    for place, attack in [(p, a) for p in ("args", "exp_dir", "model", "epoch") for a in attacks]:
        path = write_checkpoint(tmp_path / "best_model.pt", {"s": 3}, **{place: attack})
        with pytest.raises(InputError, match="which does not belong in a checkpoint: .* nothing of it was executed"):
            weights.read_released(path)
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(attacks[0], protocol=2))
    with pytest.raises(InputError):
        weights.read_released(tmp_path / "plain.pt")
    assert not (tmp_path / "ran").exists()


STATE = released_state(torch.float32, s=3)
REFUSED = {
    "two more": (STATE | {n: torch.ones(1) for n in ("norm.a", "norm.b")}, r"2 of 32 entries .* \(norm.a, norm.b\)"),
    "one less": (
        {n: w for n, w in STATE.items() if n != "scascade2.conv1.bias"},
        r"missing: 1 \(scascade2.conv1.bias\)",
    ),
    "another shape": (
        STATE | {"scascade1.conv1.bias": torch.ones(31)},
        r"of another shape: 1 \(scascade1.conv1.bias\)",
    ),
    "interactive": (STATE | {"tcascades.0.conv1.bias": torch.ones(32)}, r"1 of 31 entries .* \(tcascades.0.conv1"),
    "far too deep": (STATE | {"scascade1.conv999999999.bias": torch.ones(1)}, "convolution 999999999 among 31"),
    "other names": ({"cascade1.conv1.weight": torch.ones(1)}, r"1 of 1 entries .* \(cascade1.conv1.weight\)"),
    "no tensors": (STATE | {"scascade1.conv1.bias": 3}, "entries that are no tensors"),
    "no dict": ([1, 2], "holds dict: expected a dict with the weights under 'model'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_map_is_listed_and_nothing_is_written(case, tmp_path, monkeypatch, capsys):
    state, message = REFUSED[case]
    path = write_checkpoint(tmp_path / "best_model.pt", {"s": 3}, model=state)
    arguments = ["kdrecon", "import-released", str(path), "--out", str(tmp_path / "run")]
    monkeypatch.setattr("sys.argv", arguments)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    printed = capsys.readouterr().err
    assert caught.value.code == 2 and printed.count("\n") == 1 and re.search(message, printed), printed
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "arguments, option",
    [
        ({"acceleration_factor": "4x,5x"}, "acceleration"),
        ({"dataset_type": None}, "dataset"),
        ({"dataset_type": ".."}, "dataset"),
    ],
)
def test_doubt_about_the_data_is_an_error_that_names_the_option(arguments, option, tmp_path):
    path = write_checkpoint(tmp_path / "best_model.pt", {"t": 5}, arguments=arguments)
    with pytest.raises(InputError, match=f"expected one name; give --{option}"):
        importing.import_checkpoint(path, tmp_path / "run")
    name = {"acceleration": "8x", "dataset": "mrbrain"}[option]
    assert name in str(importing.import_checkpoint(path, tmp_path / "run", **{option: name}))


@pytest.mark.parametrize(
    "arguments",
    [
        {"seed": "x/../../../../evil"},
        {"seed": -1},
        {"num_epochs": "../../evil"},
        {"num_epochs": 0},
        {"lr": "/tmp/evil"},
        {"lr": float("nan")},
        {"batch_size": [4]},
        {"batch_size": True},
        {"acceleration_factor": "4x."},
        {"dataset_type": "NUL"},
        {"dataset_type": "a" * 300},
    ],
)
def test_what_a_file_says_of_its_training_stays_what_it_should_be(arguments, tmp_path):
    path = write_checkpoint(tmp_path / "best_model.pt", {"s": 3}, arguments=arguments)
    with pytest.raises(
        InputError, match="best_model.pt (does not tell how it was trained: .*|says .*): expected"
    ) as caught:
        importing.import_checkpoint(path, tmp_path / "a" / "run")
    assert "\n" not in str(caught.value) and sorted(p.name for p in tmp_path.iterdir()) == ["best_model.pt"]


def test_what_a_file_does_not_say_is_the_released_default(tmp_path):
    path = write_checkpoint(tmp_path / "best_model.pt", {"s": 3}, arguments={"seed": None, "num_epochs": 60})
    experiment = open_network(importing.import_checkpoint(path, tmp_path / "run")).experiment
    assert (experiment.epochs, experiment.batch_size, experiment.lr, experiment.seed) == (60, 4, 1e-3, 42)


ODD = {
    "NaN": {"model": STATE | {"scascade1.conv1.bias": torch.full((32,), torch.nan)}},
    "infinite": {"model": STATE | {"scascade1.conv1.bias": torch.full((32,), torch.inf)}},
    "too large": {"model": STATE | {"scascade1.conv1.bias": torch.full((32,), 1e300, dtype=torch.float64)}},
    "meta": {"model": STATE | {"scascade1.conv1.bias": torch.zeros(32, device="meta")}},
    "sparse": {"model": STATE | {"scascade1.conv1.bias": torch.zeros(32).to_sparse()}},
    "quantised": {
        "model": STATE | {"scascade1.conv1.bias": torch.quantize_per_tensor(torch.zeros(32), 0.1, 0, torch.qint8)}
    },
    "integers": {"model": STATE | {"scascade1.conv1.bias": torch.zeros(32, dtype=torch.int64)}},
    "complex": {"model": STATE | {"scascade1.conv1.bias": torch.zeros(32, dtype=torch.complex64)}},
    "numbers as names": {"model": STATE | {7: torch.zeros(32)}},
    "a number twice": {"model": STATE | {"scascade1.conv01.bias": torch.zeros(32)}},
    "another script": {"model": STATE | {"scascade1.conv\u0663.bias": torch.zeros(32)}},
    "600 names": {"model": {f"scascade{i}.conv{i}.weight": torch.zeros(1) for i in range(1, 601)}},
    "epoch": {"epoch": "best"},
    "long epoch": {"epoch": 10**5000},
    "loss": {"best_dev_loss": [0.1]},
    "arguments": {"args": {"seed": 1}},
}


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("case", ODD)
def test_odd_content_is_one_line_and_builds_nothing(case, legacy, tmp_path, monkeypatch):
    path = write_checkpoint(tmp_path / "best_model.pt", {"s": 3}, legacy=legacy and case != "meta", **ODD[case])
    monkeypatch.setattr(
        weights, "dc_cnn", lambda name: dc_cnn(name) if name == "D3C5" else pytest.fail(f"built {name}")
    )
    with pytest.raises(InputError) as caught:
        importing.import_checkpoint(path, tmp_path / "run")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500 and not (tmp_path / "run").exists()


def test_odd_arguments_are_kept_as_text(tmp_path):
    nested = []
    nested.append(nested)
    odd = {"list": ["4x", "5x"], "long": 2**70, "nested": nested, "tensor": torch.zeros(2)}
    path = write_checkpoint(tmp_path / "best_model.pt", {"s": 3}, arguments=odd)
    folder = importing.import_checkpoint(path, tmp_path / "run")
    kept = read_record(folder).others["released"]["arguments"]
    assert kept["list"] == "['4x', '5x']" and all(isinstance(kept[name], str) for name in odd)


@pytest.mark.parametrize("content", [b"", b"no checkpoint", None])
def test_what_is_no_checkpoint_is_refused(content, tmp_path):
    path = tmp_path / "best_model.pt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match="expected a released best_model.pt"):
        weights.read_released(path)


def test_an_imported_network_is_scored_and_stands_in_the_table(tmp_path):
    path = write_checkpoint(tmp_path / "best_model.pt", {"s": 3}, arguments={"dataset_type": "sample"})
    folder = importing.import_checkpoint(path, tmp_path / "run", resolution=32)
    lab = Laboratory(
        dataset="sample", preset="paper", resolution=32, run_root=str(tmp_path / "run"), ready=False, device="cpu"
    )
    results.evaluate(lab, open_network(folder))
    table = results.summary(tmp_path / "run")
    assert table.origin.tolist() == ["released"] and table.network.tolist() == ["D3C5"] and np.isfinite(table.psnr[0])
    assert json.loads((folder / "config.json").read_text(encoding="utf-8"))["evaluation"]["split"] == "test"
