"""Validates a request against its tool's JSON Schema, before it costs anything.

Unknown names, missing fields and wrong types are errors. Values outside a known list or bound only warn: models,
voices and limits change weekly, and a rejection by the service is free.
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from decimal import Decimal
from enum import Enum
from functools import cache
from typing import Any, NamedTuple

import jsonschema
from jsonschema.exceptions import ValidationError

from magic_hour_provider.api.catalog import TOOLS, Tool, field_paths
from magic_hour_provider.api.errors import InvalidInputError, with_article

_Path = tuple[str | int, ...]

_NO_TEXT = r"[\x00\ud800-\udfff]"  # what no database takes
_MAX_BITS = 1024  # of a whole number: as large as a float may be, and Python writes no number of 4,300 digits
_MAX_LISTED = 8  # values of a list that a message names
_TYPE_NAMES = {"string": "text", "number": "a number", "integer": "a whole number", "boolean": "true or false"}
_TYPE_NAMES |= {"array": "a list", "object": "a dict", "null": "null"}
_ANYTHING_BUT_NULL = [kind for kind in _TYPE_NAMES if kind != "null"]


class Findings(NamedTuple):
    """The result of validating a request.

    :param errors: what the service cannot accept: unknown names, missing fields, wrong types.
    :param warnings: what is not known to be accepted: values outside lists and bounds.
    """

    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def raise_errors(self, tool: Tool) -> None:
        """Raise one error with all errors in its message, if there are any.

        :raises InvalidInputError: the request cannot be accepted.
        """
        if self.errors:
            raise InvalidInputError(
                f"The request of {tool.slug} cannot work: {'; '.join(self.errors)}.",
                next_step="(A field newer than this package goes into extra_request, which is never checked.)",
            )


def is_unresolved(value: Any) -> bool:
    """Whether a value is only known when the task runs: a template, an earlier task's output, an object of Airflow."""
    if isinstance(value, str):
        return "{{" in value or "{%" in value
    return not isinstance(value, int | float | Mapping | list | tuple | None)


def check_request(
    tool: Tool,
    request: Mapping[str, Any],
    *,
    extra: Mapping[str, Any] | None = None,
    rendered: bool,
    later: bool = False,
) -> Findings:
    """Validate a request; that of a tool that this package does not know is not validated.

    :param request: the request, as :func:`normalize_request` returns it.
    :param extra: what will be merged over it: may fill in required fields, and is never checked itself.
    :param rendered: False while a DAG is parsed: values that are still templates are passed over.
    :param later: whether fields may still come, so that a missing one is no error.
    """
    if TOOLS.get(tool.slug) is not tool:
        return Findings()
    errors: list[str] = []
    warnings: list[str] = []
    for error in _validator(tool.slug).iter_errors(request):
        path = tuple(error.absolute_path)
        if (not rendered and is_unresolved(_value_at(request, path))) or _has_path(extra, path, whole=False):
            continue
        if later and error.validator == "required":
            continue
        if error.validator == "additionalProperties":
            errors += _unknown_fields(tool, request, path)
        elif error.validator == "required":
            errors += _missing_fields(error, path, extra)
        elif error.validator == "type":
            errors.append(_type_error(error, path))
        else:
            warnings.append(_unlisted_value(error, path))
    return Findings(tuple(dict.fromkeys(errors)), tuple(dict.fromkeys(warnings)))


def normalize_request(tool: Tool, request: Mapping[str, Any], *, rendered: bool = False) -> dict[str, Any]:
    """Return the request as the API names and types it.

    The official SDK's Python names become the wire's (``search_web`` is ``searchWeb``), and text that a template left
    where a number, a truth value, a list or a dict belongs becomes one.

    :param rendered: whether a number where text belongs came out of a template or an earlier task: it becomes text.
    """
    normalizer = _Normalizer({field.field for field in tool.files}, rendered)
    return dict(normalizer.normalize(tool.schema, to_json_values(request)))


def to_json_values(value: Any) -> Any:
    """Return JSON's own values, as far as there is no doubt which.

    Tuples and the lazy lists of mapped tasks become lists; enums, ``Decimal`` and numpy's numbers what they stand for.
    Anything else stays, and :func:`find_unsendable` names it.
    """
    if isinstance(value, Enum):
        return to_json_values(value.value)
    if isinstance(value, Mapping):
        return {name.value if isinstance(name, Enum) else name: to_json_values(inner) for name, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray | memoryview):
        return [to_json_values(inner) for inner in value]
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        return to_json_values(value.tolist())
    if isinstance(value, Decimal) and value.is_finite():
        return int(value) if value == value.to_integral_value() else float(value)
    return value


