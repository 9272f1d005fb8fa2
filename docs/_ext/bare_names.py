"""Resolves the names in docstrings as the package writes them: short, and also of what has no page.

``:class:`MagicHourOperator``` leads to the one class of that name, whatever module it is in: a public name exists once
in the package. A name of the package's own workings is shown as code. Anything else is a warning, as Sphinx has it.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.ext import intersphinx
from sphinx.util.nodes import make_refnode

import magic_hour_provider

_PACKAGE = Path(magic_hour_provider.__file__).parent


def resolve_name(app: Sphinx, env: Any, node: Any, shown: nodes.Element) -> nodes.Node | None:
    """Return what a reference that Sphinx cannot resolve leads to; None: it is a mistake."""
    if node.get("refdomain") != "py":
        return None
    target = str(node["reftarget"]).rpartition(".")[2]
    for name, found in env.domains["py"].objects.items():
        if name.rpartition(".")[2] == target and found.objtype in ("class", "exception", "function"):
            return make_refnode(app.builder, node["refdoc"], found.docname, found.node_id, shown, name)
    for project in intersphinx.InventoryAdapter(env).named_inventory.values():
        for kind in project.values():
            for name in kind:
                if name.rpartition(".")[2] == target:
                    node["reftarget"] = name
                    return intersphinx.resolve_reference_detect_inventory(env, node, shown)
    return shown if target in _own_names() else None


@cache
def _own_names() -> frozenset[str]:
    """Return every name that a module of the package defines, and the modules' own."""
    names = set()
    for path in _PACKAGE.rglob("*.py"):
        names.add(path.stem if path.stem != "__init__" else path.parent.name)
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                names.add(node.name)
            elif isinstance(node, ast.Assign):
                names |= {one.id for one in node.targets if isinstance(one, ast.Name)}
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                names.add(node.target.id)
    return frozenset(names)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register it, behind everything that knows better."""
    app.connect("missing-reference", resolve_name, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
