"""``requests``, opened: rows in the order of the list or the file, one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from magic_hour_provider.api.errors import Charge, InvalidInputError, MagicHourError, TransferError, describe_error
from magic_hour_provider.api.redaction import redact
from magic_hour_provider.batch.rows.formats.csv_rows import read_csv_rows
from magic_hour_provider.batch.rows.formats.json_rows import read_json_rows, read_jsonl_rows
from magic_hour_provider.batch.rows.formats.parquet_rows import read_parquet_rows
from magic_hour_provider.batch.rows.formats.row import Row
from magic_hour_provider.batch.rows.formats.text import open_text
from magic_hour_provider.inputs.fields import shorten, to_uri
from magic_hour_provider.storage.files import S3
from magic_hour_provider.storage.paths import is_permanent, open_path
from magic_hour_provider.storage.s3_reader import S3Reader

if TYPE_CHECKING:
    import io

    from airflow.sdk import ObjectStoragePath

_TEXT_FORMATS: Mapping[str, tuple[Callable[[io.TextIOWrapper], Iterator[Row]], str]] = {
    "csv": (read_csv_rows, "line"),
    "jsonl": (read_jsonl_rows, "line"),
    "ndjson": (read_jsonl_rows, "line"),
    "json": (read_json_rows, "row"),
}
_FORMATS = "a list of dicts, or the path or storage URI of a .jsonl, .json, .csv or .parquet file"
_BLOCK = 2 * 1024 * 1024  # bytes; s3fs would read 50 MiB ahead
_VERSION = ("ETag", "etag", "md5Hash", "size", "mtime", "LastModified", "last_modified", "updated")


@dataclass(frozen=True)
class RowSource:
    """The rows that were given.

    :param name: what people call them.
    :param unit: what a row's number counts: ``line`` or ``row``.
    :param rows: can be read once.
    """

    name: str
    unit: str
    rows: Iterator[Row]


@contextmanager
def open_rows(requests: Any) -> Iterator[RowSource]:
    """Open the rows of a batch.

    :param requests: mappings, in a list or anything else that yields them; or a file of them: a path, a storage URI,
        an ``ObjectStoragePath``, an ``Asset``, or the entry of an earlier result's ``media``.
    :raises InvalidInputError: it is neither, or cannot be read; from reading the rows too.
    :raises TransferError: its storage does not answer, or it was replaced while it was read; a retry may help.
    """
    given = to_uri(requests)
    if isinstance(given, str):
        with _open_file(given) as source:
            yield source
        return
    if isinstance(given, Mapping | bytes | bytearray) or not isinstance(given, Iterable):
        raise InvalidInputError(f"requests takes {_FORMATS}; it got {type(given).__name__}.")
    yield RowSource("requests", "row", (Row(number, values) for number, values in enumerate(given, 1)))


@contextmanager
def _open_file(uri: str) -> Iterator[RowSource]:
    if uri[:1] in ("[", "{") or "\n" in uri:
        raise InvalidInputError(
            f"requests takes {_FORMATS}; it got the text {shorten(uri, 60)}, which is what a template makes of an "
            "earlier task's result.",
            next_step="Give task.output itself, or set render_template_as_native_obj on the DAG.",
        )
    extension = uri.rpartition("/")[2].rpartition(".")[2].lower()
    if extension not in (*_TEXT_FORMATS, "parquet"):
        raise InvalidInputError(f"requests takes {_FORMATS}; it got {shorten(uri)}.")
    with ExitStack() as stack:
        with _naming(uri):
            path = open_path(uri)
            version = _read_version(path)
            file = stack.enter_context(_open(path, is_stream=extension != "parquet"))
            if extension == "parquet":
                read, unit = read_parquet_rows(file), "row"
            else:
                reader, unit = _TEXT_FORMATS[extension]
                read = reader(open_text(file))
        yield RowSource(shorten(redact(uri)), unit, _read(uri, read, path, version))


def _read(uri: str, rows: Iterator[Row], path: ObjectStoragePath, version: object) -> Iterator[Row]:
    with _naming(uri):
        yield from rows
        if _read_version(path) != version:
            raise TransferError(
                f"requests: the file {shorten(uri)} was replaced while it was read.",
                charge=Charge.NONE,
                next_step="A retry reads it again.",
            )


def _open(path: ObjectStoragePath, *, is_stream: bool) -> Any:
    if is_stream and path.protocol in S3:
        return S3Reader(path.fs, path.path)
    return path.fs.open(path.path, "rb", block_size=_BLOCK)


def _read_version(path: ObjectStoragePath) -> dict[str, str]:
    path.fs.invalidate_cache(path.path)
    info = path.fs.info(path.path)
    if info.get("type") == "directory":
        raise IsADirectoryError("it is a folder; give one file of it")
    return {name: str(info[name]) for name in _VERSION if name in info}


@contextmanager
def _naming(uri: str) -> Iterator[None]:
    """Turn what storage libraries raise into our errors, which name the file."""
    try:
        yield
    except InvalidInputError as error:
        words = f"requests: the file {shorten(uri)} cannot be read: {error.message}"
        raise InvalidInputError(words, next_step=error.next_step) from error.__cause__
    except MagicHourError:
        raise
    except Exception as error:
        words = f"requests: the file {shorten(uri)} cannot be read ({redact(describe_error(error), limit=500)})."
        if is_permanent(error):
            advice = "Check its address, and that every worker may read it; then clear the task."
            raise InvalidInputError(words, next_step=advice) from error
        raise TransferError(words, charge=Charge.NONE, next_step="A retry may find its storage back.") from error
