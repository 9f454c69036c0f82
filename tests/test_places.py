"""Where things lie, how users name them, and what consoles can print."""

import io
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from conftest import TINY

import data_prep.__main__
import kdrecon
from data_prep import people, sample
from kdrecon.app import batch, cli, console
from kdrecon.errors import InputError
from kdrecon.runs.parameters import Parameters
from kdrecon.storage import places
from kdrecon.storage.places import project_root


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Python with the packages as pip would install them, without the repository around them."""
    site = tmp_path_factory.mktemp("site")
    for path in packaged():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(places.PACKAGES / path, site / path)
    before = contents(site)

    def python(*arguments, cwd: Path) -> subprocess.CompletedProcess:
        environment = os.environ | {"PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", cwd=cwd, env=environment)

    yield python
    assert contents(site) == before


def packaged() -> set[Path]:
    """The files that pip installs, seen from the repository: modules, and what pyproject.toml names beside them."""
    tool = tomllib.loads((places.PACKAGES / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    found = {
        path
        for top in ("kdrecon", "data_prep")
        for package in (places.PACKAGES / top).rglob("__init__.py")
        for path in package.parent.glob("*.py")
    }
    for package, patterns in tool["package-data"].items():
        found |= {path for pattern in patterns for path in (places.PACKAGES / package).glob(pattern) if path.is_file()}
    return {path.relative_to(places.PACKAGES) for path in found}


def contents(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


def test_every_file_of_the_library_is_installed():
    there = {path for top in ("kdrecon", "data_prep") for path in (places.PACKAGES / top).rglob("*") if path.is_file()}
    assert packaged() == {path.relative_to(places.PACKAGES) for path in there if path.suffix != ".pyc"}


@pytest.mark.parametrize(
    "command",
    [
        "kdrecon run",
        f"kdrecon run --params {TINY}",
        "kdrecon train --network student",
        "kdrecon ship",
        "data_prep sample",
        "data_prep people",
    ],
)
def test_what_needs_a_checkout_says_so_without_one(command, installed, tmp_path):
    done = installed("-m", *command.split(), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.count("\n") == 1
    assert "expected to be started in a checkout" in done.stderr and not contents(tmp_path)


def test_the_installed_library_works_on_the_sample_and_writes_where_it_was_started(installed, tmp_path):
    code = """
from pathlib import Path
from data_prep.__main__ import app
from kdrecon.runs.versions import environment; from kdrecon.storage.places import project_root
from kdrecon.runs.laboratory import Laboratory
laboratory = Laboratory(resolution=48)
print(laboratory.zero_filled().folder.is_relative_to(Path.cwd() / "runs" / "lab"))
print(project_root() == Path.cwd(), environment()["git"])
"""
    done = installed("-c", code, cwd=tmp_path)
    assert done.stdout == "True\nTrue unknown\n", done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"runs"}


def test_training_from_a_parameter_file_needs_no_checkout(installed, tmp_path):
    command = ("kdrecon", "train", "--network", "student", "--params", TINY, "-p", "dataset=mine")
    done = installed("-m", *command, cwd=tmp_path)
    assert done.returncode == 2 and f"data set 'mine' is not in {tmp_path / 'datasets'}" in done.stderr


def test_runs_do_not_go_where_pip_has_installed_the_library(tmp_path, monkeypatch):
    monkeypatch.setattr(places, "PACKAGES", tmp_path)
    (tmp_path / "kdrecon").mkdir()
    monkeypatch.chdir(tmp_path / "kdrecon")
    assert project_root() == Path.cwd()  # a copy of the library that lies in somebody's own folder
    (tmp_path / "kdrecon-0.2.0.dist-info").mkdir()
    with pytest.raises(InputError, match="is where packages are installed: expected a folder of your own"):
        project_root()


@pytest.mark.parametrize("module", [sample, people], ids=places.EMBEDDED)
def test_an_embedded_data_set_is_rebuilt_where_the_library_reads_it(module, monkeypatch):
    built = []
    monkeypatch.setattr(module, "build", lambda source, out: built.append(out))
    monkeypatch.setattr("sys.argv", ["data_prep", module.__name__.removeprefix("data_prep.")])
    with pytest.raises(SystemExit):
        data_prep.__main__.main()
    assert built == [places.SAMPLES]


@pytest.mark.parametrize("module", ["kdrecon", "data_prep"])
def test_the_command_line_says_its_version(module):
    done = subprocess.run([sys.executable, "-m", module, "--version"], capture_output=True, text=True, encoding="utf-8")
    assert (done.returncode, done.stdout) == (0, f"kdrecon {kdrecon.__version__}\n")


def test_the_installed_library_finds_the_checkout_it_is_started_in(installed):
    code = "from kdrecon.storage.places import checkout; print(checkout())"
    assert installed("-c", code, cwd=project_root() / "docs").stdout.strip() == str(project_root())


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    "named", [["--params=~/tiny.yaml", "--out=~/run"], ["--params", "~/tiny.yaml", "--out", "~/run"]]
)
def test_the_command_line_expands_the_home_folder(named, home, monkeypatch):
    shutil.copy(TINY, home / "tiny.yaml")
    runs = []
    monkeypatch.setattr(batch, "run", lambda parameters, out, *_: runs.append((parameters.data_root, out)))
    monkeypatch.setattr("sys.argv", ["kdrecon", "run", *named, "-p", "data_root=~/data"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert not caught.value.code and runs == [(str(home / "data"), home / "run")]


def test_parameters_expand_the_home_folder(home):
    parameters = Parameters.from_mapping({"data_root": "~/data", "run_root": "~/run"})
    assert (parameters.data_root, parameters.run_folder) == (str(home / "data"), home / "run")


def test_paths_are_utf8_in_a_locale_from_before_it():
    code = "import sys; from kdrecon.app import console; console.in_utf8(); print(ascii(sys.argv[1]))"
    old = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run([sys.executable, "-c", code, "Läufe λ"], capture_output=True, text=True, env=os.environ | old)
    assert done.stdout.strip() == ascii("Läufe λ"), done.stderr


def test_a_signal_within_a_task_ends_in_one_line():
    code = """
import asyncio, signal
from kdrecon.app import console
async def raised():
    signal.raise_signal(signal.SIGTERM)
async def command():
    asyncio.ensure_future(raised())
    await asyncio.sleep(1)
app = console.application("Ends.")
app.command("first")(lambda: asyncio.new_event_loop().run_until_complete(command()))
app.command("second")(lambda: None)
console.run(app)
"""
    done = subprocess.run([sys.executable, "-c", code, "first"], capture_output=True, text=True, encoding="utf-8")
    assert (done.returncode, done.stderr) == (143, "stopped by a request to end\n")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "gbk"])
def test_a_console_without_a_letter_shows_its_number(encoding, monkeypatch):
    app = console.application("Prints.")
    app.command("first")(lambda: print("Ωmega: λ = ∞, Läufe"))
    app.command("second")(lambda: None)
    stdout = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr("sys.stdout", stdout)
    monkeypatch.setattr("sys.argv", ["app", "first"])
    with pytest.raises(SystemExit) as caught:
        console.run(app)
    stdout.flush()
    assert not caught.value.code and b"mega" in stdout.buffer.getvalue()
