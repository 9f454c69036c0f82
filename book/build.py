"""Render the executed notebooks of a run, and the library's docstrings to a static site.

python book/build.py runs/quick [--out FOLDER] [--demo FOLDER]

The site lands in {run}/book/index.html. It needs no kernel, no network and no server. Explorers, which do need a kernel,
leave a line that says where they live; the static figure before each of them stays.
"""

import argparse
import importlib
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat
from sphinx.cmd.build import main as sphinx

from kdrecon.app.pages import without_kernel
from kdrecon.storage.places import EMBEDDED, runs

BOOK = Path(__file__).resolve().parent
ROOT = BOOK.parent
PAGES = ("CHANGELOG.md", "CONTRIBUTING.md", *(f"kdrecon/data/{name}/PROVENANCE.md" for name in EMBEDDED))
WITHOUT_DEMO = """# In your browser

This book was built without the page that reconstructs in a browser: `make demo` builds it, which takes npm, and `make book`
then has it here.
"""


def build(run: Path, out: Path, demo: Path) -> int:
    """Render the notebooks of a run folder, with docs/ and a built demo/ beside them, to {out}; the exit status of Sphinx.

    Links that lead nowhere are errors. Pages of an older book are replaced, other files stay, and a folder that holds
    anything else than a book is refused.
    """
    if out.exists() and not (out / ".buildinfo").is_file() and (not out.is_dir() or any(out.iterdir())):
        print(
            f"{out} is there and is no book: expected a free name or an older book; choose another --out",
            file=sys.stderr,
        )
        return 2
    executed = sorted((run / "notebooks").glob("[0-9]*.ipynb"))
    missing = sorted({path.name for path in (ROOT / "notebooks").glob("[0-9]*.ipynb")} - {p.name for p in executed})
    if missing:
        print(f"{run / 'notebooks'} lacks {', '.join(missing)}: expected the executed notebooks of a run; "
              f"kdrecon run --out {run} makes them", file=sys.stderr)  # fmt: skip
        return 2
    with tempfile.TemporaryDirectory() as folder:
        source, site = Path(folder) / "source", Path(folder) / "site"
        source.mkdir()
        shutil.copy(run / "params.yaml", source)
        for path in (BOOK / "index.md", BOOK / "book.css", BOOK / "conf.py"):
            shutil.copy(path, source)
        shutil.copytree(ROOT / "docs", source / "docs")
        add_demo(demo, source)
        for page in PAGES:
            (source / page).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / page, source / page)
        (source / "api").mkdir()
        for package, modules in api_pages().items():
            text = "".join(api_section(module, "=" if module == package else "-") for module in modules)
            (source / "api" / f"{package}.rst").write_text(text, encoding="utf-8")
        (source / "notebooks").mkdir()
        for path in executed:
            nbformat.write(folded(nbformat.read(path, as_version=4)), source / "notebooks" / path.name)
        status = sphinx(["-b", "html", "-q", "-W", "--keep-going", "-d", f"{folder}/doctrees", str(source), str(site)])
        if not status:
            out.mkdir(parents=True, exist_ok=True)
            shutil.copy(site / ".buildinfo", out)  # first: by it a book is known, a half-copied one too
            shutil.copytree(site, out, dirs_exist_ok=True)
        return status


def add_demo(demo: Path, source: Path) -> None:
    """Put a built page of demo/ and the page about it into the sources; without one, a page that says how to get it."""
    (source / "extra").mkdir()  # what Sphinx copies as it is
    if (demo / "index.html").is_file():
        shutil.copy(BOOK / "demo.md", source)
        shutil.copytree(demo, source / "extra" / "demo")
    else:
        (source / "demo.md").write_text(WITHOUT_DEMO, encoding="utf-8")


def api_pages() -> dict[str, list[str]]:
    """The public modules of the library and of data_prep, by the package whose page they stand on, packages first."""
    pages: dict[str, list[str]] = {}
    for path in sorted(path for root in ("kdrecon", "data_prep") for path in (ROOT / root).rglob("*.py")):
        is_package = path.stem == "__init__"
        names = path.relative_to(ROOT).with_suffix("").parts[: -1 if is_package else None]
        if not names[-1].startswith("_"):
            parents = names if is_package else names[:-1]
            pages.setdefault(".".join(parents[:2]), []).append(".".join(names))
    return pages


def api_section(module: str, line: str) -> str:
    """The docstrings of a module as reStructuredText, under a title with this line; of a package, what it exports."""
    here = importlib.import_module(module)
    text = f"{module}\n{line * len(module)}\n\n.. automodule:: {module}\n"
    if not hasattr(here, "__path__"):
        return f"{text}   :members:\n\n"
    exports = {name: getattr(getattr(here, name), "__module__", module) for name in getattr(here, "__all__", ())}
    exported = [f":py:obj:`~{where}.{name}`" for name, where in exports.items()]
    return f"{text}\nNotebooks import from here {', '.join(exported)}.\n\n" if exported else f"{text}\n"


def folded(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook without its kernel, cells of parameters folded."""
    still = without_kernel(notebook)
    for cell in still.cells:
        if {"parameters", "injected-parameters"} & set(cell.metadata.get("tags", [])):
            cell.metadata.tags = [*cell.metadata.tags, "hide-input"]
    return still


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a run")
    parser.add_argument("--out", type=Path, help="where the site goes; {run}/book by default")
    parser.add_argument(
        "--demo", type=Path, help="a page built by demo/build.py; runs/demo by default, where it is there"
    )
    chosen = parser.parse_args()
    run = chosen.run.expanduser()
    site = chosen.out.expanduser() if chosen.out else run / "book"
    status = build(run, site, chosen.demo.expanduser() if chosen.demo else runs() / "demo")
    if not status:
        print(f"the book: {site / 'index.html'}")
    sys.exit(status)
