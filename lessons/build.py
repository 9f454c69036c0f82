"""Build notebooks/*.ipynb from the percent scripts beside this file: python lessons/build.py [--check].

The scripts are the only edited source. Building twice gives the same bytes; --check changes nothing and fails where a
notebook does not match its script.
"""

import sys
from pathlib import Path

import jupytext
import nbformat

LESSONS = Path(__file__).resolve().parent
NOTEBOOKS = LESSONS.parent / "notebooks"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def build(script: Path) -> str:
    """The notebook of a percent script as JSON text, without outputs."""
    notebook = jupytext.read(script)
    notebook.metadata = nbformat.from_dict(METADATA)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:03d}"
        cell.metadata = nbformat.from_dict({k: v for k, v in cell.metadata.items() if k == "tags"})
    nbformat.validate(notebook)
    return nbformat.writes(notebook, version=nbformat.NO_CONVERT) + "\n"


def main(check: bool) -> int:
    scripts = sorted(LESSONS.glob("[0-9]*.py"))
    expected = {NOTEBOOKS / f"{script.stem}.ipynb": build(script) for script in scripts}
    stale = [path for path, text in expected.items() if not path.exists() or path.read_text() != text]
    stray = sorted(set(NOTEBOOKS.glob("*.ipynb")) - expected.keys())
    if check:
        for path in stale + stray:
            print(f"{path.name} does not match lessons/: edit the percent script and run make notebooks")
        return 1 if stale or stray else 0
    NOTEBOOKS.mkdir(exist_ok=True)
    for path in stale:
        path.write_text(expected[path])
        print(f"built {path.name}")
    for path in stray:
        path.unlink()
        print(f"removed {path.name}, which has no script")
    return 0


if __name__ == "__main__":
    sys.exit(main(check="--check" in sys.argv[1:]))
