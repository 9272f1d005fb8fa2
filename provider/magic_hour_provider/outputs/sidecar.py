"""The sidecar: a small file beside a job's files that says what they are and which request made them."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from magic_hour_provider.storage.files import read_file, replace_file

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sidecar:
    """``<tool>-<id>.json``: ``{"result": ..., "request": ...}``, without secrets.

    A later task reads in it which files are whole, so that they are not downloaded again. The same job may be
    downloaded many times, by tasks that know its request and tasks that do not; what is known is kept. It is no media:
    if it cannot be written, the task has its files all the same.

    :param path: where it is.
    :param job_id: the job it is about.
    :param content: what it holds now; None: nothing, or another job's file has its name.
    :param is_free: whether no file has its name.
    """

    path: ObjectStoragePath
    job_id: str
    content: Mapping[str, Any] | None
    is_free: bool

    @classmethod
    def read(cls, path: ObjectStoragePath, job_id: str) -> Sidecar:
        """Read the sidecar that an earlier task wrote, if there is one."""
        try:
            content = json.loads(read_file(path))
        except FileNotFoundError:
            return cls(path, job_id, None, is_free=True)
        except Exception as error:  # noqa: BLE001 (each storage library has errors of its own)
            log.debug("%s cannot be read: %s", path, error)
            # S3 says "forbidden" of what is not there to those who may not list.
            return cls(path, job_id, None, is_free=isinstance(error, PermissionError))
        result = content.get("result") if isinstance(content, dict) else None
        ours = isinstance(result, dict) and result.get("id") == job_id
        return cls(path, job_id, content if ours else None, is_free=False)

    def media(self) -> Sequence[Mapping[str, Any]]:
        """Return the entries of the ``media`` list in it."""
        rows = self.content["result"].get("media") if self.content is not None else None
        return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []

    def write(self, result: Mapping[str, Any], request: Any) -> None:
        """Write the job's result and request, unless it is another job's file or holds them already.

        :param result: what the task returns.
        :param request: the request without secrets; None: not known here, so that the one in the file is kept.
        """
        if self.content is None and not self.is_free:
            log.warning("%s is another's file: this job's sidecar is not written.", self.path)
            return
        before = self.content or {}
        after = {"result": dict(result), "request": request if request is not None else before.get("request")}
        if after == before:
            return
        try:
            replace_file(self.path, f"{json.dumps(after, indent=1, ensure_ascii=False)}\n".encode())
        except Exception as error:  # noqa: BLE001 (each storage library has errors of its own)
            log.warning("The sidecar %s could not be written; the job's files are stored. %s", self.path, error)
