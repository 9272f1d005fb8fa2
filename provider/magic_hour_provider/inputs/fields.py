"""File fields of a request: which they are, what they may hold, and checks before anything is sent.

A file field takes a public URL, a Magic Hour reference, a library address, a path or any ``ObjectStoragePath`` (as text
or as the object), an Airflow ``Asset``, the result object of an earlier task, or an entry of its ``media`` list. Which
fields take files is decided by the catalog, never guessed from names.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import IOBase
from string import whitespace
from typing import Any
from urllib.parse import urlsplit

from magic_hour_provider.api.catalog import EXTENSIONS, REFERENCE_PREFIXES, FileField, Tool
from magic_hour_provider.api.errors import InvalidInputError, with_article
from magic_hour_provider.api.models import check_id, library_url, parse_library_url
from magic_hour_provider.times import parse_time

_MAX_LINK = 8192  # characters
_BASE64 = re.compile(r"[A-Za-z0-9+/_\s-]+={0,2}")
_NO_TEXT = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
# Blanks, and what nobody sees (zero-width spaces, marks of direction, a byte order mark): files and pages leave them.
_INVISIBLE = "".join(map(chr, (0x85, 0xA0, 0x1680, *range(0x2000, 0x2010), 0x2028, 0x2029, 0x202F, 0x205F, 0x2060)))
_AROUND = f"{whitespace}{_INVISIBLE}\u3000\ufeff"
_CONTENT = (bytes, bytearray, memoryview, IOBase)
_GIVE_A_PATH = "Write it to a file or to object storage, and give its path."

FieldPath = tuple[str | int, ...]
"""Where a file stands in a request: keys and indexes from its top."""


@dataclass(frozen=True)
class Input:
    """One file given in a request.

    :param path: where it stands in the request.
    :param field: the catalog's entry of the field.
    :param value: what the user gave, converted by :func:`to_uri`.
    """

    path: FieldPath
    field: FileField
    value: Any

    @property
    def label(self) -> str:
        """The field's name for people, such as ``assets.image_file_paths[0]``."""
        return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.path).lstrip(".")

    @property
    def result(self) -> tuple[str, str] | None:
        """``(kind, id)`` if an earlier task's result object was given."""
        if isinstance(self.value, Mapping) and "id" in self.value and "kind" in self.value:
            return str(self.value["kind"]), str(self.value["id"])
        return None

    @property
    def job(self) -> tuple[str, str] | None:
        """``(kind, id)`` of the job whose output is meant, by a result object or by its library address."""
        return self.result or (parse_library_url(self.value) if isinstance(self.value, str) else None)

    @property
    def index(self) -> int:
        """Which of that job's files is meant, from 0: ``{**result, "index": 2}`` is the third."""
        return self.value.get("index", 0) if isinstance(self.value, Mapping) else 0

    @property
    def reference(self) -> str | None:
        """The reference of an upload, if the result of an upload task was given."""
        value = self.value.get("file_path") if isinstance(self.value, Mapping) and self.result is None else None
        return strip_blanks(value) if isinstance(value, str) else None

    @property
    def saved_item(self) -> tuple[str, str] | None:
        """``(type, name or id)`` if a saved item of the account was given; see :mod:`.saved_items`."""
        if isinstance(self.value, Mapping) and "saved_item" in self.value:
            return str(self.value.get("type")), str(self.value["saved_item"]).strip()
        return None

    @property
    def uri(self) -> str | None:
        """The path or storage URI to upload, or None if there is nothing to upload."""
        value = self.value
        if not isinstance(value, str) or value.startswith(REFERENCE_PREFIXES):
            return None
        return None if re.match(r"(?i)https?:", value) else value

    def check(self, now: float) -> None:
        """Check that the value can be a file.

        :param now: the time, in seconds since 1970.
        :raises InvalidInputError: the message names the field and what it takes.
        """
        if self.job is not None:
            self._check_job(*self.job)
        elif self.reference is not None:
            self._check_reference(now)
        elif self.saved_item is not None:
            if not self.saved_item[1] or not isinstance(self.value["saved_item"], str):
                raise InvalidInputError(f"{self.label} got a saved item without a name.")
        elif not isinstance(self.value, str):
            raise InvalidInputError(
                f"{self.label} takes a public URL, a Magic Hour reference, a path, a storage URI, an Asset or the "
                f"result of an earlier task; it got {_describe_type(self.value)}.",
                next_step=_GIVE_A_PATH if isinstance(self.value, _CONTENT) else None,
            )
        else:
            self._check_text(self.value)

    def _check_text(self, text: str) -> None:
        if not text.strip():
            raise InvalidInputError(f"{self.label} is empty text, as a template without a value leaves it.")
        if re.match(r"(?i)data:", text) or (len(text) >= 256 and "." not in text and _BASE64.fullmatch(text[:4096])):
            raise InvalidInputError(
                f"{self.label} got the content of a file as text (a data URI, or base64): {shorten(text, 40)}.",
                next_step=_GIVE_A_PATH,
            )
        if _NO_TEXT.search(text):
            raise InvalidInputError(f"{self.label}: {shorten(text)} holds characters that no path or link has.")
        if len(text) > _MAX_LINK:
            raise InvalidInputError(
                f"{self.label} got {len(text):,} characters, which are no path or link: {shorten(text, 40)}."
            )
        if re.match(r"(?i)https?:", text) and not _has_host(text):
            raise InvalidInputError(f"{self.label}: {shorten(text)} is a link without a host.")
        if re.match(r"[\[{]\s*['\"{]", text):
            raise InvalidInputError(
                f"{self.label} got the text of a dict or a list, which is what a template makes of an earlier task's "
                "result.",
                next_step="Give task.output itself, or set render_template_as_native_obj on the DAG.",
            )

    def _check_job(self, kind: str, job_id: str) -> None:
        check_id(job_id)
        if library_url(kind, job_id) is None:
            raise InvalidInputError(
                f"{self.label} got the result of {with_article(kind[:40])} job: it has no file to use."
            )
        # What an image tool makes may be a GIF, and that tool's may be a clip: its file tells.
        if kind not in self.field.accepts and not (kind == "image" and "video" in self.field.accepts):
            raise InvalidInputError(
                f"{self.label} takes {self.accepted_types}; it got the result of {kind} job {job_id}."
            )
        if isinstance(self.index, bool) or not isinstance(self.index, int) or self.index < 0:
            raise InvalidInputError(
                f"{self.label}: the index of a job's file is a whole number from 0; it is {shorten(self.index)}."
            )

    def _check_reference(self, now: float) -> None:
        self._check_text(self.reference or "")
        expires, extension = self.value.get("expires_at"), self.value.get("extension")
        until = parse_time(expires)
        if until is None and expires is not None:
            raise InvalidInputError(
                f"{self.label} got an upload whose expires_at, {shorten(expires)}, is no date and time: Magic Hour may "
                "have deleted it.",
                next_step="Give the result of MagicHourUploadOperator as it is.",
            )
        if until is not None and until <= now:
            raise InvalidInputError(
                f"{self.label} got an upload that Magic Hour has deleted at {expires}.",
                next_step="Run the task that uploads it again.",
            )
        if isinstance(extension, str) and not self.accepts(extension):
            raise InvalidInputError(
                f"{self.label} takes {self.accepted_types}; it got the upload of a .{extension} file."
            )

    @property
    def accepted_types(self) -> str:
        """What the field takes, for people: ``image files (png, jpg, ...)``."""
        listed = dict.fromkeys(ext for kind in self.field.accepts for ext in EXTENSIONS[kind])
        return f"{' or '.join(self.field.accepts)} files ({', '.join(listed)})"

    def accepts(self, extension: str) -> bool:
        """Whether the field takes files of this extension."""
        return any(extension in EXTENSIONS[kind] for kind in self.field.accepts)

    def upload_type(self) -> tuple[str, str]:
        """Return the upload's (type, extension).

        :raises InvalidInputError: the name has no extension, or one the field does not take.
        """
        uri = self.uri or ""
        name = uri.rstrip("/").rpartition("/")[2]
        extension = name.rpartition(".")[2].lower() if "." in name.strip(".") else ""
        if not extension:
            raise InvalidInputError(
                f"{self.label}: {shorten(uri)} has no extension, so Magic Hour cannot know what it is. It takes "
                f"{self.accepted_types}."
            )
        for kind in self.field.accepts:
            if extension in EXTENSIONS[kind]:
                # There is no upload type "gif"; Magic Hour's own CLI sends such files as video.
                return ("video" if kind == "gif" else kind), extension
        raise InvalidInputError(f"{self.label} takes {self.accepted_types}; {shorten(uri)} is none.")


