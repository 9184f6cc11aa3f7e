"""The site of the documentation: `make docs` builds it into build/docs, without the network once its tools are installed; warnings are errors.

The pages are the Markdown files of this folder and what they include of the root, so that every text has one place; api.md
takes the docstrings of the package, which has to be built.
"""

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

import asyncio_c

ROOT = Path(__file__).parents[1]

project = "asyncio_c"
author = "The asyncio_c authors"
version = release = asyncio_c.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton"]
exclude_patterns = ["_static"]

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = "asyncio_c"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#1f5fbf", "color-brand-content": "#1f5fbf"},
    "dark_css_variables": {"color-brand-primary": "#7cb5ec", "color-brand-content": "#7cb5ec"},
}
pygments_style = "friendly"
pygments_dark_style = "github-dark"
copybutton_prompt_text = r"\$ |>>> "
copybutton_prompt_is_regexp = True

# The docstrings are plain text, in which `names` are code.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "none"
# There is no inventory of Python's documentation without the network.
nitpick_ignore_regex = [(r"py:.*", r"(asyncio|contextvars|selectors|socket)\b.*")]


def plain_text_to_rst(app, what, name, obj, options, lines):
    """Make reStructuredText of a docstring: stars are stars, and what is said of a parameter becomes its field."""
    try:
        parameters = set(inspect.signature(obj).parameters)
    except (TypeError, ValueError):
        parameters = set()
    text = re.sub(r"([*|])", r"\\\1", "\n".join(lines))
    text = re.sub(
        r"^(\w+): ",
        lambda found: f":param {found[1]}: " if found[1] in parameters else found[0],
        text,
        flags=re.M,
    )
    text = re.sub(r"\n\n(?= {4}\S)", "\n\n::\n\n", text)  # what is indented is code
    lines[:] = text.split("\n")


class Example(SphinxDirective):
    """``{example} 05_gather.py``: the script of examples/, and what it prints on the C core, as it is run for the site."""

    required_arguments = 1

    def run(self):
        script = ROOT / "examples" / self.arguments[0]
        self.env.note_dependency(str(script))
        result = subprocess.run(
            [sys.executable, "-m", "asyncio_c", script.name],
            cwd=script.parent,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=60,
        )
        code = script.read_text().strip()
        output = re.sub(r"0x[0-9a-f]+", "0x…", result.stdout).replace(f"{script.parent}/", "")
        return [
            nodes.literal_block(code, code, language="python", classes=["example"]),
            nodes.literal_block(output, output, language="none", classes=["output"]),
        ]


def setup(app):
    app.add_directive("example", Example)
    app.connect("autodoc-process-docstring", plain_text_to_rst)
