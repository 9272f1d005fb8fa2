"""The record as files, for Airflow 3.1 and 3.2, which have no task state store.

One folder per task instance, one file per key, under ``[magic_hour] ledger_path`` or else in ``.magic-hour-ledger``
under the task's ``output_path``::

    <ledger_path>/<dag>/<task>--<run>-<hash>/magic_hour.job         what was paid for, as JSON
                                            /magic_hour.job.claim   for a moment: an attempt is about to write over that
                                            /magic_hour.adopt       made by a person: id or address of a job to resume
                                            /magic_hour.regenerate  made by a person: the word true

The try number is in no name: all attempts of a task instance share its folder. Messages and logs give its whole name.
Only a file that is surely not there counts as "no record"; whatever else goes wrong stops the attempt unpaid. Of two
attempts that declare an intent at the same moment one is refused at least (:meth:`FileStore.declare`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

from magic_hour_provider.api.errors import InvalidInputError, describe_error
from magic_hour_provider.ledger.record import (
    ADOPT,
    KEY,
    REGENERATE,
    Record,
    RecordError,
    overtaken_error,
    unreadable_error,
)
from magic_hour_provider.storage.exclusive import NotExclusiveError, create_file, refuses_taken_names
from magic_hour_provider.storage.files import OBJECT_STORES, read_file, remove_file, replace_file
from magic_hour_provider.storage.folders import check_location, differs_by_attempt
from magic_hour_provider.storage.listing import list_names
from magic_hour_provider.storage.local import random_suffix
from magic_hour_provider.storage.paths import open_path

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

log = logging.getLogger(__name__)

_CLAIM = f"{KEY}.claim"
HIDDEN_FOLDER = ".magic-hour-ledger"


def open_file_store(ti: Any, output_path: str, template: Any) -> FileStore | None:
    """Return the store of a task instance, or None if there is no folder to keep it in.

    :param ti: Airflow's task instance.
    :param output_path: the task's folder for files, rendered; or empty.
    :param template: the same before it was rendered.
    :raises InvalidInputError: ``[magic_hour] ledger_path`` cannot work.
    """
    root = read_ledger_path()
    if not root and not output_path:
        return None
    if not root and differs_by_attempt(template):
        log.warning(
            "output_path is the template %r, which differs from attempt to attempt: the record of what this task pays "
            "for cannot be kept under it. Set [magic_hour] ledger_path.",
            template,
        )
        return None
    if not root:
        check_location(output_path)
        root = f"{output_path.rstrip('/')}/{HIDDEN_FOLDER}"
    return FileStore(f"{root}/{folder_name(ti.dag_id, ti.run_id, ti.task_id, ti.map_index)}")


def open_configured_store(dag_id: str, run_id: str, task_id: str, map_index: int | None) -> FileStore | None:
    """Return the store of a task instance under ``[magic_hour] ledger_path``, or None if that is not set.

    :raises InvalidInputError: the setting cannot work.
    """
    root = read_ledger_path()
    return FileStore(f"{root}/{folder_name(dag_id, run_id, task_id, map_index)}") if root else None


def read_ledger_path() -> str:
    """Return the setting without its last slash; empty: it is not set."""
    root: str = conf.get("magic_hour", "ledger_path", fallback="").strip()
    if not root:
        return ""
    if "{{" in root or "{%" in root or not ("://" in root or root.startswith("/")):
        raise InvalidInputError(
            f"[magic_hour] ledger_path is {root!r}; it must be an absolute path or a storage URI, and no template: "
            "all attempts of all tasks must find the same folder."
        )
    check_location(root, "[magic_hour] ledger_path")  # file://a/b is one
    return root.rstrip("/")


def folder_name(dag_id: str, run_id: str, task_id: str, map_index: int | None) -> str:
    """Return the folder of a task instance: readable, and by its hash unlike any other's, in any letter case."""
    index = -1 if map_index is None else map_index
    digest = hashlib.sha256(json.dumps([dag_id, run_id, task_id, index]).encode()).hexdigest()[:16]
    task = make_readable(task_id, 80) + (f".{index}" if index >= 0 else "")
    return f"{make_readable(dag_id, 80)}/{task}--{make_readable(run_id, 80)}-{digest}"


def make_readable(text: str, length: int) -> str:
    """Return a text as the name of a file or folder; other texts may have the same one."""
    return re.sub(r"[^A-Za-z0-9._+-]+", "-", text)[:length].strip(".-") or "_"


