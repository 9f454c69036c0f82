"""A small study: its matrix, its start in a process of its own, and what it trained."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from helpers import PAPER

from kdrecon.storage.checkpoints import read_checkpoint

SETTINGS = PAPER | {
    "resolution": 32,
    "epochs": 3,
    "batch_size": 16,
    "device": "cpu",
}
MATRIX = "\n".join([*(f"{name}: {value}" for name, value in SETTINGS.items()), "networks: [kd-at]"])


def start(matrix: Path, out: Path, *options: str, environment: Mapping[str, str] = os.environ) -> subprocess.Popen:
    """A study in a process group of its own."""
    command = [sys.executable, "-m", "kdrecon", "study", str(matrix), "--out", str(out), *options]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment, start_new_session=True)


def wait_for(out: Path, pattern: str, process: subprocess.Popen) -> None:
    """Until such a file is there; an error where the study ends without it."""
    while not any(out.glob(pattern)):
        assert process.poll() is None, f"ended without {pattern}"
        time.sleep(0.01)


def weights(out: Path) -> dict[str, torch.Tensor]:
    """Of every trained network in a folder, as one vector, by its folder's name."""
    found = {path.parent.name: read_checkpoint(path)["model"] for path in out.glob("experiments/*/*/*/best_model.pt")}
    return {name: torch.cat([tensor.flatten() for tensor in state.values()]) for name, state in found.items()}
