"""Every message that a person can meet, read from the source of the package, and those that the pages name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import magic_hour_provider

PACKAGE = Path(magic_hour_provider.__file__).parent

# Modules whose texts are mostly none: of these, only what stands in an error or in a line of the log is a message.
ORDINARY = {
    "cli/definition.py": "the help of commands",
    "cli/job.py": "what a command prints when all is well",
    "cli/recovery.py": "what a command prints and asks",
    "cli/situations.py": "what a command prints of a record",
    "cli/targets.py": "what a command prints of an item",
    "get_provider_info.py": "descriptions of settings",
    "hooks/magic_hour.py": "what the Test of a connection shows",
    "operators/audio.py": "generated operators",
    "operators/image.py": "generated operators",
    "operators/shapes.py": "generated types",
    "operators/video.py": "generated operators",
    "outputs/media_header.py": "formats of files",
    "outputs/staging.py": "media types",
    "plugin/__init__.py": "the names of tabs",
    "plugin/media_tab/app.py": "the name of an app",
    "plugin/spend_tab/app.py": "the name of an app",
    "plugin/tabs.py": "the names and pictures of tabs",
    "plugin/web/app.py": "headers",
    "simulator/__main__.py": "the help of a command",
    "simulator/account/details.py": "invented saved items",
    "xcoms.py": "the name of a link",
}
# What is raised only for whoever changes this package.
INTERNAL = {"AssertionError", "AttributeError", "NotImplementedError"}
# Calls whose texts report nothing wrong, or are not read by anybody.
QUIET = {
    "addini",
    "addinivalue_line",
    "cast",
    "compile",
    "debug",
    "encode",
    "execute",
    "info",
    "print",
    "search",
    "sub",
}
QUIET |= {"FaultKind"}
LOUD = {"_require", "error", "exception", "fail", "print", "warning"}
# What is filled in: of logging, of str.format, and as the pages write it.
VALUE = re.compile(r"%(?:\(\w+\))?[.\d]*[srdgf]|(?<!\{)\{\w*\}(?!\})|…")
# Texts that a browser or a program reads.
MARKUP = re.compile(r"\s*<|default-src|\[\[")


@dataclass(frozen=True)
class Message:
    """A text of the source that is a message or a part of one, with … for what is filled in.

    :param is_required: whether the pages must have it: it is part of an error, a warning, or what a tab shows.
    """

    where: str
    line: int
    text: str
    is_required: bool


def normalize(text: str) -> str:
    """Return a message as it is compared: in one line, with one … for whatever is filled in there."""
    text = re.sub(r"\s+", " ", VALUE.sub("…", text))
    text = re.sub(r"…(?:['\"`]?…)+", "…", text)
    return text.strip(" …,;:.'\"`()")


def is_sentence(text: str) -> bool:
    """Whether a text says something: three words, and where it begins in the middle of a sentence, four."""
    if MARKUP.match(text) or not re.search(r"[a-z]{2}", text) or len(text.split()) < 3:
        return False
    words = re.findall(r"[A-Za-z]{2,}", VALUE.sub("…", text))
    if re.match(r"[A-Z]|it ", text) or re.search(r"[.?!]\Z", text):
        return len(words) >= 2
    return len(words) >= 4 or (len(words) >= 2 and bool(re.match(r"[`'\"]?…", text)) and " is " in f"{text} ")


def _text(node: ast.AST) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    return None


class _Reader(ast.NodeVisitor):
    """Reads the texts of a module.

    :param where: the module's path in the package.
    """

    def __init__(self, where: str) -> None:
        self.where, self.found = where, list[Message]()
        self._is_required = where not in ORDINARY

    def _visit_inside(self, node: ast.AST, is_required: bool) -> None:
        before, self._is_required = self._is_required, is_required
        self.generic_visit(node)
        self._is_required = before

    def visit_Call(self, node: ast.Call) -> None:
        function = node.func
        name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        goes_elsewhere = any(keyword.arg == "file" for keyword in node.keywords)  # print() to stderr
        is_good_news = name == "Finding" and _text(node.args[0]) == "ok"
        if name in INTERNAL:
            return
        if (name in QUIET and not goes_elsewhere) or is_good_news:
            self._visit_inside(node, False)
        elif name in LOUD or name.endswith(("Error", "Exception", "_error")):
            self._visit_inside(node, True)
        else:
            self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):  # else it is a docstring
            self.generic_visit(node)

    def visit_Assert(self, node: ast.Assert) -> None:
        pass

    def visit_arg(self, node: ast.arg) -> None:
        pass  # its annotation

    def visit_Constant(self, node: ast.Constant) -> None:
        self._add(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        self._add(node)
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                self.visit(part.value)

    def _add(self, node: ast.expr) -> None:
        text = _text(node)
        if text is not None and (" " in normalize(text) or isinstance(node, ast.JoinedStr)):
            self.found.append(Message(self.where, node.lineno, text, self._is_required and is_sentence(text)))


def _read_script(path: Path) -> Iterator[Message]:
    """Yield the whole sentences of a tab's script."""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        for _, text in re.findall(r"([\"`])([A-Z](?:(?!\1).)*\s(?:(?!\1).)*\.)\1", line):
            shown = re.sub(r"\$\{(?:[^{}]|\{[^{}]*\})*\}", "…", text)
            yield Message(path.relative_to(PACKAGE).as_posix(), number, shown, True)


def read_messages() -> list[Message]:
    """Return every text of the package that is a message or can be a part of one."""
    found: list[Message] = []
    for path in sorted(PACKAGE.rglob("*.py")):
        reader = _Reader(path.relative_to(PACKAGE).as_posix())
        reader.visit(ast.parse(path.read_text()))
        found += reader.found
    for path in sorted((PACKAGE / "plugin").rglob("static/*.js")):
        found += _read_script(path)
    return found


def read_entries(page: str) -> list[tuple[str, list[str]]]:
    """Return a page's entries: the title of each, and the messages that it lists, as the page writes them."""
    entries: list[tuple[str, list[str]]] = []
    for line in page.splitlines():
        if line.startswith("## "):
            entries.append((line.removeprefix("## "), []))
        elif found := re.fullmatch(r"- (`+) ?(.*?) ?\1", line):
            entries[-1][1].append(found[2])
    return entries


def find_rest(shown: str, texts: Iterable[str]) -> str:
    """Return what is left of a message when the texts of the source are taken out of it; empty: it is all theirs.

    :param texts: normalized, the longest first.
    """
    rest = normalize(shown)
    for text in texts:
        if text and text in rest:
            rest = re.sub(rf"(?<![A-Za-z]){re.escape(text)}(?![A-Za-z])", "\n", rest)
    return " ".join(re.findall(r"[A-Za-z]+", rest))
