"""The names of Airflow, Python and others that the documentation links to, without a request to anybody.

Sphinx would fetch each project's ``objects.inv`` at every build, and warn where it cannot. The few names that we
refer to are in ``names.toml`` with the page that has them; from these, the inventories are written that
``sphinx.ext.intersphinx`` reads.
"""

from __future__ import annotations

import tomllib
import zlib
from pathlib import Path

_HEADER = """\
# Sphinx inventory version 2
# Project: {project}
# Version:
# The remainder of this file is compressed using zlib.
"""


def write_inventories(names: Path, folder: Path) -> dict[str, tuple[str, str]]:
    """Write an inventory for each project of ``names`` and return what ``intersphinx_mapping`` takes.

    :param names: a TOML file: a table for each project with its ``base`` address and ``pages``, of each the names by
        what they are (``class``, ``function``, ``exception``, ``module`` ...).
    :param folder: where the inventories go; made if it is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mapping = {}
    for project, about in tomllib.loads(names.read_text("utf-8")).items():
        lines = [
            f"{name} py:{role} 1 {page}#$ -\n"
            for page, roles in about["pages"].items()
            for role, found in roles.items()
            for name in found
        ]
        path = folder / f"{project}.inv"
        path.write_bytes(_HEADER.format(project=project).encode() + zlib.compress("".join(lines).encode()))
        mapping[project] = (about["base"], str(path))
    return mapping
