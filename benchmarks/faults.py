"""What a run survives, and what it loses: the fault table.

Runs are killed at random moments of training, evaluation and report and continued until they finish; checkpoints are
cut at random lengths; the disk is full at every checkpoint of a training. Survived is what ends with the weights and
figures of an undisturbed run, bit for bit. The other faults are those of tests/test_faults.py, each tried once.

    python benchmarks/faults.py [--kills 50] [--cuts 20]
"""

import argparse
import errno
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import pytest
import torch

TESTS = Path(__file__).resolve().parent.parent / "tests"
sys.path.insert(0, str(TESTS))
from helpers import stop_at_step  # noqa: E402
from test_faults import outcome, start, train  # noqa: E402

from kdrecon.errors import InputError  # noqa: E402


def steps_taken(folder: Path) -> int:
    return (folder / "steps").stat().st_size


def ended(folder: Path, number: signal.Signals, times: int) -> dict:
    """Runs, each ended by the signal up to 10 times at random moments and then left to finish."""
    began, whole = time.perf_counter(), start(folder / "whole")
    assert whole.wait() == 0
    seconds, moment, hits, survived, again = time.perf_counter() - began, random.Random(0), 0, 0, 0
    for run in range(10 * times):
        place, before = folder / f"{number.name}-{run}", hits
        for _ in range(min(10, times - hits)):
            process = start(place)
            time.sleep(moment.uniform(0, seconds / 5))
            hits += process.poll() is None
            process.send_signal(number)
            process.wait()
        finished = start(place).wait() == 0 and outcome(place) == outcome(folder / "whole")
        survived += (hits - before) * finished
        again += steps_taken(place) - steps_taken(folder / "whole")
        if hits >= times:
            break
    lost = f"nothing but time: {again} of {steps_taken(folder / 'whole')} x {run + 1} steps were taken again"
    return {"fault": f"{number.name} at a random moment", "tried": hits, "survived": survived, "lost": lost}


def cut_checkpoints(folder: Path, times: int, whole: torch.Tensor) -> dict:
    """Trainings interrupted after a random step, whose checkpoint is then cut at a random length."""
    moment, survived = random.Random(0), 0
    for k in range(times):
        place, last = folder / f"cut-{k}", moment.randrange(4, 9)
        interrupted(place, last, lambda: signal.raise_signal(signal.SIGINT), KeyboardInterrupt)
        content = (place / "model.pt").read_bytes()
        (place / "model.pt").write_bytes(content[: moment.randrange(len(content))])
        survived += torch.equal(whole, weights(train(place)))
    return {
        "fault": "checkpoint cut at a random length", "tried": times, "survived": survived,
        "lost": "the steps since the checkpoint before it",
    }  # fmt: skip


def full_disks(folder: Path, whole: torch.Tensor) -> dict:
    """A disk that is full from a step on, at every step of a training of 9."""
    survived, flush = 0, os.fsync

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    for step in range(1, 10):
        place = folder / f"full-{step}"
        interrupted(place, step, lambda: setattr(os, "fsync", full), InputError)
        os.fsync = flush
        survived += torch.equal(whole, weights(train(place)))
    return {
        "fault": "disk full while checkpointing", "tried": 9, "survived": survived, "lost": "the running epoch",
    }  # fmt: skip


def interrupted(folder: Path, last: int, action, expected: type) -> None:
    """A training in which the action happens after a step, and which ends with the expected error."""
    with pytest.MonkeyPatch.context() as patch:
        stop_at_step(patch, last, action)
        with pytest.raises(expected):
            train(folder)


def weights(objective) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in objective.network.parameters()])


def tested() -> list[dict]:
    """The faults of the tests, one row a test."""
    command = [sys.executable, "-m", "pytest", str(TESTS / "test_faults.py"), "-rA", "--tb=no", "-q"]
    printed = subprocess.run(command, capture_output=True, text=True, cwd=TESTS.parent).stdout
    found = re.findall(r"^(PASSED|FAILED|ERROR) \S+::test_(\S+)", printed, re.MULTILINE)
    return [
        {"fault": name.replace("_", " "), "tried": 1, "survived": int(verdict == "PASSED"), "lost": ""}
        for verdict, name in found
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--cuts", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole = weights(train(folder / "undisturbed"))
        rows = [cut_checkpoints(folder, options.cuts, whole), full_disks(folder, whole)]
        print(pd.DataFrame(rows).to_string(index=False), flush=True)
        rows += [
            ended(folder / s.name, s, n) for s, n in ((signal.SIGKILL, options.kills), (signal.SIGTERM, options.cuts))
        ]
        print(pd.DataFrame(rows + tested()).to_string(index=False), flush=True)


if __name__ == "__main__":
    main()
