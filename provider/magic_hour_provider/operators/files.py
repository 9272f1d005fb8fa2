"""Operators for files alone: upload an input, download or delete the output of a job. All of them are free."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator, conf

from magic_hour_provider import DEFAULT_CONN_ID, clock
from magic_hour_provider.api.catalog import MAX_UPLOAD_BYTES, FileField
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.api.errors import (
    Charge,
    InvalidInputError,
    MagicHourError,
    NotRetryableError,
    TransferError,
)
from magic_hour_provider.api.models import COMPLETE, GONE, Job, JobReference, library_url
from magic_hour_provider.api.responses import job_error
from magic_hour_provider.api.transport.streaming import Readable
from magic_hour_provider.api.transport.uploads import UploadSource, upload_all
from magic_hour_provider.execution.failures import report_failure
from magic_hour_provider.execution.report import Report
from magic_hour_provider.hooks.exceptions import find_cause, one_clear_error, to_airflow_error
from magic_hour_provider.hooks.magic_hour import MagicHourHook
from magic_hour_provider.hooks.masking import LinkSecretMasking
from magic_hour_provider.inputs.fields import Input, shorten, to_uri
from magic_hour_provider.inputs.sources import check_inputs, check_sizes
from magic_hour_provider.links import MagicHourLink
from magic_hour_provider.outputs.assets import emit_outlet_events
from magic_hour_provider.outputs.download import store_outputs
from magic_hour_provider.storage.folders import check_given_folder, clean_folder
from magic_hour_provider.storage.paths import check_folder
from magic_hour_provider.times import format_time

if TYPE_CHECKING:
    from airflow.sdk import Context

UPLOAD_LIFETIME_S = 7 * 24 * 3600.0
"""How long Magic Hour keeps an upload (https://docs.magichour.ai/integration/inputs-and-outputs)."""


class _FilesOperator(LinkSecretMasking, BaseOperator):
    """Base of the three operators: the connection, and errors that Airflow understands."""

    ui_color = "#e9e2ff"

    def __init__(
        self, *, magic_hour_conn_id: str = DEFAULT_CONN_ID, multiple_outputs: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(multiple_outputs=multiple_outputs, **kwargs)
        self.magic_hour_conn_id = magic_hour_conn_id
        self._result: dict[str, Any] | None = None

    @contextmanager
    def _client(self, context: Mapping[str, Any]) -> Iterator[MagicHourClient]:
        try:
            with MagicHourHook(self.magic_hour_conn_id).get_conn() as client:
                yield client
        except MagicHourError as error:
            report_failure(context["ti"], error)
            raise to_airflow_error(error) from find_cause(error)


class MagicHourUploadOperator(_FilesOperator):
    """Uploads one file for any number of later tasks, mapped ones included. Uploading costs nothing.

    The task returns ``{"file_path", "expires_at", "type", "extension", "size", "sha256"}``, whole and key by key: give
    ``upload.output`` or ``upload.output["file_path"]`` where a request takes a file. Magic Hour keeps an upload for
    7 days; a retry uploads again.

    :param source: the file: a path, an ``ObjectStoragePath`` or its URI, or an ``Asset``; its extension tells what it
        is.
    :param type: ``image``, ``video`` or ``audio``, where the extension does not say (``webm``).
    :param magic_hour_conn_id: the connection.
    :raises AirflowFailException: the file cannot be read, or is of no kind that Magic Hour takes.
    """

    template_fields: Sequence[str] = ("source", "magic_hour_conn_id")

    def __init__(self, *, source: Any, type: str | None = None, **kwargs: Any) -> None:  # noqa: A002 (the API's word)
        super().__init__(**kwargs)
        self.source = source
        self.type = type
        if type not in (None, "image", "video", "audio"):
            raise InvalidInputError(f"type must be 'image', 'video' or 'audio'; it is {type!r}.")

    @one_clear_error
    def execute(self, context: Context) -> dict[str, Any]:
        """Upload the file and return its reference."""
        kinds = (self.type,) if self.type else ("image", "video", "audio", "gif")
        with self._client(context) as client:
            one = Input(("source",), FileField("source", kinds), to_uri(self.source))
            one.check(clock.current().now())
            if one.uri is None:
                raise InvalidInputError(
                    f"source is {shorten(self.source)}, which needs no upload: give it to the request as it is."
                )
            (source,) = check_inputs([one], clock.current().now()).values()
            check_sizes([source], _tier(client, source))
            reading = _Hashing(source)
            # From before the upload: the reference must not outlive the file.
            expires = format_time(clock.current().now() + UPLOAD_LIFETIME_S)
            (path,) = upload_all(client, [replace(source, open=reading.opened)])
        self.log.info("Uploaded %s (%s bytes); Magic Hour keeps it until %s.", one.uri, source.size, expires)
        self._result = {
            "file_path": path,
            "expires_at": expires,
            "type": source.kind,
            "extension": source.extension,
            "size": source.size,
            "sha256": reading.sha256,
        }
        return self._result

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:  # noqa: ARG002
        """Return what OpenLineage's provider asks for: the file, and the upload."""
        from magic_hour_provider.outputs.lineage import make_lineage

        return make_lineage([to_uri(self.source)], [self._result])


def _tier(client: MagicHourClient, source: UploadSource) -> str | None:
    """Return the account's plan where it matters to a file, as far as it is known."""
    if source.size <= min(MAX_UPLOAD_BYTES.values()):
        return None
    try:
        return client.get_account().tier
    except MagicHourError:
        return None  # the upload says what is wrong


class _Hashing:
    """A file being uploaded whose checksum is computed on the way: it need not be read twice."""

    def __init__(self, source: UploadSource) -> None:
        self._source = source

    @contextmanager
    def opened(self) -> Iterator[Readable]:
        """Open the file; each try starts over."""
        self._digest = hashlib.sha256()
        with self._source.open() as self._file:
            yield self

    def read(self, size: int, /) -> bytes:
        """Return the next bytes."""
        chunk = self._file.read(size)
        self._digest.update(chunk)
        return chunk

    @property
    def sha256(self) -> str:
        """Checksum of what was read, in hexadecimal digits."""
        return self._digest.hexdigest()


class _JobOperator(_FilesOperator):
    """Base of the operators for a job made elsewhere.

    :param job: a task's result, ``{"kind": ..., "id": ...}``, or the job's address in the web library.
    """

    operator_extra_links = (MagicHourLink(),)

    def __init__(self, *, job: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.job = job

    def _poll_job(self, client: MagicHourClient, context: Mapping[str, Any]) -> tuple[JobReference, Job]:
        reference = JobReference.parse(self.job)
        job = client.find_job(reference.kind, reference.id)
        Report(context["ti"], reference.tool, {}).push_job(job.id, job.kind, job.status)
        return reference, job


class MagicHourDownloadOperator(_JobOperator):
    """Stores the files of a finished job made elsewhere, in the web app for example, and returns its result.

    It polls once; to wait for a job use :class:`~magic_hour_provider.sensors.job.MagicHourJobSensor`, which stores
    files too. A file that is there already and the same is kept; nothing is overwritten. ``outlets`` get the files as
    :class:`~magic_hour_provider.operators.magic_hour.MagicHourOperator` gives them.

    :param job: a task's result, ``{"kind": ..., "id": ...}``, or the job's address in the web library.
    :param output_path: folder for the files: any ``ObjectStoragePath``. Default: ``[magic_hour] output_path``.
    :param magic_hour_conn_id: the connection.
    :raises AirflowFailException: the job failed, was canceled or is gone, or the folder cannot be written.
    :raises AirflowException: the job is still active, or a transfer broke off: a retry may help.
    """

    template_fields: Sequence[str] = ("job", "output_path", "magic_hour_conn_id")

    def __init__(self, *, job: Any, output_path: str | None = None, **kwargs: Any) -> None:
        super().__init__(job=job, **kwargs)
        configured = conf.get("magic_hour", "output_path", fallback="")
        output_path = clean_folder(output_path)
        self.output_path = output_path if output_path is not None else configured
        if not getattr(self, "_BaseOperator__from_mapped", False):
            check_given_folder(output_path)

    @one_clear_error
    def execute(self, context: Context) -> dict[str, Any]:
        """Store the files."""
        with self._client(context) as client:
            folder = str(self.output_path or "").strip()
            if not folder:
                raise InvalidInputError(
                    "There is no folder to store files in: set output_path, or [magic_hour] output_path."
                )
            check_folder(folder)
            reference, job = self._poll_job(client, context)
            if not job.ended:
                raise TransferError(
                    f"Magic Hour job {job.id} is {job.status} and has no files yet.",
                    charge=Charge.KEPT,
                    next_step="Wait for it with MagicHourJobSensor(job=...), or retry later; nothing is paid by this "
                    f"task. See {library_url(job.kind, job.id)}",
                )
            if job.status != COMPLETE:
                failure = job_error(job, tool=reference.tool, paid_here=False)
                failure.retryable = False  # another poll would give the same
                raise failure
            result = store_outputs(client, job, reference.tool, folder)
        self._result = result
        emit_outlet_events(self.outlets, context, result)
        return result

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:  # noqa: ARG002
        """Return what OpenLineage's provider asks for: the job, and the files stored."""
        from magic_hour_provider.outputs.lineage import lineage_of_result

        job = {name: self._result[name] for name in ("kind", "id")} if self._result else self.job
        return lineage_of_result([job], self._result)


class MagicHourDeleteOperator(_JobOperator):
    """Deletes what a finished job made from Magic Hour, **for good**. Files you have stored are not touched.

    A deletion is no cancel and refunds nothing: a job that is still active is refused. A job that is gone already is
    a success, so a retry after a lost response succeeds.

    :param job: a task's result, ``{"kind": ..., "id": ...}``, or the job's address in the web library.
    :param magic_hour_conn_id: the connection.
    :raises AirflowFailException: the job is still active, or cannot be deleted.
    """

    template_fields: Sequence[str] = ("job", "magic_hour_conn_id")

    @one_clear_error
    def execute(self, context: Context) -> dict[str, Any]:
        """Delete the job's output."""
        with self._client(context) as client:
            reference, job = self._poll_job(client, context)
            if job.status == GONE:
                self.log.warning(
                    "Magic Hour finds no %s job %s, so nothing was deleted: it is deleted already, or the id is "
                    "mistyped, of another kind or of another account than the connection's key.",
                    job.kind,
                    job.id,
                )
                return {"id": job.id, "kind": job.kind, "deleted": False}
            if not job.ended:
                raise NotRetryableError(
                    f"Magic Hour job {job.id} is still {job.status}, and deleting is no cancel: it would keep running "
                    f"and stay charged. Nothing was deleted. Wait for its end, or cancel a video by hand at "
                    f"{library_url(job.kind, job.id)}",
                    charge=Charge.NONE,
                )
            client.delete_job(reference.kind, reference.id)
        self.log.warning("Deleted the output of Magic Hour job %s for good; no credits come back.", job.id)
        return {"id": job.id, "kind": job.kind, "deleted": True}
