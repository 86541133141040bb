"""Sphinx: the site of the documentation, ``make docs``."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from sphinx.application import Sphinx  # noqa: E402

import ksc  # noqa: E402
from docs.generators.ks_lexer import KsLexer  # noqa: E402
from docs.generators.pages import page  # noqa: E402
from docs.generators.showing import EXTRA  # noqa: E402

project = "Knossos"
author = "The Knossos developers"
copyright = "The Knossos developers; MIT licence"
version = release = ksc.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["generators"]
source_suffix = {".md": "markdown"}
myst_enable_extensions = ["deflist", "colon_fence"]
myst_heading_anchors = 3
nitpicky = False

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
napoleon_use_rtype = False

html_theme = "furo"
html_title = f"Knossos {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_extra_path = [str(EXTRA)]
pygments_style = "friendly"
pygments_dark_style = "github-dark"


def _read(app: Sphinx, name: str, source: list[str]) -> None:
    source[0] = page(name, source[0])


def setup(app: Sphinx) -> None:
    """Pages are generated where they ask for it, and their code is run."""
    EXTRA.mkdir(parents=True, exist_ok=True)
    app.connect("source-read", _read)
    app.add_lexer("ks", KsLexer)
