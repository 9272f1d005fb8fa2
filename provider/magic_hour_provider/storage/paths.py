"""Paths in the user's storage: opened with their own connections, checked before anything is paid for."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import AirflowException, AirflowNotFoundException, BaseHook

from magic_hour_provider.api.errors import Charge, InvalidInputError, TransferError, describe_error
from magic_hour_provider.storage.files import ensure_folder, remove_file
from magic_hour_provider.storage.folders import check_location
from magic_hour_provider.storage.local import random_suffix
from magic_hour_provider.storage.s3_writer import S3Writer
from magic_hour_provider.storage.writers import open_writer

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath
    from airflow.sdk.io.store import ObjectStore

STORAGE_ERRORS = (OSError, ValueError, ImportError, AirflowException)
"""What the file systems behind ``ObjectStoragePath`` raise: not there, not allowed, unknown protocol, no connection."""

# Not there, not allowed, no file, unknown protocol, library or connection.
_PERMANENT = (
    *(FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError, NotADirectoryError),
    *(ValueError, ImportError, NotImplementedError, AirflowException),
)
_PERMANENT_CODES = (errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL, errno.EROFS)

_CHUNK = 1024 * 1024  # bytes of a stored file that are read at a time
_BLOCK = 2 * _CHUNK  # s3fs would read 50 MiB ahead
# The stores whose connection was there: like their file systems, it is looked for once in a process.
_CONNECTED: set[str] = set()
_PACKAGES = {
    **dict.fromkeys(("s3", "s3a", "s3n"), "apache-airflow-providers-amazon and s3fs"),
    **dict.fromkeys(("gs", "gcs"), "apache-airflow-providers-google and gcsfs"),
    **dict.fromkeys(("abfs", "abfss", "adl"), "apache-airflow-providers-microsoft-azure and adlfs"),
}
_NO_TEXT = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")  # what no database takes either, where results are kept
_LONG_NAME = 100  # characters; an output's name is ``<tool>-<id>-<number>.<extension>``


def is_permanent(error: Exception) -> bool:
    """Whether an error of a storage is known to stay; each library has errors of its own, and any other may pass."""
    return isinstance(error, _PERMANENT) or (isinstance(error, OSError) and error.errno in _PERMANENT_CODES)


def find_conn_id(path: ObjectStoragePath) -> str | None:
    """Return the id of the connection that a path names, or None: Airflow 3.1 has it among the storage's options."""
    found: str | None = getattr(path, "conn_id", None) or path.storage_options.get("conn_id")
    return found


def open_path(uri: str) -> ObjectStoragePath:
    """Return the path of a local name or of a storage URI with its own Airflow connection.

    :raises InvalidInputError: Airflow would take it for another one; or no package for it is installed; or there is no
        such connection. Without this check, storage libraries would proceed without credentials and be refused, or
        find another account's files.
    """
    from airflow.sdk import ObjectStoragePath

    parts = urlsplit(uri)
    # As its object storage paths do: an empty query or fragment, of a name that ends with "?" or "#", is lost there.
    if any(uri.count(sign) != parts.geturl().count(sign) for sign in "?#\t\r\n"):
        raise InvalidInputError(
            f"Airflow reads it as {parts.geturl()!r}: use a name that does not end with '?' or '#', without tabs and "
            "line ends"
        )
    if parts.scheme == "memory":
        _attach_memory()
    _check_store(uri)
    return ObjectStoragePath(uri)


def _check_store(uri: str) -> None:
    from airflow.sdk.io import attach, has_fs

    parts = urlsplit(uri)
    conn_id = parts.netloc.rpartition("@")[0]
    store = attach(parts.scheme or "file", conn_id or None)
    if "fs" not in vars(store) and not has_fs(store.protocol):
        package = _PACKAGES.get(store.protocol, "the Airflow provider that opens them, with its library")
        raise InvalidInputError(
            f"nothing that is installed opens addresses such as {uri!r}",
            next_step=f"Install {package}, on workers, triggerers and the API server.",
        )
    if not conn_id or str(store) in _CONNECTED or _has_own_files(store):
        return
    try:
        BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        raise InvalidInputError(
            f"there is no Airflow connection {conn_id!r}, which {uri!r} names",
            next_step="Make that connection, or name another one before the @.",
        ) from None
    _CONNECTED.add(str(store))


def _has_own_files(store: ObjectStore) -> bool:
    """Whether a store needs no connection, as a user attached a file system to it.

    From Airflow 3.2 on any ``ObjectStoragePath`` opens its store, also without the connection that it names. That file
    system comes last among the store's attributes; one that was given stands before the store's options (3.1 to 3.3).
    """
    names = list(vars(store))
    return "fs" in names and names.index("fs") < names.index("storage_options")


def _attach_memory() -> None:
    """Make ``memory://`` known: of fsspec's own file systems Airflow registers local files only (seen on 3.3.2)."""
    from airflow.sdk.io import attach, has_fs

    store = attach("memory")
    # Whoever tried it before has left a store without a file system behind; one that a user attached has one.
    if "fs" not in vars(store) and not has_fs("memory"):
        import fsspec

        store.fs = fsspec.filesystem("memory")


def open_folder(folder: str) -> ObjectStoragePath:
    """Return the path of a folder for files.

    :raises InvalidInputError: it is relative, or no text; it climbs out of itself with ``..``, as a template may make
        it do; or as :func:`open_path`.
    """
    _check_words(folder)
    return open_path(folder)


def _check_words(folder: str) -> None:
    if _NO_TEXT.search(folder):
        raise InvalidInputError(f"output_path {folder[:200]!r} holds characters that no folder has.")
    if ".." in re.split(r"[/\\]", folder):
        raise InvalidInputError(
            f"output_path {folder!r} has '..' in it, so files would leave the folder that it begins with: write the "
            "folder that is meant, and check what its templates were filled with"
        )
    check_location(folder)


def checksum(path: ObjectStoragePath) -> str:
    """Return the SHA-256 of a stored file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.fs.open(path.path, "rb", block_size=_BLOCK) as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def check_folder(folder: str) -> None:
    """Make sure that files can be written to a folder, before anything is paid for.

    :raises InvalidInputError: they cannot.
    :raises TransferError: they cannot now; a retry may help.
    """
    _check_words(folder)
    try:
        _probe(open_path(folder))
    except InvalidInputError as error:
        words = f"output_path {folder!r} cannot be used: {error.message}"
        raise InvalidInputError(words, next_step=error.next_step) from error.__cause__
    except Exception as error:  # each storage library has errors of its own
        words = f"output_path {folder!r} cannot be written ({describe_error(error)})."
        if is_permanent(error):
            advice = "See to the folder, its connection and its permissions, or name another one; then clear the task."
            raise InvalidInputError(words, next_step=advice) from error
        raise TransferError(words, charge=Charge.NONE, next_step="A retry may find its storage back.") from error


def _probe(folder: ObjectStoragePath) -> None:
    """Store a small file as outputs will be stored, under a name as long as theirs, and remove it."""
    ensure_folder(folder)
    # A name of its own: other tasks try the same folder.
    path = folder / f".magic-hour-{random_suffix()}.probe".ljust(_LONG_NAME, "_")
    writer = open_writer(path, "text/plain")
    try:
        writer.write(b"magic hour\n")
        if isinstance(writer, S3Writer):
            # An upload that is never completed needs no right to delete, wakes no listener and leaves no version.
            writer.send()
        else:
            writer.commit()
            remove_file(path)
            return
    except BaseException:
        with contextlib.suppress(Exception):  # it must not hide what could not be done
            writer.abort()
        raise
    writer.abort()
