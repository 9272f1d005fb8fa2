"""Writes the source of the typed operators from the catalog's facts."""

from __future__ import annotations

import inspect
import textwrap
from typing import Any

from airflow.sdk import BaseOperator

Tool = dict[str, Any]
Schema = dict[str, Any]

DOCS = "https://docs.magichour.ai/api-reference"
OPEN_LISTS = {"model", "resolution", "template", "art_style", "voice_name"}  # change from week to week
SHORT = 8  # a longer list is no help as a type
LISTED = 30  # a longer list is no help in a docstring
HEAD = '"""{}\n\nMade by scripts/sync_api.py from the official SDK; changes belong there.\n"""\n\n'


def camel(text: str) -> str:
    """Return ``lip-sync`` as ``LipSync``; only ``ai`` is written ``AI``."""
    return "".join("AI" if part == "ai" else part.capitalize() for part in text.replace("_", "-").split("-"))


def class_name(slug: str) -> str:
    """Return the operator's name."""
    return f"MagicHour{camel(slug)}Operator"


def shapes_module(tools: dict[str, Tool]) -> str:
    """Return the module of types: one TypedDict per nested dict, and the options that all operators share."""
    lines = [
        HEAD.format("The shapes of the typed operators' arguments, for type checkers: nothing imports it at run time."),
        "from __future__ import annotations\n",
        "from collections.abc import Mapping, Sequence",
        "from datetime import timedelta",
        "from typing import Any, Literal, NotRequired, TypedDict\n",
        "from airflow.sdk import XComArg\n",
        "FileInput = str | Mapping[str, Any] | XComArg",
        '"""A public URL, a Magic Hour reference, a path, a storage URI, or an earlier task\'s result."""\n\n',
        _options(),
    ]
    for slug, tool in tools.items():
        files = {one["field"] for one in tool["files"]}
        for path, schema in _dicts(tool["schema"], ""):
            lines.append(_typed_dict(slug, path, schema, files))
    return "\n".join(lines) + "\n"


def operators_module(module: str, tools: dict[str, Tool]) -> str:
    """Return the module of one kind's operators."""
    used: set[str] = {"OperatorOptions"}
    classes = [_operator(slug, tool, used) for slug, tool in tools.items()]
    body = "\n\n".join(classes)
    typing = ["TYPE_CHECKING", *(["Literal"] if "Literal[" in body else []), "Unpack"]
    abc = "from collections.abc import Sequence\n" if "Sequence[" in body else ""
    return "\n".join(
        [
            HEAD.format(f"One operator per {module} tool: names, types and documentation for MagicHourOperator."),
            "from __future__ import annotations\n",
            abc + f"from typing import {', '.join(typing)}\n",
            "from magic_hour_provider.operators.typed import MagicHourToolOperator\n",
            "if TYPE_CHECKING:",
            "    from airflow.sdk import XComArg\n",
            f"    from magic_hour_provider.operators.shapes import {', '.join(sorted(used))}\n\n",
            body,
        ]
    )


def _operator(slug: str, tool: Tool, used: set[str]) -> str:
    schema, files = tool["schema"], {one["field"] for one in tool["files"]}
    required = schema.get("required", [])
    names = [*required, *(name for name in schema["properties"] if name not in required)]
    arguments = []
    for name in names:
        kind = _type(slug, name, schema["properties"][name], files, used)
        arguments.append(f"{name}: {_or_xcom(kind)}" + ("" if name in required else " | None = None"))
    fields = ", ".join(f'"{name}"' for name in names)
    given = ", ".join(f'"{name}": {name}' for name in names)
    dicts = [name for name in names if schema["properties"][name].get("type") in ("object", "array")]
    renderers = ", ".join(f'"{name}": "json"' for name in [*dicts, "extra_request"])
    return f'''
class {class_name(slug)}(MagicHourToolOperator):
    """{tool["title"]}: {tool["about"]}

{_docs(tool, names)}
    """

    slug = "{slug}"
    request_fields = ({fields},)
    template_fields = (*request_fields, "output_path", "extra_request", "magic_hour_conn_id")
    template_fields_renderers = {{{renderers}}}

    def __init__(self, *, {", ".join(arguments)}, **kwargs: Unpack[OperatorOptions]) -> None:
        super().__init__(given={{{given}}}, **kwargs)
'''


def _docs(tool: Tool, names: list[str]) -> str:
    median = tool["median_s"]
    facts = [f"Runs ``{tool['path']}`` ({DOCS})."]
    if median is not None:
        facts.append(f"Usually takes {median} s." if median < 100 else f"Usually takes {median / 60:.0f} min.")
    paragraphs = [textwrap.fill(" ".join(facts), 116, initial_indent="    ", subsequent_indent="    "), ""]
    for name in names:
        schema = tool["schema"]["properties"][name]
        text = f":param {name}: {_sentence(schema)}"
        inner = schema.get("items", schema)
        if "properties" in inner:
            text += " Keys" + (" of each: " if inner is not schema else ": ") + _keys(inner) + "."
        paragraphs.append(_filled(text))
    options = "(``output_path``, ``deferrable``, ``timeout``, ...)"
    paragraphs.append(_filled(f":param kwargs: the options of MagicHourOperator {options}, and Airflow's."))
    return "\n".join(paragraphs)


