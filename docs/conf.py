"""How Sphinx makes the documentation: ``make docs``. Version and addresses come from the package and pyproject.toml."""

from __future__ import annotations

import os
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "_ext"))
# autodoc imports Airflow, which would make a home of its own and tell of it.
os.environ.setdefault("AIRFLOW_HOME", str(HERE / "_build" / "airflow"))
os.environ.setdefault("AIRFLOW__LOGGING__LOGGING_LEVEL", "WARNING")

from inventories import write_inventories  # noqa: E402
from pygments.lexers.special import TextLexer  # noqa: E402
from sphinx.highlighting import lexers  # noqa: E402

from magic_hour_provider import __version__  # noqa: E402

# The one place that has an address, once there is one; see scripts/package_addresses.py.
_ADDRESSES = tomllib.loads((HERE.parent / "pyproject.toml").read_text("utf-8"))["tool"]["magic-hour"]

project = "Magic Hour for Apache Airflow"
author = "the contributors of airflow-provider-magic-hour"
copyright = author  # noqa: A001 (Sphinx's own name)
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.intersphinx", "sphinx_copybutton", "bare_names", "llms"]
exclude_patterns = ["_build", "_ext"]

# Pages are MyST Markdown. ``#anchors`` of headings work in links between pages, as on the code host.
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
myst_links_external_new_tab = False


# No request to anybody: the names of others that we refer to are kept in _ext/names.toml.
intersphinx_mapping = write_inventories(HERE / "_ext" / "names.toml", HERE / "_build" / "inventories")
intersphinx_timeout = 1

smartquotes_action = "qe"  # the two dashes of an option stay two

autodoc_typehints = "none"  # the docstrings say what an argument is; signatures stay short enough to read
autodoc_member_order = "bysource"
autodoc_class_signature = "separated"
add_module_names = False
python_use_unqualified_type_names = True
maximum_signature_line_length = 80

lexers["csv"] = TextLexer()  # rows need no colours

html_theme = "furo"
html_title = project
html_static_path = ["_static"]
html_css_files = ["tables.css"]
html_favicon = html_logo = "images/logo.svg"
html_copy_source = False
html_show_sphinx = False
html_baseurl = _ADDRESSES["documentation"]
html_theme_options = {"sidebar_hide_name": False}
if _ADDRESSES["repository"]:
    html_theme_options |= {
        "source_repository": _ADDRESSES["repository"],
        "source_branch": "HEAD",
        "source_directory": "docs/",
    }
copybutton_exclude = ".linenos, .gp, .go"
