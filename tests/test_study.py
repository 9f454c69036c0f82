"""Studies through Snakemake on this machine: killed, continued, found again; what they print and refuse."""

import contextlib
import os
import re
import signal
from importlib import util
from pathlib import Path

import psutil
import pytest
import torch
from studies import MATRIX, start, wait_for, weights
from typer.testing import CliRunner

from kdrecon.app import cli, study
from kdrecon.errors import InputError
from kdrecon.runs.matrix import read_matrix
from kdrecon.storage.files import alone_in
from kdrecon.storage.places import project_root

needs_snakemake = pytest.mark.skipif(
    not util.find_spec("snakemake") or os.name == "nt", reason="needs Snakemake and a POSIX shell"
)


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> tuple[Path, Path]:
    """A study killed twice while it trained: Snakemake alone, then every process; the matrix and its folder."""
    folder = tmp_path_factory.mktemp("study")
    (matrix := folder / "matrix.yaml").write_text(MATRIX, encoding="utf-8")
    first = start(matrix, folder / "out", "--jobs", "1")
    wait_for(folder, "out/experiments/*/*/*teacher*/model.pt", first)
    (snakemake,) = (p for p in psutil.Process(first.pid).children() if "snakemake" in p.cmdline())
    os.kill(snakemake.pid, signal.SIGKILL)
    first.wait()
    second = start(matrix, folder / "out")
    wait_for(folder, "out/experiments/*/*/*kd-at*/model.pt", second)
    family = psutil.Process(second.pid).children(recursive=True)
    os.killpg(second.pid, signal.SIGKILL)
    second.wait()
    psutil.wait_procs(family)  # what a dying process holds is free when it is gone
    return matrix, folder / "out"


def planned(printed: str) -> dict[str, int]:
    """How many jobs of each rule a dry run has named."""
    return {rule: int(number) for rule, number in re.findall(r"^(all|data|network|tables) +(\d+)$", printed, re.M)}


@needs_snakemake
def test_a_study_that_was_killed_goes_on_and_ends_with_the_weights_of_a_laboratory(killed, alone, capsys):
    matrix, out = killed
    assert study.run(matrix, out, "local", 2, dry_run=False)
    printed = capsys.readouterr().out
    assert (
        "done; 0 running, 0 failed" in printed and f"3 networks in {out}: 3 done, 0 begun, 0 failed, 0 left" in printed
    )
    ours, theirs = weights(out), weights(alone)
    assert ours.keys() == theirs.keys() and len(ours) == 2
    for name, vector in ours.items():
        assert torch.equal(vector, theirs[name]), name
    rows = (out / "summary.csv").read_text(encoding="utf-8").splitlines()
    assert len(rows) == 4 and (out / "comparisons.csv").exists() and (out / "report.html").exists()
    assert study.run(matrix, out, "local", None, dry_run=True)
    assert "Nothing to be done" in capsys.readouterr().out
    (wider := matrix.with_name("wider.yaml")).write_text(MATRIX.replace("kd-at", "kd-at, student"), encoding="utf-8")
    next(out.glob("experiments/*/*/*kd-at*/metrics.csv")).unlink()
    for wanted, missing in {matrix: 1, wider: 2}.items():
        assert study.run(wanted, out, "local", None, dry_run=True)
        assert planned(capsys.readouterr().out) == {"all": 1, "network": missing, "tables": 1}


@needs_snakemake
def test_a_study_finds_what_a_laboratory_has_trained_and_says_what_failed(alone, tmp_path, capsys):
    """The teacher's record is damaged; the student, which is found, needs nothing but to be scored."""
    (matrix := tmp_path / "matrix.yaml").write_text(MATRIX.replace("kd-at", "kd-at, student"), encoding="utf-8")
    before = {path: path.stat().st_mtime_ns for path in alone.glob("experiments/*/*/*/best_model.pt")}
    student = next(job for job in read_matrix(matrix).jobs() if job.network == "student").experiment.folder(alone)
    student.mkdir()
    (student / "config.json").write_text("{", encoding="utf-8")
    assert not study.run(matrix, alone, "local", 2, dry_run=False)
    printed = capsys.readouterr().out
    assert "failed; " in printed and "4 networks" in printed and "3 done, 0 begun, 1 failed, 0 left" in printed
    assert f"{student / 'train.log'}: error: {student / 'config.json'} is damaged" in printed
    assert "the same command goes on" in printed
    assert len((alone / "summary.csv").read_text(encoding="utf-8").splitlines()) == 4  # of those that are done
    notebook = (alone / "notebooks" / "study.html").read_text(encoding="utf-8")
    assert "1 failed" in notebook and "config.json is damaged" in notebook
    assert "notebooks/study.html" in (alone / "report.html").read_text(encoding="utf-8")
    assert {path: path.stat().st_mtime_ns for path in before} == before


@needs_snakemake
def test_a_dry_run_says_how_much_there_is_and_starts_nothing(tmp_path, capsys):
    paper = project_root() / "study" / "paper.yaml"
    assert study.run(paper, tmp_path, "local", None, dry_run=True)
    printed = capsys.readouterr().out
    assert "284 networks" in printed and "284 left" in printed
    assert planned(printed) == {"all": 1, "data": 2, "network": 284, "tables": 1}
    assert not (tmp_path / "experiments").exists()


