"""Files coming out: the files of a finished job become files in the user's storage, and the job a task's result."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed, wait
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.api.clock import CLOCK, Clock
from magic_hour_provider.api.errors import InvalidInputError, MagicHourError, TransferError
from magic_hour_provider.api.models import COMPLETE, Download, Job, library_url
from magic_hour_provider.outputs.sidecar import Sidecar
from magic_hour_provider.outputs.staging import MemoryBudget, NotStoredError, StagedOutput, not_stored
from magic_hour_provider.storage.local import ensure_folder, local_path, remove_stale_staging_files
from magic_hour_provider.storage.paths import StoredFile, checksum, open_folder, task_result

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

log = logging.getLogger(__name__)

PARALLEL = 4  # files of one job at a time

_MEMORY = (
    12 * 1024 * 1024
)  # bytes, for all that wait to be sent to an object store: two full parts of S3, or many images
_STOP_S = 5.0  # how long a task that is being killed waits for its downloads to tidy up
Saved = Callable[[Sequence[StoredFile]], object]


def store_outputs(
    client: MagicHourClient,
    job: Job,
    tool: str,
    folder: str,
    *,
    request: Any = None,
    stored: Sequence[Mapping[str, Any]] = (),
    saved: Saved = lambda some: None,  # noqa: ARG005 (nobody wants to know)
    clock: Clock = CLOCK,
) -> dict[str, Any]:
    """Store the files of a finished job, with a sidecar beside them, and return the task's result.

    :param folder: where to; empty: nothing is stored.
    :param request: what was asked for, without secrets; None: not known here.
    :raises MagicHourError: as :func:`download_outputs`.
    """
    if not folder or job.kind == "face-detection":
        return task_result(job, tool, ())
    sidecar: Sidecar | None = None
    if conf.getboolean("magic_hour", "sidecar", fallback=True):
        sidecar = Sidecar.of(_place(job, folder) / f"{file_stem(tool, job)}.json", job.id)
    before = [*(sidecar.media() if sidecar is not None else ()), *stored]
    result = task_result(
        job, tool, download_outputs(client, job, tool, folder, stored=before, saved=saved, clock=clock)
    )
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
    saved: Saved = lambda some: None,  # noqa: ARG005 (nobody wants to know)
    clock: Clock = CLOCK,
) -> list[StoredFile]:
    """Store the files of a finished job, several at a time; a file that is there already and whole is kept.

    No half file ever has its final name, and nothing is overwritten. Where one file fails, the others still come.

    :param job: a look at the complete job, with its links.
    :param folder: where to.
    :param stored: what is known to have been stored before; later entries count more.
    :param saved: called on this thread with the files stored so far, while more are to come.
    :raises TransferError: a file did not come whole; the job stays collectable.
    :raises InvalidInputError: another file has the name already; nothing is overwritten.
    """
    if not job.downloads:
        raise TransferError(f"Magic Hour job {job.id} is complete but names no files yet; it is paid for, try again.")
    place, stem, count = _place(job, folder), file_stem(tool, job), len(job.downloads)
    before = {row.get("index"): row for row in stored}
    media = {index: kept for index in range(count) if (kept := _kept(before.get(index), folder))}
    missing = [index for index in range(count) if index not in media]
    if not missing:
        return [media[index] for index in range(count)]
    links, stop, room = _Links(client, job), threading.Event(), MemoryBudget(_MEMORY)

    def fetch(index: int) -> StoredFile:
        return _fetch(client, links, index, StagedOutput(job, index, place, f"{stem}-{index + 1}", stop, room), clock)

    def arrived(one: StoredFile) -> None:
        media[one.index] = one
        if len(media) < count:
            saved([media[index] for index in sorted(media)])

    try:
        ensure_folder(place)
        if local := local_path(place):
            remove_stale_staging_files(local, f".{stem}-*.part")
    except Exception as error:  # each storage library has errors of its own
        raise not_stored(job, place, error) from error
    if len(missing) == 1:
        arrived(fetch(missing[0]))
    else:
        _side_by_side(fetch, missing, arrived, stop)
    return [media[index] for index in range(count)]


def _side_by_side(
    fetch: Callable[[int], StoredFile],
    indexes: Sequence[int],
    arrived: Callable[[StoredFile], object],
    stop: threading.Event,
) -> None:
    pool = ThreadPoolExecutor(min(PARALLEL, len(indexes)), thread_name_prefix="magic-hour-download")
    futures: list[Future[StoredFile]] = [pool.submit(fetch, index) for index in indexes]
    try:
        for future in as_completed(futures):
            if future.exception() is None:
                arrived(future.result())
    except BaseException:  # Airflow ends this task: what is under way stops at its next bytes
        stop.set()
        pool.shutdown(wait=False, cancel_futures=True)
        wait(futures, timeout=_STOP_S)
        raise
    pool.shutdown()
    for future in futures:
        future.result()


def stored_media(stored: Sequence[Mapping[str, Any]], folder: str) -> list[StoredFile] | None:
    """Return the files that the record names, if all of them are still there and unchanged."""
    media = [_kept(row, folder) for row in stored]
    return [one for one in media if one is not None] if media and None not in media else None


def file_stem(tool: str, job: Job) -> str:
    """Return how the names of a job's files begin. Nothing in it leads to another folder, whatever the tool is."""
    return f"{re.sub(r'[^A-Za-z0-9_-]+', '-', tool)}-{job.id}"


