"""Checkpoints that were damaged, or made by somebody else: nothing but what was written is ever loaded."""

import random
import re
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from helpers import interrupted, objective, slices, weights

import data_prep
import kdrecon
from kdrecon.errors import InputError
from kdrecon.models.dccnn import dc_cnn
from kdrecon.runs.laboratory import Laboratory
from kdrecon.runs.networks import load_network, weights_hash
from kdrecon.storage.checkpoints import read_checkpoint, save_checkpoint
from kdrecon.training.loop import fit
from kdrecon.training.recipe import Recipe

CPU = torch.device("cpu")
RECIPE = Recipe(epochs=2, batch_size=2, precision="fp32")


def flip(path: Path, place: int, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << bit
    path.write_bytes(content)


def a_weight(path: Path) -> int:
    """Where in a checkpoint the exponent of a weight of its best network lies."""
    state = torch.load(path, weights_only=True)
    value = state.get("best", state)["model"]["blocks.2.convs.1.weight"]
    return path.read_bytes().index(bytes(value.untyped_storage())) + 3


def train(folder: Path) -> torch.Tensor:
    trained = objective("at")
    fit(trained, slices(), slices(2, seed=1), RECIPE, folder, {"a": 1})
    return weights(trained.network)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> torch.Tensor:
    return train(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def stopped(tmp_path_factory) -> Path:
    """A training that was stopped in its second epoch."""
    folder = tmp_path_factory.mktemp("stopped")
    with interrupted(5):
        train(folder)
    return folder


@pytest.mark.parametrize("seed", range(10))
def test_a_flipped_bit_is_one_line_or_harmless(seed, tmp_path):
    path, draw = tmp_path / "best_model.pt", random.Random(seed)
    model, loaded = dc_cnn("D2C2"), dc_cnn("D2C2")
    save_checkpoint({"model": model.state_dict(), "epoch": 3}, path)
    content, refused = path.read_bytes(), []
    for _ in range(10):
        path.write_bytes(content)
        flip(path, draw.randrange(len(content)), draw.randrange(8))
        try:
            load_network(loaded, path, CPU)
            assert weights_hash(loaded) == weights_hash(model)
        except InputError as error:
            refused.append(str(error))
    assert refused and not any("\n" in message for message in refused)


def test_a_flipped_bit_in_the_table_of_contents_is_one_line_or_harmless(tmp_path):
    path, model, loaded = tmp_path / "best_model.pt", dc_cnn("D3C5"), dc_cnn("D3C5")
    save_checkpoint({"model": model.state_dict()}, path)
    content = path.read_bytes()
    entry = content.rindex(b"PK\1\2", 0, content.rindex(b"data/1"))  # that of a weight
    for place in range(entry, entry + 46):
        for bit in range(8):
            path.write_bytes(content)
            flip(path, place, bit)
            try:
                load_network(loaded, path, CPU)
            except InputError:
                continue
            assert weights_hash(loaded) == weights_hash(model), (place - entry, bit)


@pytest.mark.parametrize("damaged", [["best_model.pt"], ["best_model.pt", "model.pt"]], ids=len)
def test_a_silently_damaged_network_is_restored(damaged, tmp_path, capsys):
    def student():
        lab = Laboratory(
            dataset="sample",
            preset="paper",
            run_root=str(tmp_path),
            resolution=32,
            epochs=2,
            batch_size=4,
            ready=False,
            device="cpu",
        )
        lab.train, lab.validation = lab.train.subset(8), lab.validation.subset(4)
        return lab.student()

    network = student()
    for path in (network.folder / name for name in damaged):
        flip(path, a_weight(path), 6)
    restored = student()
    assert weights_hash(restored.model) == weights_hash(network.model)
    assert re.search(r"best_model.pt cannot be read \(Bad CRC-32 for file '.*/data/\d+'\)", capsys.readouterr().out)
    assert read_checkpoint(network.folder / "best_model.pt")


def change(state: dict, path: str, value) -> None:
    """Put a value, or what a function makes of the old one, at a place such as optimiser/state/0/step; None removes it."""
    *parents, last = [int(part) if part.isdigit() else part for part in path.split("/")]
    for part in parents:
        state = state[part]
    if value is None:
        del state[last]
    else:
        state[last] = value(state[last]) if callable(value) else value


FORMS = [
    ("objective", None),
    ("objective", []),
    ("objective/network.blocks.0.convs.0.bias", None),
    ("objective/network.blocks.0.convs.0.bias", torch.zeros(3)),
    ("objective/network.blocks.0.convs.0.bias", torch.full((32,), torch.nan)),
    ("objective/network.blocks.0.convs.0.bias", torch.zeros(32, device="meta")),
    ("objective/network.blocks.0.convs.0.bias", torch.zeros(32).to_sparse()),
    ("optimiser", {}),
    ("optimiser/state", []),
    ("optimiser/state/0", {}),
    ("optimiser/state/0/step", "one"),
    ("optimiser/state/0/exp_avg", torch.zeros(3)),
    ("optimiser/state/0/exp_avg_sq", lambda old: old * torch.inf),
    ("optimiser/state/77", {}),
    ("optimiser/param_groups", []),
    ("optimiser/param_groups/0/lr", "fast"),
    ("optimiser/param_groups/0/betas", 0.9),
    ("optimiser/param_groups/0/params", [0]),
    ("scheduler", {}),
    ("scheduler/gamma", None),
    ("scheduler/last_epoch", "one"),
    ("history", "one"),
    ("history/0", []),
    ("history/0/validation_l1", None),
    ("history/0/total", "small"),
    ("best", {}),
    ("best/model", {}),
    ("best/model/blocks.0.convs.0.bias", torch.zeros(32, dtype=torch.int64)),
    ("order", None),
    ("order", lambda old: old.float()),
    ("order", lambda old: old[:2]),
    ("order", lambda old: old * 0),
    ("next", -1),
    ("next", 99),
    ("next", 1.5),
    ("sums", []),
    ("sums/total", 1.0),
    ("seconds", "long"),
    ("random", {}),
    ("random/cpu", lambda old: old[:10]),
    ("random/cpu", lambda old: old * 0 + 255),
    ("config", ["a"]),
    ("config/a", torch.zeros(2)),
]


@pytest.mark.parametrize(("place", "value"), FORMS, ids=[f"{i} {place}" for i, (place, _) in enumerate(FORMS)])
def test_a_checkpoint_of_another_form_falls_back_to_the_one_before(place, value, stopped, tmp_path, capsys, whole):
    folder = Path(shutil.copytree(stopped, tmp_path / "run"))
    state = torch.load(folder / "model.pt", weights_only=True)
    change(state, place, value)
    torch.save(state, folder / "model.pt")
    assert torch.equal(train(folder), whole)
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 2 and "model.pt cannot be read (" in printed[0] and "continuing from" in printed[1]


def test_what_a_scheduler_does_not_know_does_not_reach_it(stopped, tmp_path, whole):
    folder = Path(shutil.copytree(stopped, tmp_path / "run"))
    state = torch.load(folder / "model.pt", weights_only=True)
    state["scheduler"] |= {"step": 3, "get_lr": None}
    torch.save(state, folder / "model.pt")
    assert torch.equal(train(folder), whole)


ODD = {
    "NaN": torch.full((32,), torch.nan),
    "infinite": torch.full((32,), -torch.inf),
    "meta": torch.zeros(32, device="meta"),
    "sparse": torch.zeros(32).to_sparse(),
    "quantised": torch.quantize_per_tensor(torch.zeros(32), 0.1, 0, torch.qint8),
    "integers": torch.zeros(32, dtype=torch.int64),
    "a number": 1.0,
}


@pytest.mark.parametrize("case", ODD)
def test_odd_weights_are_refused_and_leave_a_network_untouched(case, tmp_path):
    model, path = dc_cnn("D3C5"), tmp_path / "best_model.pt"
    before = weights_hash(model)
    torch.save({"model": model.state_dict() | {"blocks.0.convs.0.bias": ODD[case]}}, path)
    with pytest.raises(InputError, match=r"best_model.pt does not fit, .*: 1 \(blocks.0.convs.0.bias\)") as caught:
        load_network(model, path, CPU)
    assert "\n" not in str(caught.value) and weights_hash(model) == before


@pytest.mark.parametrize("content", [[1, 2], {"model": [1]}, {"epoch": 3}, {"model": {3: torch.zeros(1)}}], ids=str)
def test_what_holds_no_weights_is_refused(content, tmp_path):
    torch.save(content, tmp_path / "best_model.pt")
    with pytest.raises(InputError, match="best_model.pt (holds list|does not fit)"):
        load_network(dc_cnn("D3C5"), tmp_path / "best_model.pt", CPU)


def test_a_compressed_archive_is_refused(tmp_path):
    save_checkpoint({"model": {}}, tmp_path / "plain.pt")
    deflated = zipfile.ZipFile(tmp_path / "a.pt", "w", zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(tmp_path / "plain.pt") as plain, deflated as packed:
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    with pytest.raises(InputError, match="is compressed"):
        read_checkpoint(tmp_path / "a.pt")


def test_hdf5_is_opened_and_checkpoints_are_read_in_one_place():
    found = {"h5py.File": [], "torch.load": []}
    for path in (*Path(kdrecon.__file__).parent.rglob("*.py"), *Path(data_prep.__file__).parent.rglob("*.py")):
        for call, places in found.items():
            places += [path.name] * bool(re.search(rf"{call}\((?!.*\"w\")", path.read_text(encoding="utf-8")))
    assert found == {"h5py.File": ["hdf5.py"], "torch.load": ["checkpoints.py"]}
