"""Checks of the records of what was paid for: where they are kept, and whether they outlive a clear."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import AirflowConfigException, conf

from magic_hour_provider.api.errors import MagicHourError
from magic_hour_provider.api.redaction import redact
from magic_hour_provider.cli.checks.finding import Finding, call_in_time, explain
from magic_hour_provider.ledger.file_store import FileStore, open_configured_store
from magic_hour_provider.ledger.places.clears import clear_discards_state
from magic_hour_provider.ledger.record import KEY
from magic_hour_provider.plugin.state_store import get_state_store_model
from magic_hour_provider.storage.paths import open_path

_SUBJECT = "records"
_SET_IT = (
    "Set [magic_hour] ledger_path to a folder that all workers and the API server share, such as "
    "s3://conn@bucket/magic-hour."
)


def check_records() -> Iterator[Finding]:
    """Say where records are kept, whether they can be read there, and what a clear does to them."""
    try:
        files = open_configured_store("doctor", "doctor", "doctor", -1)
    except MagicHourError as error:
        yield Finding("problem", _SUBJECT, explain(error))
        return
    store, has_store = _describe_store()
    yield Finding("ok" if has_store else "warning", _SUBJECT, store)
    if files is not None:
        yield _check_folder(files)
    yield _judge(has_store=has_store, has_files=files is not None)
    yield from _check_clear_on_success()


def _describe_store() -> tuple[str, bool]:
    """Describe Airflow's own store, and say whether it keeps records."""
    try:
        import airflow.models.task_state_store  # noqa: F401 (whether it is there is the question)
    except ImportError:
        return "This Airflow has no task state store, which came with 3.3: records are kept in files alone.", False
    backend = conf.get("workers", "state_store_backend", fallback="") or ""
    if get_state_store_model() is None:
        backend = conf.get("state_store", "backend", fallback="") or "another backend"
    if backend:
        return (
            f"Records are in Airflow's task state store, kept by {backend}: tasks read it, but the Media tab, webhooks "
            "and these commands read files alone.",
            True,
        )
    return "Records are in Airflow's task state store, in its own database.", True


def _check_folder(store: FileStore) -> Finding:
    root = conf.get("magic_hour", "ledger_path", fallback="").strip().rstrip("/")
    shown = repr(redact(root))
    try:
        call_in_time(lambda: store.get(KEY))
        is_writable = call_in_time(lambda: _is_writable(root))
    except Exception as error:  # noqa: BLE001 (each storage library has errors of its own)
        return Finding(
            "problem",
            _SUBJECT,
            f"The files under [magic_hour] ledger_path, {shown}, cannot be read, so tasks fail before they pay: "
            f"{explain(error)} See to the folder, its connection and its permissions.",
        )
    if not is_writable:
        return Finding(
            "problem",
            _SUBJECT,
            f"[magic_hour] ledger_path, {shown}, may not be written by this user, and tasks that cannot write it fail "
            "before they pay: let the users of workers and API server write it.",
        )
    return Finding("ok", _SUBJECT, f"Records are in files under [magic_hour] ledger_path, {shown}.")


def _is_writable(root: str) -> bool:
    """Whether a folder of this machine can be written or made; of a storage nothing is known without writing to it."""
    parts = urlsplit(root)
    if parts.scheme not in ("", "file", "local"):
        open_path(root)
        return True
    path = Path(parts.path)
    there = next((one for one in (path, *path.parents) if one.exists()), path)
    return os.access(there, os.W_OK | os.X_OK)


def _judge(*, has_store: bool, has_files: bool) -> Finding:
    """Say whether what was paid for is known after a clear."""
    if has_files:
        return Finding("ok", _SUBJECT, "They outlive a clear, a retry and a deleted run.")
    if has_store and clear_discards_state():
        return Finding(
            "warning",
            _SUBJECT,
            "This Airflow's clear discards them, unless 'keep task state' is ticked: a task that was cleared pays "
            f"nothing by itself, fails, and asks whether to resume its job or to make a new one. {_SET_IT}",
        )
    if has_store:
        return Finding("ok", _SUBJECT, "They outlive a clear and a retry, and end with the DAG run.")
    output_path = (conf.get("magic_hour", "output_path", fallback="") or "").strip()
    if output_path:
        return Finding(
            "warning",
            _SUBJECT,
            "They are kept under each task's output_path, where that is the same for all attempts. The Media tab, "
            f"webhooks and these commands do not see them there, and cannot say what is paid for. {_SET_IT}",
        )
    return Finding(
        "problem",
        _SUBJECT,
        "A task without an output_path has no record: after a crash or a lost response its retry may pay again. "
        f"{_SET_IT}",
    )


def _check_clear_on_success() -> Iterator[Finding]:
    try:
        discards = conf.getboolean("state_store", "clear_on_success", fallback=False)
    except (AirflowConfigException, ValueError) as error:
        yield Finding(
            "problem",
            _SUBJECT,
            f"[state_store] clear_on_success cannot be read, so tasks fail before they pay: {explain(error)} It takes "
            "true or false.",
        )
        return
    if discards:
        yield Finding(
            "warning",
            _SUBJECT,
            "[state_store] clear_on_success discards the record of a task that succeeded: clearing it pays again. Turn "
            "it off, or set [magic_hour] ledger_path.",
        )
