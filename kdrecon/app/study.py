"""A study: Snakemake trains and scores every network of a matrix file, on this machine or a cluster.

>>> from pathlib import Path
>>> from kdrecon.app.study import Progress
>>> progress = Progress(total=3, done=1)
>>> progress.hear("localrule network:"), progress.hear("    output: experiments/mine/acc_4x/D3C5_student/metrics.csv")
('', '')
>>> progress.hear("    jobid: 7"), progress.hear("Finished jobid: 7 (Rule: network)")
('', '[2/3] mine/acc_4x/D3C5_student: done; 0 running, 0 failed, 1 left, about 0 min')
"""

import re
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from importlib import util
from pathlib import Path

import yaml

from kdrecon.errors import InputError, shortened, shown
from kdrecon.runs.matrix import Job, read_matrix
from kdrecon.storage.files import alone_in, visible
from kdrecon.storage.places import study_engine

RULES = [
    "--nolock",
    "--rerun-incomplete",
    "--rerun-triggers",
    "mtime",
]  # that a network is trained anew: its file is gone
PLAN = "Job stats:"  # begins the end of what a dry run prints
LAST = 40  # lines of Snakemake's that are shown where it fails


def run(matrix: Path, out: Path, profile: str, jobs: int | None, dry_run: bool) -> bool:
    """Have Snakemake do what is left of a study, and print what is done, running, failed and left; whether all is done.

    Args:
        matrix: file, see :func:`kdrecon.runs.matrix.read_matrix`.
        out: folder of the study; networks of a run in the same folder are found.
        profile: name of a folder of study/profiles, or path of another one.
        jobs: trainings side by side, on one GPU, too; None for what the profile says, and one a processor on this machine.
        dry_run: plan and print, start nothing.

    Raises:
        InputError: the matrix is refused, there is no such profile, Snakemake is not installed, or another process is at
            work in the folder.
    """
    wanted = list(read_matrix(matrix).jobs())
    command = [*_snakemake(), "--snakefile", str(study_engine() / "Snakefile"), "--directory", str(out.resolve())]
    command += [
        "--config",
        f"matrix={matrix.resolve()}",
        "--workflow-profile",
        str(folder := _profile(profile)),
        *RULES,
    ]
    settings = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8")) or {}
    local = settings.get("executor", "local") == "local"
    if jobs:
        command += ["--jobs", str(jobs), "--resources", f"gpu={jobs}"]
    elif local and not settings.keys() & {"cores", "jobs"}:
        command += ["--cores", "all"]
    if not local and not any(job.parameters.torch_device.type == "cuda" for job in wanted):
        print("no training asks for a GPU: `device: cuda` in the matrix file does", file=sys.stderr)
    command += ["--dry-run"] if dry_run else []
    if not dry_run:
        with alone_in(out):  # the Snakefile holds this lock as long as it works, also where this process is killed
            pass
    states = [_state(job, out) for job in wanted]
    print(told(wanted, states, out), flush=True)
    status, last = _follow(command, Progress(len(wanted), states.count("done")), not dry_run)
    if status or dry_run:
        print(
            "\n".join(last[last.index(PLAN) if PLAN in last and not status else 0 :]),
            file=sys.stderr if status else None,
        )
    if not dry_run:
        states = [_state(job, out) for job in wanted]
        print(told(wanted, states, out))
        if status and "done" in states and set(states) != {"done"}:
            from kdrecon.results.report import write_results

            execute_notebook(matrix, out)
            write_results(out)
        print("the same command goes on with what is left" if status else f"tables: {out / 'report.html'}")
    return not status


def execute_notebook(matrix: Path, out: Path) -> None:
    """Execute study/study.ipynb over the networks of a study that are done; {out}/notebooks receives it, and its page.

    Where it stops that is said, and kept as far as it came.

    Raises:
        InputError: the matrix is refused.
    """
    from kdrecon.app import batch

    read_matrix(matrix)
    (out / "notebooks").mkdir(exist_ok=True)
    with batch.this_python():
        parameters = {"folder": str(out.resolve()), "matrix": str(matrix.resolve())}
        try:
            batch.execute(study_engine() / "study.ipynb", out.resolve() / "notebooks", parameters)
        except batch.NotebookFailed as failure:
            print(f"error: {failure}", file=sys.stderr)


def status(matrix: Path, out: Path) -> None:
    """Print how far a study is, from what lies in its folder: numbers, then a line for each network that failed."""
    wanted = list(read_matrix(matrix).jobs())
    print(told(wanted, [_state(job, out) for job in wanted], out))