def shorten(value: Any, limit: int = 120) -> str:
    """Return a value as an error shows it: a whole file may have been given in place of its path."""
    text = repr(value[: limit + 1] if isinstance(value, str) else value)
    return text if len(text) <= limit + 2 else f"{text[:limit]}…{text[0] if isinstance(value, str) else ''}"


def strip_blanks(text: str) -> str:
    """Return a text without the blanks, line ends and invisible characters around it."""
    return text.strip(_AROUND)


def _describe_type(value: Any) -> str:
    name = type(value).__name__
    if isinstance(value, bytes | bytearray | memoryview):
        return f"{len(value):,} bytes, the content of a file ({name})"
    return f"an open file ({name})" if isinstance(value, IOBase) else name


def _has_host(link: str) -> bool:
    try:
        return bool(urlsplit(link).hostname)
    except ValueError:
        return True  # what we cannot read is for Magic Hour to judge


def to_uri(value: Any) -> Any:
    """Convert what stands for a file to JSON: objects that name one become its path or URI.

    :param value: a ``Path``, an ``ObjectStoragePath``, an ``Asset`` or a reference to one by URI, an asset event, or an
        entry of a result's ``media`` list, which is the stored file; text loses the blanks, line ends and invisible
        characters around it, as files and web pages have them; anything else is returned as it is.
    """
    from airflow.sdk import ObjectStoragePath

    if isinstance(value, str):
        return strip_blanks(value)
    if isinstance(value, ObjectStoragePath):
        return str(value)
    if isinstance(value, Mapping):
        entry = isinstance(value.get("uri"), str) and not ("id" in value and "kind" in value)
        return strip_blanks(value["uri"]) if entry else value
    asset = getattr(value, "asset", value)  # that of an event
    uri, name = getattr(asset, "uri", None), getattr(asset, "name", None)
    if not isinstance(uri, str):
        return os.fspath(value) if isinstance(value, os.PathLike) else value
    # Airflow cuts "#..." and some "?..." off an asset's URI, where they belong to the key; its name still has them.
    whole = isinstance(name, str) and name.startswith(uri) and name[len(uri) :][:1] in ("?", "#")
    return name if whole else uri


