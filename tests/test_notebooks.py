import subprocess
import sys
from pathlib import Path

import papermill
import pytest
import yaml
from conftest import TINY

from kdrecon import batch
from kdrecon.experiments import Parameters, project_root

NOTEBOOKS = batch.choose_notebooks(batch.NOTEBOOKS)


def test_notebooks_match_their_scripts():
    build = subprocess.run(
        [sys.executable, project_root() / "lessons" / "build.py", "--check"], capture_output=True, text=True
    )
    assert build.returncode == 0, build.stdout


def test_a_notebook_edited_by_hand_is_noticed(tmp_path):
    for folder in ("lessons", "notebooks"):
        (tmp_path / folder).mkdir()
    for name in ("lessons/build.py", "lessons/00_start_here.py"):
        (tmp_path / name).write_bytes((project_root() / name).read_bytes())
    build = [sys.executable, tmp_path / "lessons" / "build.py"]
    subprocess.run(build, check=True, capture_output=True)
    path = tmp_path / "notebooks" / "00_start_here.ipynb"
    assert path.read_bytes() == (project_root() / "notebooks" / path.name).read_bytes()
    path.write_text(path.read_text().replace("Start here", "Stop here"))
    done = subprocess.run([*build, "--check"], capture_output=True, text=True)
    assert done.returncode == 1 and "00_start_here.ipynb does not match" in done.stdout


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_has_the_same_parameters(path):
    found = papermill.inspect_notebook(path)
    defaults = {name: parameter["default"] for name, parameter in found.items()}
    assert {name: yaml.safe_load(value) for name, value in defaults.items() if name != "ready"} == {
        name: getattr(Parameters(), name) for name in defaults if name != "ready"
    }
    assert list(defaults) == list(Parameters.__dataclass_fields__) and defaults["ready"] == "True"


def nbval(folder: Path, run_root: Path, notebooks: list[Path]) -> subprocess.CompletedProcess:
    """Run notebooks, prepared with the smallest parameters, cell by cell under nbval, all in one run folder."""
    parameters = yaml.safe_load(TINY.read_text()) | {"run_root": str(run_root)}
    for path in notebooks:
        papermill.execute_notebook(
            path, folder / path.name, parameters, prepare_only=True, kernel_name="python3", progress_bar=False
        )
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=300"]
    command += ["-p", "no:cacheprovider", "-q", "--rootdir", folder, *(folder / path.name for path in notebooks)]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder)


def test_all_notebooks_cell_by_cell(tmp_path):
    done = nbval(tmp_path, tmp_path / "run", NOTEBOOKS)
    assert done.returncode == 0, done.stdout[-5000:]
    assert len(NOTEBOOKS) == 7 and " passed" in done.stdout and "failed" not in done.stdout


@pytest.mark.parametrize("number", ["04"])
def test_a_notebook_runs_alone(number, tmp_path):
    (alone,) = [path for path in NOTEBOOKS if path.name.startswith(number)]
    done = nbval(tmp_path, tmp_path / "run", [alone])
    assert done.returncode == 0, done.stdout[-5000:]
