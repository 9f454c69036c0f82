"""What a training survives: kills, full disks, damaged files, vanishing data, a second run."""

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from conftest import TINY, kdrecon
from filelock import FileLock
from helpers import PAPER, interrupted, objective, slices, stop_at_step, weights
from tensorboard.summary.writer.record_writer import RecordWriter

from kdrecon import data
from kdrecon.data.splits import dataset_folder
from kdrecon.errors import InputError
from kdrecon.runs.laboratory import Laboratory
from kdrecon.runs.networks import weights_hash
from kdrecon.storage.checkpoints import save_checkpoint
from kdrecon.storage.files import alone_in, write_text
from kdrecon.training.loop import fit
from kdrecon.training.recipe import Recipe

RECIPE = Recipe(epochs=3, batch_size=2, precision="fp32")


def train(folder, kind="at", recipe=RECIPE):
    """A small training in folder; its objective."""
    trained = objective(kind)
    fit(trained, slices(), slices(2, seed=1), recipe, folder, {"a": 1})
    return trained


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> torch.Tensor:
    return weights(train(tmp_path_factory.mktemp("whole")).network)


@pytest.mark.parametrize(("step", "done"), [(5, 4), (6, 5)])  # the sixth step is the last one of the second epoch
@pytest.mark.parametrize(("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_within_an_epoch_loses_no_step(number, raised, step, done, tmp_path, monkeypatch, uninterrupted):
    before = signal.getsignal(number)
    stop_at_step(monkeypatch, step, lambda: signal.raise_signal(number))
    with pytest.raises(raised):
        train(tmp_path)
    state = torch.load(tmp_path / "model.pt", weights_only=True)
    assert len(state["history"]) == 1 and state["next"] == done
    assert signal.getsignal(number) == before
    assert torch.equal(weights(train(tmp_path).network), uninterrupted)


def test_a_full_disk_keeps_the_checkpoint_before(tmp_path, monkeypatch, uninterrupted):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    stop_at_step(monkeypatch, 7, lambda: monkeypatch.setattr(os, "fsync", full))
    with pytest.raises(InputError, match="model.pt cannot be written .*No space left.*make room"):
        train(tmp_path)
    assert not list(tmp_path.glob("*.partial"))
    assert len(torch.load(tmp_path / "model.pt", weights_only=True)["history"]) == 2
    monkeypatch.undo()
    assert torch.equal(weights(train(tmp_path).network), uninterrupted)


@pytest.mark.parametrize("left", ["a link", "by a kill"])
@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.html.partial", lambda folder: write_text(folder / "a.html", "new")),
        ("a.pt.partial", lambda folder: save_checkpoint({"a": torch.zeros(3)}, folder / "a.pt")),
        ("a.partial", lambda folder: data.write_volume(folder / "a.h5", slices().x[:, 0].numpy(), {})),
    ],
)
def test_what_lies_under_a_temporary_name_is_not_written_to(name, write, left, tmp_path):
    victim, temporary = tmp_path / "victim", tmp_path / "out" / name
    temporary.parent.mkdir()
    victim.write_text("years of work", encoding="utf-8")
    temporary.symlink_to(victim) if left == "a link" else temporary.write_text("half", encoding="utf-8")
    write(tmp_path / "out")
    assert victim.read_text(encoding="utf-8") == "years of work"
    (written,) = (tmp_path / "out").iterdir()
    assert written.stem == "a" and written.suffix != ".partial" and not written.is_symlink()


def test_an_augmented_training_goes_on_within_an_epoch_with_the_same_flips(tmp_path, monkeypatch):
    recipe, runs = replace(RECIPE, augment="flips"), {}
    for name, limit in (("memory", None), ("streamed", 0)):
        with monkeypatch.context() as patch:
            if name == "streamed":
                stop_at_step(patch, 17, lambda: signal.raise_signal(signal.SIGINT))
            for _ in range(2):
                trained, read = objective("supervised"), heart(tmp_path / name, limit=limit)
                try:
                    fit(trained, read, slices(2, seed=1), recipe, tmp_path / name / "run", {})
                except KeyboardInterrupt:
                    continue
        runs[name] = weights(trained.network)
    assert torch.equal(*runs.values())
    state = torch.load(tmp_path / "streamed" / "run" / "model.pt", weights_only=True)
    assert state["config"]["augment"] == "flips"


