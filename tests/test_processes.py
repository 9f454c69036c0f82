"""Trainings side by side: the same bits as one after the other, whatever ends them."""

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
from dataclasses import replace

import pandas as pd
import psutil
import pytest
import torch
from helpers import PAPER, objective

from kdrecon.app import cli
from kdrecon.distillation.registry import method_keys
from kdrecon.errors import InputError
from kdrecon.runs.laboratory import Laboratory
from kdrecon.runs.networks import build, weights_hash
from kdrecon.training import processes
from kdrecon.training.processes import trained
from kdrecon.training.recipe import AT_ONCE, JOBS, resolve_jobs

CPU = torch.device("cpu")
SMALL = PAPER | {
    "resolution": 20, "epochs": 2, "batch_size": 4, "ready": False, "device": "cpu", "precision": "fp32",
    "switches": {"teacher_network": "D3C2", "student_network": "D2C2"},
}  # fmt: skip


def laboratory(run_root, jobs=2, **options) -> Laboratory:
    """A laboratory whose slices no other process could read from the parameters, and whose trainings have a thread each."""
    lab = Laboratory(run_root=str(run_root), jobs=jobs, **(SMALL | options))
    lab.cores = 1
    lab.train, lab.validation = lab.train.subset(8), lab.validation.subset(4)
    return lab


def two(lab: Laboratory) -> list:
    return [lab.experiment("teacher"), lab.experiment("student")]


def trainings() -> list[psutil.Process]:
    """The processes that this one has started to train in, and no other child of it."""
    return [child for child in psutil.Process().children() if processes.START in child.cmdline()]


def hashes(networks) -> list[tuple[str, str]]:
    return [(network.experiment.title, weights_hash(network.model)) for network in networks]


@pytest.fixture(scope="module")
def one_by_one(tmp_path_factory) -> list[tuple[str, str]]:
    """Teacher, student, and a student of that teacher."""
    lab = laboratory(tmp_path_factory.mktemp("one"))
    return hashes(lab.network(e) for e in (*two(lab), lab.distillation("at")))


@pytest.fixture
def no_process(monkeypatch):
    monkeypatch.setattr(processes, "Worker", None)


def test_side_by_side_the_networks_are_those_of_one_after_the_other(tmp_path, one_by_one, capsys):
    heard: dict[str, list] = {}

    @contextlib.contextmanager
    def listener(title):
        epochs = heard.setdefault(title, [])
        yield lambda rows: epochs.append(len(rows))

    lab = laboratory(tmp_path, listeners=[listener])
    folder = lab.experiment("student").folder(tmp_path)
    folder.mkdir(parents=True)
    (folder / "summary").touch()
    wanted = [lab.experiment("student"), lab.distillation("at")]
    assert hashes(lab.networks(wanted)) == one_by_one[1:]
    printed = capsys.readouterr().out
    assert "D2C2 student: no more curves for TensorBoard" in printed
    lines = [line.partition(":")[0] for line in printed.splitlines() if ": trained" in line]
    assert set(lines[:2]) == {"D3C2 teacher", "D2C2 student"} and lines[2:] == ["D2C2 kd-at"]
    assert heard == dict.fromkeys(lines, [1, 2])
    assert not trainings()
    lab = laboratory(tmp_path, jobs=1)
    assert hashes(lab.networks([*two(lab), *wanted])) == [*one_by_one[:2], *one_by_one[1:]]
    printed = capsys.readouterr().out
    assert printed.count("loaded from this run") == 3 and "trained" not in printed


def test_the_share_of_the_cores_follows_from_what_is_asked_for_at_once(tmp_path, monkeypatch):
    shares = []

    def counted(jobs, data, processes, count, listeners):
        shares.append((processes, count))
        return trained(jobs, data, 1, 1, listeners)

    monkeypatch.setattr("kdrecon.runs.laboratory.trained", counted)
    lab = laboratory(tmp_path, epochs=1)
    lab.cores = 6
    lab.student()
    lab.networks([*two(lab), lab.distillation("at")])
    assert shares == [(1, 6), (1, 3), (1, 6)]  # alone; beside one that is there; alone after these
    shares.clear()
    lab.networks([lab.distillation(method) for method in ("at", "fsp", "sp")])
    assert shares == [(2, 3)]


class Answers:
    """What a training process would send; its requests end with the answer to the first job."""

    def __init__(self, requests):
        self.requests, self.told = requests, []

    def write(self, answer: bytes) -> None:
        self.told.append(pickle.loads(answer))
        if self.told[-1][0] in ("done", "failed"):
            self.requests.close()

    def flush(self) -> None:
        pass


