"""The sidecar: a small file beside a job's files that says what they are and which request made them."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from magic_hour_provider.api.models import Job
from magic_hour_provider.storage.files import read_file, replace_file

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sidecar:
    """``<tool>-<id>.json``: ``{"result": ..., "request": ..., "created_at": ..., "tag": ...}``, without secrets.

    A later task reads in it which files are whole, so that they are not downloaded again. The same job may be
    downloaded many times, by tasks that know its request and tasks that do not; what is known is kept. It is no media:
    if it cannot be written, the task has its files all the same.

    :param path: where it is.
    :param job: the job it is about.
    :param tag: of the paid request, as the ledger has it; empty: not known here.
    :param content: what it holds now; None: nothing, or another job's file has its name.
    :param is_free: whether no file has its name.
    """

    path: ObjectStoragePath
    job: Job
    tag: str
    content: Mapping[str, Any] | None
    is_free: bool

    @classmethod
    def read(cls, path: ObjectStoragePath, job: Job, tag: str = "") -> Sidecar:
        """Read the sidecar that an earlier task wrote, if there is one."""
        try:
            content = json.loads(read_file(path))
        except FileNotFoundError:
            return cls(path, job, tag, None, is_free=True)
        except Exception as error:  # noqa: BLE001 (each storage library has errors of its own)
            log.debug("%s cannot be read: %s", path, error)
            # S3 says "forbidden" of what is not there to those who may not list.
            return cls(path, job, tag, None, is_free=isinstance(error, PermissionError))
        result = content.get("result") if isinstance(content, dict) else None
        ours = isinstance(result, dict) and result.get("id") == job.id
        return cls(path, job, tag, content if ours else None, is_free=False)

    @property
    def _is_of_this_job(self) -> bool:
        """Whether it is surely about this very job: an id alone may repeat, as that of a simulator does."""
        if self.content is None:
            return False
        if self.tag and self.content.get("tag"):
            return bool(self.content["tag"] == self.tag)
        written = (self.content.get("created_at"), self.content["result"].get("name"))
        return self.job.created_at is not None and written == (self.job.created_at, self.job.name)

    def media(self) -> Sequence[Mapping[str, Any]]:
        """Return the entries of the ``media`` list in it, as far as it is about this very job."""
        return self._media() if self._is_of_this_job else []

    def _media(self) -> list[Mapping[str, Any]]:
        rows = self.content["result"].get("media") if self.content is not None else None
        return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []

    def write(self, result: Mapping[str, Any], request: Any) -> None:
        """Write the job's result and request, unless it is another job's file or holds them already.

        :param result: what the task returns.
        :param request: the request without secrets; None: not known here, so that the one in the file is kept.
        """
        # The same files, downloaded and compared, are of the same job too.
        if not (
            self.is_free or self._is_of_this_job or (self.content is not None and self._media() == result["media"])
        ):
            log.warning("%s is another's file: this job's sidecar is not written.", self.path)
            return
        before = self.content or {}
        after = {
            "result": dict(result),
            "request": request if request is not None else before.get("request"),
            "created_at": self.job.created_at,
            "tag": self.tag or before.get("tag"),
        }
        if after == before:
            return
        try:
            replace_file(self.path, f"{json.dumps(after, indent=1, ensure_ascii=False)}\n".encode())
        except Exception as error:  # noqa: BLE001 (each storage library has errors of its own)
            log.warning("The sidecar %s could not be written; the job's files are stored. %s", self.path, error)
