import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from studies import SETTINGS

from kdrecon.runs.laboratory import Laboratory
from kdrecon.storage.places import project_root

TINY = project_root() / "params" / "tiny.yaml"


def kdrecon(*arguments: str | Path, cwd: Path | str = "/") -> subprocess.CompletedProcess:
    """The command line in a process of its own, started somewhere else than in the repository."""
    command = [sys.executable, "-m", "kdrecon", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=os.environ | {"OMP_NUM_THREADS": "2"})


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess]:
    """All notebooks through the command line, with the smallest parameters: the folder and what was printed."""
    out = tmp_path_factory.mktemp("runs") / "tiny"
    return out, kdrecon("run", "--params", TINY, "--out", out)


@pytest.fixture(scope="session")
def alone(tmp_path_factory) -> Path:
    """The networks of a small study by a laboratory, as a notebook trains them, in one thread as in a study."""
    out, threads = tmp_path_factory.mktemp("alone"), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        Laboratory(**SETTINGS, ready=False, run_root=str(out)).named("kd-at")
    finally:
        torch.set_num_threads(threads)
    return out
