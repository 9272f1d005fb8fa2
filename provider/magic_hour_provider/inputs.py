"""Files going in: paths, URIs and result objects become what Magic Hour takes.

A file field takes a public URL, a Magic Hour reference, a library address, a path or any ``ObjectStoragePath`` URI, or
the result object of an earlier task. Which fields take files is decided by the catalog, never guessed from names.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from magic_hour_provider.api.catalog import EXTENSIONS, REFERENCE_PREFIXES, FileField, Tool
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.api.errors import BadInputError
from magic_hour_provider.api.jobs import check_id, library_url
from magic_hour_provider.media import NOTHING, STORAGE_ERRORS, checksum, open_path
from magic_hour_provider.record import UNREADABLE


@dataclass(frozen=True)
class Input:
    """One file given in a request.

    :param at: where it stands: keys and indexes from the request's top.
    :param field: what the catalog says of the field.
    :param value: what the user gave.
    """

    at: tuple[str | int, ...]
    field: FileField
    value: Any

    @property
    def where(self) -> str:
        """The field's name for people, such as ``assets.image_file_paths[0]``."""
        return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.at).lstrip(".")

    @property
    def result(self) -> tuple[str, str] | None:
        """``(kind, id)`` if an earlier task's result object was given."""
        if isinstance(self.value, Mapping) and "id" in self.value and "kind" in self.value:
            return str(self.value["kind"]), str(self.value["id"])
        return None

    @property
    def reference(self) -> str | None:
        """The reference of an upload, if the result of an upload task was given."""
        value = self.value.get("file_path") if isinstance(self.value, Mapping) and self.result is None else None
        return value if isinstance(value, str) else None

    @property
    def uri(self) -> str | None:
        """The path or storage URI to upload, or None if there is nothing to upload."""
        value = self.value.get("uri") if isinstance(self.value, Mapping) and self.result is None else self.value
        if not isinstance(value, str):
            return None
        if urlsplit(value).scheme in ("http", "https") or value.startswith(REFERENCE_PREFIXES):
            return None
        return value

    def check(self, now: float) -> None:
        """Refuse what can never be a file.

        :param now: the time, in seconds since 1970.
        :raises BadInputError: the message names the field and what it takes.
        """
        if self.result is not None:
            kind, job_id = self.result
            check_id(job_id)
            if library_url(kind, job_id) is None:
                raise BadInputError(
                    f"{self.where} got the result of a {kind} job, which has no file to go on with. {NOTHING}"
                )
        elif self.reference is not None:
            expires = self.value.get("expires_at")
            if isinstance(expires, str) and datetime.fromisoformat(expires).timestamp() <= now:
                raise BadInputError(
                    f"{self.where} got an upload that Magic Hour has deleted at {expires}: run the task that uploads "
                    f"it again. {NOTHING}"
                )
        elif self.uri is None and not isinstance(self.value, str):
            raise BadInputError(
                f"{self.where} takes a public URL, a Magic Hour reference, a path, a storage URI or the result of an "
                f"earlier task; it got {type(self.value).__name__}. {NOTHING}"
            )

    def upload_as(self) -> tuple[str, str]:
        """Return the upload's (type, extension).

        :raises BadInputError: the name has no extension, or one the field does not take.
        """
        uri = self.uri or ""
        name = uri.rstrip("/").rpartition("/")[2]
        extension = name.rpartition(".")[2].lower() if "." in name.strip(".") else ""
        takes = [(kind, ext) for kind in self.field.accepts for ext in EXTENSIONS[kind]]
        listed = ", ".join(dict.fromkeys(ext for _, ext in takes))
        if not extension:
            raise BadInputError(
                f"{self.where}: {uri!r} has no extension, so Magic Hour cannot know what it is. Name the file with "
                f"one of: {listed}. {NOTHING}"
            )
        for kind, ext in takes:
            if ext == extension:
                # There is no upload type "gif"; Magic Hour's own CLI sends such files as video.
                return ("video" if kind == "gif" else kind), extension
        raise BadInputError(
            f"{self.where} takes {' or '.join(self.field.accepts)} files ({listed}); {uri!r} is none. {NOTHING}"
        )

    def identity(self) -> Any:
        """Return what tells this input from another one: for the fingerprint, without uploading anything."""
        if self.result is not None:
            return [*self.result, 0]
        if self.reference is not None:
            # Uploaded anew it still is the same file.
            return [self.value.get("size"), self.value["sha256"]] if "sha256" in self.value else self.reference
        if self.uri is None:
            return _unsigned(self.value)
        try:
            path = open_path(self.uri)
            info = path.fs.info(path.path)
            for name in ("ETag", "etag", "md5Hash", "content_md5"):
                if info.get(name):
                    return str(info[name])
            return [info["size"], checksum(path)]
        except Exception:  # noqa: BLE001 (each storage library has errors of its own)
            # At a later attempt the file may be gone and is not needed. When it is, `prepare` says what is wrong.
            return UNREADABLE


