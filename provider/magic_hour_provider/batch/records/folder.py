"""The folder of all records of a batch, in the user's storage."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from magic_hour_provider.api.errors import InvalidInputError, describe_error
from magic_hour_provider.batch.records.names import prefix_of, shard_of
from magic_hour_provider.batch.records.owner import Owner
from magic_hour_provider.ledger.record import RecordError
from magic_hour_provider.storage.exclusive import NotExclusiveError, create_file
from magic_hour_provider.storage.files import read_file, remove_file, replace_file
from magic_hour_provider.storage.listing import list_names, list_tree
from magic_hour_provider.storage.local import local_path
from magic_hour_provider.storage.paths import open_folder

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

BATCH_FOLDER = ".magic-hour-batch"
RESULTS_FOLDER = "results"
RESULTS_FILE = "results.jsonl"


def results_folder(output_path: str, owner: Owner) -> str:
    """Return the folder of a task instance's results: the same in all its tries, and no other run's."""
    return f"{output_path.rstrip('/')}/{RESULTS_FOLDER}/{owner.digest}"


class RecordFolder:
    """Lists, creates and reads files; names are below the folder. No file is ever changed.

    :param output_path: the batch's folder for files, an absolute path or any ``ObjectStoragePath`` URI.
    :raises InvalidInputError: it is relative, or there is no such connection.
    """

    def __init__(self, output_path: str) -> None:
        self.uri = f"{output_path.rstrip('/')}/{BATCH_FOLDER}"
        try:
            self._root = open_folder(self.uri)
        except InvalidInputError as error:
            words = f"output_path {output_path!r} cannot be used: {error.message}"
            raise InvalidInputError(words, next_step=error.next_step) from error

    def locate(self, name: str) -> str:
        """Name a file for a person."""
        return f"the file '{self.uri}/{name}'"

    def list_all(self) -> list[str]:
        """Return the names of all files.

        :raises RecordError: they cannot be listed now.
        """
        with self._translating_errors("listed", ""):
            return list_tree(self._root)

    def list_some(self, prefix: str) -> list[str]:
        """Return the names in the folder itself that begin so.

        :raises RecordError: they cannot be listed now.
        """
        with self._translating_errors("listed", ""):
            return list_names(self._root, prefix)

    def list_item(self, key: str) -> list[str]:
        """Return the names of all files of an item.

        :raises RecordError: they cannot be listed now.
        """
        shard = shard_of(key)
        with self._translating_errors("listed", f"{shard}/{key}"):
            return [f"{shard}/{name}" for name in list_names(self._root / shard, prefix_of(key))]

    def list_staged(self, key: str) -> list[str]:
        """Return the names of an item's staging files, which writers leave behind that are killed.

        :raises RecordError: they cannot be listed now.
        """
        shard = shard_of(key)
        with self._translating_errors("listed", f"{shard}/{key}"):
            if local_path(self._root) is None:  # elsewhere a file is there at once, and whole
                return []
            return [f"{shard}/{name}" for name in list_names(self._root / shard, f".{prefix_of(key)}")]

    def create(self, name: str, data: bytes) -> None:
        """Create a file where there is none.

        :raises FileExistsError: there is one; nothing was changed.
        :raises NotExclusiveError: the storage cannot say so; nothing was written.
        :raises RecordError: it cannot be written now; it may arrive later all the same.
        """
        with self._translating_errors("written", name):
            create_file(self._path(name), data)

    def write(self, name: str, data: bytes) -> None:
        """Write a file of which the name says all that matters: one that is there already is as good.

        :raises RecordError: it cannot be written now; it may arrive later all the same.
        """
        with self._translating_errors("written", name):
            try:
                create_file(self._path(name), data)
            except FileExistsError:
                return
            except NotExclusiveError:
                replace_file(self._path(name), data)

    def read(self, name: str) -> bytes | None:
        """Return a file's bytes; None: it is surely not there.

        :raises RecordError: it cannot be read now.
        """
        with self._translating_errors("read", name):
            try:
                return read_file(self._path(name))
            except FileNotFoundError:
                return None

    def remove(self, name: str) -> None:
        """Remove a file; a missing one is no error.

        :raises RecordError: it cannot be removed now.
        """
        with self._translating_errors("removed", name), contextlib.suppress(FileNotFoundError):
            remove_file(self._path(name))

    def modified_at(self, name: str) -> float | None:
        """Return when a file was written, by the storage's clock, in seconds since 1970; None: it does not say."""
        path = self._path(name)
        try:
            path.fs.invalidate_cache()
            return float(path.fs.modified(path.path).timestamp())
        except Exception:  # noqa: BLE001 (each library has errors of its own, and some know no such time)
            return None

    def _path(self, name: str) -> ObjectStoragePath:
        return self._root / name

    @contextlib.contextmanager
    def _translating_errors(self, done: str, name: str) -> Iterator[None]:
        try:
            yield
        except (FileExistsError, NotExclusiveError):
            raise
        except Exception as error:  # each storage library has errors of its own
            what = self.locate(name) if name else f"the folder '{self.uri}'"
            raise RecordError(
                f"What this batch has paid for is recorded in {what}, which cannot be {done} now "
                f"({describe_error(error)}).",
                next_step="Nothing is paid without a record. See to the folder, its connection and its permissions; a "
                "retry resumes from the records.",
            ) from error


def unlisted_error(folder: RecordFolder, name: str) -> RecordError:
    """Return the error of a file that a listing does not show although it was just written: another one may hide too.

    :param name: of the file, as the folder knows it.
    """
    return RecordError(
        f"A listing of '{folder.uri}' does not show {name!r}, which was just written. Nothing was sent.",
        next_step="A retry lists the folder again.",
    )
