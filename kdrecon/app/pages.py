"""Executed notebooks as pages that need no kernel and no network, and name no folder of the machine that ran them.

>>> from kdrecon.app.pages import mathml
>>> mathml("x^2", "inline")
'<math xmlns="http://www.w3.org/1998/Math/MathML" display="inline"><mrow><msup><mi>x</mi><mn>2</mn></msup></mrow></math>'
"""

import ast
import base64
import html
import re
import sys
from pathlib import Path, PurePath

import nbformat
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode

from kdrecon.storage.places import PACKAGES, project_root

WIDGET = "application/vnd.jupyter.widget-view+json"
EXPLORER = "<p><em>Here JupyterLab shows the figure above with controls.</em></p>"
# nbconvert's page without the scripts that it would load
TEMPLATE = "{% extends 'index.html.j2' %}" + "".join(
    f"{{% block {name} %}}{{% endblock %}}"
    for name in ("html_head_js", "html_head_js_mathjax", "html_head_js_mermaidjs", "jupyter_widgets")
)


def page(notebook: NotebookNode, title: str) -> str:
    """An executed notebook as one HTML page: formulas are MathML, and nothing is loaded from elsewhere."""
    still = without_kernel(notebook)
    return _Exporter(raw_template=TEMPLATE).from_notebook_node(still, {"metadata": {"name": title}})[0]


def mathml(tex: str, display: str) -> str:
    """A formula as MathML, which browsers draw themselves: no script, no font, nothing to fetch.

    Args:
        tex: the formula in LaTeX.
        display: "inline" or "block".

    Raises:
        ValueError: it holds a command that the converter does not know.
    """
    markup = convert(re.sub(r"\\[bB]igg?[lr]?(?![a-zA-Z])", "", tex), display=display)  # MathML sizes brackets itself
    if unknown := re.findall(r">(\\[a-zA-Z]+)", markup):
        raise ValueError(f"formula {tex!r}: {unknown[0]} has no MathML; write it with another command")
    return markup


def without_kernel(notebook: NotebookNode) -> NotebookNode:
    """A copy of a notebook with a line for every explorer and without other live widgets, which are progress bars.

    Folders of this machine are shortened to their names.
    """
    still = nbformat.from_dict(notebook)
    still.metadata.pop("widgets", None)
    names = _folders(still)
    for cell in still.cells:
        cell.source = _shortened(cell.source, names)
        if cell.cell_type == "markdown":  # Markdown leaves alone what stands in HTML
            cell.source = re.sub("^<.*$", _with_formulas, cell.source, flags=re.MULTILINE)
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not _is_progress(output)]
        for output in cell.get("outputs", []):
            if WIDGET in output.get("data", {}):
                output.data = nbformat.from_dict({"text/html": EXPLORER})
            for part, kinds in ((output, ("text", "evalue")), (output.get("data", {}), ("text/plain", "text/html"))):
                part.update({kind: _shortened(part[kind], names) for kind in kinds if kind in part})
            if "traceback" in output:
                output.traceback = [_shortened(line, names) for line in output.traceback]
    return still


def _is_progress(output: NotebookNode) -> bool:
    data = output.get("data", {})
    return WIDGET in data and not data.get("text/plain", "").startswith("Explorer(")


def _with_formulas(found: re.Match) -> str:
    return re.sub(r"\$([^$]+)\$", lambda formula: _formula(formula[1], "inline"), found[0])


def _formula(tex: str, display: str) -> str:
    """A formula as MathML; one that has none stays as it was written."""
    try:
        return mathml(tex, display)
    except Exception:  # the converter has an exception of its own for every mistake
        return f"<code>{html.escape(tex)}</code>"


def _folders(notebook: NotebookNode) -> dict[str, str]:
    """Folders whose names say something about the machine, and what is shown of them."""
    injected = [c.source for c in notebook.cells if "injected-parameters" in c.metadata.get("tags", [])]
    lines = re.findall(r"^(run_root|data_root|settings) = (.*)$", "\n".join(injected), re.MULTILINE)
    given = {name: ast.literal_eval(text) for name, text in lines}
    given |= given.pop("settings", {})
    folders = [given[name] for name in ("run_root", "data_root") if name in given]
    shown = {folder: PurePath(folder).name for folder in folders if PurePath(folder).is_absolute()}
    return shown | {sys.prefix: "...", str(PACKAGES): "...", str(Path.home()): "~"}


def _shortened(text: str, names: dict[str, str]) -> str:
    for folder in sorted(names, key=len, reverse=True):
        if len(PurePath(folder).parts) > 1:
            written = {folder, folder.encode("unicode_escape").decode(), html.escape(folder)}  # as text, literal, page
            pattern = "|".join(map(re.escape, sorted(written)))
            text = re.sub(rf"(?<![\w/\\])(?:{pattern})(?![\w-])", lambda _: names[folder], text)  # noqa: B023
    return text


class _Renderer(IPythonRenderer):
    """Markdown with formulas as MathML and the pictures of docs/ within the page."""

    def image(self, text: str, url: str, title: str | None = None) -> str:
        folder, _, name = url.rpartition("/")
        path = project_root() / "docs" / name
        if folder == "../docs" and path.is_file():
            url = f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
        return super().image(text, url, title)

    def inline_math(self, body: str) -> str:
        return _formula(body, "inline")

    def block_math(self, body: str) -> str:
        return _formula(body, "block")


class _Exporter(HTMLExporter):
    """nbconvert's exporter with our renderer."""

    def markdown2html(self, source: str) -> str:
        return MarkdownWithMath(renderer=_Renderer(escape=False, exclude_anchor_links=True)).render(source)
