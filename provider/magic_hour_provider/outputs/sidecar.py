"""The sidecar: a small file beside a job's files that says what they are and what was asked for."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from magic_hour_provider.storage.local import read_file, replace_file

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sidecar:
    """``<tool>-<id>.json``: ``{"result": ..., "request": ...}``, without secrets.

    It tells a later task which files are whole, so that they need not come again. The same job may be collected many
    times, by tasks that know its request and tasks that do not; what is known is kept. It is no media: if it cannot be
    written, the task has its files all the same.

    :param path: its place.
    :param job_id: the job it is about.
    :param before: what it says now; None: nothing, or another's file has its name.
    """

    path: ObjectStoragePath
    job_id: str
    before: Mapping[str, Any] | None
    is_free: bool

    @classmethod
    def of(cls, path: ObjectStoragePath, job_id: str) -> Sidecar:
        """Read what an earlier task has left."""
        try:
            said = json.loads(read_file(path))
        except FileNotFoundError:
            return cls(path, job_id, None, is_free=True)
        except Exception as error:  # noqa: BLE001 (each storage library has errors of its own)
            log.debug("%s cannot be read: %s", path, error)
            # S3 says "forbidden" of what is not there to those who may not list.
            return cls(path, job_id, None, is_free=isinstance(error, PermissionError))
        result = said.get("result") if isinstance(said, dict) else None
        ours = isinstance(result, dict) and result.get("id") == job_id
        return cls(path, job_id, said if ours else None, is_free=False)

    def media(self) -> Sequence[Mapping[str, Any]]:
        """Return the files it names."""
        rows = self.before["result"].get("media") if self.before is not None else None
        return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []

    def write(self, result: Mapping[str, Any], request: Any) -> None:
        """Say what was stored.

        :param result: what the task returns.
        :param request: what was asked for, without secrets; None: not known here.
        """
        if self.before is None and not self.is_free:
            log.warning("%s is another's file: this job's sidecar is not written.", self.path)
            return
        before = self.before or {}
        now = {"result": dict(result), "request": request if request is not None else before.get("request")}
        if now == before:
            return
        try:
            replace_file(self.path, f"{json.dumps(now, indent=1, ensure_ascii=False)}\n".encode())
        except Exception as error:  # noqa: BLE001 (each storage library has errors of its own)
            log.warning("The sidecar %s could not be written; the job's files are stored. %s", self.path, error)
