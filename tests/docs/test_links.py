"""Every link inside leads somewhere: to a page, a heading, a file of this repository, a picture."""

from __future__ import annotations

from urllib.parse import unquote

import pytest

from helpers.pages import ROOT, Page, pages

PAGES = pages()
OUTSIDE = ("http://", "https://", "mailto:")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    """A relative link has its file, and an anchor its heading."""
    wrong = [link for link in page.links() if not link.startswith(OUTSIDE) and not leads_somewhere(page, link)]
    assert wrong == []


def leads_somewhere(page: Page, link: str) -> bool:
    """Whether a link inside has its file and its heading."""
    path, _, anchor = unquote(link).partition("#")
    target = (page.path.parent / path).resolve() if path else page.path
    if not target.exists() or ROOT not in target.parents:
        return False
    if not anchor or target.suffix != ".md":
        return True
    return anchor in Page(target).anchors


def test_every_page_is_found():
    """The pages are those of the docs, and README and CHANGELOG."""
    names = {page.name for page in PAGES}
    assert {"README.md", "CHANGELOG.md", "docs/index.md", "docs/reference/tools/text-to-video.md"} <= names


def test_links_are_seen(tmp_path):
    """A link, a picture and a picture in HTML are found, and none in a block of code."""
    file = tmp_path / "page.md"
    file.write_text(
        "# A page: `x_y`, twice\n\n[a](b.md#c) ![d](e.png) <img src='f.png'>\n\n```{image} g.png\n```\n\n"
        "```text\n[h](i.md)\n```\n"
    )
    page = Page(file)
    assert list(page.links()) == ["b.md#c", "e.png", "f.png", "g.png"]
    assert page.anchors == {"a-page-x_y-twice"}