def served(data, job) -> list[tuple]:
    """The answers to a job, from the loop of a training process, run in this one."""
    end, begin = os.pipe()
    with os.fdopen(end, "rb") as received, os.fdopen(begin, "wb") as requests:
        answers = Answers(requests)

        def send():
            for thing in (data, job):
                pickle.dump(thing, requests)
            requests.flush()

        sender = threading.Thread(target=send)
        sender.start()
        processes.work(received, answers)
        sender.join()
    names = [name for name, _ in answers.told]
    return answers.told[: 1 + next(k for k, name in enumerate(names) if name in ("done", "failed"))]


def staged_job(lab: Laboratory, folder) -> processes.Job:
    """A distillation in two stages, as a laboratory makes it."""
    teacher, experiment = build(lab.experiment("teacher")).network, lab.distillation("at")
    objectives = {stage: build(experiment, teacher, stage=stage) for stage in experiment.stages}
    return processes.Job(objectives, replace(lab.parameters.recipe, epochs=1), folder, {}, "a student")


def test_stages_and_streamed_slices_travel_too(tmp_path):
    """The first half of a stage's answers is what a progress bar is told."""
    switches = SMALL["switches"] | {"kd_form": "released", "schedule": "two_stage"}
    options = SMALL | {"switches": switches, "memory_limit": 0, "run_root": str(tmp_path)}
    lab = Laboratory(**options)
    lab.train, data = lab.validation, (lab.validation, lab.test)
    assert lab.train.storage == "files"
    told = served(data, staged_job(lab, tmp_path / "there"))
    name, there = told[-1]
    here = staged_job(lab, tmp_path / "here").run(data)
    assert name == "done" and [len(stage) for stage in there] == [1, 1]
    for theirs, ours in zip(there, here):
        pd.testing.assert_frame_equal(theirs.drop(columns="seconds"), ours.drop(columns="seconds"))
    titles = [value["desc"] for name, value in told if name == "bar"]
    assert titles == ["a student, features", "a student"]
    assert sum(value for name, value in told if name == "update") == 2 * len(lab.train)


class Unsendable(Exception):
    def __init__(self, one, two):
        super().__init__(f"{one} {two}")


