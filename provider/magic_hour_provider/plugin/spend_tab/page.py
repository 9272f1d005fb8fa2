"""What the Spend tab shows of a page of runs, as JSON for the page itself and as CSV for people's own sums."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from magic_hour_provider.api.catalog import TOOLS
from magic_hour_provider.plugin.spend_tab.queries import SpendPage
from magic_hour_provider.plugin.spend_tab.run_spend import RunSpend
from magic_hour_provider.plugin.web.sanitize import to_safe_json
from magic_hour_provider.times import format_time

COUNTS = ("jobs", "failed", "refunded", "unknown", "unreadable")
"""Numbers of a run beside its credits."""

OTHER_TOOLS = "other tools"
_MAX_TOOLS = 40  # there are 32; anybody may have written others
_ACTIVE = ("queued", "running")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def describe_spend(page: SpendPage, now: float) -> dict[str, Any]:
    """Return a page of runs with its sums.

    :param now: the time, in seconds since 1970.
    """
    tools = _sum_tools(page.runs)
    credits = sum(tools.values())
    paying = sum(1 for run in page.runs if run.jobs)
    return {
        "now": now,
        "live": any(run.state in _ACTIVE for run in page.runs),
        "older": page.older,
        "runs": [_describe_run(run, tools) for run in page.runs],
        "tools": [
            {"tool": slug, "title": TOOLS[slug].title if slug in TOOLS else slug, "credits": _tidy(spent)}
            for slug, spent in tools.items()
        ],
        "totals": {
            "credits": _tidy(credits),
            "average": _tidy(round(credits / paying, 1)) if paying else None,
            "paying": paying,
            **{name: sum(getattr(run, name) for run in page.runs) for name in COUNTS},
        },
    }


def write_csv(page: SpendPage) -> str:
    """Return a page of runs as CSV: a row for each run, and a column for the credits of each tool.

    A text that a spreadsheet would take for a formula begins with an apostrophe: tools and runs are named by anybody.
    """
    tools = _sum_tools(page.runs)
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\r\n")
    names = ["run_id", "time", "state", "credits", "limit", *COUNTS, *(f"credits of {tool}" for tool in tools)]
    writer.writerow(map(_guard, names))
    for run in page.runs:
        shown = _describe_run(run, tools)
        row = [
            shown["run_id"],
            format_time(run.time),
            *(shown[name] for name in ("state", "credits", "limit", *COUNTS)),
        ]
        writer.writerow(map(_guard, [*row, *(shown["tools"].get(tool, 0) for tool in tools)]))
    return file.getvalue()


def _sum_tools(runs: Sequence[RunSpend]) -> dict[str, float]:
    """Return the credits of each tool, the most first; of too many tools the last ones are one."""
    sums: defaultdict[str, float] = defaultdict(float)
    for run in runs:
        for tool, credits in run.tools.items():
            sums[tool] += credits
    most = sorted(sums, key=lambda tool: (-sums[tool], tool))
    shown = {tool: sums[tool] for tool in most[:_MAX_TOOLS]}
    if rest := most[_MAX_TOOLS:]:
        shown[OTHER_TOOLS] = shown.get(OTHER_TOOLS, 0) + sum(sums[tool] for tool in rest)
    return shown


def _describe_run(run: RunSpend, tools: dict[str, float]) -> dict[str, Any]:
    shown: defaultdict[str, float] = defaultdict(float)
    for tool, credits in run.tools.items():
        shown[tool if tool in tools else OTHER_TOOLS] += credits
    return {
        "run_id": to_safe_json(run.run_id),
        "state": run.state,
        "time": run.time,
        "credits": _tidy(run.credits),
        "tools": {tool: _tidy(credits) for tool, credits in shown.items()},
        "limit": None if run.limit is None else _tidy(run.limit),
        "partial": run.is_partial,
        **{name: getattr(run, name) for name in COUNTS},
    }


def _tidy(number: float) -> int | float:
    return int(number) if float(number).is_integer() else number


def _guard(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell
