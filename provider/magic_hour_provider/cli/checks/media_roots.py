"""Checks of the folders that the Media tab may show."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from airflow.providers.common.compat.sdk import conf

from magic_hour_provider.api.redaction import redact
from magic_hour_provider.cli.checks.finding import Finding, call_in_time, explain
from magic_hour_provider.plugin.media_tab.files.roots import MediaRoot, get_media_folders, parse_roots
from magic_hour_provider.storage.paths import open_path

_SUBJECT = "media root"


def check_media_roots() -> Iterator[Finding]:
    """Check each folder of ``[magic_hour] media_roots``, as this machine reads it."""
    folders = get_media_folders()
    if not folders:
        yield _explain_none()
    for folder in folders:
        try:
            yield call_in_time(partial(_check_root, folder))
        except Exception as error:  # noqa: BLE001 (each storage library has errors of its own)
            yield Finding(
                "problem",
                _SUBJECT,
                f"{_show(folder)} cannot be read: {explain(error)} See to the folder, its connection and its "
                "permissions.",
            )


def _explain_none() -> Finding:
    output_path = conf.get("magic_hour", "output_path", fallback="") or ""
    why = "output_path is a template" if output_path.strip() else "neither media_roots nor output_path is set"
    return Finding(
        "warning",
        _SUBJECT,
        f"The Media tab shows no files, as {why}: name the folders in [magic_hour] media_roots.",
    )


def _check_root(folder: str) -> Finding:
    roots = parse_roots([folder])
    if not roots:
        return Finding(
            "problem",
            _SUBJECT,
            f"{_show(folder)} names no folder, so nothing of it is shown: use an absolute path, or an address with a "
            "bucket, such as s3://conn@bucket/media.",
        )
    return _check_local(roots[0], folder) if roots[0].is_local else _check_storage(folder)


def _check_local(root: MediaRoot, folder: str) -> Finding:
    path = Path("/", *root.parts)
    if not path.exists():
        return _nothing_there(folder)
    if not path.is_dir():
        return Finding("problem", _SUBJECT, f"{_show(folder)} is no folder: name the folder that holds the files.")
    if not os.access(path, os.R_OK | os.X_OK):
        return Finding(
            "problem", _SUBJECT, f"{_show(folder)} may not be read by this user: let Airflow's API server read it."
        )
    return Finding("ok", _SUBJECT, f"{_show(folder)} can be read.")


def _check_storage(folder: str) -> Finding:
    path = open_path(folder)
    return Finding("ok", _SUBJECT, f"{_show(folder)} can be read.") if path.exists() else _nothing_there(folder)


def _nothing_there(folder: str) -> Finding:
    return Finding(
        "warning",
        _SUBJECT,
        f"Nothing is at {_show(folder)} that this machine can see. That is as it should be before the first file; "
        "otherwise see whether the API server has the same disk, or the bucket has that name.",
    )


def _show(folder: str) -> str:
    return repr(redact(folder))
