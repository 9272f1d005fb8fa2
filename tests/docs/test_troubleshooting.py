"""Every message of the package is in the pages of docs/troubleshooting, and they have no message that is gone.

What counts as a message, and so must be there: each sentence, and each part of one, that stands in an error, in a
warning or error of a log, in what the tabs show, or in a module that puts such texts together (helpers, constants, the
``next_step`` of an error). Errors of the API client, the simulator and the pytest plugin belong to it, as an author of
DAGs or tests meets them; so do the problems and warnings of ``airflow magic-hour doctor``.

What does not: docstrings; help texts, descriptions of settings and generated operators; what commands print when all
is well, and lines of the log at INFO or below (a page may list them all the same); assertions and errors for whoever
changes this package; single words and short phrases that are filled into a sentence, where a page has …
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from helpers.messages import ORDINARY, PACKAGE, find_rest, is_sentence, normalize, read_entries, read_messages

PAGES = Path(__file__).parents[2] / "docs" / "troubleshooting"
LEADS = ("**Why.** ", "**Charge.** ", "**Do.** ")


@pytest.fixture(scope="module")
def messages():
    """What the source says."""
    return read_messages()


@pytest.fixture(scope="module")
def pages():
    """The entries of each page."""
    return {path.stem: read_entries(path.read_text("utf-8")) for path in sorted(PAGES.glob("*.md"))}


def test_every_message_is_found(messages, pages):
    """Whoever pastes the fixed part of a message into the search finds it."""
    shown = [normalize(text) for entries in pages.values() for _, texts in entries for text in texts]
    everything = "\n".join(shown)
    missing = [
        f"{one.where}:{one.line}: {one.text}"
        for one in messages
        if one.is_required and normalize(one.text) not in everything
    ]
    assert missing == []


def test_no_message_is_gone(messages, pages):
    """What a page lists is what the source says, word for word."""
    texts = sorted({normalize(one.text) for one in messages}, key=len, reverse=True)
    gone = {
        f"{page}: {text}": rest
        for page, entries in pages.items()
        for _, shown in entries
        for text in shown
        if (rest := find_rest(text, texts))
    }
    assert gone == {}


def test_each_entry_answers(pages):
    """An entry lists its messages and says why it happens, what it means for the charge, and what to do."""
    for path in sorted(PAGES.glob("*.md")):
        for entry in path.read_text("utf-8").split("\n## ")[1:] if path.stem != "index" else ():
            title = f"{path.stem}: {entry.partition(chr(10))[0]}"
            starts = [lead for lead in LEADS for line in entry.splitlines() if line.startswith(lead)]
            assert starts == list(LEADS), title
            assert re.search(r"^- `", entry, re.M), title


def test_no_message_is_listed_twice_in_an_entry(pages):
    """A second bullet of the same text helps nobody."""
    for page, entries in pages.items():
        for title, texts in entries:
            assert len(texts) == len(set(texts)), (page, title)


def test_the_index_names_each_page():
    """A symptom without a message leads to a page, and every page is named."""
    index = (PAGES / "index.md").read_text("utf-8")
    assert sorted(path.name for path in PAGES.glob("*.md") if f"({path.name}" not in index) == ["index.md"]


def test_modules_without_messages_are_there():
    """A module that was renamed takes its place in the list along."""
    assert [name for name in ORDINARY if not (PACKAGE / name).is_file()] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The file … cannot be read (…).", True),
        ("it is empty", True),
        ("… is empty.", True),
        ("a whole number", False),
        ("without a name", False),
        ("<svg viewBox='0 0 24 24' fill='none'>", False),
    ],
)
def test_what_is_a_sentence(text, expected):
    """Whole sentences and reasons are; values that are filled in are not."""
    assert is_sentence(text) is expected


def test_messages_of_all_sorts_are_read(messages):
    """From raised errors, from helpers and constants, from next steps, warnings, conditions and scripts."""
    required = {normalize(one.text) for one in messages if one.is_required}
    for text in (
        "The Magic Hour API key is empty",
        "Put the key into the connection's password (make one in Magic Hour's Developer Hub",
        "It is unknown whether a job was created and charged",
        "As on_unknown_submission is 'resubmit', the next attempt sends the request again, which may pay twice",
        "The name of a job is text; it is",
        "The record of paid job … could not be written yet",
        "You may not clear this task",
        "Its state has to be read again; a retry does so",
    ):
        assert normalize(text) in required, text


def test_what_is_made_up_is_noticed(messages):
    """A sentence that the source does not say is not covered by parts of others."""
    texts = sorted({normalize(one.text) for one in messages}, key=len, reverse=True)
    assert find_rest("The Magic Hour API key is empty. Buy another one.", texts) == "Buy another one"
    assert find_rest("The Magic Hour API key is empty.", texts) == ""