def _filled(text: str) -> str:
    return textwrap.fill(text, 116, initial_indent="    ", subsequent_indent=" " * 8, break_long_words=False)


def _keys(schema: Schema) -> str:
    parts = []
    for name, inner in schema["properties"].items():
        need = " (required)" if name in schema.get("required", []) else ""
        text = f"``{name}``{need}: {_sentence(inner).rstrip('.')}"
        nested = inner.get("items", inner)
        if "properties" in nested:
            text += f" ({_keys(nested)})"
        parts.append(text)
    return "; ".join(parts)


def _sentence(schema: Schema) -> str:
    """Describe a field: its meaning, its values, and its default."""
    parts = ["Deprecated." if schema.get("deprecated") else "", schema["description"]]
    values = schema.get("enum")
    if values and len(values) <= LISTED:
        parts.append(f"One of {', '.join(f'``{value}``' for value in values)}.")
    elif values:
        parts.append(f"{len(values)} are known, see {DOCS}.")
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        parts.append(f"From {low:g} to {high:g}.")
    elif low is not None:
        parts.append(f"At least {low:g}.")
    if "maxLength" in schema:
        parts.append(f"At most {schema['maxLength']} characters.")
    if "maxItems" in schema:
        parts.append(f"At most {schema['maxItems']}.")
    if "default" in schema:
        parts.append(f"Default: ``{schema['default']}``.")
    if tiers := schema.get("x-default-by-tier"):
        parts.append("Default: " + ", ".join(f"``{value}`` ({tier})" for tier, value in tiers.items()) + ".")
    return " ".join(part for part in parts if part)


def _or_xcom(kind: str) -> str:
    return kind if kind == "FileInput" else f"{kind} | XComArg"


def _shape(slug: str, path: str) -> str:
    return camel(slug) + "".join(camel(part) for part in path.replace("[]", "-item").split("."))


def _type(slug: str, path: str, schema: Schema, files: set[str], used: set[str]) -> str:
    """Return the Python type of a field."""
    if path in files:
        used.add("FileInput")
        return "FileInput"
    kind = schema["type"]
    kind = next(one for one in kind if one != "null") if isinstance(kind, list) else kind
    name = path.rpartition(".")[2]
    values = schema.get("enum")
    # A literal cannot be 2.0, which is how the SDK itself writes a number: those stay numbers.
    if values and len(values) <= SHORT and name not in OPEN_LISTS and kind != "number":
        return f"Literal[{', '.join(map(repr, values))}]"
    if kind == "object":
        used.add(_shape(slug, path))
        return _shape(slug, path)
    if kind == "array":
        return f"Sequence[{_or_xcom(_type(slug, f'{path}[]', schema['items'], files, used))}]"
    return {"string": "str", "number": "float", "integer": "int", "boolean": "bool"}[kind]


def _dicts(schema: Schema, path: str) -> list[tuple[str, Schema]]:
    """Return the nested dicts of a schema, innermost first."""
    found = []
    for name, inner in schema.get("properties", {}).items():
        where = f"{path}.{name}".lstrip(".")
        for at, part in ((where, inner), (f"{where}[]", inner.get("items", {}))):
            if "properties" in part:
                found += [*_dicts(part, at), (at, part)]
    return found


def _typed_dict(slug: str, path: str, schema: Schema, files: set[str]) -> str:
    lines = [f"class {_shape(slug, path)}(TypedDict):", f'    """``{path}`` of ``{slug}``."""\n']
    for name, inner in schema["properties"].items():
        kind = _or_xcom(_type(slug, f"{path}.{name}", inner, files, set()))
        lines.append(f"    {name}: {kind if name in schema.get('required', []) else f'NotRequired[{kind}]'}")
        if "x-sdk-name" in inner:
            lines.append(f"    {inner['x-sdk-name']}: NotRequired[{kind}]")
    return "\n".join(lines) + "\n\n"


def _options() -> str:
    """Return the options every operator takes: ours with their types, Airflow's by name."""
    own = [
        ("magic_hour_conn_id", "str"),
        ("output_path", "str | None"),
        ("wait_for_completion", "bool"),
        ("deferrable", "bool"),
        ("timeout", "float | timedelta | None"),
        ("extra_request", "Mapping[str, Any] | XComArg | None"),
        ("on_unknown_submission", 'Literal["fail", "resubmit"]'),
        ("on_clear", 'Literal["reuse", "regenerate"]'),
        ("max_credits", "int | None"),
        ("max_credits_unknown", 'Literal["refuse", "allow"]'),
        ("max_credits_per_run", "int | None"),
        ("input_transfer", 'Literal["upload", "presign"] | None'),
    ]
    theirs = [name for name in inspect.signature(BaseOperator.__init__).parameters if name not in ("self", "kwargs")]
    lines = ["class AirflowOptions(TypedDict, total=False):"]
    lines.append('    """Options of every task."""\n')
    lines += [f"    {name}: {'str' if name == 'task_id' else 'Any'}" for name in theirs]
    lines += ["\n\nclass OperatorOptions(AirflowOptions, total=False):"]
    lines.append('    """Options of MagicHourOperator, and Airflow\'s."""\n')
    lines += [f"    {name}: {kind}" for name, kind in own]
    return "\n".join(lines) + "\n\n"