def test_the_state_of_a_study_is_what_lies_in_its_folder(tmp_path, capsys):
    (matrix := tmp_path / "matrix.yaml").write_text(MATRIX, encoding="utf-8")
    baseline, teacher, student = (job.experiment.folder(tmp_path) for job in read_matrix(matrix).jobs())
    for path, text in {
        baseline / "metrics.csv": "",
        teacher / "config.json": "{}",
        student / "train.log": "error: no",
    }.items():
        path.parent.mkdir(parents=True)
        path.write_text(text, encoding="utf-8")
    study.status(matrix, tmp_path)
    assert "1 done, 1 begun, 1 failed, 0 left" in capsys.readouterr().out
    (student / "train.log").write_text("D3C5 kd-at: trained", encoding="utf-8")  # and then killed
    study.status(matrix, tmp_path)
    assert "1 done, 1 begun, 0 failed, 1 left" in capsys.readouterr().out


def test_progress_counts_failed_attempts_and_those_that_follow():
    progress = study.Progress(total=4, done=1)
    begun = ["rule network:", "    output: experiments/a/b/c/metrics.csv", "    jobid: 5"]
    failed = ["Error in rule network:", "    jobid: 5", "    output: experiments/a/b/c/metrics.csv"]
    told = [progress.hear(line) for line in [*begun, *failed, *failed, "Trying to restart job 5.", *begun]]
    assert list(filter(None, told)) == ["[1/4] a/b/c: failed; 0 running, 1 failed, 3 left"]
    assert (
        progress.hear("Finished jobid: 5 (Rule: network)")
        == "[2/4] a/b/c: done; 0 running, 0 failed, 2 left, about 0 min"
    )
    for line in ["localrule tables:", "    output: report.html", "    jobid: 0", "Finished jobid: 0 (Rule: tables)"]:
        assert not progress.hear(line)
    assert progress.done == 2


def test_what_a_study_cannot_do_is_refused_before_snakemake_starts(tmp_path, monkeypatch):
    (matrix := tmp_path / "matrix.yaml").write_text(MATRIX, encoding="utf-8")
    with pytest.raises(InputError, match="profile 'pbs': expected one of local, slurm, or a folder"):
        study.run(matrix, tmp_path, "pbs", None, dry_run=False)
    with alone_in(tmp_path), pytest.raises(InputError, match="another process is at work in"):
        study.run(matrix, tmp_path, "local", None, dry_run=False)
    monkeypatch.setattr(study.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="a study needs Snakemake, which is not installed"):
        study.run(matrix, tmp_path, "local", None, dry_run=False)


def invoke(*arguments: object) -> str:
    """What a command prints that ends well."""
    done = CliRunner().invoke(cli.app, [str(argument) for argument in arguments])
    assert not done.exit_code, done.output
    return done.output


def test_a_network_is_trained_and_scored_by_one_command_and_a_baseline_too(tmp_path):
    (matrix := tmp_path / "matrix.yaml").write_text(MATRIX, encoding="utf-8")
    baseline, *_ = read_matrix(matrix).jobs()
    folder = baseline.experiment.folder(tmp_path)
    assert str(folder) in invoke("train", "--evaluate", "--out", tmp_path, *baseline.arguments)
    assert (folder / "metrics.csv").exists() and "1 done, 0 begun, 0 failed, 2 left" in invoke(
        "study", matrix, "--out", tmp_path, "--status"
    )


def test_a_training_waits_for_another_process_that_is_at_it(tmp_path, monkeypatch, capsys):
    """The lock is let go of at the third look."""
    looks, held = [], contextlib.ExitStack()
    held.enter_context(alone_in(tmp_path))

    def training():
        looks.append(1)
        if len(looks) == 3:
            held.close()
        with alone_in(tmp_path):
            return "trained"

    monkeypatch.setattr(cli, "PAUSE", 0)
    assert cli._waiting(training) == "trained" and len(looks) == 3
    assert capsys.readouterr().out.count("another process is at work in") == 1


@needs_snakemake
@pytest.mark.parametrize("jobs", [None, 14])
def test_as_many_trainings_share_a_gpu_as_the_user_says_and_one_by_default(jobs, tmp_path, monkeypatch):
    matrix, called = tmp_path / "mine.yaml", []
    matrix.write_text(MATRIX, encoding="utf-8")
    monkeypatch.setattr(study, "_follow", lambda command, *_: called.append(command) or (0, []))
    study.run(matrix, tmp_path / "run", "local", jobs, dry_run=True)
    (command,) = called
    assert ("gpu=14" in command) == (jobs == 14) and ("--cores" in command) == (jobs is None)


@needs_snakemake
@pytest.mark.parametrize(
    "settings, cores, told",
    [
        ("{executor: local}", True, False),
        ("{executor: local, cores: 3}", False, False),
        ("{executor: slurm}", False, True),
    ],
)
def test_a_profile_of_ones_own(settings, cores, told, tmp_path, monkeypatch, capsys):
    """It gets all processors where it runs here and says nothing else, and is told where a cluster gets no GPU."""
    called = []
    for name, text in {"matrix.yaml": MATRIX, "config.yaml": settings}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.setattr(study, "_follow", lambda command, *_: called.append(command) or (0, []))
    study.run(tmp_path / "matrix.yaml", tmp_path / "run", str(tmp_path), None, dry_run=True)
    assert ("--cores" in called[0]) == cores
    assert ("no training asks for a GPU: `device: cuda` in the matrix file does" in capsys.readouterr().err) == told
