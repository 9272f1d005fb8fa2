"""Reads the docstrings of the package, which are reStructuredText with fields, and says them in Markdown."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, field
from typing import Any

_FIELD = re.compile(r"^:(param|raises|returns)(?: ([\w.]+))?: ?", re.M)


@dataclass
class Docstring:
    """A docstring, in Markdown.

    :param text: what stands before the fields, its paragraphs separated by empty lines.
    :param params: what each argument is.
    :param raises: what each exception means.
    """

    text: str = ""
    params: dict[str, str] = field(default_factory=dict)
    raises: dict[str, str] = field(default_factory=dict)

    @property
    def first(self) -> str:
        """The first sentence of the text, or all of its first paragraph where that is one."""
        return re.split(r"(?<=\.)\s", self.text.partition("\n\n")[0], maxsplit=1)[0]


def read_docstring(documented: Any) -> Docstring:
    """Return the docstring of a class or function; one without is an empty one."""
    return parse_docstring(inspect.getdoc(documented) or "")


def parse_docstring(raw: str) -> Docstring:
    """Return what a docstring says."""
    parts = _FIELD.split(inspect.cleandoc(raw))
    paragraphs = [_join(one) for one in re.split(r"\n\s*\n", parts[0].strip())]
    found = Docstring("\n\n".join(paragraphs))
    for kind, name, text in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        if kind != "returns":
            (found.params if kind == "param" else found.raises)[name] = _join(text.partition("\n\n")[0])
    return found


def to_markdown(text: str) -> str:
    """Return a text of a docstring as Markdown: roles and literals are code, links are links."""
    text = re.sub(r" ?See :mod:`[^`]+`\.", "", text)  # a page has links of its own
    text = re.sub(r":(?:\w+:)?\w+:`~?([^`]+)`", lambda found: f"`{found[1].rpartition('.')[2]}`", text)
    text = re.sub(r"``(.+?)``", r"`\1`", text)
    return re.sub(r"`([^`<]+) <([^>]+)>`__", r"[\1](\2)", text)


def _join(text: str) -> str:
    if re.search(r"^\s*- ", text, re.M):  # a list stays one
        return to_markdown(inspect.cleandoc(text))
    return to_markdown(re.sub(r"\s*\n\s*", " ", text.strip()))


def plain_to_markdown(text: str) -> str:
    """Return plain text as Markdown: what would be a tag or emphasis there is escaped, and an option is code."""
    return re.sub(r"(?<!\S)(--[a-z-]+)", r"`\1`", re.sub(r"([<*])", r"\\\1", text))


def sentence(text: str) -> str:
    """Return a text with a capital letter and an end."""
    ended = text.rstrip("`)").endswith((".", "!", "?", ":")) or text.endswith("`")
    return f"{text[:1].upper()}{text[1:]}{'' if ended else '.'}"
