"""Writes the pages of the tools: one for each, and the table of all of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from magic_hour_provider.api.catalog import EXTENSIONS, TOOLS, Tool
from magic_hour_provider.api.prices import estimate
from magic_hour_provider.api.prices.table import PublishedPrice, published_prices
from markdown_text import block, code, duration, formatted, table
from operator_source import class_name
from reference_examples import EXAMPLES

_MODULES = {"video": "video", "image": "image", "face-detection": "image", "audio": "audio"}
_FEW = 12  # values that a cell of a table holds
_UNITS = {"image": "per image", "second": "per second", "frame": "per frame", "character": "per character"}
_MADE = "<!-- This page is made by scripts/docs_reference.py. -->"
_KINDS = {"video": "Video", "image": "Image", "audio": "Audio", "face-detection": "Faces"}


def tool_pages() -> dict[str, str]:
    """Return the page of each tool by its file's name, and the index of all."""
    lacking = TOOLS.keys() ^ EXAMPLES.keys()
    assert not lacking, f"reference_examples.py needs one request for each tool: {', '.join(sorted(lacking))}"
    examples = formatted({slug: _example(tool) for slug, tool in TOOLS.items()})
    return {"index.md": _index()} | {f"{slug}.md": _page(tool, examples[slug]) for slug, tool in TOOLS.items()}


def _index() -> str:
    parts = [
        "# The tools",
        _MADE,
        "Every tool of Magic Hour that this version knows. Each is a `tool` of "
        "[`MagicHourOperator`](../operators.md) and also an operator of its own, with the keyword arguments of the "
        "official SDK. One that is newer than this package is "
        "[`Tool(slug, kind, path)`](../python-api.md#catalog-and-prices). The time is Magic Hour's published median, "
        "time in its queue included, and no promise.",
    ]
    for kind, title in _KINDS.items():
        rows = [
            (
                f"[`{slug}`]({slug}.md)",
                tool_about(tool),
                ", ".join(dict.fromkeys(kind for one in tool.files for kind in one.accepts)),
                _price_range(slug),
                duration(tool.median_s) if tool.median_s is not None else "",
            )
            for slug, tool in TOOLS.items()
            if tool.kind == kind
        ]
        parts += [f"## {title}", table(("Tool", "What it does", "Files in", "Credits", "Usually takes"), rows)]
    parts.append(
        block("{toctree}", ":hidden:\n:maxdepth: 1\n\n" + "\n".join(sorted(TOOLS))),
    )
    return "\n\n".join(parts) + "\n"


def tool_about(tool: Tool) -> str:
    """Return what a tool does, in a sentence: the first of its operator's docstring."""
    doc = _operator_class(tool).__doc__ or ""
    return doc.split("\n")[0].partition(": ")[2]


def _operator_class(tool: Tool) -> type:
    module = __import__(f"magic_hour_provider.operators.{_MODULES[tool.kind]}", fromlist=["*"])
    found: type = getattr(module, class_name(tool.slug))
    return found


def _price_range(slug: str) -> str:
    by_unit: dict[str, list[float]] = defaultdict(list)
    for price in published_prices().get(slug, ()):
        by_unit[price.unit].append(price.credits)
    parts = []
    for unit, credits in by_unit.items():
        low, high = min(credits), max(credits)
        numbers = f"{low:g}" if high == low else f"{low:g} to {high:g}"
        parts.append(f"{numbers} {_UNITS[unit]}" if high else "free")
    return ", ".join(parts)


def _page(tool: Tool, example: str) -> str:
    request = EXAMPLES[tool.slug]
    name, module = class_name(tool.slug), _MODULES[tool.kind]
    pace = tool.polling_class(request)
    low, high = pace.poll_interval_s
    facts = [
        ("Operator", f"`{name}`, from `magic_hour_provider.operators.{module}`"),
        ("Makes", tool.kind if tool.kind != "face-detection" else "the paths of the faces found"),
        ("Usually takes", duration(tool.median_s) if tool.median_s is not None else "not published"),
        ("Polled every", f"{low:g} s" if low == high else f"{low:g} to {high:g} s"),
        ("A task waits", f"{duration(pace.timeout_s)} at most, unless `timeout` says otherwise"),
        ("Endpoint", f"`POST {tool.path}`"),
    ]
    parts = [
        f"# {tool.slug}",
        _MADE,
        f"{tool_about(tool)} Magic Hour calls it *{tool.title}*.",
        table(("", ""), facts),
        "## Example",
        block("python", example),
        _estimate(tool, request),
        "## Request",
        "The fields of the request, which are the operator's arguments; a dot leads into a nested one, and `[]` stands "
        "for each element of a list. Those in bold are required. The operator's own options are "
        "[here](../operators.md).",
        table(("Field", "Type", "Meaning"), _field_rows(tool)),
    ]
    if tool.files:
        parts += ["## Files", *_files(tool)]
    parts += ["## Price", *_prices(tool)]
    long = [
        (path, schema["enum"]) for path, schema, _ in walk_fields(tool.schema) if len(schema.get("enum", ())) > _FEW
    ]
    if long:
        parts.append("## Values")
        parts.append(
            "Magic Hour changes these lists from week to week. A value that is not in them is a warning in the task's "
            "log and no error."
        )
        parts += [f"`{path}`: {', '.join(map(_value, values))}." for path, values in long]
    return "\n\n".join(parts) + "\n"