def find_inputs(tool: Tool, request: Mapping[str, Any]) -> list[Input]:
    """Return the files given in a request, in the catalog's order."""

    def walk(value: Any, parts: Sequence[str], path: FieldPath) -> Iterator[tuple[FieldPath, Any]]:
        if not parts:
            yield path, value
            return
        name, many = parts[0].removesuffix("[]"), parts[0].endswith("[]")
        if not isinstance(value, Mapping) or value.get(name) is None:
            return
        inner = value[name]
        if not many:
            yield from walk(inner, parts[1:], (*path, name))
        elif isinstance(inner, list | tuple):
            for index, element in enumerate(inner):
                yield from walk(element, parts[1:], (*path, name, index))

    return [
        Input(path, field, to_uri(value))
        for field in tool.files
        for path, value in walk(request, field.field.split("."), ())
    ]


def with_values(request: Mapping[str, Any], values: Sequence[tuple[Input, Any]]) -> dict[str, Any]:
    """Return a copy of the request with other values in its file fields."""
    copied: dict[str, Any] = _copy(request)
    for one, value in values:
        target: Any = copied
        for part in one.path[:-1]:
            target = target[part]
        target[one.path[-1]] = value
    return copied


def _copy(value: Any) -> Any:
    """Copy JSON's containers alone: what is no JSON, an open file say, may have no copy."""
    if isinstance(value, Mapping):
        return {name: _copy(inner) for name, inner in value.items()}
    return [_copy(inner) for inner in value] if isinstance(value, list | tuple) else value