_SIGNED = re.compile(r"(?i)[?&](x-(?:amz|goog)-signature|signature|sig)=")
# What changes when a link of S3, CloudFront, Google or Azure is signed anew; the rest of a query may name the file.
_OF_SIGNATURES = re.compile(
    r"(?i)x-(?:amz|goog|ms)-.*|signature|sig|expires|policy|key-pair-id|awsaccesskeyid|googleaccessid"
    r"|s[etprv]|spr|sr|sk(?:oid|tid|t|e|s|v)"
)


def _unsigned(value: Any) -> Any:
    """Return a link without its signature: signed anew it still is the same file."""
    if isinstance(value, str) and _SIGNED.search(value):
        place, _, query = value.partition("?")
        kept = [part for part in parse_qsl(query, keep_blank_values=True) if not _OF_SIGNATURES.fullmatch(part[0])]
        return [place, kept] if kept else place
    return value


def find_inputs(tool: Tool, request: Mapping[str, Any]) -> list[Input]:
    """Return the files given in a request, in the catalog's order."""

    def walk(
        value: Any, parts: Sequence[str], at: tuple[str | int, ...]
    ) -> Iterator[tuple[tuple[str | int, ...], Any]]:
        if not parts:
            yield at, value
            return
        name, many = parts[0].removesuffix("[]"), parts[0].endswith("[]")
        if not isinstance(value, Mapping) or value.get(name) is None:
            return
        inner = value[name]
        if not many:
            yield from walk(inner, parts[1:], (*at, name))
        elif isinstance(inner, list | tuple):
            for index, element in enumerate(inner):
                yield from walk(element, parts[1:], (*at, name, index))

    return [Input(at, field, value) for field in tool.files for at, value in walk(request, field.field.split("."), ())]


def check_inputs(inputs: Sequence[Input], now: float) -> None:
    """Refuse inputs that cannot work, before any request leaves.

    :param now: the time, in seconds since 1970.
    :raises BadInputError: one can never be a file, cannot be read, is of the wrong kind or has expired.
    """
    for one in inputs:
        one.check(now)
        if one.uri is not None:
            one.upload_as()
            _size(one.uri, one.where)


def replaced(request: Mapping[str, Any], values: Sequence[tuple[Input, Any]]) -> dict[str, Any]:
    """Return a copy of the request with other values in its file fields."""
    copied: dict[str, Any] = copy.deepcopy(dict(request))
    for one, value in values:
        target: Any = copied
        for part in one.at[:-1]:
            if isinstance(target[part], tuple):
                target[part] = list(target[part])
            target = target[part]
        target[one.at[-1]] = value
    return copied


def prepare(client: MagicHourClient, request: Mapping[str, Any], inputs: Sequence[Input]) -> dict[str, Any]:
    """Return the request with every input as Magic Hour takes it. Uploads what has to be; that costs nothing.

    :raises BadInputError: a file cannot be read or is of the wrong kind; found before anything is uploaded.
    :raises MagicHourError: an upload did not work.
    """
    uploaded = upload_all(client, inputs)
    values: list[tuple[Input, Any]] = []
    for one in inputs:
        if one.uri is not None:
            values.append((one, uploaded[one.uri, one.upload_as()[0]][0]))
        elif one.result is not None:
            values.append((one, _chained(client, one)))
        elif one.reference is not None:
            values.append((one, one.reference))
    return replaced(request, values)


def upload_all(client: MagicHourClient, inputs: Sequence[Input]) -> dict[tuple[str, str], tuple[str, int]]:
    """Upload what has to be uploaded, each file once.

    :returns: for each (URI, type) the reference, and the size in bytes.
    :raises BadInputError: a file cannot be read or is of the wrong kind; found before the first byte is sent.
    :raises MagicHourError: an upload did not work.
    """
    uploads = {(one.uri, one.upload_as()[0]): one for one in inputs if one.uri is not None}
    sizes = {key: _size(key[0], one.where) for key, one in uploads.items()}
    if not uploads:
        return {}
    links = client.upload_links([one.upload_as() for one in uploads.values()])
    for key, link in zip(uploads, links, strict=True):
        with open_path(key[0]).open("rb") as file:
            client.upload_to(link, file, sizes[key])
    return {key: (link.file_path, sizes[key]) for key, link in zip(uploads, links, strict=True)}


def _chained(client: MagicHourClient, one: Input) -> str:
    """Return the address under which Magic Hour finds an earlier job's file; no byte passes through us."""
    kind, job_id = one.result or ("", "")
    if len(one.value.get("media") or ()) > 1:
        # A library address names a job, not one of its files: those are told apart by a link of their own.
        job = client.get_job(kind, job_id)
        if job.downloads:
            return job.downloads[0].url
    return library_url(kind, job_id) or ""


def _size(uri: str, where: str) -> int:
    try:
        path = open_path(uri)
        with path.open("rb") as file:
            file.read(1)
        return int(path.fs.info(path.path)["size"])
    except STORAGE_ERRORS as error:
        raise BadInputError(
            f"{where}: the file {uri!r} cannot be read ({type(error).__name__}: {error}). {NOTHING}"
        ) from error
