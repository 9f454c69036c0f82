"""Sphinx configuration of the web book; build.py puts its sources together."""

import re

from docutils import nodes

from kdrecon.app.pages import mathml

project = "kdrecon"
copyright = "the kdrecon authors; code MIT, text CC BY 4.0"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
autodoc_default_options = {"show-inheritance": True}
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
maximum_signature_line_length = 100
napoleon_use_ivar = True
python_use_unqualified_type_names = True
nb_execution_mode = "off"
nb_merge_streams = True
nb_ipywidgets_js = {}
nb_code_prompt_show = nb_code_prompt_hide = "Parameters"
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
suppress_warnings = ["misc.highlighting_failure"]
html_theme = "furo"
html_title = "kdrecon"
html_static_path = ["book.css"]
html_css_files = ["book.css"]
html_extra_path = ["extra"]
html_copy_source = False
html_use_index = False
html_show_sphinx = False
html_math_renderer = "mathml"


MARKUP = re.compile(r"(``.*?``|:[a-z:]+:`.*?`)|[|*]|(?<=\w)_(?!\w)")  # what is left as it is, or no markup here

SENTENCES = {}


def setup(app):
    def math(display):
        def visit(self, node):
            self.body.append(mathml(node.astext(), display))
            raise nodes.SkipNode

        return visit

    app.add_html_math_renderer("mathml", (math("inline"), None), (math("block"), None))
    app.connect("autodoc-process-docstring", escape, priority=400)  # before napoleon, which writes markup of its own
    app.connect("autodoc-process-docstring", as_sentence, priority=600)
    app.connect("autodoc-skip-member", lambda app, what, name, member, skip, options: skip or is_field(member))


def escape(app, what, name, thing, options, lines):
    """Norms and products of equations are no markup; examples are left as they are."""
    example = False
    for number, line in enumerate(lines):
        example = bool(line.strip()) and (example or line.lstrip().startswith(">>>"))
        if not example:
            lines[number] = MARKUP.sub(lambda found: found[0] if found[1] else rf"\{found[0]}", line)
    SENTENCES[name] = list(lines)


def as_sentence(app, what, name, thing, options, lines):
    """Napoleon takes what stands before a colon in the docstring of a property or constant for its type."""
    if what in ("property", "attribute", "data"):
        lines[:] = SENTENCES[name]


def is_field(member) -> bool:
    """Whether it is a field of a NamedTuple, which the docstring of its class tells."""
    return str(getattr(member, "__doc__", "")).startswith("Alias for field number")
