"""Output files of a finished job, downloaded side by side into the user's storage."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed, wait
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.api.errors import Charge, InvalidInputError, MagicHourError, TransferError, describe_error
from magic_hour_provider.api.models import COMPLETE, Download, Job, library_url
from magic_hour_provider.outputs.result import UNSTORED, StoredFile, task_result
from magic_hour_provider.outputs.sidecar import Sidecar
from magic_hour_provider.outputs.staging import MemoryBudget, NotStoredError, StagedOutput, not_stored_error
from magic_hour_provider.storage.files import ensure_folder
from magic_hour_provider.storage.local import local_path, remove_stale_staging_files
from magic_hour_provider.storage.paths import STORAGE_ERRORS, checksum, open_folder

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

log = logging.getLogger(__name__)

MAX_PARALLEL_DOWNLOADS = 4
"""Files of one job that are downloaded at the same time."""

# Bytes, for all files that wait to be sent to an object store: two full parts of S3, or many images.
_MEMORY = 12 * 1024 * 1024
_MAX_TOOL = 60  # characters of a tool's name in a file's name
_STOP_S = 5.0  # how long a task that is being killed waits for its downloads to stop
OnStored = Callable[[Sequence[StoredFile]], object]


def store_outputs(
    client: MagicHourClient,
    job: Job,
    tool: str,
    folder: str,
    *,
    request: Any = None,
    tag: str = "",
    may_be_empty: bool = True,
    stored: Sequence[Mapping[str, Any]] = (),
    on_stored: OnStored = lambda files: None,  # noqa: ARG005 (nobody asks)
) -> dict[str, Any]:
    """Store the files of a finished job, with a sidecar beside them, and return the task's result.

    :param job: the complete job, with its links.
    :param tool: slug of the tool; of a job made elsewhere: its kind.
    :param folder: where to; empty: nothing is stored.
    :param request: the request without secrets, for the sidecar; None: not known here.
    :param tag: of the paid request, for the sidecar; empty: not known here.
    :param may_be_empty: False: nobody said that the folder should be empty, so a warning says that nothing is stored.
    :param stored: entries of the result's ``media`` list that are known from an earlier attempt.
    :param on_stored: as in :func:`download_outputs`.
    :raises MagicHourError: as :func:`download_outputs`.
    """
    if not folder or job.kind == "face-detection":
        if not may_be_empty and job.kind != "face-detection":
            log.warning(UNSTORED, job.id, library_url(job.kind, job.id))
        return task_result(job, tool, ())
    sidecar: Sidecar | None = None
    if conf.getboolean("magic_hour", "sidecar", fallback=True):
        sidecar = Sidecar.read(_open_folder(job, folder) / f"{file_stem(tool, job)}.json", job, tag)
    before = [*(sidecar.media() if sidecar is not None else ()), *stored]
    result = task_result(job, tool, download_outputs(client, job, tool, folder, stored=before, on_stored=on_stored))
    if sidecar is not None:
        sidecar.write(result, request)
    return result


def download_outputs(
    client: MagicHourClient,
    job: Job,
    tool: str,
    folder: str,
    *,
    stored: Sequence[Mapping[str, Any]] = (),
    on_stored: OnStored = lambda files: None,  # noqa: ARG005 (nobody asks)
) -> list[StoredFile]:
    """Download the files of a finished job into a folder, four at a time; a file that is there and whole is kept.

    No half file ever has its final name, and nothing is overwritten. Where one file fails, the others still come.

    :param job: the complete job, with its links.
    :param folder: where to.
    :param stored: entries of ``media`` lists that are known from earlier attempts; later entries count more.
    :param on_stored: called on this thread with the files stored so far, while more are to come.
    :returns: all of the job's files, in their order.
    :raises TransferError: a file did not come whole; the job stays collectable.
    :raises InvalidInputError: another file has the name already; nothing is overwritten.
    """
    if not job.downloads:
        raise _missing_links_error(job, "link to any file", "Nothing is stored yet.")
    target, stem, count = _open_folder(job, folder), file_stem(tool, job), len(job.downloads)
    known = {row.get("index"): row for row in stored}
    files = {index: kept for index in range(count) if (kept := _find_stored(known.get(index), folder))}
    for one in files.values():
        log.info("%s is there already (%s).", one.uri, _size(one))
    missing = [index for index in range(count) if index not in files]
    if not missing:
        return [files[index] for index in range(count)]
    without_link = [index for index in missing if job.downloads[index] is None]
    missing = [index for index in missing if index not in without_link]
    links, stop, memory = _Links(client, job), threading.Event(), MemoryBudget(_MEMORY)

    def download(index: int) -> StoredFile:
        output = StagedOutput(job, index, target, f"{stem}-{index + 1}", stop, memory)
        return _download_one(client, links, index, output)

    def add(one: StoredFile) -> None:
        files[one.index] = one
        log.info("Stored %s (%s).", one.uri, _size(one))
        if len(files) < count:
            on_stored([files[index] for index in sorted(files)])

    try:
        ensure_folder(target)
        if local := local_path(target):
            remove_stale_staging_files(local, f".{stem}-*.part")
    except Exception as error:  # each storage library has errors of its own
        raise not_stored_error(job, target, error) from error
    if len(missing) == 1:
        add(download(missing[0]))
    elif missing:
        _download_parallel(download, missing, add, stop)
    if without_link:
        numbers = ", ".join(str(index + 1) for index in without_link)
        what = f"link to file{'s' if len(without_link) > 1 else ''} {numbers} of {count}"
        raise _missing_links_error(job, what, "The other files are stored.")
    return [files[index] for index in range(count)]


def _size(file: StoredFile) -> str:
    return f"{file.size / 1e6:,.1f} MB" if file.size >= 100_000 else f"{file.size / 1e3:,.1f} kB"


def _missing_links_error(job: Job, what: str, stored: str) -> TransferError:
    return TransferError(
        f"Magic Hour job {job.id} is complete, but Magic Hour gave no {what}. {stored}",
        charge=Charge.KEPT,
        next_step=f"A retry asks for what is missing and pays nothing. See {library_url(job.kind, job.id)}",
    )


def _download_parallel(
    download: Callable[[int], StoredFile],
    indexes: Sequence[int],
    add: Callable[[StoredFile], object],
    stop: threading.Event,
) -> None:
    pool = ThreadPoolExecutor(min(MAX_PARALLEL_DOWNLOADS, len(indexes)), thread_name_prefix="magic-hour-download")
    futures: list[Future[StoredFile]] = [pool.submit(download, index) for index in indexes]
    try:
        for future in as_completed(futures):
            if future.exception() is None:
                add(future.result())
    except BaseException:  # Airflow ends this task: what is under way stops at its next bytes
        stop.set()
        pool.shutdown(wait=False, cancel_futures=True)
        wait(futures, timeout=_STOP_S)
        raise
    pool.shutdown()
    for future in futures:
        future.result()


def find_stored_files(stored: Sequence[Mapping[str, Any]], folder: str) -> list[StoredFile] | None:
    """Return the files that an earlier attempt stored, if all of them are still there and unchanged.

    :param stored: entries of the result's ``media`` list, from the record.
    """
    files = [_find_stored(row, folder) for row in stored]
    return [one for one in files if one is not None] if files and None not in files else None


def file_stem(tool: str, job: Job) -> str:
    """Return what a job's file names begin with. Nothing in it leads to another folder, whatever the tool is."""
    return f"{re.sub(r'[^A-Za-z0-9_-]+', '-', tool)[:_MAX_TOOL]}-{job.id}"


