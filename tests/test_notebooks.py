import ast
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import asdict, field, fields, make_dataclass
from pathlib import Path
from types import ModuleType

import nbformat
import papermill
import pytest
import yaml
from conftest import TINY

from kdrecon.app import batch
from kdrecon.app.cli import choose_notebooks
from kdrecon.runs.parameters import Parameters, read_parameters, with_settings
from kdrecon.storage.places import notebooks, project_root

NOTEBOOKS = choose_notebooks(notebooks())
SOLUTIONS = choose_notebooks(notebooks() / "solutions")
sys.path.insert(0, str(project_root() / "lessons"))
import build  # noqa: E402


def test_notebooks_match_their_scripts():
    command = [sys.executable, project_root() / "lessons" / "build.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_a_notebook_edited_by_hand_is_noticed_and_one_of_ones_own_is_kept(tmp_path):
    for folder in ("lessons", "notebooks"):
        (tmp_path / folder).mkdir()
    for name in ("lessons/build.py", "lessons/study.py", "lessons/00_start_here.py"):
        (tmp_path / name).write_bytes((project_root() / name).read_bytes())
    command = [sys.executable, tmp_path / "lessons" / "build.py"]
    (tmp_path / "notebooks" / "mine.ipynb").write_text("years of work", encoding="utf-8")
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "mine.ipynb has no script: delete it, or move it away" in done.stdout
    assert (tmp_path / "notebooks" / "mine.ipynb").read_text(encoding="utf-8") == "years of work"
    names = ["00_start_here.ipynb", "solutions/00_start_here.ipynb"]
    for name in names:
        path = tmp_path / "notebooks" / name
        assert path.read_bytes() == (project_root() / "notebooks" / name).read_bytes()
        path.write_text(path.read_text(encoding="utf-8").replace("Start here", "Stop here"))
    done = subprocess.run([*command, "--check"], capture_output=True, text=True)
    assert done.returncode == 1 and re.findall("notebooks/(.*) does not match", done.stdout) == [*names, "mine.ipynb"]


EXERCISE = """# %% [markdown]
# # A title
# [notation](../docs/notation.md), [next](./01_next.ipynb)

# %% tags=["exercise"]
mine = None

# %% tags=["solution"]
mine = 1

# %%
checks.one(mine)
"""


@pytest.mark.parametrize("solved", [False, True])
def test_one_script_gives_stub_and_solution(solved, tmp_path):
    script = tmp_path / "00_x.py"
    script.write_text(EXERCISE, encoding="utf-8")
    title, *code = (cell.source for cell in nbformat.reads(build.build(script, solved), as_version=4).cells)
    assert code == ["mine = 1" if solved else "mine = None", "checks.one(mine)"]
    links = ["../../docs/notation.md", "../01_next.ipynb"] if solved else ["../docs/notation.md", "./01_next.ipynb"]
    assert re.findall(r"\]\((.*?)\)", title) == links
    assert title.startswith("# A title · solutions\n" if solved else "# A title\n")


PARTS = ['# %% tags=["solution"]\nmine = 1\n', '# %% tags=["exercise"]\nmine = None\n', "checks.one(mine)"]


@pytest.mark.parametrize("part", PARTS, ids=["no solution", "no stub", "no check"])
def test_an_incomplete_exercise_is_refused(part, tmp_path):
    script = tmp_path / "00_x.py"
    script.write_text(EXERCISE.replace(part, "") + "\n# %%\n1\n\n# %%\n2\n", encoding="utf-8")
    with pytest.raises(ValueError, match="00_x.py: expected"):
        build.build(script)


def test_the_parameters_that_a_lesson_shows_stand_in_the_cells_that_are_written_from_them(tmp_path, monkeypatch):
    script, new = tmp_path / "00_x.py", field(default=0.00025, metadata={"meaning": "of Adam"})
    other = field(default=1, metadata={"meaning": "not shown"})
    monkeypatch.setattr(
        build, "Parameters", make_dataclass("Parameters", [("other", int, other), ("decay", float, new)])
    )
    script.write_text('# %% tags=["parameters"] shown=["decay"]\n\n# %% tags=["laboratory"]\n', encoding="utf-8")
    parameters, laboratory = nbformat.reads(build.build(script), as_version=4).cells
    first, *comment, settings = parameters.source.splitlines()
    assert first == "decay = 2.5e-4  # of Adam" and settings == "settings = {}" and len(comment) == 2
    assert laboratory.source.endswith("(\n    settings, decay=decay, listeners=[live.curve],\n)")
    assert laboratory.metadata == {"tags": ["laboratory"], "jupyter": {"source_hidden": True}}
    assert parameters.metadata == {"tags": ["parameters"]}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('tags=["parameters"]\nlr = 1\n', "expected the cell tagged parameters to be empty"),
        ('tags=["parameters"] shown=["epohcs"]\n', "expected parameters to show, epohcs is none"),
    ],
)
def test_a_parameters_cell_that_cannot_be_written_is_refused(text, fault, tmp_path):
    (tmp_path / "00_x.py").write_text(f"# %% {text}", encoding="utf-8")
    with pytest.raises(ValueError, match=f"00_x.py: {fault}"):
        build.build(tmp_path / "00_x.py")


