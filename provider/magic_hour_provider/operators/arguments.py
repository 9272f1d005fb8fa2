"""The checks of an operator's arguments while the DAG is parsed, and of what only shows when it runs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from functools import cache
from inspect import signature
from typing import Any

from airflow.providers.common.compat.sdk import BaseOperator

from magic_hour_provider.api.catalog import TOOLS, Tool
from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.api.validation import (
    check_request,
    format_hint,
    format_path,
    normalize_request,
    suggest_fields,
)
from magic_hour_provider.storage.folders import check_given_folder

ArgumentPath = tuple[str | int, ...]
"""Where a value stands among the arguments: the argument's name, then keys and indexes."""


def to_seconds(timeout: float | timedelta) -> float:
    """Return a duration in seconds.

    :raises InvalidInputError: it is none.
    """
    try:
        return timeout.total_seconds() if isinstance(timeout, timedelta) else float(timeout)
    except (TypeError, ValueError, OverflowError):
        raise InvalidInputError(f"timeout must be seconds or a timedelta; it is {timeout!r}.") from None


_CREDIT_LIMITS = ("max_credits", "max_credits_per_run")
_YEAR_S = 366 * 24 * 3600.0
_CHOICES = {
    "on_unknown_submission": ("fail", "resubmit"),
    "on_clear": ("reuse", "regenerate"),
    "max_credits_unknown": ("refuse", "allow"),
    "input_transfer": (None, "upload", "presign"),
}


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse options that cannot work, as far as they are given and known.

    :param options: the operator's arguments by name; others are passed over.
    :raises InvalidInputError: the message names the option.
    """
    for name, choices in _CHOICES.items():
        value = options.get(name, choices[0])
        if value not in choices and not _is_xcom(value):
            raise InvalidInputError(f"{name} must be one of {', '.join(map(repr, choices))}; it is {value!r}.")
    check_given_folder(options.get("output_path"))
    for name in ("deferrable", "wait_for_completion"):
        if isinstance(options.get(name), str):
            raise InvalidInputError(f"{name} must be True or False; it is the text {options[name]!r}.")
    check_credit_limits({name: options.get(name) for name in _CREDIT_LIMITS if not _is_xcom(options.get(name))})
    timeout = options.get("timeout")
    if timeout is not None and not _is_xcom(timeout) and not 0 < to_seconds(timeout) <= _YEAR_S:
        raise InvalidInputError(f"timeout must be above 0 seconds, and at most a year; it is {timeout!r}.")


def check_conn_id(conn_id: Any) -> str:
    """Return the rendered id of a connection.

    :raises InvalidInputError: it is none, as a template without a value leaves it.
    """
    if not isinstance(conn_id, str) or not conn_id.strip():
        raise InvalidInputError(f"magic_hour_conn_id must be the id of an Airflow connection; it is {conn_id!r}.")
    return conn_id.strip()


def check_credit_limits(options: Mapping[str, Any]) -> None:
    """Refuse limits of credits that are no numbers of credits; None: there is none.

    :param options: the operator's arguments by name; others are passed over.
    :raises InvalidInputError: the message names the limit.
    """
    for name in _CREDIT_LIMITS:
        value = options.get(name)
        is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 0
        if value is not None and not is_count:
            raise InvalidInputError(f"{name} must be a whole number, 0 or more; it is {value!r}.")


def check_body(tool: Tool, name: str, body: Any, *, rendered: bool) -> None:
    """Refuse what is no JSON object; before rendering it may still be a template or an earlier task's output.

    :param name: the argument, for the message.
    :raises InvalidInputError: it is something else.
    """
    still_open = not rendered and (_is_xcom(body) or (isinstance(body, str) and "{" in body))
    if not isinstance(body, Mapping) and not still_open:
        raise InvalidInputError(
            f"{name} of {tool.slug} must be a dict, the JSON body of Magic Hour's documentation; it is "
            f"{type(body).__name__}."
        )


@cache
def _airflow_arguments() -> frozenset[str]:
    return frozenset(signature(BaseOperator.__init__).parameters)


def refuse_request_fields(tool: Any, names: Iterable[str]) -> None:
    """Refuse fields of a request that were given as arguments of the operator; Airflow names all else it does not know.

    :raises InvalidInputError: the message says where they belong.
    """
    if not isinstance(tool, str) or tool not in TOOLS:
        return
    places = {name: suggest_fields(TOOLS[tool], name) for name in names if name not in _airflow_arguments()}
    found = [f"`{name}` ({format_hint(fields)})" for name, fields in places.items() if fields]
    if found:
        raise InvalidInputError(
            f"What {tool} makes is said in its request, not in arguments of MagicHourOperator: {', '.join(found)}.",
            next_step="Give it in request={...}, or use the tool's own operator, which takes the request's fields.",
        )


def check_given(tool: Tool, request: Any, extra: Any, *, later: bool = False) -> None:
    """Refuse a request that cannot work, as far as it is known while the DAG is parsed.

    :param extra: what will be merged over it.
    :param later: whether its missing fields may still come, as in ``.partial()``.
    :raises InvalidInputError: the message names everything that is wrong.
    """
    check_body(tool, "request", request, rendered=False)
    check_body(tool, "extra_request", extra or {}, rendered=False)
    if isinstance(request, Mapping) and isinstance(extra or {}, Mapping):
        given = normalize_request(tool, request)
        check_request(tool, given, extra=extra, rendered=False, later=later).raise_errors(tool)


def _is_xcom(value: Any) -> bool:
    """Whether a value is an earlier task's output, known only when the task runs."""
    return hasattr(value, "resolve")


