"""What a throw-away Airflow was doing when something did not happen: its unfinished tasks, and the ends of its logs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from process_tree import tail

_DONE = ("success", "skipped", "removed")
_SHOWN, _LOGS, _LINES, _WIDTH = 40, 4, 25, 300


def describe(home: Path, task_instances: Sequence[Mapping[str, Any]]) -> str:
    """Return a page of text on what Airflow was doing.

    :param home: AIRFLOW_HOME, with the logs
    :param task_instances: those that it may be about, as the REST API shows them, the latest first
    """
    unfinished = [ti for ti in task_instances if ti["state"] not in _DONE]
    lines = [_line(ti) for ti in unfinished[:_SHOWN]] or ["No task is unfinished."]
    for ti in [ti for ti in unfinished if ti["try_number"]][:_LOGS]:
        lines += [f"--- log of {_name(ti)}, attempt {ti['try_number']}", _log(home / "logs", ti)]
    for log in sorted((home / "logs-of-processes").glob("*.log")):
        lines += [f"--- {log.name}", _cut(tail(log, _LINES))]
    return "\n".join(lines)


def _name(ti: Mapping[str, Any]) -> str:
    mapped = f"[{ti['map_index']}]" if ti["map_index"] >= 0 else ""
    return f"{ti['dag_id']}.{ti['task_id']}{mapped} of {ti['dag_run_id']}"


def _line(ti: Mapping[str, Any]) -> str:
    times = f"began {ti['start_date']}, ended {ti['end_date']}"
    return f"{_name(ti)}: {ti['state']}, attempt {ti['try_number']} of {ti['max_tries'] + 1}, {times}"


def _log(folder: Path, ti: Mapping[str, Any]) -> str:
    """The end of the log of a task's last attempt, from its file: the API server may be what does not answer."""
    parts = [f"dag_id={ti['dag_id']}", f"run_id={ti['dag_run_id']}", f"task_id={ti['task_id']}"]
    if ti["map_index"] >= 0:
        parts.append(f"map_index={ti['map_index']}")
    text = tail(folder.joinpath(*parts, f"attempt={ti['try_number']}.log"), _LINES)
    return _cut("\n".join(map(_message, text.splitlines())))


def _message(line: str) -> str:
    try:
        entry = json.loads(line)
        return f"{entry['timestamp']} {entry['level']} {entry['event']}"
    except (ValueError, KeyError, TypeError):
        return line


def _cut(text: str) -> str:
    return "\n".join(line[:_WIDTH] for line in text.splitlines())
