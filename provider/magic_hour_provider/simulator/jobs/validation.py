"""Validates the request of a create against the catalog, and refuses it as Magic Hour does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import jsonschema
from jsonschema.exceptions import ValidationError

from magic_hour_provider.api.catalog import TOOLS, Tool
from magic_hour_provider.simulator.behavior import Behavior
from magic_hour_provider.simulator.errors import ApiError, invalid_request_error

_VALUES_SHOWN = 12  # values of a list that a refusal names
_PROBLEMS_SHOWN = 3
_TYPE_NAMES = {"string": "text", "number": "a number", "integer": "a whole number", "boolean": "true or false"}
_TYPE_NAMES |= {"array": "a list", "object": "an object", "null": "null"}


def validate_create(tool: Tool, request: object, behavior: Behavior) -> dict[str, Any]:
    """Return a request as the service takes it: without nulls and unknown fields.

    A null counts as left out, as the official SDK sends one for every argument given as None.

    :raises ApiError: 400 for missing and unknown fields and wrong types, 422 for values.
    """
    if not isinstance(request, dict):
        raise invalid_request_error("The body must be a JSON object.")
    unknown: list[str] = []
    known: dict[str, Any] = _known(tool.schema, request, "", unknown)
    malformed: list[str] = []
    invalid: list[str] = []
    for error in _validator(tool.slug).iter_errors(known):
        if error.validator == "required":
            malformed += _missing(error)
        elif error.validator == "type":
            malformed.append(_wrong_type(error))
        elif error.validator != "enum" or behavior.unknown_values == "refused":
            invalid.append(_invalid_value(error))
    if behavior.unknown_fields == "refused":
        malformed += [f"{path} is not a field of {tool.slug}" for path in unknown]
    if malformed:
        raise invalid_request_error(_sentence(malformed))
    if invalid:
        raise ApiError(422, "unprocessable_entity", _sentence(invalid))
    return known


@cache
def _validator(slug: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(TOOLS[slug].schema)


def _known(schema: Mapping[str, Any], value: Any, path: str, unknown: list[str]) -> Any:
    """Return a value without nulls and unknown fields, whose paths are added to ``unknown``."""
    if isinstance(value, dict) and "properties" in schema:
        kept = {}
        for name, inner in value.items():
            where = f"{path}.{name}".lstrip(".")
            known = schema["properties"].get(name)
            if known is None and schema.get("additionalProperties") is False:
                unknown.append(where)
            elif inner is not None:
                kept[name] = _known(known or {}, inner, where, unknown)
        return kept
    if isinstance(value, list) and "items" in schema:
        return [_known(schema["items"], inner, f"{path}[{number}]", unknown) for number, inner in enumerate(value)]
    return value


def _path(error: ValidationError) -> str:
    parts = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)
    return parts.lstrip(".")


def _missing(error: ValidationError) -> Iterator[str]:
    wanted: Any = error.validator_value
    given: Any = error.instance
    for name in wanted:
        if name not in given:
            yield f"{_path(error)}.{name}".lstrip(".") + " is required"


def _wrong_type(error: ValidationError) -> str:
    wanted: Any = error.validator_value if isinstance(error.validator_value, list) else [error.validator_value]
    return f"{_path(error)} must be {' or '.join(_TYPE_NAMES[kind] for kind in wanted if kind != 'null')}"


def _invalid_value(error: ValidationError) -> str:
    limit: Any = error.validator_value
    if error.validator == "enum":
        more = f" or one of {len(limit) - _VALUES_SHOWN} more" if len(limit) > _VALUES_SHOWN else ""
        return f"{_path(error)} must be one of {', '.join(str(value) for value in limit[:_VALUES_SHOWN])}{more}"
    words = {
        "minimum": f"{limit} or more",
        "maximum": f"{limit} or less",
        "minLength": f"text of {limit} or more characters",
        "maxLength": f"text of {limit} or fewer characters",
        "minItems": f"a list of {limit} or more",
        "maxItems": f"a list of {limit} or less",
    }
    return f"{_path(error)} must be {words.get(str(error.validator), 'a value that the service takes')}"


def _sentence(problems: list[str]) -> str:
    more = f"; and {len(problems) - _PROBLEMS_SHOWN} more" if len(problems) > _PROBLEMS_SHOWN else ""
    return "; ".join(problems[:_PROBLEMS_SHOWN]) + more + "."
