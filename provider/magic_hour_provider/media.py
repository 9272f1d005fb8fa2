"""Files coming out: downloads become files in the user's storage, and a finished job a task's result."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import AirflowException

from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.api.errors import BadInputError, TransferError
from magic_hour_provider.api.jobs import Job, library_url
from magic_hour_provider.api.transfers import CHUNK, Received
from magic_hour_provider.record import new_key

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

NOTHING = "No job was made and nothing was charged."
STORAGE_ERRORS = (OSError, ValueError, ImportError, AirflowException)
"""What the file systems behind ``ObjectStoragePath`` raise: not there, not allowed, unknown protocol, no connection."""

_TYPES = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp", "image/gif": "gif", "video/mp4": "mp4"}
_TYPES |= {"video/webm": "webm", "audio/mpeg": "mp3", "audio/wav": "wav", "audio/x-wav": "wav", "audio/mp4": "m4a"}


def open_path(uri: str) -> ObjectStoragePath:
    """Return the path of a local name or of a storage URI with its own Airflow connection."""
    from airflow.sdk import ObjectStoragePath

    if uri.startswith("memory://"):
        _attach_memory()
    return ObjectStoragePath(uri)


def _attach_memory() -> None:
    """Make ``memory://`` known: of fsspec's own file systems Airflow registers local files only (seen on 3.3.2)."""
    from airflow.sdk.io import attach, has_fs

    store = attach("memory")
    # Whoever tried it before has left a store without a file system behind; one that a user attached has one.
    if "fs" not in vars(store) and not has_fs("memory"):
        import fsspec

        store.fs = fsspec.filesystem("memory")


def checksum(path: ObjectStoragePath) -> str:
    """Return the SHA-256 of a stored file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


@dataclass(frozen=True)
class Media:
    """One stored output file.

    :param uri: where it is, as an ``ObjectStoragePath`` takes it.
    :param index: place among the job's files, from 0.
    :param size: bytes.
    :param sha256: checksum, in hexadecimal digits.
    """

    uri: str
    index: int
    content_type: str
    size: int
    sha256: str


def check_folder(folder: str) -> None:
    """Make sure that files can be written to a folder, before anything is paid for.

    :raises BadInputError: they cannot.
    """
    try:
        place = open_path(folder)
        place.mkdir(parents=True, exist_ok=True)
        probe = place / f".magic-hour-{new_key()}.probe"  # a name of its own: other tasks try the same folder
        with probe.open("wb") as file:
            file.write(b"magic hour\n")
        probe.unlink()
    except STORAGE_ERRORS as error:
        raise BadInputError(
            f"output_path {folder!r} cannot be written ({type(error).__name__}: {error}). {NOTHING}"
        ) from error


def collect(
    client: MagicHourClient,
    job: Job,
    tool: str,
    folder: str,
    *,
    stored: Sequence[Mapping[str, Any]] = (),
    saved: Callable[[Sequence[Media]], object] = lambda some: None,  # noqa: ARG005 (nobody wants to know)
) -> list[Media]:
    """Store the files of a finished job; a file that is there already and whole is kept.

    Each is streamed to a temporary name and renamed when complete, so that no half file ever has its final name.

    :param job: a look at the complete job, with its links.
    :param folder: where to.
    :param stored: what the record says was stored before.
    :param saved: called with the files stored so far, while more are to come.
    :raises TransferError: a file did not come whole; the job stays collectable.
    :raises BadInputError: another file has the name already; nothing is overwritten.
    """
    if not job.downloads:
        raise TransferError(f"Magic Hour job {job.id} is complete but names no files yet; it is paid for, try again.")
    before = {row.get("index"): row for row in stored}
    media: list[Media] = []
    for index in range(len(job.downloads)):
        kept = _kept(before.get(index), folder)
        media.append(kept or _fetch(client, job, index, f"{tool}-{job.id}-{index + 1}", folder))
        if kept is None and index + 1 < len(job.downloads):
            saved(media)
    return media


def stored_media(stored: Sequence[Mapping[str, Any]], folder: str) -> list[Media] | None:
    """Return the files that the record names, if all of them are still there and unchanged."""
    media = [_kept(row, folder) for row in stored]
    return [one for one in media if one is not None] if media and None not in media else None


def _kept(row: Mapping[str, Any] | None, folder: str) -> Media | None:
    """Return a file of an earlier attempt if it is still there and unchanged."""
    if row is None:
        return None
    media = Media(**{name: row[name] for name in Media.__dataclass_fields__})
    path = open_path(media.uri)
    if str(path.parent).rstrip("/") != str(open_path(folder)).rstrip("/"):
        return None
    try:
        return media if path.exists() and checksum(path) == media.sha256 else None
    except STORAGE_ERRORS:
        return None


def _fetch(client: MagicHourClient, job: Job, index: int, name: str, folder: str) -> Media:
    place = open_path(folder)
    place.mkdir(parents=True, exist_ok=True)
    partial = place / f".{name}.{new_key()}.part"  # a sensor may be collecting the same job
    link = job.downloads[index]
    try:
        with partial.open("wb") as file:
            received = _download(client, job, index, file)
        path = place / f"{name}.{_extension(link.url, received)}"
        if path.exists():
            there = checksum(path)
            if there != received.sha256:
                raise BadInputError(
                    f"{path} exists already and is another file (SHA-256 {there[:12]}…, the job's is "
                    f"{received.sha256[:12]}…). Nothing was overwritten. Magic Hour job {job.id} is paid for: move "
                    "the old file away; the next attempt collects the same job again and pays nothing."
                )
        else:
            path.fs.mv(partial.path, path.path)
    except OSError as error:
        raise TransferError(
            f"A file of Magic Hour job {job.id} could not be stored in {folder!r} ({error}). The job is paid for and "
            "stays collectable: mend the folder; a retry collects it and pays nothing."
        ) from error
    finally:
        if partial.exists():
            partial.unlink()
    return Media(str(path), index, received.content_type, received.size, received.sha256)


def _download(client: MagicHourClient, job: Job, index: int, file: BinaryIO) -> Received:
    """Stream one file; a link that was refused, as one that has expired is, is replaced by a look, once."""
    try:
        return client.download_to(job.downloads[index], file)
    except TransferError as error:
        if error.status_code != 403:
            raise
        again = client.get_job(job.kind, job.id)
        if len(again.downloads) <= index:
            raise
    return client.download_to(again.downloads[index], file)


def _extension(url: str, received: Received) -> str:
    suffix = urlsplit(url).path.rpartition("/")[2].rpartition(".")[2].lower()
    if re.fullmatch(r"[a-z0-9]{2,5}", suffix):
        return suffix
    return _TYPES.get(received.content_type, "bin")


def result_object(job: Job, tool: str, media: Sequence[Media], *, status: str | None = None) -> dict[str, Any]:
    """Return what a task returns: one JSON object, with no signed link in it.

    :param tool: slug of the tool; of a job made elsewhere: its kind.
    :param status: replaces the job's status where nobody has looked at it yet.
    """
    result: dict[str, Any] = {
        "id": job.id,
        "kind": job.kind,
        "tool": tool,
        "name": job.name,
        "status": status or job.status,
        "credits_charged": job.credits_charged,
        "library_url": library_url(job.kind, job.id),
        "file": media[0].uri if media else None,
        "files": [one.uri for one in media],
        "media": [asdict(one) for one in media],
    }
    if job.kind == "face-detection":
        result["faces"] = list(job.faces)
    return result
