"""Sphinx configuration of the web book; build.py puts its sources together."""

from docutils import nodes

from kdrecon.app.pages import mathml

project = "kdrecon"
copyright = "the kdrecon authors; code MIT, text CC BY 4.0"
extensions = ["myst_nb"]
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
html_copy_source = False
html_use_index = False
html_show_sphinx = False
html_math_renderer = "mathml"


def setup(app):
    def math(display):
        def visit(self, node):
            self.body.append(mathml(node.astext(), display))
            raise nodes.SkipNode

        return visit

    app.add_html_math_renderer("mathml", (math("inline"), None), (math("block"), None))
