"""Executed notebooks as pages: no kernel, no network, no name of a folder."""

import re
import sys
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from kdrecon.app import pages
from kdrecon.storage.places import PACKAGES

MARKDOWN = """Inline $x_u = \\mathrm{Re}\\, F^{-1} y$, and

$$\\|x\\|_1 = \\sum_k |x_k|$$

<details><summary>Why $y$?</summary>Because of $a < b$.</details>

![A slice](../docs/comparison.png)

Unknown: $\\nosuchcommand$ and $x_1_2$.
"""
RUN, DATA = (str(Path(folder).absolute()) for folder in ("/srv/käthe's runs/quick", "/srv/Ωmega/scans"))


SHOWN = f"run_root = {ascii(RUN)}\ndata_root = {DATA!r}\nepochs = 1"
SETTINGS = f'epochs = 1\nsettings = {{"run_root": {ascii(RUN)}, "data_root": {DATA!r}}}'


@pytest.fixture(scope="module", params=[SHOWN, SETTINGS], ids=["a line each", "in the settings"])
def page(request):
    injected = new_code_cell(request.param, metadata={"tags": ["injected-parameters"]})
    widget = new_output("display_data", {pages.WIDGET: {"model_id": "1"}, "text/plain": "Explorer(children=())"})
    bar = new_output("display_data", {pages.WIDGET: {"model_id": "2"}, "text/plain": "D3C5:   0%|  | 0/6"})
    text = f"{RUN}/experiments, {PACKAGES}/kdrecon/data.py, {Path.home()}/notes, {sys.prefix}/lib"
    said = new_output("stream", name="stdout", text=text)
    failed = new_output("error", ename="E", evalue=text, traceback=[f"File {text}"])
    cells = [injected, new_markdown_cell(MARKDOWN), new_code_cell("1", outputs=[bar, widget, said, failed])]
    notebook = new_notebook(cells=cells, metadata={"language_info": {"name": "python"}})
    notebook.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {"state": {}, "version_major": 2}}
    return pages.page(notebook, "00_title")


def test_formulas_are_mathml(page):
    shown = BeautifulSoup(page, "html.parser")
    assert len(shown.find_all("math")) == 4 and len(shown.find_all("math", display="block")) == 1
    assert "$" not in shown.main.get_text() and shown.summary.math
    assert [code.text for code in shown.main.select("p code")] == ["\\nosuchcommand", "x_1_2"]


def test_nothing_is_loaded_and_no_widget_is_left(page):
    shown = BeautifulSoup(page, "html.parser")
    assert not shown.find_all(["script", "iframe", "link"]) and not re.search(
        r"import\(|@import|url\((?!\"?data:)", page
    )
    text = shown.main.get_text()
    assert "Explorer(" not in text and "0/6" not in text and shown.title.text == "00_title"


def test_pictures_of_the_lessons_stand_in_the_page(page):
    (picture,) = BeautifulSoup(page, "html.parser").find_all("img")
    assert picture["alt"] == "A slice" and picture["src"].startswith("data:image/png;base64,iVBOR")


def test_an_explorer_leaves_a_line_and_a_progress_bar_nothing(page):
    assert page.count("Here JupyterLab shows") == 1


def test_folders_of_the_machine_are_not_named(page):
    text = BeautifulSoup(page, "html.parser").main.get_text()
    assert not any(folder in text for folder in ("srv", "mega", str(PACKAGES), str(Path.home()), sys.prefix))
    assert "quick/experiments, .../kdrecon/data.py, ~/notes, .../lib" in text and "scans" in text