PARAMS = "(params)"
"""Stands in the place of a group for what differs by map index if the task's params do."""

# Compiled only where a value may be a template: most DAGs are parsed without any.
_OPEN, _CLOSE = r"\{[{%]", r"[%}]\}"
# What a template may read that differs by map index: the index itself, to choose from a list; the task instance, handed
# to a macro; the task, for its arguments.
_READS_ITEM = r"map_index|\btask\b(?!\s*['\"])|\b(?:ti|task_instance)\b(?!\s*[.\[])"
_READS_PARAMS = r"\bparams\b"


def find_mapped_paths(value: Any, path: ArgumentPath = ()) -> Iterator[tuple[ArgumentPath, str]]:
    """Return where in a value stands what may differ by map index, and why; see :mod:`.mapped_fields`.

    :returns: paths, each with the mapped task group that fills it; empty: the one that the task is in, or a template
        reads what differs by map index in every mapped task.
    """
    if _is_xcom(value):
        if type(value).__name__ == "MappedArgument":
            yield path, ""
            return
        groups = [one.get_closest_mapped_task_group() for one, _ in getattr(value, "iter_references", tuple)()]
        yield from ((path, group.group_id) for group in groups if group is not None)
    elif isinstance(value, str) and "{" in value:
        templates = " ".join(re.split(_CLOSE, part, maxsplit=1)[0] for part in re.split(_OPEN, value)[1:])
        if re.search(_READS_ITEM, templates):
            yield path, ""
        if re.search(_READS_PARAMS, templates):
            yield path, PARAMS
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from find_mapped_paths(inner, (*path, name))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from find_mapped_paths(inner, (*path, index))


def find_xcom_paths(value: Any, path: ArgumentPath = ()) -> Iterator[tuple[ArgumentPath, str]]:
    """Return where in a value stands what is known only when the task runs, and why it is None if it is None then."""
    if _is_xcom(value):
        param = getattr(value, "_name", None) if type(value).__name__ == "DagParam" else None
        yield (
            path,
            "as the earlier task that should give it returned nothing"
            if param is None
            else f"as the DAG's param {param!r} has no value",
        )
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from find_xcom_paths(inner, (*path, name))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from find_xcom_paths(inner, (*path, index))


def find_missing_xcoms(paths: Iterable[tuple[ArgumentPath, str]], rendered: Mapping[str, Any]) -> tuple[str, ...]:
    """Say which values turned out to be None: the service's default would be paid for instead.

    :param paths: of :func:`find_xcom_paths`.
    :param rendered: the arguments by name, as they are now.
    """
    return tuple(f"`{format_argument(path)}` is None, {why}" for path, why in paths if _at(rendered, path) is None)


def format_argument(path: ArgumentPath) -> str:
    """Return a path as a person writes it; the fields of a request are named without the argument that holds them."""
    return format_path(path[1:] if path[0] in ("request", "extra_request") and path[1:] else path)


def _at(value: Any, path: ArgumentPath) -> Any:
    for part in path:
        try:
            value = value[part]
        except (LookupError, TypeError):
            return None
    return value