def _open_folder(job: Job, folder: str) -> ObjectStoragePath:
    try:
        return open_folder(folder)
    except STORAGE_ERRORS as error:
        why = error.message.rstrip(".") if isinstance(error, InvalidInputError) else describe_error(error)
        raise InvalidInputError(
            f"The files of Magic Hour job {job.id} have no place: {why}.",
            charge=Charge.KEPT,
            next_step=f"Fix output_path and clear the task. See {library_url(job.kind, job.id)}",
        ) from None


def _find_stored(row: Mapping[str, Any] | None, folder: str) -> StoredFile | None:
    """Return a file that an earlier attempt stored, if it is still there and unchanged."""
    if row is None:
        return None
    try:
        file = StoredFile(**{name: row[name] for name in StoredFile.__dataclass_fields__ if name in row})
        path = open_folder(folder) / file.uri.rpartition("/")[2]
        if str(path) != file.uri or path.fs.info(path.path)["size"] != file.size:
            return None
        return file if checksum(path) == file.sha256 else None
    except Exception as error:  # noqa: BLE001 (each storage library has errors of its own)
        log.debug("A file stored before cannot be read and is downloaded again: %s", error)
        return None


class _Links:
    """The links of a job. Files that find them expired at the same time share one poll."""

    def __init__(self, client: MagicHourClient, job: Job) -> None:
        self._client = client
        self.job = job
        self._lock = threading.Lock()

    def get(self, index: int) -> Download:
        """Return the link of a file."""
        link = self.job.downloads[index]
        if link is None:
            raise TransferError("Magic Hour gives no link to it.")
        return link

    def refresh(self, index: int, old: Download) -> Download:
        """Return another link than the one that has expired or was rejected."""
        with self._lock:
            if self.job.downloads[index] == old:
                try:
                    again = self._client.get_job(self.job.kind, self.job.id)
                except MagicHourError as error:
                    raise TransferError(
                        f"the link is not good any more, and there is no other: {error.message}"
                    ) from None
                new = again.downloads[index] if index < len(again.downloads) else None
                if again.status != COMPLETE or new is None:
                    raise TransferError(
                        f"the link is not good any more, and the job, now {again.status}, has no other."
                    )
                # A link that is missing this time takes no other file's away.
                links = (*again.downloads, *self.job.downloads[len(again.downloads) :])
                links = tuple(link or before for link, before in zip(links, self.job.downloads, strict=False))
                self.job = replace(again, downloads=links)
            return self.get(index)


def _download_one(client: MagicHourClient, links: _Links, index: int, output: StagedOutput) -> StoredFile:
    job = output.job
    try:
        received = client.download(
            links.get(index),
            output,
            on_start=output.start,
            refresh_link=lambda old: links.refresh(index, old),
        )
        return output.commit(received)
    except (NotStoredError, InvalidInputError):
        raise
    except MagicHourError as error:
        raise TransferError(
            f"File {index + 1} of Magic Hour job {job.id} could not be downloaded: {error.message}",
            charge=Charge.KEPT,
            next_step=f"A retry downloads it and pays nothing. See {library_url(job.kind, job.id)}",
            status_code=error.status_code,
        ) from error
    finally:
        output.close()
