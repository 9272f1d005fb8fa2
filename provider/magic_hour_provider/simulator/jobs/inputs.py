"""Follows the file fields of a request to the files they name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from magic_hour_provider.api.catalog import REFERENCE_PREFIXES, FileField, Tool
from magic_hour_provider.simulator.jobs.facts import values_at
from magic_hour_provider.simulator.jobs.job import Ending, Job, Source, face_path, files_ready
from magic_hour_provider.simulator.jobs.signed_links import Links
from magic_hour_provider.simulator.jobs.uploads import UPLOAD_KEPT_S, Upload

_LIBRARY_KINDS = {"videoId": "video", "imageId": "image", "audioId": "audio"}


class Inputs:
    """Finds what file fields name.

    :param job_by_id: returns the job of an id, or None; deleted ones are not returned.
    :param uploads: the uploads by reference.
    :param links: checks download links.
    """

    def __init__(self, job_by_id: Callable[[str], Job | None], uploads: Mapping[str, Upload], links: Links) -> None:
        self._job = job_by_id
        self._uploads = uploads
        self._links = links

    def resolve(self, tool: Tool, request: Mapping[str, Any], now: float) -> tuple[tuple[Source, ...], Ending | None]:
        """Return the input files that the simulator holds, and how the job ends if one cannot be found.

        :param now: the time, in seconds since 1970 on the simulator's clock.
        """
        sources: list[Source] = []
        for field in tool.files:
            for value in values_at(request, field.field):
                try:
                    source = self._source(value, field, now)
                except LookupError:
                    kind = "image" if field.accepts[0] == "gif" else field.accepts[0]
                    # The value itself may be a signed link, so the message only names the field.
                    message = f"The file in {field.field} was not found or is not {kind}."
                    return tuple(sources), Ending("error", f"invalid_{kind}_path", message)
                if source is not None:
                    sources.append(source)
        return tuple(sources), None

    def _source(self, value: object, field: FileField, now: float) -> Source | None:
        if not isinstance(value, str):
            raise LookupError(field.field)
        if value.startswith(("http://", "https://")):
            return self._linked(value, field, now)
        if value.startswith("api-assets/"):
            return self._uploaded(value, now)
        if value.startswith(REFERENCE_PREFIXES):
            # A user's own saved items and references are not here, and count as there.
            saved = self._job(value.split("/")[1]) if value.startswith("saved-items/") else None
            if saved is None:
                return None
            if saved.tool.kind not in field.accepts:
                raise LookupError(field.field)
            return Source(saved.tool.kind, job=saved)
        raise LookupError(field.field)

    def _uploaded(self, reference: str, now: float) -> Source:
        upload = self._uploads.get(reference)
        if upload is not None:
            if upload.received is None or now - upload.received > UPLOAD_KEPT_S:
                raise LookupError(reference)
            return Source(upload.kind, path=upload.path)
        job = self._job(reference.split("/")[1])
        if job is None or job.tool.kind != "face-detection":
            raise LookupError(reference)
        for number in range(1, files_ready(job, now) + 1):
            if reference == face_path(job, number):
                return Source("image", job=job, number=number)
        raise LookupError(reference)

    def _linked(self, url: str, field: FileField, now: float) -> Source | None:
        try:
            parts = urlsplit(url)
            query = parse_qs(parts.query)
        except ValueError as bad:
            raise LookupError(field.field) from bad
        if parts.hostname in ("magichour.ai", "www.magichour.ai") and parts.path.rstrip("/") == "/my-library":
            for key, kind in _LIBRARY_KINDS.items():
                if key in query:
                    return self._finished(query[key][0], kind, 1, field, now)
            raise LookupError(field.field)
        if not parts.path.startswith("/_files/"):
            return None
        _, _, job_id, number, *_ = [*parts.path.split("/"), "", ""]
        expires, signature = query.get("expires", [""])[0], query.get("signature", [""])[0]
        bad_link = self._links.fault_in("GET", parts.path, expires, signature, now)
        if bad_link == "SignatureDoesNotMatch" and self._job(job_id) is None:
            return None  # somebody else's folder that happens to have this name
        if bad_link:
            raise LookupError(field.field)
        return self._finished(job_id, "", int(number), field, now)

    def _finished(self, job_id: str, kind: str, number: int, field: FileField, now: float) -> Source:
        job = self._job(job_id)
        if job is None or job.status(now) != "complete":
            raise LookupError(job_id)
        made = "image" if job.tool.kind == "face-detection" else job.tool.kind
        fits = made in field.accepts or job.extension in field.accepts
        if not fits or (kind and kind != job.tool.kind):
            raise LookupError(job_id)
        return Source(made, job=job, number=number)