def _example(tool: Tool) -> str:
    name, module = class_name(tool.slug), _MODULES[tool.kind]
    arguments = "".join(f"{key}={value!r}, " for key, value in EXAMPLES[tool.slug].items())
    task_id = tool.slug.replace("-", "_")
    return (
        f"from magic_hour_provider.operators.{module} import {name}\n\n"
        f'{name}(task_id="{task_id}", {arguments}output_path="s3://aws_default@media/{{{{ run_id }}}}",)'
    )


def _estimate(tool: Tool, request: Mapping[str, Any]) -> str:
    credits, _ = estimate(tool, request)
    if credits is None:
        return (
            "Magic Hour publishes no price for it, so that a limit of credits refuses it until a job like it has been "
            'charged, or with `max_credits_unknown="allow"`.'
        )
    if credits == 0:
        return "It is free."
    return f"Its [estimate](../../guides/budgets.md#estimates) is {credits} credit{'s' * (credits != 1)}."


def walk_fields(schema: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Mapping[str, Any], bool]]:
    """Yield every field of a schema that holds a value: its dotted path, its schema, and whether it is required."""
    required = schema.get("required", ())
    for name, inner in schema.get("properties", {}).items():
        where, elements = f"{path}.{name}".lstrip("."), inner.get("items", {})
        if "properties" in inner:
            yield from walk_fields(inner, where)
        elif "properties" in elements:
            yield where, inner, name in required
            yield from walk_fields(elements, f"{where}[]")
        else:
            yield where, inner, name in required


def _field_rows(tool: Tool) -> Iterator[tuple[str, str, str]]:
    fields = list(walk_fields(tool.schema))
    for path, schema, required in sorted(fields, key=lambda one: bool(one[1].get("deprecated"))):
        yield f"**{code(path)}**" if required else code(path), _type(schema), _meaning(schema)


def _type(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type", "any")
    words = " or ".join(kind) if isinstance(kind, list) else str(kind)
    elements = schema.get("items", {})
    if words == "array":
        words = f"list of {elements.get('type', 'any').replace('object', 'dict')}s"
    return words


def _meaning(schema: Mapping[str, Any]) -> str:
    said = [str(schema.get("description") or "").strip()]
    values = schema.get("enum", ())
    if values:
        shown = ", ".join(map(_value, values)) if len(values) <= _FEW else f"{len(values)} values, see [below](#values)"
        said.append(f"One of {shown}.")
    if limits := _limits(schema):
        said.append(f"{limits[:1].upper()}{limits[1:]}.")
    by_tier = " and ".join(
        f"{_value(value)} on {tier} plans" for tier, value in schema.get("x-default-by-tier", {}).items()
    )
    if "default" in schema:
        said.append(f"Default: {_value(schema['default'])}{f', which is {by_tier} now' * bool(by_tier)}.")
    elif by_tier:
        said.append(f"Default: {by_tier}.")
    if schema.get("deprecated"):
        said.append("*Deprecated.*")
    return " ".join(filter(None, said))


def _limits(schema: Mapping[str, Any]) -> str:
    parts = []
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        parts.append(f"{low:g} to {high:g}")
    elif low is not None:
        parts.append(f"{low:g} or more")
    elif high is not None:
        parts.append(f"{high:g} at most")
    if "maxLength" in schema:
        parts.append(f"{schema['maxLength']:,} characters at most")
    if "maxItems" in schema:
        parts.append(f"{schema['maxItems']} elements at most")
    return ", ".join(parts)


def _value(value: Any) -> str:
    words = {True: "true", False: "false"}.get(value) if isinstance(value, bool) else None
    return code(words or str(value))


def _files(tool: Tool) -> Iterator[str]:
    extensions: dict[str, tuple[str, ...]] = {}
    rows = []
    for one in tool.files:
        rows.append((code(one.field), ", ".join(one.accepts)))
        extensions |= {kind: EXTENSIONS[kind] for kind in one.accepts}
    yield table(("Field", "Takes"), rows)
    yield (
        "Each takes a public URL, a reference of Magic Hour, a path or storage URI, or an earlier task's result: see "
        "[Operators](../operators.md#file-fields). Extensions: "
        + "; ".join(f"{kind}: {', '.join(map(code, names))}" for kind, names in extensions.items())
        + "."
    )


def _prices(tool: Tool) -> Iterator[str]:
    prices = published_prices().get(tool.slug, ())
    if not prices:
        yield "Magic Hour publishes none for this tool. What the account's own jobs were charged counts as its price."
        return
    unit = prices[0].unit
    if len(prices) == 1 and not prices[0].when:
        (price,) = prices
        yield f"{_amount(price)}, published on {price.date}."
    else:
        columns = list(dict.fromkeys(path for price in prices for path in price.when))
        rows = [
            (*(code(price.when[path]) if path in price.when else "" for path in columns), f"{price.credits:g}")
            for price in prices
        ]
        dates = sorted({price.date for price in prices})
        yield f"Credits {_UNITS[unit]}, published on {' and '.join(dates)}:"
        yield table((*map(code, columns), "Credits"), rows)
        yield "For what is not in the table no price is known."
    if unit == "frame":
        yield (
            "Where the frames are not known yet, Magic Hour charges 30 a second first, and settles to what was "
            "rendered."
        )


def _amount(price: PublishedPrice) -> str:
    if not price.credits:
        return "Free"
    return f"{price.credits:g} credit{'' if price.credits == 1 else 's'} {_UNITS[price.unit]}"
