"""What people read is in the field's words: the private words that they replaced do not come back."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import magic_hour_provider
from helpers.pages import pages as markdown_pages
from magic_hour_provider.get_provider_info import get_provider_info
from magic_hour_provider.simulator.__main__ import _parser

ROOT = Path(__file__).parent.parent
PACKAGE = Path(magic_hour_provider.__file__).parent

# A private word, and the field's.
WORDS = {
    r"look(s|ed|ing)?": "poll",
    r"books": "statistics, summary, counters",
    r"wish(es|ed)?": "job spec, regenerate request",
    r"magic words?": "prompt directives",
    r"mend(s|ed|ing)?": "fix, recover",
    r"anew": "again",
    r"(go|goes|going|gone|went) on": "resume, continue, keep running",
    r"told": "notified, identified",
    r"floors?": "minimum balance",
    r"strikes?|struck": "inject, trigger",
    r"lost answers?|answers? (is|are|was|were) lost": "lost response",
    r"name ends with": "tag",
    r"nobody can (say|know)": "it is unknown whether",
}
# The same words where they are plain English.
ALLOWED = {
    r"look(s|ed|ing)?( it| them)?[ -](up|for)": "searching, by a person or by key",
    r"looking into the camera": "a prompt",
    r"looks? at (them|what is there)": "a person's eyes",
    r"look and generation|(preset|subtitle) look|looks? like": "how a picture looks",
    r"Go on with this job": "a button",
    r"told apart": "distinguished",
    r"Math\.floor": "JavaScript",
}
FORBIDDEN = re.compile("|".join(rf"\b(?:{word})\b" for word in WORDS), re.I)
EXCUSED = re.compile("|".join(rf"\b(?:{phrase})\b" for phrase in ALLOWED), re.I)


def private_words(text: str) -> list[str]:
    """Return the private words of a text, each with what stands around it."""
    text = EXCUSED.sub("", re.sub(r"\s+", " ", text))
    return [text[max(0, found.start() - 40) : found.end() + 40] for found in FORBIDDEN.finditer(text)]


def prose(path: Path) -> Iterator[str]:
    """Yield what a module says: its strings of several words, messages and docstrings alike."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    # The parts of an f-string are said as a whole.
    elsewhere = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in nodes:
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif id(node) not in elsewhere and isinstance(node, ast.Constant) and " " in str(node.value).strip():
            yield str(node.value)


def texts() -> dict[str, str]:
    """Return what people read, by where it is written."""
    pages = [page.path for page in markdown_pages()]
    pages += (ROOT / "dags_examples").glob("*.py")  # whole: they are there to be copied
    pages += [path for path in (PACKAGE / "plugin").rglob("static/*") if path.suffix in (".html", ".js", ".css")]
    found = {str(path.relative_to(ROOT)): path.read_text() for path in pages}
    for path in PACKAGE.rglob("*.py"):
        found[f"strings of {path.relative_to(PACKAGE)}"] = "\n\n".join(prose(path))
    found["provider info"] = json.dumps(get_provider_info())
    found["help of the simulator"] = _parser("key").format_help()
    return found


def test_no_private_words():
    """README, docs, examples, UI, settings, messages, logs and docstrings have none of them."""
    wrong = {where: words for where, text in texts().items() if (words := private_words(text))}
    assert wrong == {}


def test_metric_names():
    """The metrics are named in the field's words too, as are the strings that are one word."""
    names = re.findall(r'"(magic_hour[.\w]*)"', "".join(path.read_text() for path in PACKAGE.rglob("*.py")))
    assert "magic_hour.polls" in names
    assert [name for name in names if FORBIDDEN.search(name.replace("_", " ").replace(".", " "))] == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Next look in 5 s.", 1),
        ("3 Looks, the last\nanswer was lost", 2),
        ("It goes\non with the job", 1),
        ("Look it up, or look for it in the library: floored, bookshelf", 0),
    ],
)
def test_words_are_found(text, found):
    """A private word is found whatever its case and over the end of a line, and only as a whole word."""
    assert len(private_words(text)) == found