def _place(job: Job, folder: str) -> ObjectStoragePath:
    try:
        return open_folder(folder)
    except InvalidInputError as error:
        raise InvalidInputError(
            f"The files of Magic Hour job {job.id} have no place: {error}. The job is paid for and stays collectable: "
            f"mend output_path and clear the task. See {library_url(job.kind, job.id)}"
        ) from None


def _kept(row: Mapping[str, Any] | None, folder: str) -> StoredFile | None:
    """Return a file of an earlier attempt if it is still there and unchanged."""
    if row is None:
        return None
    try:
        media = StoredFile(**{name: row[name] for name in StoredFile.__dataclass_fields__})
        place = open_folder(folder)
        path = place / media.uri.rpartition("/")[2]
        if str(path) != media.uri or path.fs.info(path.path)["size"] != media.size:
            return None
        return media if checksum(path) == media.sha256 else None
    except Exception as error:  # noqa: BLE001 (each storage library has errors of its own)
        log.debug("A file stored before cannot be read and is fetched again: %s", error)
        return None


class _Links:
    """The links of a job. Files that find them expired at the same time share one look."""

    def __init__(self, client: MagicHourClient, job: Job) -> None:
        self._client = client
        self.job = job
        self._lock = threading.Lock()

    def refresh(self, index: int, old: Download) -> Download:
        """Return another link than the one that has expired or was refused."""
        with self._lock:
            if self.job.downloads[index] == old:
                try:
                    again = self._client.get_job(self.job.kind, self.job.id)
                except MagicHourError as error:
                    raise TransferError(f"the link is not good any more, and there is no other: {error}") from None
                if again.status != COMPLETE or len(again.downloads) < len(self.job.downloads):
                    raise TransferError(
                        f"the link is not good any more, and the job, now {again.status}, has no other."
                    )
                self.job = again
            return self.job.downloads[index]


def _fetch(client: MagicHourClient, links: _Links, index: int, arrival: StagedOutput, clock: Clock) -> StoredFile:
    job = arrival.job
    try:
        received = client.download(
            links.job.downloads[index],
            arrival,
            on_start=arrival.start,
            refresh_link=lambda old: links.refresh(index, old),
            clock=clock,
        )
        return arrival.commit(received)
    except (NotStoredError, InvalidInputError):
        raise
    except MagicHourError as error:
        raise TransferError(
            f"File {index + 1} of Magic Hour job {job.id} could not be fetched: {error} The job is paid for and stays "
            f"collectable: a retry collects it and pays nothing. See {library_url(job.kind, job.id)}",
            status_code=error.status_code,
        ) from error
    finally:
        arrival.close()
