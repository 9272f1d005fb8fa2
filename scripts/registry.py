"""Makes ``.airflow-registry.yaml``: what Airflow's registry of providers lists of this package.

The form is that of the file of the same name in astronomer-cosmos, the one provider outside of Airflow's own repository
that has one: names, a description, addresses, and a list of classes for each kind.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

KINDS = ("operators", "sensors", "hooks", "triggers")


def registry_file(info: dict[str, Any], addresses: dict[str, str], read: Callable[[str], str]) -> str:
    """Return the file's text.

    :param info: the provider's information for Airflow
    :param addresses: ``[tool.magic-hour]`` of pyproject.toml; what is empty is left out
    :param read: returns the source of one of the provider's modules, by its dotted name
    """
    lines = [
        "# For the Apache Airflow Provider Registry; made by scripts/sync_api.py.",
        f"package-name: {info['package-name']}",
        f"display-name: {info['name']}",
        f"description: {_plain(info['description'])}",
    ]
    repository, documentation = addresses["repository"], addresses["documentation"]
    if repository:
        lines += [f"logo: {repository}/raw/HEAD{info['integrations'][0]['logo']}", f"source-url: {repository}"]
    if documentation:
        lines += [f"docs-url: {documentation}"]
    for kind in KINDS:
        lines += ["", f"{kind}:"]
        for module in (name for group in info[kind] for name in group["python-modules"]):
            for name, about in public_classes(read(module)):
                lines += [f"  - module: {module}.{name}", f"    description: {_quoted(about)}"]
    return "\n".join(lines) + "\n"


def public_classes(source: str) -> Iterator[tuple[str, str]]:
    """Yield a module's public classes, each with the first sentence that it says about itself."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield node.name, (ast.get_docstring(node) or "").split("\n\n")[0].replace("\n", " ")


def read_module(made: dict[Path, str], root: Path) -> Callable[[str], str]:
    """Return a reader of modules: what this run has made, else what is on disk."""

    def read(module: str) -> str:
        path = root.joinpath(*module.split(".")).with_suffix(".py")
        return made[path] if path in made else path.read_text("utf-8")

    return read


def _plain(text: str) -> str:
    """Take the markup out of one line of reStructuredText."""
    return _quoted(re.sub(r"`([^`<]+?) ?<[^>]*>`_*", r"\1", text))


def _quoted(text: str) -> str:
    """Return text as YAML takes it, whatever is in it."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
