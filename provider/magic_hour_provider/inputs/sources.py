"""Input files in their storage: their fingerprints, whether they can be read, and how to open them for an upload."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl

from magic_hour_provider.api.catalog import MAX_UPLOAD_BYTES
from magic_hour_provider.api.errors import Charge, InvalidInputError, TransferError, describe_error
from magic_hour_provider.api.redaction import redact
from magic_hour_provider.api.transport.uploads import UploadSource
from magic_hour_provider.inputs.fields import FieldPath, Input, shorten
from magic_hour_provider.inputs.presigned import PresignedInputs
from magic_hour_provider.ledger.fingerprint import UNREADABLE
from magic_hour_provider.storage.files import S3
from magic_hour_provider.storage.paths import checksum, find_conn_id, is_permanent, open_path
from magic_hour_provider.storage.s3_reader import S3Reader

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

_Location = tuple[str, str | None, str, str]  # protocol, connection, path, and the kind to upload it as

# What changes when a link of S3, CloudFront, Google or Azure is signed again; the rest of a query may name the file.
# Apart from what is redacted, which may grow: whether a link counts as the same file decides about money.
_SIGNED = re.compile(r"(?i)[?&](?:x-(?:amz|goog)-signature|signature|sig)=[^\s&#]")
_OF_SIGNATURES = re.compile(
    r"(?i)x-(?:amz|goog|ms)-.*|signature|sig|expires|policy|key-pair-id|awsaccesskeyid|googleaccessid"
    r"|s[etprv]|spr|sr|sk(?:oid|tid|t|e|s|v)"
)


def input_fingerprint(one: Input) -> Any:
    """Return what an input counts as in the request's fingerprint; nothing is uploaded for it.

    :returns: JSON: the etag of a stored file, or its size and checksum; ``UNREADABLE`` for one that cannot be read.
    """
    if one.result is not None:
        return [*one.result, one.index]
    if one.reference is not None:
        # Uploaded again it still is the same file.
        return [one.value.get("size"), one.value["sha256"]] if "sha256" in one.value else one.reference
    if one.uri is None:
        return _unsigned(one.value)
    try:
        path = open_path(one.uri)
        return _identity(path, _read_info(path))
    except Exception:  # noqa: BLE001 (each storage library has errors of its own)
        # At a later attempt the file may be gone and is not needed. When it is, `check_inputs` says what is wrong.
        return UNREADABLE


def input_location(one: Input) -> Any:
    """Return where an input is, or what identifies it where nothing has to be read for that."""
    return input_fingerprint(one) if one.uri is None else one.uri


def _read_info(path: ObjectStoragePath) -> Mapping[str, Any]:
    path.fs.invalidate_cache(path.path)
    info: Mapping[str, Any] = path.fs.info(path.path)
    return info


def _identity(path: ObjectStoragePath, info: Mapping[str, Any]) -> Any:
    return _find_etag(info) or [info["size"], checksum(path)]


def _find_etag(info: Mapping[str, Any]) -> str | None:
    return next((str(info[name]) for name in ("ETag", "etag", "md5Hash", "content_md5") if info.get(name)), None)


def _unsigned(value: Any) -> Any:
    """Return a link without its signature: signed again it still is the same file."""
    if isinstance(value, str) and _SIGNED.search(value):
        address, _, query = value.partition("?")
        kept = [part for part in parse_qsl(query, keep_blank_values=True) if not _OF_SIGNATURES.fullmatch(part[0])]
        return [address, kept] if kept else address
    return value


@dataclass(frozen=True)
class StoredSource(UploadSource):
    """A file to hand over.

    :param link: opens it to Magic Hour, which is a secret; None: it has to be uploaded.
    """

    link: str | None = field(default=None, repr=False)


def check_inputs(
    inputs: Sequence[Input], now: float, presigned: PresignedInputs | None = None
) -> dict[FieldPath, StoredSource]:
    """Check that a request's inputs can work, before any request leaves, and find the files to hand over.

    :param now: the time, in seconds since 1970.
    :param presigned: gives files as links where it can; None: all are uploaded.
    :returns: for each input that is a file that file; one that is given twice is one.
    :raises InvalidInputError: one can never be a file, cannot be read, is empty, is of the wrong kind or has expired.
    :raises TransferError: a storage does not answer; a retry may help.
    """
    for one in inputs:
        one.check(now)
    found: dict[_Location, StoredSource] = {}
    return {one.path: _source(one, found, presigned) for one in inputs if one.uri is not None}


def _source(one: Input, found: dict[_Location, StoredSource], presigned: PresignedInputs | None) -> StoredSource:
    """Return how to hand over a file, once it is sure that it can be read.

    :param found: the files found before, however their URIs were written; this one is added.
    """
    kind, extension = one.upload_type()
    with _naming_file(one):
        path = open_path(one.uri or "")
        location = (path.protocol or "file", find_conn_id(path), path.path, kind)
        if location in found:
            return found[location]
        # In the task's own thread: Airflow is asked for the connection here, and not while files are sent.
        info = _read_info(path)
        size = _check_info(info)
    link = presigned.find_link(one, path, size, _find_etag(info)) if presigned is not None else None
    if link is None:
        with _naming_file(one):
            _read_byte(path)
    name = f"The file {shorten(one.uri)} ({one.label})"
    found[location] = StoredSource(name, kind, extension, size, lambda: _open(path), link)
    return found[location]


@contextmanager
def _naming_file(one: Input) -> Iterator[None]:
    """Turn what storage libraries raise into our errors, which name the field and the file."""
    try:
        yield
    except Exception as error:
        words = f"{one.label}: the file {shorten(one.uri)} cannot be read ({redact(describe_error(error), limit=500)})."
        if is_permanent(error):
            advice = "Check its address, and that every worker may read it; then clear the task."
            raise InvalidInputError(words, next_step=advice) from error
        raise TransferError(words, charge=Charge.NONE, next_step="A retry may find its storage back.") from error


def _check_info(info: Mapping[str, Any]) -> int:
    if info.get("type") == "directory":
        raise IsADirectoryError("it is a folder; give one file of it")
    size = info.get("size")
    if not isinstance(size, int):
        raise ValueError("its storage does not say how long it is")
    if not size:
        raise ValueError("it is empty")
    return size


def _open(path: ObjectStoragePath) -> Any:
    if path.protocol in S3:
        return S3Reader(path.fs, path.path)
    # An upload reads large pieces, each once; libraries of object stores would keep up to 50 MiB ahead of it.
    return path.open("rb", cache_type="none")


def _read_byte(path: ObjectStoragePath) -> None:
    with S3Reader(path.fs, path.path, 1) if path.protocol in S3 else _open(path) as file:
        file.read(1)


def open_input(one: Input) -> ObjectStoragePath:
    """Open the path of a file to upload. In the task's own thread: Airflow is asked for the connection here.

    :raises InvalidInputError: there is no such storage or connection.
    :raises TransferError: it cannot be opened now; a retry may help.
    """
    with _naming_file(one):
        path = open_path(one.uri or "")
        _ = path.fs  # made at its first use
        return path


class StoredInput(NamedTuple):
    """A file to upload, as its storage has it.

    :param size: in bytes.
    :param identity: as :func:`input_fingerprint`; None: not known, as its storage tells none and it was not read.
    """

    size: int
    identity: Any


def read_stored_input(one: Input, path: ObjectStoragePath, *, is_read: bool, is_identified: bool) -> StoredInput:
    """Ask a storage for a file to upload, in any thread.

    :param path: of :func:`open_input`.
    :param is_read: whether to make sure that it can be read.
    :param is_identified: whether to read all of it where the storage keeps no checksum.
    :raises InvalidInputError: as :func:`check_inputs`; also without reading it, if it is not there or empty.
    :raises TransferError: its storage does not answer; a retry may help.
    """
    with _naming_file(one):
        info = _read_info(path)
        size, etag = _check_info(info), _find_etag(info)
        if etag is None and is_identified:
            return StoredInput(size, _identity(path, info))
        if is_read:
            _read_byte(path)
        return StoredInput(size, etag)


def check_sizes(sources: Iterable[UploadSource], tier: str | None) -> None:
    """Check that the account's plan takes files as large as these.

    :param tier: the plan; one that is not known is not checked.
    :raises InvalidInputError: the message names size and limit (https://docs.magichour.ai/integration/inputs-and-outputs).
    """
    for source in sources:
        check_size(source.name, source.size, tier)


def check_size(name: str, size: int, tier: str | None) -> None:
    """Check one file as :func:`check_sizes` does.

    :param name: of the file, for the message.
    :param size: in bytes.
    """
    limit = MAX_UPLOAD_BYTES.get((tier or "").lower())
    if limit is not None and size > limit:
        raise InvalidInputError(
            f"{name} is too large: it has {_megabytes(size)}, and the account's plan {tier!r} takes "
            f"{_megabytes(limit)} at most.",
            next_step="Make it smaller, or see https://magichour.ai/pricing.",
        )


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
