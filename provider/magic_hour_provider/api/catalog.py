"""The catalog of Magic Hour's API: tools, their request schemas and files, polling intervals and limits.

The facts are in ``catalog.json``; see https://docs.magichour.ai/api-reference for their origin.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from magic_hour_provider.api.errors import InvalidInputError

KINDS = ("video", "image", "audio", "face-detection")

# For a tool newer than this package: the class that fits most tools of its kind.
_CLASS_OF_KIND = {
    "video": "standard_video",
    "image": "medium_image",
    "audio": "audio",
    "face-detection": "fast_image",
}


# Named tuples, as a data class takes most of a millisecond to make, and whoever parses a DAG file pays for it.
class PollingClass(NamedTuple):
    """The polling interval and the usual duration of a class of jobs.

    :param name: name of the class, such as ``fast_image``.
    :param poll_interval_s: shortest and longest interval between two polls, in seconds.
    :param median_s: middle of the durations the class is meant for, in seconds.
    :param timeout_s: how long one attempt waits unless the user says otherwise, in seconds.
    """

    name: str
    poll_interval_s: tuple[float, float]
    median_s: float
    timeout_s: float


class FileField(NamedTuple):
    """A request field that takes a file.

    :param field: dotted path in the request; ``[]`` stands for every element of a list.
    :param accepts: kinds of file it takes: ``image``, ``video``, ``audio``, ``gif``.
    """

    field: str
    accepts: tuple[str, ...]


@dataclass(frozen=True)
class Tool:
    """One kind of generation. Make one by hand for a tool newer than this package.

    :param slug: name in Magic Hour's documentation, such as ``text-to-video``.
    :param kind: ``video``, ``image``, ``audio`` or ``face-detection``: decides the route of its job's polls.
    :param path: path of its create endpoint, such as ``/v1/text-to-video``.
    :param title: name for people.
    :param accepts_name: whether the request has a ``name`` field.
    :param files: its file fields.
    :param polling: name of its polling class; empty for the usual one of its kind.
    :param polling_by: a request field that changes the polling class, and its values.
    :param median_s: published median duration in seconds, queue included
        (https://docs.magichour.ai/api-reference/processing-times), or None.
    :param schema: JSON Schema of its request; empty where the request is not known.
    """

    slug: str
    kind: str
    path: str
    title: str = ""
    accepts_name: bool = False
    files: tuple[FileField, ...] = ()
    polling: str = ""
    polling_by: tuple[str, Mapping[str, str]] | None = None
    median_s: float | None = None
    schema: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InvalidInputError(
                f"Tool {self.slug!r} has the unknown kind {self.kind!r}: use one of {', '.join(KINDS)}."
            )
        if not self.path.startswith("/"):
            raise InvalidInputError(f"Tool {self.slug!r} needs a path that starts with '/', such as '/v1/{self.slug}'.")

    def polling_class(self, request: Mapping[str, Any] | None = None) -> PollingClass:
        """Return the polling class of a job of this tool.

        :param request: the request sent, as the class of a few tools depends on one of its fields.
        """
        name = self.polling or _CLASS_OF_KIND[self.kind]
        if self.polling_by is not None and request is not None:
            path, classes = self.polling_by
            value: Any = request
            for key in path.split("."):
                value = value.get(key) if isinstance(value, Mapping) else None
            name = classes.get(value, name) if isinstance(value, str) else name
        return POLLING_CLASSES[name]


class Endpoint(NamedTuple):
    """An endpoint that creates no job, so that using it is free.

    :param method: HTTP method.
    :param path: path, with ``{id}`` where a job's id goes.
    """

    method: str
    path: str


def _middle(bounds: list[float]) -> float:
    # The slowest class has no upper bound: its list holds one number.
    return sum(bounds) / len(bounds)


def _read_tool(slug: str, row: dict[str, Any]) -> Tool:
    by = row.get("polling_by")
    return Tool(
        slug=slug,
        kind=row["kind"],
        path=row["path"],
        title=row["title"],
        accepts_name=row["accepts_name"],
        files=tuple(FileField(f["field"], tuple(f["accepts"])) for f in row["files"]),
        polling=row["polling"],
        polling_by=(by["field"], by["values"]) if by else None,
        median_s=row["median_s"],
        schema=row["schema"],
    )


_FACTS: dict[str, Any] = json.loads((Path(__file__).parent / "catalog.json").read_text(encoding="utf-8"))

BASE_URL: str = _FACTS["base_url"]
POLLING_CLASSES: Mapping[str, PollingClass] = MappingProxyType(
    {
        name: PollingClass(name, tuple(row["poll_interval_s"]), _middle(row["median_s"]), row["timeout_s"])
        for name, row in _FACTS["polling"].items()
    }
)
TOOLS: Mapping[str, Tool] = MappingProxyType({slug: _read_tool(slug, row) for slug, row in _FACTS["tools"].items()})
FREE_ENDPOINTS: tuple[Endpoint, ...] = tuple(Endpoint(row["method"], row["path"]) for row in _FACTS["endpoints"])
EXTENSIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {kind: tuple(names) for kind, names in _FACTS["uploads"]["extensions"].items()}
)
MAX_UPLOAD_BYTES: Mapping[str, int] = MappingProxyType(_FACTS["uploads"]["max_bytes"])
"""How large one uploaded file may be, by the account's plan."""
CONCURRENT_JOBS: Mapping[str, int] = MappingProxyType(_FACTS["concurrent_jobs"])
"""How many jobs run at the same time, by the account's plan; 0: no limit. Whether jobs of the API count is open."""
REFERENCE_PREFIXES: tuple[str, ...] = tuple(_FACTS["uploads"]["reference_prefixes"])


def get_tool(tool: str | Tool) -> Tool:
    """Return the tool of this slug; a :class:`Tool` is returned as it is.

    :param tool: slug, such as ``text-to-video``, or a tool.
    :raises InvalidInputError: no tool has this slug; the message names the nearest ones.
    """
    if isinstance(tool, Tool):
        return tool
    if isinstance(tool, str) and tool in TOOLS:
        return TOOLS[tool]
    from difflib import get_close_matches  # only needed where something is wrong

    near = get_close_matches(str(tool).lower().replace("_", "-").replace(" ", "-"), TOOLS, n=3)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"the tools are {', '.join(TOOLS)}"
    raise InvalidInputError(
        f"{tool!r} is not a Magic Hour tool this version knows ({hint}).",
        next_step="For a tool newer than this package pass Tool(slug, kind, path).",
    )


def default_polling_class(slug: str, kind: str) -> PollingClass:
    """Return the polling class of a tool where its request is not known; of a tool not known, that of its kind."""
    return (TOOLS.get(slug) or Tool(slug, kind, "/")).polling_class()


def field_paths(schema: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    """Return every field of a request's schema: its dotted path, ``[]`` for every element of a list, and its name."""
    for name, inner in schema.get("properties", {}).items():
        where = f"{path}.{name}".lstrip(".")
        yield where, name
        yield from field_paths(inner, where)
        yield from field_paths(inner.get("items", {}), f"{where}[]")
