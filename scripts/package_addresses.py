"""What hatchling asks for at each build: the package's links and its README, from the one place that has an address.

That place is ``[tool.magic-hour]`` in pyproject.toml. While it is empty the package names only Magic Hour's own pages,
and the README's links to other files are plain text: a package page has no such files beside it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

# Magic Hour's own, which exist whatever becomes of this project.
ELSEWHERE = {"Magic Hour": "https://magichour.ai", "Magic Hour API": "https://docs.magichour.ai"}

_FENCE = re.compile(r"(^```.*?^```$)", re.M | re.S)
_IMAGE = re.compile(r"!\[([^\[\]]*)\]\((?!https?:|#)([^()\s]+)\)")
_LINK = re.compile(r"(?<!!)\[([^\[\]]*)\]\((?!https?:|mailto:)([^()\s]+)\)")


class AddressHook(MetadataHookInterface):
    """Fills in ``urls`` and ``readme``, which pyproject.toml declares as dynamic."""

    PLUGIN_NAME = "custom"

    def update(self, metadata: dict[str, Any]) -> None:
        """Add both to the project's metadata."""
        from hatchling.metadata.core import load_toml

        addresses = load_toml(str(Path(self.root, "pyproject.toml")))["tool"]["magic-hour"]
        metadata["urls"] = links(**addresses)
        readme = Path(self.root, "README.md").read_text("utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": standalone(readme, addresses["repository"])}


def links(repository: str, documentation: str) -> dict[str, str]:
    """Return the package's links by their labels.

    :param repository: address of this repository at its code host, without a slash at its end; empty: there is none
    :param documentation: address of the built documentation; empty: there is none
    """
    found = {"Documentation": documentation} if documentation else {}
    if repository:
        found |= {
            "Source": repository,
            "Issues": f"{repository}/issues",
            "Changelog": f"{repository}/blob/HEAD/CHANGELOG.md",
            "Security": f"{repository}/security/policy",
        }
    return found | ELSEWHERE


def standalone(text: str, repository: str) -> str:
    """Return a README that is read away from its repository: its relative links lead there, or are plain text.

    :param text: Markdown, whose fenced blocks stay as they are
    :param repository: as in :func:`links`; without it, pictures are left out
    """
    return "".join(part if part.startswith("```") else _linked(part, repository) for part in _FENCE.split(text))


def _linked(text: str, repository: str) -> str:
    if not repository:
        return re.sub(r"\n{3,}", "\n\n", _LINK.sub(r"\1", _IMAGE.sub("", text)))
    text = _IMAGE.sub(rf"![\1]({repository}/raw/HEAD/\2)", text)
    return _LINK.sub(
        lambda found: (
            f"[{found[1]}]({repository}{found[2]})"
            if found[2].startswith("#")
            else f"[{found[1]}]({repository}/blob/HEAD/{found[2]})"
        ),
        text,
    )
