"""Each use case is an example that our tests run."""

from __future__ import annotations

import re

from helpers.pages import DOCS

PAGES = DOCS / "use-cases"


def test_each_page_shows_an_example():
    """A use case is an example's file, included to the letter, which has a test of its own; no two show the same."""
    shown = []
    for page in sorted(PAGES.glob("*.md")):
        included = re.findall(
            r"^```\{literalinclude\} \.\./\.\./dags_examples/(\w+)\.py$", page.read_text("utf-8"), re.M
        )
        assert len(included) == (page.stem != "index"), page
        shown += included
    assert len({*shown}) == len(shown) >= 7
    tested = {path.stem.removeprefix("test_") for path in (DOCS.parent / "tests" / "examples").glob("test_*.py")}
    assert {*shown} <= tested
