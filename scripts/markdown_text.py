"""Writes Markdown: tables, code blocks, lists of words."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; a bar in a cell is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def code(text: str) -> str:
    """Return a word as code."""
    return f"`{text}`"


def block(language: str, text: str) -> str:
    """Return a block of code."""
    return f"```{language}\n{text.strip()}\n```"


def formatted(sources: Mapping[str, str]) -> dict[str, str]:
    """Return Python as ruff formats it, each by its name."""
    with tempfile.TemporaryDirectory() as folder:
        for name, source in sources.items():
            Path(folder, f"{name}.py").write_text(source, "utf-8")
        command = [sys.executable, "-m", "ruff", "format", "--quiet", "--isolated", "--line-length", "120", folder]
        subprocess.run(command, check=True)
        return {name: Path(folder, f"{name}.py").read_text("utf-8") for name in sources}


def duration(seconds: float) -> str:
    """Return a number of seconds for a person."""
    if seconds < 100:
        return f"{seconds:g} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def size(count: float) -> str:
    """Return a number of bytes for a person."""
    return f"{count / 1e9:g} GB" if count >= 1e9 else f"{count / 1e6:g} MB"


def anchor(heading: str) -> str:
    """Return the anchor of a heading, as the code host and MyST make it."""
    kept = "".join(one for one in heading.lower() if one.isalnum() or one in " -_")
    return kept.strip().replace(" ", "-")