class FileStore:
    """Keeps the keys of one task instance as files.

    :param folder: its own folder: an absolute path or any ``ObjectStoragePath`` URI; made when it is first written.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def describe_location(self, key: str) -> str:
        """Name a key's place for a person."""
        return f"the file '{self.folder}/{key}'"

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value, or the default if there is surely no such file.

        :raises InvalidInputError: the file holds something else.
        :raises RecordError: the storage cannot be read.
        """
        with self._translating_errors("read", key):
            try:
                data = read_file(self._path(key))
            except FileNotFoundError:
                return default
        if key in (ADOPT, REGENERATE):
            return _parse_instruction(data, self.describe_location(key))
        try:
            return json.loads(data)
        except ValueError as error:
            raise unreadable_error(self.describe_location(key), error) from None

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:  # noqa: ARG002 (files do not expire)
        """Write a JSON value. There is either the old file or the new one, never half of it.

        :raises RecordError: it cannot be written.
        """
        with self._translating_errors("written", key):
            replace_file(self._path(key), _to_bytes(value))

    def declare(self, intent: Record, previous: Record | None) -> None:
        """Write an intent over what an attempt has decided on, unless another attempt does so at the same moment.

        The first intent of all is created exclusively. Over a record, a claim beside it is, for the moment in which it
        is read once more and written. Where the storage cannot create exclusively, which a probe tells, each attempt
        writes a claim of its own and then makes sure that there is no other: so of two, the later one at least sees
        the other's.

        :raises RecordError: another attempt is writing the record, or has written it; or it cannot be written.
        """
        value = intent.to_json()
        is_exclusive = self._refuses_taken_names()
        if previous is None and is_exclusive and self._create(KEY, value):
            return
        claim = _CLAIM
        try:
            if not (is_exclusive and self._create(claim, value)):
                claim = f"{KEY}.{intent.tag}"
                self.set(claim, value)
            if claim != _CLAIM and (others := self._find_claims(claim)):
                raise overtaken_error(self.describe_location(others[0]), is_claim=True)
            current = self.get(KEY)
            if (None if current is None else Record.read(current, self.describe_location(KEY))) != previous:
                raise overtaken_error(self.describe_location(KEY))
            self.set(KEY, value)
        finally:
            self._drop_claim(claim, value)

    def _drop_claim(self, claim: str, value: Any) -> None:
        """Remove an own claim, also one that was written although an error came; another attempt's stays."""
        for is_last in (False, True):
            try:
                if self.get(claim) == value:
                    self.delete(claim)
            except (RecordError, InvalidInputError):
                if is_last:
                    log.exception("The claim could not be removed; the next intent needs it gone.")
            else:
                return

    def _find_claims(self, own: str) -> list[str]:
        with self._translating_errors("listed", KEY):
            return [name for name in list_names(open_path(self.folder), f"{KEY}.") if name != own]

    def _refuses_taken_names(self) -> bool:
        """Whether the storage was seen to refuse a name that is taken. A disk does, and what is neither says so itself.

        :raises RecordError: it cannot be written or read now.
        """
        probe = f".probe-{random_suffix()}"
        if self._path(probe).protocol not in OBJECT_STORES:
            return True
        try:
            with self._translating_errors("written", probe):
                path = self._path(probe)
                return refuses_taken_names(lambda data: create_file(path, data), lambda: read_file(path))
        finally:
            try:
                self.delete(probe)
            except RecordError as error:  # who may not delete keeps a small file for each payment
                log.info("The probe stays: %s", error.message)

    def _create(self, key: str, value: Any) -> bool:
        """Create a file where there is none; return False where the storage cannot promise that.

        :raises RecordError: there is one; or it cannot be written.
        """
        with self._translating_errors("written", key):
            try:
                create_file(self._path(key), _to_bytes(value))
            except NotExclusiveError:
                return False
            except FileExistsError:
                pass
            else:
                return True
        # A request that the storage's library sent again meets the file of its own first try.
        if self.get(key) != value:
            raise overtaken_error(self.describe_location(key), is_claim=key == _CLAIM)
        return True

    def delete(self, key: str) -> None:
        """Remove a file; a missing one is no error.

        :raises RecordError: it cannot be removed.
        """
        with self._translating_errors("removed", key), contextlib.suppress(FileNotFoundError):
            remove_file(self._path(key))

    def _path(self, key: str) -> ObjectStoragePath:
        return open_path(f"{self.folder}/{key}")

    @contextlib.contextmanager
    def _translating_errors(self, done: str, key: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # each storage library has errors of its own
            raise RecordError(
                f"What this task has paid for is recorded in {self.describe_location(key)}, which cannot be {done} now "
                f"({describe_error(error)}).",
                next_step="Nothing is paid without the record. See to the folder, its connection and its permissions; "
                "a retry resumes from the record.",
            ) from error


def _to_bytes(value: Any) -> bytes:
    return json.dumps(value, indent=1).encode()


def _parse_instruction(data: bytes, where: str) -> Any:
    """Return the JSON object of our own tab or command, or the text that a person wrote, with or without quotes.

    :raises InvalidInputError: there is nothing in it.
    """
    text = data.decode("utf-8-sig", "replace").strip()
    if text.startswith("{"):
        with contextlib.suppress(ValueError):
            return json.loads(text)
    if not (text := text.strip("\"'").strip()):
        raise InvalidInputError(
            f"There is nothing in {where}.", next_step="Put the job's id, or true, into it, or remove it."
        )
    return text.lower() == "true" or text
