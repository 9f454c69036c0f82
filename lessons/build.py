"""Build notebooks/*.ipynb, and the notebook of a study, from their percent scripts: python lessons/build.py [--check].

The scripts are the only edited source. Building twice gives the same bytes; --check changes nothing and fails where a
notebook does not match its script.

An exercise is three code cells in a row: the stub, tagged ``exercise``; its solution, tagged ``solution``; and the
check. notebooks/ gets stub and check, notebooks/solutions/ solution and check. The cells tagged ``parameters`` and
``laboratory`` are empty in the scripts and written here, from Parameters: those that the first one lists as ``shown``,
and ``settings`` for all others. The notebook of a study, from study.py, has its own.
"""

import json
import re
import sys
import textwrap
from dataclasses import fields
from pathlib import Path

import jupytext
import nbformat
import numpy as np

LESSONS = Path(__file__).resolve().parent
sys.path.insert(0, str(LESSONS.parent))  # the library beside the lessons, whatever is installed
from kdrecon.runs.parameters import Parameters  # noqa: E402

NOTEBOOKS = LESSONS.parent / "notebooks"
STUDY = LESSONS / "study.py"  # its notebook lies beside the Snakefile, which executes it
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


SETTINGS = """# all others by their names, such as {"lr": 1.0e-3, "device": "cpu"}, or a parameter file, such as
# "params/paper.yaml"; the lines above win over a file
settings = {}"""


def parameters_cell(shown: list[str]) -> str:
    """A line a parameter, its default as Python and YAML both read it (3.0e-3, not 0.003 or 3e-3), and what it means."""
    meanings = {field.name: field.metadata["meaning"] for field in fields(Parameters)}
    lines = []
    for name in shown:
        value = getattr(Parameters(), name)
        if isinstance(value, float):
            text = np.format_float_scientific(value, trim="0", exp_digits=1)
        else:
            text = repr(value) if isinstance(value, bool) else json.dumps(value)
        lines.append(f"{name} = {text}  # {meanings[name]}")
    return "\n".join([*lines, SETTINGS])


def laboratory_cell(shown: list[str]) -> str:
    """The laboratory of the notebook's parameters; JupyterLab shows the first line while the cell is folded."""
    named = " ".join(f"{name}={name}," for name in shown)
    given = textwrap.fill(f"settings, {named} listeners=[live.curve],", 96)
    return (
        "# lab: data and networks of these parameters\n"
        "from kdrecon.runs import Laboratory\nfrom kdrecon.teaching import live\n\n"
        f"lab = Laboratory(\n{textwrap.indent(given, '    ')}\n)"
    )


GENERATED = {"parameters": parameters_cell, "laboratory": laboratory_cell}


def build(script: Path, solved: bool = False) -> str:
    """The notebook of a percent script as JSON text, without outputs; solved: with solutions in place of stubs.

    Raises:
        ValueError: an exercise has no solution or no check after it, a solution stands alone, a cell that is written
            here is not empty, or a parameter that is to be shown is unknown.
    """
    notebook = jupytext.read(script)
    tags = [cell.metadata.get("tags", []) for cell in notebook.cells]
    shown = [name for cell in notebook.cells for name in cell.metadata.get("shown", [])]
    if unknown := [name for name in shown if name not in Parameters.__dataclass_fields__]:
        raise ValueError(f"{script.name}: expected parameters to show, {unknown[0]} is none")
    generated = {} if script == STUDY else GENERATED
    for k, cell in enumerate(notebook.cells):
        if "exercise" in tags[k] and not (
            "solution" in tags[k + 1] and notebook.cells[k + 2].source.startswith("checks.")
        ):
            raise ValueError(
                f"{script.name}: expected a solution and a call of checks after this exercise:\n{cell.source}"
            )
        if "solution" in tags[k] and "exercise" not in tags[k - 1]:
            raise ValueError(
                f"{script.name}: expected an exercise before this solution:\n{cell.source}"
            )
        for tag in generated.keys() & set(tags[k]):
            if cell.source:
                raise ValueError(
                    f"{script.name}: expected the cell tagged {tag} to be empty, which is written from "
                    f"Parameters:\n{cell.source}"
                )
            cell.source = generated[tag](shown)
            if tag == "laboratory":
                cell.metadata.jupyter = {"source_hidden": True}
    dropped = "exercise" if solved else "solution"
    notebook.cells = [cell for cell, its in zip(notebook.cells, tags) if dropped not in its]
    if solved:
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                cell.source = re.sub(
                    r"\]\((\.\.?/)", lambda link: f"]({'../' * len(link[1][:-1])}", cell.source
                )
        title, _, rest = notebook.cells[0].source.partition("\n")
        notebook.cells[0].source = f"{title} · solutions\n{rest}"
    notebook.metadata = nbformat.from_dict(METADATA)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:03d}"
        kept = {k: v for k, v in cell.metadata.items() if k in ("tags", "jupyter")}
        cell.metadata = nbformat.from_dict(kept)
    nbformat.validate(notebook)
    return nbformat.writes(notebook, version=nbformat.NO_CONVERT) + "\n"


def main(check: bool) -> int:
    expected = {LESSONS.parent / "study" / "study.ipynb": build(STUDY)}
    for script in sorted(LESSONS.glob("[0-9]*.py")):
        expected[NOTEBOOKS / f"{script.stem}.ipynb"] = build(script)
        if 'tags=["exercise"]' in script.read_text(encoding="utf-8"):
            expected[NOTEBOOKS / "solutions" / f"{script.stem}.ipynb"] = build(script, solved=True)
    stale = [
        path
        for path, text in expected.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    stray = sorted(
        {*NOTEBOOKS.glob("*.ipynb"), *NOTEBOOKS.glob("solutions/*.ipynb")} - expected.keys()
    )
    if check:
        for path in stale + stray:
            print(
                f"{path.relative_to(LESSONS.parent)} does not match its script: edit the percent script and run make notebooks"
            )
        return 1 if stale or stray else 0
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(expected[path], encoding="utf-8")
        print(f"built {path.relative_to(LESSONS.parent)}")
    for path in stray:
        print(
            f"{path.relative_to(NOTEBOOKS)} has no script: delete it, or move it away if it is yours"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(check="--check" in sys.argv[1:]))
