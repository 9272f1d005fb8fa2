"""One row to the request that is sent for it, by the checks of the operator, before anything is paid for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from magic_hour_provider import clock
from magic_hour_provider.api.catalog import Tool, field_paths
from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.api.protocol import check_create_body
from magic_hour_provider.api.validation import normalize_request, to_json_values
from magic_hour_provider.batch.rows.formats.columns import expand_columns, split_column
from magic_hour_provider.batch.rows.formats.row import Row
from magic_hour_provider.batch.rows.keys import clean_item_id
from magic_hour_provider.execution.spec import merge_request, prepare_request
from magic_hour_provider.inputs.fields import Input

_EXACT = 2**53  # whole numbers that a float holds exactly


class BadRowError(ValueError):
    """A row cannot work; its text says why, without an end."""


@dataclass(frozen=True)
class CheckedRow:
    """A row that can be sent.

    :param body: the request, as JSON; its files are still the paths and results that were given.
    :param inputs: the files in it.
    :param item_id: the row's id; None: rows have none.
    :param warnings: what is not known to be accepted.
    """

    body: Mapping[str, Any]
    inputs: Sequence[Input]
    item_id: str | None
    warnings: Sequence[str]


class RowChecker:
    """Checks the rows of one batch.

    :param tool: the tool.
    :param request: what all rows have in common.
    :param extra: merged over each and never checked.
    :param item_id: the column that holds a row's id; None: there is none. It is a field of the request only if the tool
        has such a field.
    :raises InvalidInputError: the shared request is no dict or nested too deeply.
    """

    def __init__(self, tool: Tool, request: Mapping[str, Any], extra: Mapping[str, Any], item_id: str | None) -> None:
        for name, value in (("request", request), ("extra_request", extra)):
            if not isinstance(value, Mapping):
                raise InvalidInputError(f"{name} of {tool.slug} must be a dict; it is {type(value).__name__}.")
        self._tool, self._extra, self._item_id = tool, extra, item_id
        try:
            self._request = self._normalize(request)
            self._id_path = None if item_id is None else split_column(item_id)
        except RecursionError:
            raise InvalidInputError(f"The request of {tool.slug} is nested too deeply, or holds itself.") from None
        except ValueError as error:
            raise InvalidInputError(f"request or item_id cannot be read: {error}.") from None
        fields = {name for name, _ in field_paths(tool.schema)}
        self._keeps_id = item_id in fields or (item_id == "name" and tool.accepts_name)

    def check(self, row: Row) -> CheckedRow:
        """Return what is sent for a row.

        :raises BadRowError: it cannot work.
        """
        with _translating_errors():
            values = _expand(row)
            item_id = self._take_id(values)
            request = merge_request(self._request, self._normalize(values))
        return self._check(request, item_id)

    def find_id(self, row: Row) -> str | None:
        """Return a row's id, and check nothing else of it.

        :raises BadRowError: it has none, or cannot be read.
        """
        with _translating_errors():
            return self._take_id(_expand(row))

    def _check(self, request: Mapping[str, Any], item_id: str | None) -> CheckedRow:
        tool = self._tool
        try:
            prepared = prepare_request(tool, request, self._extra)
        except InvalidInputError as error:
            raise BadRowError(error.message) from None
        errors = list(prepared.findings.errors)
        for one in prepared.inputs:
            try:
                one.check(clock.current().now())
                if one.uri is not None:
                    one.upload_type()
            except InvalidInputError as error:
                errors.append(error.message.rstrip("."))
        if not errors and not isinstance(prepared.body.get("name"), str | None):
            errors.append(f"`name` must be text; it is {str(prepared.body['name'])[:60]!r}")
        if not errors:
            try:
                check_create_body(tool, prepared.body)
            except InvalidInputError as error:
                errors.append(error.message)
        if errors:
            raise BadRowError("; ".join(dict.fromkeys(errors)))
        return CheckedRow(prepared.body, prepared.inputs, item_id, prepared.findings.warnings)

    def _normalize(self, values: Mapping[str, Any]) -> dict[str, Any]:
        # A number that lost its type on the way, as in a column with gaps, is the same number: 5.0 is 5.
        given = _with_whole_numbers(to_json_values(values))
        return dict(_with_whole_numbers(normalize_request(self._tool, given, rendered=True)))

    def _take_id(self, values: dict[str, Any]) -> str | None:
        """Return a row's id, and take it out of the row where it is no field of the request."""
        if self._id_path is None:
            return None
        nodes: list[Any] = [values]
        for part in self._id_path:
            nodes.append(nodes[-1].get(part) if isinstance(nodes[-1], dict) else None)
        value = nodes.pop()
        if value is None:
            raise BadRowError(f"`{self._item_id}` is missing, which is the row's id")
        try:
            item_id = clean_item_id(to_json_values(value))
        except ValueError as error:
            raise BadRowError(f"`{self._item_id}` {error}") from None
        if not self._keeps_id:
            for node, part in zip(reversed(nodes), reversed(self._id_path), strict=True):
                del node[part]
                if node:
                    break
        return item_id


@contextmanager
def _translating_errors() -> Iterator[None]:
    try:
        yield
    except RecursionError:
        raise BadRowError("it is nested too deeply, or holds itself") from None
    except BadRowError:
        raise
    except ValueError as error:
        raise BadRowError(str(error)) from None


def _expand(row: Row) -> dict[str, Any]:
    if row.problem is not None:
        raise BadRowError(row.problem)
    if not isinstance(row.values, Mapping):
        raise BadRowError(f"it is no dict of columns but {type(row.values).__name__}")
    return expand_columns(row.values)


def _with_whole_numbers(value: Any) -> Any:
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < _EXACT else value
    if isinstance(value, dict):
        return {name: _with_whole_numbers(inner) for name, inner in value.items()}
    return [_with_whole_numbers(inner) for inner in value] if isinstance(value, list) else value
