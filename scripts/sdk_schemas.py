"""Reads from the installed official SDK what every tool takes: facts only, as JSON Schema."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import inspect
import re
import sys
import textwrap
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import magic_hour.resources.v1 as v1
import typing_extensions as te
from magic_hour.types import params

SDK_VERSION = importlib.metadata.version("magic_hour")

Schema = dict[str, Any]

_DEPRECATED = re.compile(r"^\s*(deprecated\b|`\w+` is deprecated)", re.I)
_LEAVES: dict[Any, Schema] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
}


@dataclass(frozen=True)
class SdkMethod:
    """A method of the SDK that sends one request.

    :param resource: attribute below ``client.v1``, such as ``lip_sync``
    :param name: ``create``, ``get``, ``delete`` or ``list``
    :param body: the TypedDict of its body, or None
    """

    resource: str
    name: str
    http: str
    path: str
    body: type | None


def methods() -> list[SdkMethod]:
    """Return every method of the SDK's synchronous clients that sends a request, by path."""
    found = []
    for resource, owner in _clients():
        for name in ("create", "get", "delete", "list"):
            function = getattr(owner, name, None)
            if function is not None and (sent := _request_of(function)):
                body = getattr(params, sent["dump_with"].removeprefix("_Serializer")) if "dump_with" in sent else None
                found.append(SdkMethod(resource, name, sent["method"], sent["path"], body))
    return sorted(found, key=lambda method: (method.path, method.http))


def _clients() -> list[tuple[str, type]]:
    root = Path(str(v1.__file__)).parent
    found = []
    for file in sorted(root.rglob("client.py")):
        dotted = ".".join(file.parent.relative_to(root).parts)
        if not dotted:
            continue
        module = importlib.import_module(f"{v1.__name__}.{dotted}.client")
        for name, cls in vars(module).items():
            own = inspect.isclass(cls) and cls.__module__ == module.__name__
            if own and name.endswith("Client") and not name.startswith("Async"):
                found.append((dotted, cls))
    return found


def _request_of(function: Callable[..., Any]) -> dict[str, str] | None:
    """Return method, path and body of the one request that a function's source sends."""
    sent: dict[str, str] = {}
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function)))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "request":
            for keyword in node.keywords:
                if keyword.arg == "method":
                    sent["method"] = ast.literal_eval(keyword.value)
                elif keyword.arg == "path":
                    sent["path"] = _path(keyword.value)
        if isinstance(node, ast.keyword) and node.arg == "dump_with" and isinstance(node.value, ast.Attribute):
            sent["dump_with"] = node.value.attr
    return sent if "path" in sent else None


def _path(node: ast.expr) -> str:
    if isinstance(node, ast.JoinedStr):
        parts = [str(part.value) if isinstance(part, ast.Constant) else "{id}" for part in node.values]
        return "".join(parts)
    return str(ast.literal_eval(node))


def _docs(cls: type) -> dict[str, str]:
    """Return the texts that stand below the fields of a class, to tell which are deprecated."""
    texts: dict[str, str] = {}
    for node in ast.parse(inspect.getsource(sys.modules[cls.__module__])).body:
        if isinstance(node, ast.ClassDef) and node.name == cls.__name__:
            for field, after in zip(node.body, [*node.body[1:], None], strict=True):
                if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
                    continue
                if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                    texts[field.target.id] = inspect.cleandoc(str(after.value.value))
    return texts


def _leaf(annotation: Any) -> Schema:
    if te.get_origin(annotation) in (te.Literal, typing.Literal):
        values = list(te.get_args(annotation))
        kind = "string" if all(isinstance(value, str) for value in values) else "integer"
        return {"type": kind, "enum": values}
    if te.get_origin(annotation) is list:
        return {"type": "array", "items": _leaf(te.get_args(annotation)[0])}
    return dict(_LEAVES[annotation])


def body_schema(typed_dict: type) -> Schema:
    """Return the JSON Schema of a body, in the SDK's order: what a field is called on the wire, its type, its enum.

    ``deprecated`` fields are marked; ``x-sdk-name`` is the Python name where it differs from the wire's.
    """
    serializer: Any = getattr(params, f"_Serializer{typed_dict.__name__}")
    texts, properties, required = _docs(typed_dict), {}, []
    for name, hint in te.get_type_hints(typed_dict, include_extras=True).items():
        wire = serializer.model_fields[name].alias or name
        annotation = hint
        if te.get_origin(hint) in (te.Required, te.NotRequired):
            annotation = te.get_args(hint)[0]
            if te.get_origin(hint) is te.Required:
                required.append(wire)
        schema = _field(annotation)
        if _DEPRECATED.match(texts.get(name, "")):
            schema["deprecated"] = True
        if name != wire:
            schema["x-sdk-name"] = name
        properties[wire] = schema
    result: Schema = {"type": "object", "properties": properties}
    if required:
        result["required"] = required
    # The service's newest bodies are open: the SDK lets unknown fields of these through.
    result["additionalProperties"] = serializer.model_config.get("extra") == "allow"
    return result


def _field(annotation: Any) -> Schema:
    nullable = False
    if te.get_origin(annotation) in (typing.Union, types.UnionType):
        kept = [one for one in te.get_args(annotation) if one is not type(None)]
        nullable = len(kept) < len(te.get_args(annotation))
        annotation = kept[0]
    items = te.get_args(annotation)[0] if te.get_origin(annotation) is list else None
    if items is not None and te.is_typeddict(items):
        schema: Schema = {"type": "array", "items": body_schema(items)}
    elif te.is_typeddict(annotation):
        schema = body_schema(annotation)
    else:
        schema = _leaf(annotation)
    if nullable:
        schema["type"] = [schema["type"], "null"]
    return schema
