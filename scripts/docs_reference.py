"""Brings the documentation in step with the package: the pages of the tools, and the tables in pages written by hand.

A table stands between ``<!-- made by scripts/docs_reference.py: NAME -->`` and ``<!-- end -->``, where NAME is one of
``TABLES``, or ``parameters of`` and the dotted name of a class. ``--check`` writes nothing and fails where a page
differs from what would be written.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import reference_commands
import reference_tables
from reference_tools import tool_pages

DOCS = Path(__file__).resolve().parent.parent / "docs"
TOOLS = DOCS / "reference" / "tools"
TABLES = {**reference_tables.TABLES, **reference_commands.TABLES}

_REGION = re.compile(r"(<!-- made by scripts/docs_reference\.py: (.+?) -->\n).*?(<!-- end -->)", re.S)
_PARAMETERS = "parameters of "


def main() -> int:
    """Write the pages, or name those that differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a page would change")
    check = parser.parse_args().check
    made = pages()
    changed = [path for path, text in made.items() if not path.exists() or path.read_text("utf-8") != text]
    extra = [path for path in TOOLS.glob("*.md") if path not in made]
    for path in (*changed, *extra):
        name = path.relative_to(DOCS.parent)
        if check:
            print(f"differs from what scripts/docs_reference.py makes: {name}")
        elif path in made:
            path.parent.mkdir(exist_ok=True)
            path.write_text(made[path], "utf-8")
            print(f"written: {name}")
        else:
            path.unlink()
            print(f"removed: {name}")
    return 1 if check and (changed or extra) else 0


def pages() -> dict[Path, str]:
    """Return every page that is made, or has a table that is, and its text."""
    made = {TOOLS / name: text for name, text in tool_pages().items()}
    for path in sorted(DOCS.rglob("*.md")):
        if path.parent != TOOLS and DOCS / "_build" not in path.parents:
            text = path.read_text("utf-8")
            if _REGION.search(text):
                made[path] = _REGION.sub(_filled, text)
    return made


def _filled(region: re.Match[str]) -> str:
    name = region[2]
    if name.startswith(_PARAMETERS):
        table = reference_tables.parameters(name.removeprefix(_PARAMETERS))
    else:
        table = TABLES[name]()
    return f"{region[1]}\n{table}\n\n{region[3]}"


if __name__ == "__main__":
    sys.exit(main())
