"""The pages that people read, README and docs: their blocks of code, their links and their headings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PARSE_ONLY = ("% parse only", "<!-- parse only -->")

_TARGET = re.compile(r"^\(([\w-]+)\)=$", re.M)


class Block(NamedTuple):
    """A block of code.

    :param language: what follows its fence, such as ``python``, or ``{toctree}``.
    :param code: its text, as it would be copied.
    :param line: line of the page it begins at, from 1.
    :param is_parsed_only: whether the page says that it cannot run alone.
    """

    language: str
    code: str
    line: int
    is_parsed_only: bool


@dataclass(frozen=True)
class Page:
    """A page in Markdown.

    :param path: its file.
    """

    path: Path

    @property
    def name(self) -> str:
        """Its file below the project's folder."""
        return self.path.relative_to(ROOT).as_posix()

    @cached_property
    def text(self) -> str:
        """All of it."""
        return self.path.read_text("utf-8")

    @cached_property
    def _tokens(self) -> list[Token]:
        return MarkdownIt("commonmark").enable("table").parse(self.text)

    def blocks(self, *languages: str) -> Iterator[Block]:
        """Yield its blocks of code, of these languages or of all."""
        lines = self.text.splitlines()
        for token in self._tokens:
            if token.type == "fence":
                language = (token.info.split() or [""])[0]
                first = token.map[0] if token.map else 0
                before = next((line.strip() for line in reversed(lines[:first]) if line.strip()), "")
                if not languages or language in languages:
                    yield Block(language, token.content, first + 1, before in PARSE_ONLY)

    def inline(self) -> Iterator[str]:
        """Yield what stands as code in its text."""
        for token in self._tokens:
            yield from (child.content for child in token.children or () if child.type == "code_inline")

    def links(self) -> Iterator[str]:
        """Yield what its links and images lead to."""
        for token in self._tokens:
            for child in token.children or ():
                for name in ("href", "src"):
                    if child.type in ("link_open", "image") and (target := child.attrs.get(name)):
                        yield str(target)
            if token.type == "html_block" or any(one.type == "html_inline" for one in token.children or ()):
                yield from re.findall(r"""\b(?:src|href)=["']([^"']+)["']""", token.content)
        for block in self.blocks():
            if block.language in ("{image}", "{figure}"):
                yield self._argument(block)

    def _argument(self, block: Block) -> str:
        return self.text.splitlines()[block.line - 1].partition("}")[2].strip()

    @cached_property
    def anchors(self) -> set[str]:
        """What a link can lead to on it: its headings, as the code host and MyST name them, and its own targets."""
        found: set[str] = set()
        for before, token in zip(self._tokens, self._tokens[1:], strict=False):
            if before.type == "heading_open":
                text = "".join(one.content for one in token.children or () if one.type in ("text", "code_inline"))
                kept = "".join(one for one in text.lower() if one.isalnum() or one in " -_")
                slug, number = kept.strip().replace(" ", "-"), 1
                while slug in found:
                    slug, number = f"{slug.removesuffix(f'-{number - 1}')}-{number}", number + 1
                found.add(slug)
            if token.type == "html_block":
                found |= set(re.findall(r"""\b(?:id|name)=["']([^"']+)["']""", token.content))
        return found | set(_TARGET.findall(self.text))


def pages() -> list[Page]:
    """Return every page that people read."""
    found = [path for path in DOCS.rglob("*.md") if DOCS / "_build" not in path.parents]
    return [Page(path) for path in sorted([*ROOT.glob("*.md"), *found])]