@pytest.mark.parametrize(
    ("raised", "told", "note"),
    [
        (FloatingPointError("the loss is nan"), FloatingPointError("the loss is nan"), False),
        (RuntimeError("a bug"), RuntimeError("a bug"), True),
        (Unsendable("a", "bug"), RuntimeError("Unsendable: a bug"), False),
    ],
)
def test_what_a_training_raises_is_raised_where_it_was_asked_for(raised, told, note, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise raised

    monkeypatch.setattr(processes, "fit", fail)
    lab = laboratory(tmp_path)
    job = processes.Job({"joint": build(lab.experiment("student"))}, lab.parameters.recipe, tmp_path, {}, "a student")
    ((name, error),) = served((lab.train, lab.validation), job)
    assert name == "failed" and (type(error), str(error)) == (type(told), str(told))
    assert any("Traceback" in line for line in getattr(error, "__notes__", [])) == note


def test_a_ready_network_is_taken_as_by_a_single_call(tmp_path, no_process):
    lab = Laboratory(run_root=str(tmp_path), device="cpu", jobs=2)
    made = lab.networks([lab.distillation("at", "sft"), lab.experiment("teacher")], ready=True)
    assert [network.origin for network in made] == ["ready", "ready"]


@pytest.mark.parametrize("method", method_keys())
def test_every_objective_can_be_sent(method):
    pickle.loads(pickle.dumps(objective(method)))


@contextlib.contextmanager
def at_the_first_epoch(action):
    """A listener that acts when it hears of the first epoch of any training."""
    called = []

    @contextlib.contextmanager
    def listener(title):
        def hear(history):
            if not called:
                called.append(title)
                action()

        yield hear

    yield listener
    assert called


def test_ctrl_c_ends_all_and_the_same_call_continues(tmp_path, one_by_one):
    with at_the_first_epoch(lambda: signal.raise_signal(signal.SIGINT)) as listener:
        lab = laboratory(tmp_path, listeners=[listener])
        before = signal.getsignal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            lab.networks(two(lab))
        assert signal.getsignal(signal.SIGINT) == before and not trainings()
    assert list(tmp_path.glob("experiments/*/*/*/model.pt"))
    lab = laboratory(tmp_path)
    assert hashes(map(lab.network, two(lab))) == one_by_one[:2]


def test_a_failure_of_one_is_told_as_if_it_were_alone_and_the_others_are_kept(tmp_path, one_by_one):
    lab = laboratory(tmp_path)
    folder = lab.experiment("teacher").folder(tmp_path)
    folder.mkdir(parents=True)
    for name in ("model.pt", "model.previous.pt"):
        (folder / name).write_bytes(b"damaged")
    with pytest.raises(InputError, match=f"^no checkpoint in {folder} can be read: delete the folder to train anew$"):
        lab.networks(two(lab))
    assert not trainings()
    for name in ("model.pt", "model.previous.pt"):
        (folder / name).unlink()
    lab = laboratory(tmp_path)
    assert hashes(map(lab.network, two(lab))) == one_by_one[:2]


ENDLESS = 100_000  # epochs: a training that is not stopped outlasts the test


def test_ctrl_c_stops_trainings_that_have_hardly_begun(tmp_path):
    with at_the_first_epoch(lambda: signal.raise_signal(signal.SIGINT)) as listener:
        lab = laboratory(tmp_path, epochs=ENDLESS, listeners=[listener])
        with pytest.raises(KeyboardInterrupt):
            lab.networks(two(lab))
    assert not trainings() and list(tmp_path.glob("experiments/*/*/*/model.pt"))


def test_a_failure_of_one_stops_the_others(tmp_path):
    lab = laboratory(tmp_path, epochs=ENDLESS)
    folder = lab.experiment("teacher").folder(tmp_path)
    folder.mkdir(parents=True)
    (folder / "model.pt").write_bytes(b"damaged")
    with pytest.raises(InputError, match="^no checkpoint in"):
        lab.networks(two(lab))
    assert not trainings()


def test_a_training_process_that_is_killed_is_named(tmp_path):
    def kill():
        for process in trainings():
            process.kill()

    with at_the_first_epoch(kill) as listener:
        lab = laboratory(tmp_path, epochs=20, listeners=[listener])
        with pytest.raises(
            InputError, match="^D.C2 .*: the process that trained it ended .*a lack of memory.*fewer jobs"
        ):
            lab.networks(two(lab))


KILLED = """
import contextlib, os, signal, sys
from test_processes import ENDLESS, laboratory, trainings, two


@contextlib.contextmanager
def listener(title):
    def hear(history):
        print(*(process.pid for process in trainings()), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

    yield hear


lab = laboratory(sys.argv[1], epochs=ENDLESS, listeners=[listener])
lab.networks(two(lab))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="a kill of this kind")
def test_the_trainings_of_a_killed_run_save_and_end(tmp_path):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert done.returncode == -signal.SIGKILL
    numbers = [int(number) for number in done.stdout.split()]
    _, left = psutil.wait_procs([psutil.Process(n) for n in numbers if psutil.pid_exists(n)], timeout=60)
    for process in left:
        process.kill()
    assert len(numbers) == 2 and not left
    (path, *_) = tmp_path.glob("experiments/*/*/*/model.pt")
    state = torch.load(path, weights_only=True)
    assert state["history"] and not path.with_name("model.pt.partial").exists()


def test_what_only_this_process_can_read_is_trained_here(tmp_path, one_by_one, monkeypatch):
    lab = laboratory(tmp_path)
    made = lab._objective

    def of_a_notebook(*args):
        objective = made(*args)
        objective.note = lambda: "defined in a notebook"
        return objective

    class Idle(contextlib.nullcontext):
        def __init__(self, *_):
            self.stop = lambda: None

        def __enter__(self):
            return self

    monkeypatch.setattr(processes, "Worker", Idle)
    monkeypatch.setattr(lab, "_objective", of_a_notebook)
    assert hashes(lab.networks(two(lab))) == one_by_one[:2]


@pytest.mark.parametrize("jobs", [1, 2])
def test_without_company_no_process_is_started(jobs, tmp_path, no_process):
    lab = laboratory(tmp_path, jobs=jobs, epochs=1)
    lab.networks([lab.experiment("student"), *([lab.experiment("teacher")] if jobs == 1 else [])])


@pytest.mark.parametrize(
    ("cores", "jobs", "said", "device", "expected"),
    [
        (2, None, "", "cpu", 2),
        (1, None, "", "cpu", 1),
        (16, None, "", "cpu", AT_ONCE),
        (8, 3, "2", "cpu", 3),
        (8, None, "2", "cpu", 2),
        (2, 4, "", "cpu", 4),
        (8, 4, "2", "cuda", 1),
    ],
)
def test_how_many_trainings(cores, jobs, said, device, expected, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: cores)
    monkeypatch.setenv(JOBS, said)
    assert resolve_jobs(jobs, torch.device(device)) == expected


def test_a_number_of_jobs_that_is_none(monkeypatch, capsys):
    with pytest.raises(InputError, match="^jobs = 0: expected how many trainings run side by side, 1 or more$"):
        resolve_jobs(0, CPU)
    monkeypatch.setenv(JOBS, "two")
    with pytest.raises(InputError, match="^KDRECON_JOBS = 'two': expected how many"):
        Laboratory(**SMALL)
    monkeypatch.setattr("sys.argv", ["kdrecon", "run", "--jobs", "0"])
    with pytest.raises(SystemExit):
        cli.main()
    assert capsys.readouterr().err == "error: --jobs = 0: expected how many trainings run side by side, 1 or more\n"


def test_the_memory_limit_is_shared_by_all_who_hold_the_slices(tmp_path):
    limits = [Laboratory(jobs=jobs, run_root=str(tmp_path), **SMALL).memory_limit for jobs in (1, 3)]
    assert limits[0] // 4 == limits[1]
