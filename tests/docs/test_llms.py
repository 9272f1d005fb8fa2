"""The list of pages that ``make docs`` writes for programs that read: every page with a line of its own."""

from __future__ import annotations

import importlib.util
import re

import pytest

from helpers.pages import DOCS


@pytest.fixture
def llms():
    """The extension of Sphinx that writes the list; its import needs no Sphinx to be run."""
    pytest.importorskip("sphinx")
    spec = importlib.util.spec_from_file_location("llms", DOCS / "_ext" / "llms.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_page_has_a_line(llms):
    """Each page is listed once, with its title and a sentence that ends."""
    text = llms.list_pages(DOCS)
    lines = dict(re.findall(r"^- \[.+?\]\((\S+?)\)(.*)$", text, re.M))
    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md") if DOCS / "_build" not in path.parents}
    assert lines.keys() == pages - {"index.md"}
    assert [where for where, said in lines.items() if not said.startswith(": ")] == []
    assert text.startswith("# Magic Hour for Apache Airflow\n\n> Run Magic Hour")


def test_an_address_makes_links_whole(llms):
    """Where the documentation is published, links lead there."""
    text = llms.list_pages(DOCS, "https://docs.example")
    assert "(https://docs.example/reference/tools/lip-sync.md): Moves the lips of a video to a recording." in text
