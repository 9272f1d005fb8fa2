"""Writes ``llms.txt`` beside the built pages: a list of all pages with a line each, and the pages as Markdown."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

SECTIONS = {
    "start": "Start",
    "guides": "Guides",
    "use-cases": "Use cases",
    "reference": "Reference",
    "explanation": "Explanation",
    "troubleshooting": "Troubleshooting",
    "project": "The project",
}

_INCLUDE = re.compile(r"^```\{include\} (\S+)\n```$", re.M)


def read_page(path: Path) -> str:
    """Return a page in Markdown, with the files that it includes in it."""
    text = path.read_text("utf-8")
    return _INCLUDE.sub(lambda found: (path.parent / found[1]).read_text("utf-8"), text)


def summarize(text: str) -> tuple[str, str]:
    """Return the title of a page in Markdown, and the first sentence of its first paragraph."""
    title, _, rest = re.sub(r"^(```|:::).*?^\1$|<!--.*?-->|^%.*?$|^\(.*\)=$", "", text, flags=re.M | re.S).partition(
        "\n"
    )
    paragraphs = [" ".join(one.split()) for one in re.split(r"\n\s*\n", rest) if one.strip()]
    first = next((one for one in paragraphs if not one.startswith(("#", "|", "!", ":"))), "")
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", first)
    return title.lstrip("# ").strip(), re.split(r"(?<=\.)\s", plain, maxsplit=1)[0]


def list_pages(folder: Path, address: str = "") -> str:
    """Return the text of ``llms.txt``.

    :param folder: where the pages' sources are.
    :param address: where the built pages are published, without a slash at its end; empty: links are relative.
    """
    title, about = summarize((folder / "index.md").read_text("utf-8"))
    parts = [f"# {title}", f"> {about}"]
    for name, section in SECTIONS.items():
        found = sorted((folder / name).rglob("*.md"), key=lambda path: (path.parent, path.stem != "index", path.stem))
        lines = []
        for path in found:
            page, sentence = summarize(read_page(path))
            where = path.relative_to(folder).as_posix()
            lines.append(f"- [{page}]({address}{'/' * bool(address)}{where}){f': {sentence}' if sentence else ''}")
        parts.append(f"## {section}\n\n" + "\n".join(lines))
    return "\n\n".join(parts) + "\n"


def write_list(app: Sphinx, failure: Exception | None) -> None:
    """Write the list and the pages into what was built, if it was."""
    if failure is not None or app.builder.format != "html":
        return
    source, target = Path(app.srcdir), Path(app.outdir)
    for name in app.env.found_docs:
        (target / f"{name}.md").write_text(read_page(source / f"{name}.md"), "utf-8")
    (target / "llms.txt").write_text(list_pages(source, app.config.html_baseurl.rstrip("/")), "utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register it."""
    app.connect("build-finished", write_list)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
