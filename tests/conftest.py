import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from studies import SETTINGS
from xdist.scheduler import LoadFileScheduling

from kdrecon.runs.laboratory import Laboratory
from kdrecon.storage.places import project_root

TINY = project_root() / "params" / "tiny.yaml"
# They share a run, and their notebooks' kernels, side by side, would collide on ports.
KERNELS = ("test_batch.py", "test_book.py", "test_notebooks.py")
if "PYTEST_XDIST_WORKER" in os.environ:  # make test warns of encodings left unsaid in the tests' own processes alone
    os.environ.pop("PYTHONWARNDEFAULTENCODING", None)


class ByFile(LoadFileScheduling):
    """Side by side (pytest -n 2) a file's tests stay in one process, and those of :data:`KERNELS` in the first one."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "kernels" if Path(file).name in KERNELS else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByFile:
    config.option.loadscopereorder = False
    return ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in KERNELS)


@pytest.fixture(autouse=True)
def figures_closed() -> Iterator[None]:
    """No figure of a test is left to the next one, whichever files share a process."""
    yield
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close("all")


def kdrecon(*arguments: str | Path, cwd: Path | str = "/") -> subprocess.CompletedProcess:
    """The command line in a process of its own, started somewhere else than in the repository."""
    command = [sys.executable, "-m", "kdrecon", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd)


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess]:
    """All notebooks through the command line, with the smallest parameters: the folder and what was printed."""
    out = tmp_path_factory.mktemp("runs") / "tiny"
    return out, kdrecon("run", "--params", TINY, "--out", out, "--jobs", "2")


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
