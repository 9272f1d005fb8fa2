"""Data classes of the API: jobs, submissions, accounts, links; and the ids and library addresses of jobs.

Statuses: https://docs.magichour.ai/api-reference (project details).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeGuard
from urllib.parse import parse_qsl, urlsplit

from magic_hour_provider.api.errors import InvalidInputError

COMPLETE: Final = "complete"
ERROR: Final = "error"
CANCELED: Final = "canceled"
GONE: Final = "gone"
"""Ours: the job is deleted or not to be found with this key."""

ENDED: Final = frozenset({COMPLETE, ERROR, CANCELED, GONE})

MAX_ID: Final = 128
"""Characters of a job's id at the most."""

_ID = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_-]{{0,{MAX_ID - 1}}}")
_LIBRARY = "https://magichour.ai/my-library"
_LIBRARY_KEYS = {"videoId": "video", "imageId": "image", "audioId": "audio"}


def is_id(job_id: object) -> TypeGuard[str]:
    """Whether the value is a job id that may go into a path."""
    return isinstance(job_id, str) and _ID.fullmatch(job_id) is not None


def as_id(value: object) -> str | None:
    """Return a job's id that may go into a path, else None; a number is one too, as its digits."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    text = text.strip() if isinstance(text, str) else text
    return text if is_id(text) else None


def check_id(job_id: object) -> str:
    """Return the id if it may go into a path.

    :raises InvalidInputError: it is no plain id; the official SDK would let ``../account`` reach another route.
    """
    if is_id(job_id):
        return job_id
    raise InvalidInputError(
        f"{str(job_id)[:60]!r} is not a Magic Hour job id: ids have only letters, digits, '-' and '_'."
    )


def library_url(kind: str, job_id: str) -> str | None:
    """Return the page of a job in the web library, or None where there is none (face detection).

    The same address is accepted as an input file by later requests of the same account
    (https://docs.magichour.ai/integration/inputs-and-outputs).
    """
    for key, its_kind in _LIBRARY_KEYS.items():
        if kind == its_kind:
            return f"{_LIBRARY}?{key}={job_id}"
    return None


def parse_library_url(url: str) -> tuple[str, str] | None:
    """Return ``(kind, id)`` of a library address, or None if it is none."""
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        return None
    if parts.hostname not in ("magichour.ai", "www.magichour.ai") or parts.path.rstrip("/") != "/my-library":
        return None
    for key, value in parse_qsl(parts.query):
        if key in _LIBRARY_KEYS:
            return _LIBRARY_KEYS[key], check_id(value)
    return None


@dataclass(frozen=True)
class JobReference:
    """A job that something else submitted.

    :param tool: slug of its tool, or its kind where the tool is not known.
    """

    kind: str
    id: str
    tool: str

    @classmethod
    def parse(cls, value: object) -> JobReference:
        """Parse what names a job: a task's result, ``{"kind", "id"}``, or its address in the web library.

        :raises InvalidInputError: it names none.
        """
        if isinstance(value, str) and (parsed := parse_library_url(value.strip())):
            return cls(*parsed, parsed[0])
        if value is None or (isinstance(value, str) and value.strip() in ("", "None")):
            raise InvalidInputError(
                "No job is named: the earlier task that should do so has returned nothing, or a template has no value."
            )
        if isinstance(value, Mapping) and isinstance(value.get("kind"), str) and value.get("id") is not None:
            job_id = as_id(value.get("id")) or check_id(value.get("id"))
            return cls(value["kind"].strip(), job_id, str(value.get("tool") or value["kind"]))
        is_text = isinstance(value, str) and value.lstrip().startswith("{")
        raise InvalidInputError(
            f"{str(value)[:120]!r} names no Magic Hour job: give a task's result, a dict with 'kind' and 'id' (the id "
            "alone does not say of which kind it is), or the job's address in https://magichour.ai/my-library.",
            next_step="This is the text that a template makes of a task's result: give task.output itself, or set "
            "render_template_as_native_obj on the DAG."
            if is_text
            else None,
        )


@dataclass(frozen=True)
class Download:
    """A signed link to one output file.

    :param url: the link, to be used byte for byte and never to be shown.
    :param expires_at: ISO 8601 time of its end, or None.
    """

    url: str = field(repr=False)
    expires_at: str | None = None


@dataclass(frozen=True)
class Submission:
    """An accepted create: the job exists and was charged.

    :param id: the job's id.
    :param kind: decides the route at which the job is polled.
    :param credits_charged: credits charged at submission, or None if the response did not say.
    """

    id: str
    kind: str
    credits_charged: int | None = None


@dataclass(frozen=True)
class Job:
    """The state of a job, as one poll saw it.

    :param id: the job's id.
    :param kind: ``video``, ``image``, ``audio`` or ``face-detection``.
    :param status: the service's word, also one we do not know; ``gone`` when the job is marked as deleted.
    :param credits_charged: settled once complete; refunded on failure.
    :param downloads: signed links, in the service's order; None keeps the place of a file whose link is missing.
    :param faces: of a face detection: the paths of the faces found, in order; None keeps the place of one without.
    """

    id: str
    kind: str
    status: str
    name: str | None = None
    credits_charged: int | None = None
    downloads: tuple[Download | None, ...] = ()
    error_code: str | None = None
    error_message: str | None = None
    created_at: str | None = None
    faces: tuple[str | None, ...] = ()

    @classmethod
    def gone(cls, kind: str, job_id: str) -> Job:
        """Return what is known of a job that this key cannot find."""
        return cls(job_id, kind, GONE)

    @property
    def ended(self) -> bool:
        """Whether the job has reached a status it will not leave; one we do not know counts as still active."""
        return self.status in ENDED

    @property
    def missing_files(self) -> tuple[int, ...]:
        """Places, from 0, of the files that a complete job has no link to yet; a face detection has no files."""
        if self.status != COMPLETE or self.kind == "face-detection":
            return ()
        if not self.downloads:
            return (0,)
        return tuple(index for index, link in enumerate(self.downloads) if link is None)


@dataclass(frozen=True)
class Account:
    """The account behind a key.

    :param tier: plan, such as ``creator``.
    :param credits: balance.
    :param usage_based: True where there is no subscription, so that the balance means little
        (https://docs.magichour.ai/billing/usage-based-pricing).
    :param capabilities: what the service can do for it beyond its documentation, by name.
    """

    id: str | None
    email: str | None
    tier: str | None
    credits: int | None
    usage_based: bool
    capabilities: frozenset[str] = frozenset()


@dataclass(frozen=True)
class UploadLink:
    """A signed link to upload one file to.

    :param upload_url: signed link for one PUT, never to be shown.
    :param file_path: the reference under which requests use the file for 7 days.
    """

    upload_url: str = field(repr=False)
    file_path: str