@pytest.mark.parametrize("damage", ["truncated", "overwritten", "empty"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(damage, tmp_path, capsys, uninterrupted):
    with interrupted(8):
        train(tmp_path)
    path = tmp_path / "model.pt"
    content = path.read_bytes()
    path.write_bytes(
        {"truncated": content[: len(content) // 2], "overwritten": b"x" * len(content), "empty": b""}[damage]
    )
    assert torch.equal(weights(train(tmp_path).network), uninterrupted)
    assert "model.pt cannot be read" in capsys.readouterr().out


def test_two_damaged_checkpoints_are_not_trained_over(tmp_path):
    for name in ("model.pt", "model.previous.pt"):
        (tmp_path / name).write_bytes(b"damaged")
    with pytest.raises(InputError, match="no checkpoint in .* can be read: delete the folder"):
        train(tmp_path)


def test_a_hostile_checkpoint_never_executes(tmp_path):
    class Hostile:
        def __reduce__(self):
            return (open, (str(tmp_path / "executed"), "w"))

    torch.save({"config": {"a": 1}, "objective": Hostile()}, tmp_path / "model.pt")
    with pytest.raises(InputError, match="no checkpoint in"):
        train(tmp_path)
    assert not (tmp_path / "executed").exists()


def test_two_trainings_in_one_folder(tmp_path):
    with FileLock(tmp_path / ".lock"), pytest.raises(InputError, match="another process is at work in"):
        train(tmp_path)


def test_a_file_system_without_locks_keeps_a_second_process_out_by_a_marker(tmp_path, monkeypatch):
    def without(*_, **__):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(FileLock, "acquire", without)
    with alone_in(tmp_path):
        with pytest.raises(InputError, match="another process is at work .* or delete .lock.marker there if it ended"):
            with alone_in(tmp_path):
                pass
    with alone_in(tmp_path):
        pass
    assert not (tmp_path / ".lock.marker").exists()


def test_what_the_system_says_of_a_checkpoint_too_large_is_told(tmp_path):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, hard))
    try:
        with pytest.raises(InputError, match="model.pt cannot be written .*File too large"):
            save_checkpoint({"model": torch.zeros(2**20)}, tmp_path / "model.pt")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("fault", ["deleted", "full", "no folder"])
def test_a_training_goes_on_without_tensorboard(fault, tmp_path, monkeypatch, capfd, uninterrupted):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    if fault == "no folder":
        (tmp_path / "summary").write_bytes(b"")
    elif fault == "full":
        stop_at_step(monkeypatch, 2, lambda: monkeypatch.setattr(RecordWriter, "write", full))
    else:
        stop_at_step(monkeypatch, 2, lambda: shutil.rmtree(tmp_path / "summary"))
    assert torch.equal(weights(train(tmp_path).network), uninterrupted)
    said = capfd.readouterr()
    assert said.out.count("no more curves for TensorBoard") == 1 and "Traceback" not in said.out + said.err
    assert (tmp_path / "log.csv").exists()


def with_bf16(monkeypatch, native: bool):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": native})
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)


def test_a_training_in_bf16_is_continued_in_bf16_where_it_is_not_native(tmp_path, monkeypatch, capsys):
    automatic = replace(RECIPE, precision="auto")
    with_bf16(monkeypatch, True)
    whole = weights(train(tmp_path / "whole", recipe=automatic).network)
    with interrupted(5):
        train(tmp_path / "moved", recipe=automatic)
    with_bf16(monkeypatch, False)
    assert torch.equal(weights(train(tmp_path / "moved", recipe=automatic).network), whole)
    assert "going on in bf16 as it began" in capsys.readouterr().out
    assert torch.load(tmp_path / "moved" / "best_model.pt", weights_only=True)["config"]["precision"] == "bf16"


def test_a_training_of_another_device_is_continued_and_the_devices_are_noted(tmp_path, capsys):
    with interrupted(5):
        train(tmp_path)
    state = torch.load(tmp_path / "model.pt", weights_only=True)
    save_checkpoint(state | {"config": state["config"] | {"device": "cuda"}}, tmp_path / "model.pt")
    train(tmp_path)
    assert "going on on cpu what began on cuda" in capsys.readouterr().out
    assert torch.load(tmp_path / "model.pt", weights_only=True)["config"]["device"] == "cuda, then cpu"


SMALL = PAPER | {
    "resolution": 32,
    "epochs": 2,
    "batch_size": 8,
    "ready": False,
    "device": "cpu",
}


def test_a_damaged_best_model_is_restored_from_the_checkpoint(tmp_path, capsys):
    network = Laboratory(run_root=str(tmp_path), **SMALL).student()
    (network.folder / "best_model.pt").write_bytes(b"damaged")
    restored = Laboratory(run_root=str(tmp_path), **SMALL).student()
    assert weights_hash(restored.model) == weights_hash(network.model)
    assert "best_model.pt cannot be read" in capsys.readouterr().out


def heart(root, **options) -> data.Slices:
    """A data set of two volumes of 12 slices, read from root/heart."""
    for number in (1, 2):
        images = slices(12, seed=number).x[:, 0].numpy()
        data.write_volume(root / "heart" / "train" / f"{number}.h5", images, {"subject": "a"})
    return data.load_split(data.Split("heart", "train", "4x", data_root=str(root)), **options)


@pytest.mark.parametrize("split", ["train", "validation"])
@pytest.mark.parametrize("damage", ["gone", "changed"])
def test_a_streamed_file_that_does_not_stay_is_named_and_a_rerun_continues(damage, split, tmp_path, monkeypatch):
    path, away = tmp_path / "heart" / "train" / "1.h5", tmp_path / "away.h5"
    recipe = Recipe(epochs=2, batch_size=1, precision="fp32")

    def train(folder):
        trained, both = objective("drawing"), {"train": slices(24), "validation": slices(2, seed=1)}
        both[split] = heart(tmp_path, limit=0)
        fit(trained, **both, recipe=recipe, folder=tmp_path / folder, config={})
        return weights(trained.network)

    def harm():
        path.rename(away)
        if damage == "changed":
            data.write_volume(path, slices(12, seed=9).x[:, 0].numpy(), {"subject": "a"})

    whole = train("whole")
    with monkeypatch.context() as patch:
        stop_at_step(patch, 26, harm)
        with pytest.raises(InputError, match="heart/train/1.h5 cannot be read any more .*bring it back") as caught:
            train("cut")
    assert "\n" not in str(caught.value)
    state = torch.load(tmp_path / "cut" / "model.pt", weights_only=True)
    assert len(state["history"]) == 1 and (state["next"] == 24 if split == "validation" else 2 <= state["next"] < 24)
    away.replace(path)
    assert torch.equal(train("cut"), whole)


def test_an_output_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file/run cannot be written .*expected a writable folder") as caught:
        train(tmp_path / "file" / "run")
    assert "\n" not in str(caught.value)


def test_data_files_that_vanish_after_reading_do_not_matter(tmp_path):
    shutil.copytree(dataset_folder("sample"), tmp_path / "data" / "sample")
    lab = Laboratory(run_root=str(tmp_path / "run"), data_root=str(tmp_path / "data"), **SMALL)
    shutil.rmtree(tmp_path / "data")
    assert lab.student().history.validation_l1.notna().all()


def test_output_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    done = kdrecon("run", "--params", TINY, "--out", tmp_path / "file" / "run")
    assert done.returncode == 2 and "cannot be written" in done.stderr and done.stderr.count("\n") == 1


RUN = """
import os
import signal
import sys
from dataclasses import replace
import threading
from pathlib import Path
from kdrecon import results
from kdrecon.runs.laboratory import Laboratory
from kdrecon.results.report import write_report
from kdrecon.training.loop import Training
folder, last, moments = sys.argv[1], int(sys.argv[2]), 0


def moment():
    global moments
    moments += 1
    if moments == last:
        os.kill(os.getpid(), signal.SIGKILL)


def audit(event, arguments):
    about_a_file = event in ("open", "os.rename", "os.remove", "os.mkdir") and str(arguments[0]).startswith(folder)
    if about_a_file and threading.current_thread() is threading.main_thread():
        moment()


def counted(*args):
    step(*args)
    os.write(steps, b".")  # a byte a step, also of one that is lost later
    moment()


os.makedirs(folder, exist_ok=True)
steps, step = os.open(folder + "/steps", os.O_CREAT | os.O_APPEND | os.O_WRONLY), Training.step
Training.step = counted
sys.addaudithook(audit)
small = {"dataset": "sample", "preset": "paper", "resolution": 32, "epochs": 2, "batch_size": 8}
lab = Laboratory(**small, run_root=folder, ready=False, device="cpu")
print("started", flush=True)
for network in (lab.zero_filled(), lab.student(), lab.distilled("at")):
    results.evaluate(lab, network)
write_report(Path(folder), results.write_summary(folder))
print("moments:", moments)
"""


def start(folder, last: int = 0):
    """A small run that has started; it kills itself at the given moment: before a file is touched, or after a step."""
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(folder), str(last)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd="/",
    )
    process.stdout.readline()
    return process


