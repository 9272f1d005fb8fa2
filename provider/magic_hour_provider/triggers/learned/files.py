"""Files that keep learned durations, so that they survive a restart of the triggerer: where a place exists.

That is under ``[magic_hour] ledger_path``, one small file for each connection, tool and polling class::

    <ledger_path>/.durations/<connection>-<tool>-<class>-<hash>.json

No record is there: folders of records begin with no dot. A file holds counts of jobs and nothing of any job, and may be
removed at any time. It is written over as a whole. Of two triggerers the last one to write wins, which loses nothing of
importance: each has read the file first, and what either has seen is a sample of the same jobs.

All functions block: they are called in a thread of their own. Nothing fails for what is kept here.
"""

from __future__ import annotations

import hashlib
import json
import logging
from typing import TYPE_CHECKING, Any

from magic_hour_provider.api.errors import describe_error
from magic_hour_provider.api.redaction import redact
from magic_hour_provider.ledger.file_store import make_readable, read_ledger_path
from magic_hour_provider.polling.durations import Durations, NewerVersionError
from magic_hour_provider.storage.files import read_file, replace_file
from magic_hour_provider.storage.listing import list_names
from magic_hour_provider.storage.paths import open_path

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

log = logging.getLogger(__name__)

FOLDER = ".durations"
MAX_HISTOGRAMS = 500
"""As many as one triggerer remembers."""
_MAX_SIZE = 4096  # bytes, of which a histogram takes a tenth


class NotKeptError(Exception):
    """Durations cannot be kept for now; the log says why."""


class DurationsFile:
    """The file of one histogram, as it was read.

    :param conn_id: the connection.
    :param host: base URL of its client: a simulator's jobs are faster than Magic Hour's.
    :param tool: slug of the tool, or the jobs' kind.
    :param polling: name of the polling class.
    :raises NotKeptError: the storage cannot be used.
    """

    def __init__(self, conn_id: str, host: str, tool: str, polling: str) -> None:
        digest = hashlib.sha256(json.dumps([conn_id, host, tool, polling]).encode()).hexdigest()[:16]
        self._name = "-".join([make_readable(one, 60) for one in (conn_id, tool, polling)] + [f"{digest}.json"])
        self._is_new = False
        self.is_ours = True
        """Whether it may be written over."""
        self.kept: Any = None
        """What was in it: a histogram, as JSON; None: nothing of use."""
        try:
            self.kept = self._read()
        except Exception as error:
            raise self._failure(error) from error

    def _path(self) -> ObjectStoragePath:
        return open_path(f"{read_ledger_path()}/{FOLDER}/{self._name}")

    def _read(self) -> Any:
        path = self._path()
        try:
            path.fs.invalidate_cache()
            size = path.fs.info(path.path)["size"]
            data = read_file(path) if size <= _MAX_SIZE else b""
        except FileNotFoundError:
            self._is_new = True
            return None
        try:
            if size > _MAX_SIZE:
                raise ValueError(f"it has {size} bytes")
            kept = json.loads(data)
            Durations.check(kept)
        except NewerVersionError as error:
            self.is_ours = False
            log.warning("The learned durations in '%s' are not used, and left alone: %s.", _shown(path), error)
        except (ValueError, RecursionError) as error:
            log.warning(
                "The learned durations in '%s' cannot be used (%s). No wait is affected, and new ones replace them.",
                _shown(path),
                describe_error(error),
            )
        else:
            return kept
        return None

    def write(self, kept: dict[str, Any]) -> None:
        """Write a histogram over it.

        :raises NotKeptError: it cannot be written.
        """
        try:
            path = self._path()
            if self._is_new and len(list_names(path.parent, "")) >= MAX_HISTOGRAMS:
                self.is_ours = False
                log.warning(
                    "There are %d files of learned durations in '%s', so no new one is written. Remove those that are "
                    "old.",
                    MAX_HISTOGRAMS,
                    _shown(path.parent),
                )
                return
            replace_file(path, json.dumps(kept).encode())
            self._is_new = False
        except Exception as error:
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> NotKeptError:
        log.warning(
            "Learned durations cannot be kept under [magic_hour] ledger_path for now (%s). No wait is affected; the "
            "triggerer tries again in an hour.",
            redact(describe_error(error)).rstrip("."),
        )
        return NotKeptError(self._name)


def _shown(path: ObjectStoragePath) -> str:
    return redact(str(path))
