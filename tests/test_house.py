"""The architecture: which package may import which."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from kdrecon.storage.places import PACKAGES

FLOORS = (  # from the ground up
    "errors", "choices", "metrics", "storage", "physics", "tasks", "data", "models", "distillation", "training", "runs",
    "results", "released", "deploy", "teaching", "app", "__main__",
)  # fmt: skip
MODULES = sorted(path.relative_to(PACKAGES) for path in (PACKAGES / "kdrecon").rglob("*.py"))


def name(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path) -> set[str]:
    """The modules of kdrecon that a file imports, anywhere in it."""
    known, found = {name(module) for module in MODULES}, set()
    for node in ast.walk(ast.parse((PACKAGES / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are absolute"
            found |= {full if (full := f"{node.module}.{alias.name}") in known else node.module for alias in node.names}
    return {module for module in found if module.split(".")[0] == "kdrecon"}


GRAPH = {name(path): imports(path) for path in MODULES}
FACES = {name(path) for path in MODULES if (PACKAGES / path).with_suffix(".pyi").exists()}


@pytest.mark.parametrize("module", GRAPH)
def test_imports_go_down(module):
    floor = {package: number for number, package in enumerate(FLOORS)}
    for imported in GRAPH[module] - {"kdrecon"}:
        above, below = module.split(".")[1], imported.split(".")[1]
        assert floor[below] <= floor[above], f"{module} imports {imported}, which stands above it"


@pytest.mark.parametrize("module", GRAPH)
def test_the_library_imports_from_modules_and_not_from_faces(module):
    assert not GRAPH[module] & FACES


def test_no_module_imports_itself_over_others():
    def reached(start: str, seen: set[str]) -> set[str]:
        for module in GRAPH.get(start, set()) - seen:
            seen.add(module)
            reached(module, seen)
        return seen

    assert not [module for module in GRAPH if module in reached(module, set())]


READERS = Path("kdrecon/app/scans")  # the command line reads scans with what prepares them


def test_the_library_imports_neither_the_preparation_of_data_nor_what_stands_beside_it():
    for path in MODULES:
        beside = {"lessons", "book", "benchmarks", "tests"} | (set() if path.is_relative_to(READERS) else {"data_prep"})
        for node in ast.walk(ast.parse((PACKAGES / path).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module]
                assert not beside & {module.split(".")[0] for module in names}, path


DRAWING = {"matplotlib", "IPython", "ipywidgets", "tensorboard"}


def test_training_does_not_load_what_draws():
    code = "import sys; from kdrecon.training import *; print(fit.__name__, *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=PACKAGES, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "fit" in loaded and not DRAWING & loaded


def test_one_module_knows_where_the_library_lies():
    words = ("__file__", "importlib.resources", "import resources")
    knowing = [
        path.as_posix()
        for path in MODULES
        for line in (PACKAGES / path).read_text(encoding="utf-8").splitlines()
        if "attach_stub" not in line and any(word in line for word in words)
    ]
    assert knowing == ["kdrecon/storage/places.py"]