def outcome(folder) -> dict:
    """Weights and figures of a run: what must not depend on how often it was killed."""
    files = {path.relative_to(folder): path for path in folder.glob("experiments/**/best_model.pt")}
    made = {name: torch.load(path, weights_only=True)["model"] for name, path in files.items()}
    digests = {name: b"".join(t.numpy().tobytes() for t in state.values()) for name, state in made.items()}
    tables = {path.relative_to(folder): path.read_bytes() for path in folder.glob("**/*.csv") if path.name != "log.csv"}
    return digests | tables | {"report": (folder / "report.html").exists()}


def test_kills_at_random_moments_change_no_bit(tmp_path):
    printed, _ = start(tmp_path / "whole").communicate()
    moments, choice = int(printed.split()[-1]), random.Random(0)
    kills = [choice.randrange(1, moments // 2) for _ in range(2)] + [
        choice.randrange(1, moments // 6) for _ in range(3)
    ]
    ends = [start(tmp_path / "killed", last).wait() for last in kills]  # a killed run continues where it was
    assert ends[0] == -signal.SIGKILL and ends.count(-signal.SIGKILL) >= 2
    assert start(tmp_path / "killed").wait() == 0
    assert outcome(tmp_path / "killed") == outcome(tmp_path / "whole")


def test_weights_hash_sees_every_tensor():
    model = objective("supervised").network
    before = weights_hash(model)
    with torch.no_grad():
        model.blocks[-1].convs[-1].bias += 1e-6
    assert weights_hash(model) != before