def find_unsendable(value: Any, passed_over: Collection[_Path] = (), path: _Path = ()) -> Iterator[str]:
    """Name what JSON has no value for, such as dates, bytes and NaN: it would fail late, or be sent as something else.

    :param passed_over: where files stand, which are checked by themselves.
    """
    if path in passed_over or value is None or (isinstance(value, int) and value.bit_length() <= _MAX_BITS):
        return
    if isinstance(value, str):
        if re.search(_NO_TEXT, value):
            yield f"`{format_path(path)}` holds half of a character (a lone surrogate) or NUL, which cannot be sent"
    elif isinstance(value, float):
        if not math.isfinite(value):
            yield f"`{format_path(path)}` is {value}, which cannot be sent"
    elif isinstance(value, dict):
        for name, inner in value.items():
            if not isinstance(name, str):
                yield f"`{format_path((*path, name))}` is no name of a field, as it is not text, and cannot be sent"
            yield from find_unsendable(inner, passed_over, (*path, name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from find_unsendable(inner, passed_over, (*path, index))
    else:
        kind = "number of hundreds of digits" if isinstance(value, int) else type(value).__name__
        yield f"`{format_path(path)}` is {with_article(kind)}, which cannot be sent"


def suggest_fields(tool: Tool, name: object, path: _Path = ()) -> list[str]:
    """Return the paths of the fields that a wrong name may mean: of this very name, else nearly of it.

    :param path: where the name stands in the request.
    """
    from difflib import get_close_matches  # only needed where something is wrong

    word, everywhere = str(name).casefold(), [(where, last.casefold()) for where, last in field_paths(tool.schema)]
    beside = {one.casefold(): format_path((*path, one)) for one in _schema_at(tool.schema, path).get("properties", ())}
    return (
        [where for where, last in everywhere if last == word]
        or [beside[one] for one in get_close_matches(word, beside, n=2, cutoff=0.7)]
        or [where for where, last in everywhere if get_close_matches(word, [last], cutoff=0.8)]
    )[:3]


def format_hint(near: Sequence[str]) -> str:
    """Return the question whether one of these names is meant; empty where there are none."""
    return f"did you mean {' or '.join(f'`{one}`' for one in near)}?" if near else ""


# -- internals --------------------------------------------------------------------------------------------------------


@cache
def _validator(slug: str) -> jsonschema.Draft202012Validator:
    tool = TOOLS[slug]
    # A file field takes much that is no text until it has been uploaded or chained: inputs/fields.py judges it.
    files = {field.field for field in tool.files}
    return jsonschema.Draft202012Validator(_schema_without_files(tool.schema, "", files))


def _schema_without_files(schema: Mapping[str, Any], path: str, files: set[str]) -> dict[str, Any]:
    if path in files:
        return {"type": _ANYTHING_BUT_NULL, "x-file": True}
    result = dict(schema)
    if "properties" in schema:
        result["properties"] = {
            name: _schema_without_files(inner, f"{path}.{name}".lstrip("."), files)
            for name, inner in schema["properties"].items()
        }
        for name, inner in schema["properties"].items():
            if "x-sdk-name" in inner:
                result["properties"][inner["x-sdk-name"]] = result["properties"][name]
    if "items" in schema:
        result["items"] = _schema_without_files(schema["items"], f"{path}[]", files)
    return result


def _value_at(value: Any, path: _Path) -> Any:
    for part in path:
        value = value[part]
    return value


def _has_path(value: Any, path: Sequence[str | int], *, whole: bool) -> bool:
    """Whether a path stands in a value; ``whole``: also when it is only the beginning of one."""
    for part in path:
        if not isinstance(value, Mapping) or part not in value:
            return False
        value = value[part]
    return bool(path) and (whole or not isinstance(value, Mapping))


def format_path(path: _Path) -> str:
    """Return a path as a person writes it, such as ``assets.face_mappings[0].new_face``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{str(part)[:100]}" for part in path).lstrip(".")


def _schema_at(schema: Mapping[str, Any], path: _Path) -> Mapping[str, Any]:
    for part in path:
        schema = schema["items"] if isinstance(part, int) else schema["properties"][part]
    return schema


def _unknown_fields(tool: Tool, request: Mapping[str, Any], path: _Path) -> Iterator[str]:
    known = _schema_at(tool.schema, path)["properties"]
    sdk_names = {inner.get("x-sdk-name") for inner in known.values()}
    for name in _value_at(request, path):
        if name not in known and name not in sdk_names:
            hint = format_hint(suggest_fields(tool, name, path)) or f"it has {', '.join(f'`{one}`' for one in known)}"
            yield f"`{format_path((*path, name))}` is not a field of {tool.slug} ({hint})"


def _missing_fields(error: ValidationError, path: _Path, extra: Mapping[str, Any] | None) -> Iterator[str]:
    wanted: Any = error.validator_value
    given: Any = error.instance
    for name in wanted:
        if name not in given and not _has_path(extra, (*path, name), whole=True):
            yield f"`{format_path((*path, name))}` is missing"


def _type_error(error: ValidationError, path: _Path) -> str:
    wanted: Any = error.validator_value if isinstance(error.validator_value, list) else [error.validator_value]
    schema: Any = error.schema
    what = "the path or link of a file, or left out" if schema.get("x-file") else None
    what = what or " or ".join(_TYPE_NAMES[kind] for kind in wanted)
    return f"`{format_path(path)}` must be {what}; it is {_show(error.instance)}"


def _show(value: Any) -> str:
    got = f"{len(value)} bytes" if isinstance(value, bytes | bytearray | memoryview) else repr(value)
    return got if len(got) <= 60 else f"{got[:60]}…"


def _unlisted_value(error: ValidationError, path: _Path) -> str:
    where = format_path(path)
    limit: Any = error.validator_value
    got = _show(error.instance)
    if error.validator == "enum":
        from difflib import get_close_matches

        near = get_close_matches(str(error.instance), [str(value) for value in limit], n=3)
        named = near if near or len(limit) > _MAX_LISTED else [str(value) for value in limit]
        hint = f" (nearest known: {', '.join(named)})" if named else f" ({len(limit)} values are known)"
        return f"`{where}` is {got}, which this version does not know{hint}"
    words: dict[str, Callable[[Any], str]] = {
        "minimum": lambda value: f"at least {value:g}",
        "maximum": lambda value: f"at most {value:g}",
        "minLength": lambda value: f"at least {value} characters long",
        "maxLength": lambda value: f"at most {value} characters long",
        "minItems": lambda value: f"a list of at least {value}",
        "maxItems": lambda value: f"a list of at most {value}",
    }
    name = str(error.validator)
    rule = words[name](limit) if name in words else f"of {name} {limit!r}"
    return f"`{where}` should be {rule}; it is {got}"


_WORDS = {"true": True, "false": False}
_MAX_LITERAL = 64 * 1024  # characters of text that are read as a list or a dict


class _Normalizer:
    """Names and types a request's values as its tool's schema says.

    :param files: paths of the fields that take files, whose values are not touched.
    :param rendered: whether a number where text belongs becomes text.
    """

    def __init__(self, files: Collection[str], rendered: bool) -> None:
        self.files, self.rendered = files, rendered

    def normalize(self, schema: Mapping[str, Any], value: Any, path: str = "") -> Any:
        kinds = schema.get("type", ())
        if isinstance(value, str) and ("array" in kinds or "object" in kinds) and "string" not in kinds:
            value = _parse_literal(value)
        if isinstance(value, Mapping) and "properties" in schema:
            properties = schema["properties"]
            wire_names = {inner["x-sdk-name"]: name for name, inner in properties.items() if "x-sdk-name" in inner}
            named = {wire_names.get(name, name): inner for name, inner in value.items()}
            return {
                name: self.normalize(properties.get(name, {}), inner, f"{path}.{name}".lstrip("."))
                for name, inner in named.items()
            }
        if isinstance(value, list | tuple) and "items" in schema:
            return [self.normalize(schema["items"], inner, f"{path}[]") for inner in value]
        if isinstance(value, str):
            text = value.strip()
            if "boolean" in kinds:
                return _WORDS.get(text.lower(), value)
            if "number" in kinds or "integer" in kinds:
                return _parse_number(text, value)
        elif self.rendered and "string" in kinds and path not in self.files and _is_number(value):
            return str(value)
        return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1 << _MAX_BITS


def _parse_literal(text: str) -> Any:
    """Read the text that a template makes of a list or a dict, as JSON or as Python writes it."""
    if len(text) > _MAX_LITERAL or text.strip()[:1] not in ("[", "{"):
        return text
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


_WHOLE, _NUMBER = r"[+-]?\d{1,15}", r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,2})?"


def _parse_number(text: str, otherwise: Any) -> Any:
    # Not whatever Python takes for a number: 1_0 is a slip, not 10.
    if re.fullmatch(_WHOLE, text):
        return int(text)
    return float(text) if re.fullmatch(_NUMBER, text) else otherwise
