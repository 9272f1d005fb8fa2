"""What a task returns: one JSON object about a job and its stored files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from magic_hour_provider.api.models import Job, library_url

UNSTORED = (
    "No file of Magic Hour job %s is stored, as there is no output_path here and none in the settings. "
    "MagicHourDownloadOperator(job=...) stores them for no credits; output_path='' says that this is intended. They "
    "are at %s"
)
"""The warning where nobody said that nothing should be stored: of a job, by its id and its page."""


@dataclass(frozen=True)
class StoredFile:
    """One output file of a job in the user's storage: an entry of a result's ``media`` list.

    :param uri: where it is, as an ``ObjectStoragePath`` takes it.
    :param index: place among the job's files, from 0.
    :param content_type: as Magic Hour's storage said, without parameters.
    :param size: bytes.
    :param sha256: checksum, in hexadecimal digits.
    :param width: pixels, as the file's header says; None: it does not, or not cheaply.
    :param height: the same.
    :param duration_s: seconds; the same.
    """

    uri: str
    index: int
    content_type: str
    size: int
    sha256: str
    width: int | None = None
    height: int | None = None
    duration_s: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the entry: what is not known of it is left out."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def task_result(job: Job, tool: str, files: Sequence[StoredFile], *, status: str | None = None) -> dict[str, Any]:
    """Return what a task returns: one JSON object, with no signed link in it.

    :param tool: slug of the tool; of a job made elsewhere: its kind.
    :param files: the job's stored files, in their order; empty where none is stored.
    :param status: replaces the job's status where the job has not been polled yet.
    """
    result: dict[str, Any] = {
        "id": job.id,
        "kind": job.kind,
        "tool": tool,
        "name": job.name,
        "status": status or job.status,
        "credits_charged": job.credits_charged,
        "library_url": library_url(job.kind, job.id),
        "file": files[0].uri if files else None,
        "files": [one.uri for one in files],
        "media": [one.to_json() for one in files],
    }
    if job.kind == "face-detection":
        result["faces"] = list(job.faces)
    return result
