import platform
import re
import tomllib
from importlib import metadata

import yaml
from packaging.requirements import Requirement

from kdrecon.storage.places import project_root

PIP_NAMES = {"pytorch": "torch"}


def conda_requirements() -> dict[str, Requirement]:
    entries = yaml.safe_load((project_root() / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    parsed = [Requirement(entry) for entry in entries]
    return {PIP_NAMES.get(r.name, r.name): r for r in parsed}


def pip_requirements() -> dict[str, Requirement]:
    project = tomllib.loads((project_root() / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    entries = project["dependencies"] + [e for group in project["optional-dependencies"].values() for e in group]
    return {r.name: r for r in map(Requirement, entries)}


def test_the_active_environment_satisfies_environment_yml():
    for name, requirement in conda_requirements().items():
        version = platform.python_version() if name == "python" else metadata.version(name)
        assert requirement.specifier.contains(version, prereleases=True), f"{name} {version}, wanted {requirement}"


def test_environment_yml_and_pyproject_ask_for_the_same():
    conda, pip = conda_requirements(), pip_requirements()
    assert conda.keys() - pip.keys() == {"python", "pip"}
    assert {name: r.specifier for name, r in pip.items()} == {name: conda[name].specifier for name in pip}


def test_every_conda_dependency_says_what_needs_it():
    text = (project_root() / "environment.yml").read_text(encoding="utf-8")
    lines = re.findall(r"^  - (?!python>|pip$|conda-forge|bioconda)(.*)$", text, re.MULTILINE)
    assert len(lines) == len(conda_requirements()) - 2
    assert all(re.search(r"# \w+", line) for line in lines)


def test_constraints_pin_every_requirement_and_no_gpu_build():
    lines = (project_root() / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"==[\w.]+", str(pin.specifier)) for pin in pins)
    pinned = {pin.name.lower().replace("_", "-"): pin for pin in pins}
    for name, requirement in pip_requirements().items():
        assert requirement.specifier.contains(str(pinned[name].specifier)[2:])
    assert str(pinned["torch"].specifier) == "==2.13.0"
    assert not any(name.startswith(("nvidia", "triton")) for name in pinned)


def test_the_workflow_runs_what_make_test_runs():
    """In the order of the Makefile, whose paths Windows lacks."""
    text = (project_root() / "Makefile").read_text(encoding="utf-8")
    rules = [re.search(rf"^{name}:.*\n((?:\t.*\n)+)", text, re.MULTILINE)[1] for name in ("check", "test")]
    commands = [line.strip().replace("$(BIN)/", "") for line in "".join(rules).splitlines()]
    workflow = yaml.safe_load((project_root() / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    steps = [step["run"] for step in workflow["jobs"]["test"]["steps"] if "run" in step]
    assert len(commands) > 4 and steps[-len(commands) :] == commands
