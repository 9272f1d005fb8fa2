"""What the price of a request depends on, so that one accepted create says what requests like it cost.

The service has no route that quotes a price, and which field changes it is only partly published
(https://docs.magichour.ai/api-reference/models). So every field counts that may: all but free text, files and names.
A model, a resolution, a number of seconds or of images make another price here, and so does a style that may cost
nothing more.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from magic_hour_provider.api.catalog import Tool

# What says how long the output is. Where none of them is given, the length of a file or of a text does.
_LENGTHS = ("end_seconds", "duration")
_TIMED = {"video", "audio", "gif"}
# Fields that this package does not know, as extra_request brings them: these names hold text, whatever the tool.
_TEXTS = {
    "caption",
    "content",
    "description",
    "lyrics",
    "message",
    "name",
    "negative_prompt",
    "prompt",
    "prompts",
    "script",
    "text",
    "title",
    "topic",
}


class PricedFields(NamedTuple):
    """What the price of one request depends on; requests that have it in common have one price.

    :param digest: of the tool and all fields that count; None: how long a file is decides the price, and it is not
        known, so that the price is not either.
    :param characters: length of the text, where it is priced; a longer one costs no less. 0 where it is not.
    """

    digest: str | None
    characters: int = 0


def find_priced_fields(
    tool: Tool, body: Mapping[str, Any], identities: Mapping[str, str] | None = None
) -> PricedFields:
    """Return what the price of a request depends on.

    A request that says where its clip ends, or how long its output is, has said the length that is priced. Without
    it that of its video or audio files counts, which nobody knows: only the same file is known to be as long.

    :param tool: its tool.
    :param body: its JSON body, with any values in its file fields.
    :param identities: what its files count as, by their dotted paths; a file that is not among them is unknown.
    """
    entries = list(_walk(tool, body, tool.schema, "", ""))
    counted: list[Any] = [tool.slug, *((where, value) for where, _, what, value in entries if what == "value")]
    counted += [(where, what) for where, _, what, _ in entries if what in ("file", "link")]
    characters = 0
    if not any(_is_number(body.get(name)) for name in _LENGTHS):
        timed = {one.field for one in tool.files if _TIMED & set(one.accepts)}
        for where, path, what, value in entries:
            if what == "link":
                counted.append((where, value))
            elif what == "file" and path in timed:
                # A list of files counts as a whole.
                identity = (identities or {}).get(path.partition("[]")[0])
                if identity is None:
                    return PricedFields(None)
                counted.append((where, identity))
        if tool.kind == "audio":
            characters = sum(len(value) for _, _, what, value in entries if what == "text")
    try:
        text = json.dumps(sorted(counted, key=repr), sort_keys=True, default=repr)
    except ValueError:  # a number of thousands of digits: such a request is refused where it would be sent
        return PricedFields(None)
    return PricedFields(hashlib.sha256(text.encode()).hexdigest(), characters)


def _walk(
    tool: Tool, value: Any, schema: Mapping[str, Any], where: str, path: str
) -> Iterator[tuple[str, str, str, Any]]:
    """Yield each value of a request: where it stands, its path in the schema, what it is, and itself."""
    if any(path == one.field for one in tool.files):
        yield where, path, "file", None
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            if path or name != "name":
                known = schema.get("properties", {}).get(name, {})
                yield from _walk(tool, inner, known, f"{where}.{name}".lstrip("."), f"{path}.{name}".lstrip("."))
    elif isinstance(value, list | tuple):
        yield where, path, "value", len(value)
        for number, inner in enumerate(value):
            yield from _walk(tool, inner, schema.get("items", {}), f"{where}[{number}]", f"{path}[]")
    elif isinstance(value, str):
        yield where, path, _kind_of_text(schema, path), value
    else:
        # 5 and 5.0 are one number, as a CSV has the one and a DAG the other.
        is_whole = isinstance(value, float) and value.is_integer()
        yield where, path, "value", int(value) if is_whole else value


def _kind_of_text(schema: Mapping[str, Any], path: str) -> str:
    if schema.get("format") == "uri":
        return "link"
    if "enum" in schema:
        return "value"
    is_known = bool(schema.get("type"))
    return "text" if is_known or path.rpartition(".")[2].removesuffix("[]") in _TEXTS else "value"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