@pytest.mark.parametrize("path", sorted((project_root() / "params").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_file_of_parameters_names_them_in_order(path):
    named = list(yaml.safe_load(path.read_text(encoding="utf-8")))
    assert named == [f.name for f in fields(Parameters) if f.name not in ("run_root", "switches")]
    assert path.stem != "quick" or read_parameters(path, []) == Parameters(ready=False)


def test_every_notebook_has_exercises_questions_and_links_that_lead_somewhere():
    text = (project_root() / "docs" / "bibliography.md").read_text(encoding="utf-8")
    keys = set(re.findall(r"^- `(\w+)`", text, re.MULTILINE))
    for path in NOTEBOOKS:
        cells = nbformat.read(path, as_version=4).cells
        text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
        exercises = [cell for cell in cells if "exercise" in cell.metadata.get("tags", [])]
        assert 2 <= len(exercises) <= 4, path.name
        assert 5 <= text.count("<details>") <= 8 and text.count("</details>") == text.count("<details>"), path.name
        for link in re.findall(r"\]\(((?!http)[^)#]+)", text):
            assert (path.parent / link).exists(), f"{path.name}: {link}"
        sources = re.search(r"\*\*Sources\*\*.*?:((?:\s*`\w+`[,.])+)", text, re.DOTALL)
        assert sources and set(re.findall(r"`(\w+)`", sources[1])) <= keys, path.name
        assert set(re.findall(r"\[`(\w+)`\]", text)) <= keys, path.name


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_shows_a_few_parameters_and_takes_the_others_in_its_settings(path):
    found = papermill.inspect_notebook(path)
    shown = {name: yaml.safe_load(parameter["default"]) for name, parameter in found.items()}
    assert shown.pop("settings") == {} and 3 <= len(shown) <= 5
    assert shown == {name: getattr(Parameters(), name) for name in shown}
    told = batch.injected(path, asdict(Parameters(seed=3, device="cpu", ready=False)))
    assert set(told) == {*shown, "settings"} and with_settings(told.pop("settings"), told) == Parameters(
        seed=3, device="cpu", ready=False
    )


def test_every_figure_is_followed_by_what_to_see():
    for path in NOTEBOOKS:
        cells = nbformat.read(path, as_version=4).cells
        for k, cell in enumerate(cells):
            if cell.cell_type == "code" and "plt.show()" in cell.source:
                text = next(later.source for later in cells[k:] if later.cell_type == "markdown")
                assert re.match(r"\*(What to see|Try):", text), f"{path.name}: {cell.source}"


def test_imports_stand_where_they_are_first_needed():
    for path in NOTEBOOKS + SOLUTIONS:
        first, *code = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
        assert first.metadata.get("tags") == ["parameters"], f"{path.name}: {first.source}"
        known = set()
        for cell in code:
            nodes = list(ast.walk(ast.parse(cell.source)))
            imports = [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
            imported = {alias.asname or alias.name for node in imports for alias in node.names}
            used = {node.id for node in nodes if isinstance(node, ast.Name)}
            faces = {
                node.module
                for node in imports
                if isinstance(node, ast.ImportFrom) and node.module.startswith("kdrecon")
            }
            assert all(face.count(".") < 2 for face in faces), (
                f"{path.name} imports from within a package: {cell.source}"
            )
            assert not imported & known and bool(imported) <= bool(imported & used), f"{path.name}: {cell.source}"
            known |= imported


UNSOLVED = [path for path in NOTEBOOKS if not (notebooks() / "solutions" / path.name).exists()]


@pytest.mark.parametrize("path", SOLUTIONS + UNSOLVED, ids=lambda path: path.stem)
def test_what_a_notebook_takes_from_a_package_is_there(path):
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    nodes, scope = [node for cell in cells for node in ast.walk(ast.parse(cell.source))], {}
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            exec(ast.unparse(node), scope)
    for node in nodes:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            taken = scope.get(node.value.id)
            assert not isinstance(taken, ModuleType) or hasattr(taken, node.attr), ast.unparse(node)


def test_code_fits_the_page():
    for path in NOTEBOOKS + SOLUTIONS:
        for cell in nbformat.read(path, as_version=4).cells:
            lines = cell.source.splitlines() if cell.cell_type == "code" else []
            assert len(lines) <= 30 and max(map(len, lines), default=0) <= 100, f"{path.name}: {cell.source}"


def test_the_glossary_is_in_order():
    text = (project_root() / "docs" / "glossary.md").read_text(encoding="utf-8")
    words = re.findall(r"^\*\*(.+?)\.\*\*", text, re.MULTILINE)
    assert words == sorted(words, key=str.lower) and len(words) > 40


def test_the_handout_works_and_holds_no_solutions(tmp_path):
    command = [sys.executable, project_root() / "lessons" / "handout.py", tmp_path / "handout.zip"]
    command[-1].write_text("years of work", encoding="utf-8")
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and "is no zip: expected" in done.stderr
    assert command[-1].read_text(encoding="utf-8") == "years of work"
    command[-1].unlink()
    subprocess.run(command, check=True, capture_output=True)
    with zipfile.ZipFile(tmp_path / "handout.zip") as archive:
        archive.extractall(tmp_path)
    folder = tmp_path / "kdrecon"
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {f"notebooks/{path.name}" for path in NOTEBOOKS} <= names and "README.md" in names
    assert not [name for name in names if re.search("solutions|instructor|^lessons/|^tests/", name)]
    notebooks = [nbformat.read(folder / "notebooks" / path.name, as_version=4) for path in NOTEBOOKS]
    tags = [tag for notebook in notebooks for cell in notebook.cells for tag in cell.metadata.get("tags", [])]
    assert "exercise" in tags and "solution" not in tags
    for page in folder.glob("docs/*.md"):
        for link in re.findall(r"\]\(((?!http)[^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
    code = "import kdrecon.runs.laboratory as l; print(l.__file__, l.Laboratory(resolution=48).mask.shape)"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith(str(folder)) and "[48, 48]" in done.stdout, done.stderr


def checks(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """The cells that check an exercise."""
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.startswith("checks.")]


def nbval(folder: Path, run_root: Path, notebooks: list[Path], **changes: object) -> subprocess.CompletedProcess:
    """Run notebooks, prepared with the smallest parameters, cell by cell under nbval, all in one run folder.

    Of a solution, each check fails whose verdict is not "right".
    """
    parameters = yaml.safe_load(TINY.read_text(encoding="utf-8")) | {"run_root": str(run_root)} | changes
    for path in notebooks:
        notebook = papermill.execute_notebook(
            path, None, batch.injected(path, parameters), prepare_only=True, kernel_name="python3", progress_bar=False
        )
        for cell in checks(notebook) if path in SOLUTIONS else ():
            cell.source = f"assert (verdict := {cell.source}).right, verdict"
        nbformat.write(notebook, folder / path.name)
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=300"]
    command += ["-p", "no:cacheprovider", "-q", "--rootdir", folder, *(folder / path.name for path in notebooks)]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder)


@pytest.fixture
def trained(tiny_run, tmp_path) -> Path:
    """A run folder that holds the networks of the tiny run, so that nothing is trained twice."""
    shutil.copytree(tiny_run[0] / "experiments", tmp_path / "run" / "experiments")
    return tmp_path / "run"


def test_stubs_stop_nothing_and_are_not_yet_right(tiny_run):
    for path in SOLUTIONS:
        cells = checks(nbformat.read(tiny_run[0] / "notebooks" / path.name, as_version=4))
        said = [output.data["text/plain"] for cell in cells for output in cell.outputs]
        number = (project_root() / "lessons" / f"{path.stem}.py").read_text(encoding="utf-8").count('tags=["exercise"]')
        assert number == len(said) and all(text.startswith("not yet, because") for text in said), path.name


def test_solutions_pass_every_check_cell_by_cell_and_train_nothing_twice(tmp_path, trained):
    """And the notebooks without exercises."""
    networks = {path: path.stat().st_mtime_ns for path in trained.glob("experiments/**/best_model.pt")}
    done = nbval(tmp_path, trained, SOLUTIONS + UNSOLVED)
    assert done.returncode == 0, done.stdout[-5000:]
    assert " passed" in done.stdout and "failed" not in done.stdout
    assert networks == {path: path.stat().st_mtime_ns for path in networks}
    assert len(networks) > 17 and [path.name for path in NOTEBOOKS] == sorted(p.name for p in SOLUTIONS + UNSOLVED)


@pytest.mark.parametrize("number", ["04"])
def test_a_notebook_runs_alone_and_without_cascades(number, tmp_path):
    (alone,) = [path for path in NOTEBOOKS if path.name.startswith(number)]
    done = nbval(tmp_path, tmp_path / "run", [alone], preset="super_resolution")
    assert done.returncode == 0, done.stdout[-5000:]
