"""The web book of a run: complete, without a kernel, without a network."""

import importlib.util
import re
import subprocess
import sys

import pytest
from test_interface import MODULES

from kdrecon.app.pages import mathml
from kdrecon.storage.places import project_root

BOOK = project_root() / "book"


def build(*arguments) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, BOOK / "build.py", *arguments], capture_output=True, text=True)


@pytest.fixture(scope="module")
def site(tiny_run, tmp_path_factory):
    out = tmp_path_factory.mktemp("book") / "site"
    out.mkdir()
    for name in (".buildinfo", "index.html", "mine.txt"):  # an older book, and something of one's own
        (out / name).write_text("older", encoding="utf-8")
    demo = tmp_path_factory.mktemp("demo")
    (demo / "index.html").write_text("reconstructs", encoding="utf-8")
    done = build(tiny_run[0], "--out", out, "--demo", demo)
    assert done.returncode == 0, done.stderr
    return out


def test_every_notebook_and_every_page_of_docs_is_in_the_navigation(site):
    index = (site / "index.html").read_text(encoding="utf-8")
    notebooks = [f"notebooks/{path.stem}.html" for path in (project_root() / "notebooks").glob("[0-9]*.ipynb")]
    for page in [*notebooks, *(f"docs/{path.stem}.html" for path in (project_root() / "docs").glob("*.md"))]:
        assert (site / page).is_file() and f'href="{page}"' in index, page


def test_the_page_in_the_browser_is_part_of_it(site):
    assert 'href="demo.html"' in (site / "index.html").read_text(encoding="utf-8")
    assert 'href="demo/index.html"' in (site / "demo.html").read_text(encoding="utf-8")
    assert (site / "demo" / "index.html").read_text(encoding="utf-8") == "reconstructs"


def test_without_that_page_it_says_how_to_get_it(tmp_path):
    spec = importlib.util.spec_from_file_location("book_build", BOOK / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.add_demo(tmp_path / "none", tmp_path)
    assert "`make demo` builds it" in (tmp_path / "demo.md").read_text(encoding="utf-8")


def test_nothing_is_fetched_from_the_network_and_no_widget_is_left(site):
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        loads = re.findall(r"<(?:script|img|iframe)\b[^>]*\bsrc=\"(.*?)\"|<link\b[^>]*\bhref=\"(.*?)\"", text)
        assert not [url for urls in loads for url in urls if re.match("(https?:)?//", url)], page.name
        assert "application/vnd.jupyter.widget" not in text and "(children=" not in text, page.name


def test_executed_outputs_figures_and_formulas_are_there(site):
    text = (site / "notebooks" / "01_kspace_undersampling.html").read_text(encoding="utf-8")
    assert "<math" in text and "PSNR of the zero-filled image: " in text
    images = re.findall(r'src="(\.\./_images/[^"]+\.png)"', text)
    assert len(images) > 8 and all((site / "notebooks" / image).resolve().is_file() for image in images)
    assert text.count("Here JupyterLab shows the figure above with controls.") == 2


def test_every_public_module_is_in_the_library_pages_with_what_it_defines(site):
    text = "".join(page.read_text(encoding="utf-8") for page in (site / "api").glob("*.html"))
    for module in MODULES:
        if not module.endswith("__main__"):
            assert f'id="module-{module}"' in text, module
    for member in ("kdrecon.physics.fourier.fft2", "kdrecon.distillation.features.AttentionTransfer.loss"):
        assert f'id="{member}"' in text
    assert "w in L = |x - x_S|_1 + w L_KD" in text  # no markup in an equation
    assert "What a message calls the scan: its first file." in text  # nor a type before a colon


def test_an_unknown_command_in_a_formula_is_refused():
    assert r"\langle" not in mathml(r"\big\langle x \big\rangle", "inline")
    with pytest.raises(ValueError, match="has no MathML"):
        mathml(r"\nosuchcommand x", "inline")


def test_a_book_replaces_its_own_pages_alone(site, tmp_path):
    assert (site / "mine.txt").read_text(encoding="utf-8") == "older"
    (tmp_path / "thesis.tex").write_text("years of work", encoding="utf-8")
    done = build(tmp_path, "--out", tmp_path)
    assert done.returncode == 2 and "is there and is no book: expected" in done.stderr and done.stderr.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_run_without_notebooks_is_refused(tmp_path):
    done = build(tmp_path)
    assert done.returncode == 2 and "lacks 00_start_here.ipynb" in done.stderr and not (tmp_path / "book").exists()
