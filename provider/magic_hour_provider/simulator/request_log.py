"""The request log of the command."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from magic_hour_provider.api.catalog import TOOLS

_TOOLS_BY_PATH = {tool.path: slug for slug, tool in TOOLS.items()}


class RequestLog:
    """Writes one line per request: the time of day, what was asked and answered, and what a create made and took.

    :param write: called with each line.
    """

    def __init__(self, write: Callable[[str], None]) -> None:
        self.jobs: Callable[[], list[dict[str, Any]]] = list
        """Returns every job ever accepted, the oldest first."""
        self._write = write
        self._told: set[str] = set()

    def __call__(self, line: str) -> None:
        """Write the line of one request: its method, path and status."""
        method, path, _ = line.split(" ", 2)
        tool = _TOOLS_BY_PATH.get(path) if method == "POST" else None
        made = self._made_by(tool) if tool else ""
        self._write(f"{time.strftime('%H:%M:%S')} {line}{made}")

    def _made_by(self, tool: str) -> str:
        """Return the job that a create has just made; a refused one made none, one that was never answered did."""
        for job in reversed(self.jobs()):
            if job["tool"] == tool and job["id"] not in self._told:
                self._told.add(job["id"])
                return f" {job['id']} {job['credits_charged']} credits"
        return ""
