"""Says whether a tag may become a release: it names the version of the package, which the changelog has with a date."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VERSION = ROOT / "provider" / "magic_hour_provider" / "__init__.py"


def problems(tag: str, source: str, changelog: str) -> list[str]:
    """Return what stands against the release, in sentences.

    :param tag: the tag, such as ``v0.1.0``
    :param source: text of the module that holds ``__version__``
    :param changelog: text of CHANGELOG.md
    """
    found = re.search(r'^__version__ = "(.+)"$', source, re.M)
    version = found[1] if found else "(none)"
    wrong = [] if tag == f"v{version}" else [f"The tag is {tag}, and the package's version is {version}."]
    if not re.search(rf"^## \[{re.escape(version)}\] - \d{{4}}-\d{{2}}-\d{{2}}$", changelog, re.M):
        wrong.append(f"CHANGELOG.md has no section [{version}] with the date of its release.")
    return wrong


if __name__ == "__main__":
    wrong = problems(sys.argv[1], VERSION.read_text("utf-8"), (ROOT / "CHANGELOG.md").read_text("utf-8"))
    print("\n".join(wrong), file=sys.stderr, end="\n" if wrong else "")
    sys.exit(bool(wrong))
