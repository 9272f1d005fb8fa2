"""The folder that a user names: checked while a DAG is parsed, before there is any storage to ask."""

from __future__ import annotations

import re
import sys
from enum import Enum
from pathlib import PurePath
from typing import Any

from magic_hour_provider.api.errors import InvalidInputError

# An open one too, so that it is linear; comments and raw text are rendered as they are.
_PLAIN = re.compile(r"\{#.*?(?:#\}|\Z)|\{%-?\s*raw\b.*?(?:\bendraw\b|\Z)", re.DOTALL)
_TEMPLATES = re.compile(r"\{\{.*?(?:\}\}|\Z)|\{%.*?(?:%\}|\Z)", re.DOTALL)
_SUBSCRIPT = re.compile(r"\[\s?(['\"])(\w+)\1\s?\]|\|\s?attr\(\s?(['\"])(\w+)\3\s?\)")
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_VARYING = re.compile(
    r"\b(now|utcnow|today|random|uuid\d?|\w*try_number|start_date|queued_at|queued_dttm|pid|hostname|clear_number"
    r"|time\.\w+|(ti|task_instance)\.(id|job_id))\b(?!\s?=[^=])"
)
# What a user has given, an earlier task has returned, or the DAG's file says, is the same at each attempt, whatever its
# name. A call is passed over where nothing but text is given to it.
_STABLE = re.compile(r"\b(?:(?:params|conf|var|dag|task)(?=\.)|xcom_pull\([^()]*\))(?:\.\w+(?:\([\s,]*\))?)*")
# Where a library cuts a path, whatever follows: s3fs 2026.9 and adlfs 2026.8, ``split_path``. That of Google takes only
# a number, which no file's path ends with.
_VERSIONS = {
    **dict.fromkeys(("s3", "s3a", "s3n"), "?versionId="),
    **dict.fromkeys(("abfs", "abfss", "adl", "az"), "?versionid="),
}


def check_location(folder: str, name: str = "output_path") -> None:
    """Refuse a folder whose files would not be in it, wherever it is.

    :param folder: a path or a storage URI; of a template counts what is known of it.
    :param name: of the argument or setting, for the message.
    :raises InvalidInputError: it is a relative path, or names the version of an object.
    """
    _check_absolute(folder, name)
    mark = _VERSIONS.get(folder.partition("://")[0].lower())
    if mark is not None and mark in _TEMPLATES.sub("", _PLAIN.sub("", folder)):
        raise InvalidInputError(
            f"{name} {folder[:200]!r} has {mark!r} in it: its storage takes what follows for the version of one "
            "object, so that all files would have the same name.",
            next_step="Name the folder without the version; of a template's value take only what is before it.",
        )


def _check_absolute(folder: str, name: str) -> None:
    """Refuse a folder that would lie below whatever folder the worker happens to run in.

    :param folder: of a template counts what stands before its first expression.
    """
    literal, *templates = re.split(r"\{[{%#]", folder, maxsplit=1)
    scheme, is_uri, rest = literal.partition("://")
    if is_uri:
        host = rest.partition("/")[0].rpartition("@")[2]
        relative = scheme.lower() in ("file", "local") and host not in ("", "~")
        hint = f"After file:// the whole path follows: file:///{rest}"
    else:
        first, is_path, _ = literal.removeprefix("file:").partition("/")
        # Of a template it may not be known yet.
        relative = bool(first) and not (templates and (not is_path or ":" in first))
        hint = "Write the whole path, beginning with /, or a storage URI such as s3://connection@bucket/folder"
    if relative:
        raise InvalidInputError(
            f"{name} {folder[:200]!r} is a relative path: files would be stored below whatever folder the worker "
            "runs in.",
            next_step=f"{hint}.",
        )


def clean_folder(folder: Any) -> Any:
    """Return a folder without the blanks and line ends that a file or a variable has left around it.

    Of an enum it is the value, of a path its text: whether a template differs from attempt to attempt is read there.
    What is none of these, and no text, is returned as it is.
    """
    folder = folder.value if isinstance(folder, Enum) else folder
    # Parsing a DAG loads no storage; who has such a path has loaded it. From Airflow 3.2 on it is no PurePath.
    stored = getattr(sys.modules.get("airflow.sdk.io.path"), "ObjectStoragePath", PurePath)
    folder = str(folder) if isinstance(folder, PurePath | stored) else folder
    return folder.strip() if isinstance(folder, str) else folder


def check_given_folder(folder: Any) -> None:
    """Refuse an ``output_path`` as :func:`check_location` does, as far as it is known while a DAG is parsed."""
    folder = clean_folder(folder)
    if isinstance(folder, str):
        check_location(folder)


def differs_by_attempt(folder: Any) -> bool:
    """Whether a folder's template renders to something else at each attempt, as far as its words tell.

    :param folder: as it was given, before it is rendered.
    """
    parts = _TEMPLATES.findall(_PLAIN.sub("", folder)) if isinstance(folder, str) else []
    return any(_VARYING.search(_STABLE.sub("", _QUOTED.sub("", _SUBSCRIPT.sub(_dotted, part)))) for part in parts)


def _dotted(match: re.Match[str]) -> str:
    return f".{match.group(2) or match.group(4)}"


def check_keeps_records(folder: Any) -> None:
    """Refuse an ``output_path`` under which the records of items are not found again, while a DAG is parsed.

    :param folder: as it was given, before it is rendered.
    :raises InvalidInputError: its template differs from attempt to attempt.
    """
    if differs_by_attempt(folder):
        raise InvalidInputError(
            f"output_path is the template {folder[:200]!r}, which differs from attempt to attempt: what the items have "
            "cost is recorded there, so that each attempt would pay for all of them again.",
            next_step="Use what stays the same in all attempts, such as {{ run_id }}, {{ ds }} or a param.",
        )