def export(matrix: Path, out: Path, folder: Path) -> None:
    """Write the tables of the networks in a study's folder to another one, see :mod:`kdrecon.results.studies`.

    Raises:
        InputError: the matrix is refused, none of its networks is done, the study's folder holds others, or the folder
            cannot be written.
    """
    from kdrecon.results.archive import damaged, evaluated
    from kdrecon.results.studies import export_study

    wanted = {job.experiment.folder(out.resolve()): job.experiment for job in read_matrix(matrix).jobs()}
    there = {network.folder for network in evaluated(out.resolve())}
    if strange := sorted(there - wanted.keys()):
        raise InputError(
            f"{strange[0]}{f' and {len(strange) - 1} more' * (len(strange) > 1)}: expected no network that {matrix} does not "
            "ask for, since all of a folder are compared; add it to the matrix, or move it to another folder"
        )
    left = []
    for path, experiment in wanted.items():
        if path not in there:
            name = path.relative_to(out.resolve() / "experiments").as_posix().removesuffix(f"_seed-{experiment.seed}")
            left.append(f"{name}, seed {experiment.seed}" if experiment.epochs else name)
    export_study(out, folder, {"matrix": matrix.name, "left": left})
    for message in damaged(out):
        print(f"left out: {message}", file=sys.stderr)
    print(f"tables of {len(wanted) - len(left)} of {len(wanted)} networks: {folder}")


def told(wanted: list[Job], states: list[str], out: Path) -> str:
    """How far a study is in words."""
    counts = ", ".join(f"{states.count(state)} {state}" for state in ("done", "begun", "failed", "left"))
    failed = [job for job, state in zip(wanted, states) if state == "failed"]
    lines = [f"{job.experiment.folder(out)}/train.log: {failure(job, out)}" for job in failed]
    return "\n".join([f"{len(wanted)} networks in {out}: {counts}", *lines])


@dataclass
class Progress:
    """What Snakemake has said of the networks of a study so far.

    Attributes:
        total: networks of the study; done: of them.
        started: when the first network was begun here.
    """

    total: int
    done: int
    names: dict[str, str] = field(default_factory=dict)
    running: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    finished: int = 0
    began: float = field(default_factory=time.monotonic)
    _output: str = ""
    _error: bool = False

    def hear(self, line: str) -> str:
        """Take in a line of Snakemake's; what a person should see of it, if anything."""
        if rule := re.match(r"(?:(?:local)?rule|(Error in) rule) \w+:", line):
            self._output, self._error = "", bool(rule[1])
        elif output := re.match(r" +output: experiments/(\S+)/metrics.csv", line):
            self._output = output[1]
        elif (number := re.match(r" +jobid: (\d+)", line)) and self._error and number[1] in self.running:
            self.running.discard(number[1])
            self.failed.add(number[1])
            return self._line(number[1], "failed")
        elif number and not self._error and self._output:
            self.names[number[1]] = self._output
            self.running.add(number[1])
            self.failed.discard(number[1])
        elif (number := re.match(r"Finished jobid: (\d+)", line)) and number[1] in self.running:
            self.running.discard(number[1])
            self.done, self.finished = self.done + 1, self.finished + 1
            return self._line(number[1], "done")
        return ""

    def _line(self, number: str, state: str) -> str:
        left = self.total - self.done
        time_left = ""
        if left and self.finished:
            minutes = (time.monotonic() - self.began) / self.finished * left / 60
            time_left = f", about {minutes:.0f} min" if minutes < 120 else f", about {minutes / 60:.0f} h"
        return (
            f"[{self.done}/{self.total}] {self.names[number]}: {state}; {len(self.running)} running, "
            f"{len(self.failed)} failed, {left} left{time_left}"
        )


def _follow(command: list[str], progress: Progress, show: bool) -> tuple[int, list[str]]:
    """Run Snakemake, printing what progress makes of its lines; its exit status and its last lines."""
    last: deque[str] = deque(maxlen=LAST)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8", errors="replace"
    ) as process:
        try:
            for line in process.stdout or ():
                last.append(line.rstrip())
                if (told := progress.hear(line)) and show:
                    print(told, flush=True)
        except (KeyboardInterrupt, SystemExit):
            process.terminate()
            raise
    return process.returncode, list(last)


def _snakemake() -> list[str]:
    if not util.find_spec("snakemake"):
        raise InputError(
            "a study needs Snakemake, which is not installed: expected the extra study; python -m pip install -e '.[study]'"
        )
    return [sys.executable, "-m", "snakemake"]


def _profile(name: str) -> Path:
    """The folder of a profile, by its name or its path."""
    known = study_engine() / "profiles"
    for folder in (known / name, Path(name)):
        if (folder / "config.yaml").is_file():
            return folder.resolve()
    names = ", ".join(path.name for path in visible(known, "*/"))
    raise InputError(f"profile {shown(name)}: expected one of {names}, or a folder with config.yaml; check the name")


def _state(job: Job, out: Path) -> str:
    folder = job.experiment.folder(out)
    if (folder / "metrics.csv").exists():
        return "done"
    return "failed" if failure(job, out) else "begun" if (folder / "config.json").exists() else "left"


def failure(job: Job, out: Path) -> str:
    """The error with which the last attempt of a network ended, as its train.log says; "" without one."""
    path = job.experiment.folder(out) / "train.log"
    if not path.exists():
        return ""
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    failed = lines and (lines[-1].startswith("error: ") or any(line.startswith("Traceback") for line in lines))
    return shortened(lines[-1], 300) if failed else ""
