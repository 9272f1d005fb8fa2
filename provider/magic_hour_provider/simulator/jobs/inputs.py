"""Resolves the file fields of a request to uploads and files of earlier jobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from magic_hour_provider.api.catalog import REFERENCE_PREFIXES, FileField, Tool
from magic_hour_provider.simulator.jobs.facts import values_at
from magic_hour_provider.simulator.jobs.job import (
    InputFile,
    JobOutcome,
    SimulatedJob,
    count_ready_files,
    face_reference,
)
from magic_hour_provider.simulator.jobs.signed_links import LinkSigner
from magic_hour_provider.simulator.jobs.uploads import UPLOAD_KEPT_S, UploadSlot

_LIBRARY_KINDS = {"videoId": "video", "imageId": "image", "audioId": "audio"}


class InputResolver:
    """Resolves the file fields of requests.

    :param find_job: returns the job of an id, or None; deleted ones are not returned.
    :param uploads: the upload slots by reference.
    :param links: checks download links.
    :param is_missing: says of any other link whether it is known not to open.
    """

    def __init__(
        self,
        find_job: Callable[[str], SimulatedJob | None],
        uploads: Mapping[str, UploadSlot],
        links: LinkSigner,
        is_missing: Callable[[str], bool],
    ) -> None:
        self._find_job = find_job
        self._uploads = uploads
        self._links = links
        self._is_missing = is_missing

    def resolve(
        self, tool: Tool, request: Mapping[str, Any], now: float
    ) -> tuple[tuple[InputFile, ...], JobOutcome | None]:
        """Return the input files that the simulator has, and how the job ends if one cannot be found.

        :param now: the time, in seconds since 1970 on the simulator's clock.
        """
        inputs: list[InputFile] = []
        for field in tool.files:
            for value in values_at(request, field.field):
                try:
                    input_file = self._resolve_value(value, field, now)
                except LookupError:
                    kind = "image" if field.accepts[0] == "gif" else field.accepts[0]
                    # The value itself may be a signed link, so the message only names the field.
                    message = f"The file in {field.field} was not found or is not {kind}."
                    return tuple(inputs), JobOutcome("error", f"invalid_{kind}_path", message)
                if input_file is not None:
                    inputs.append(input_file)
        return tuple(inputs), None

    def _resolve_value(self, value: object, field: FileField, now: float) -> InputFile | None:
        if not isinstance(value, str):
            raise LookupError(field.field)
        if value.startswith(("http://", "https://")):
            return self._resolve_link(value, field, now)
        if value.startswith("api-assets/"):
            return self._resolve_upload(value, now)
        if value.startswith(REFERENCE_PREFIXES):
            # A user's own saved items and references are unknown to the simulator, and count as valid.
            saved = self._find_job(value.split("/")[1]) if value.startswith("saved-items/") else None
            if saved is None:
                return None
            if saved.tool.kind not in field.accepts:
                raise LookupError(field.field)
            return InputFile(saved.tool.kind, job=saved)
        raise LookupError(field.field)

    def _resolve_upload(self, reference: str, now: float) -> InputFile:
        slot = self._uploads.get(reference)
        if slot is not None:
            if slot.received is None or now - slot.received > UPLOAD_KEPT_S:
                raise LookupError(reference)
            return InputFile(slot.kind, path=slot.path)
        job = self._find_job(reference.split("/")[1])
        if job is None or job.tool.kind != "face-detection":
            raise LookupError(reference)
        for number in range(1, count_ready_files(job, now) + 1):
            if reference == face_reference(job, number):
                return InputFile("image", job=job, number=number)
        raise LookupError(reference)

    def _resolve_link(self, url: str, field: FileField, now: float) -> InputFile | None:
        try:
            parts = urlsplit(url)
            query = parse_qs(parts.query)
        except ValueError as bad:
            raise LookupError(field.field) from bad
        if parts.hostname in ("magichour.ai", "www.magichour.ai") and parts.path.rstrip("/") == "/my-library":
            for key, kind in _LIBRARY_KINDS.items():
                if key in query:
                    return self._resolve_output(query[key][0], kind, 1, field, now)
            raise LookupError(field.field)
        if not parts.path.startswith("/_files/"):
            if self._is_missing(url):
                raise LookupError(field.field)
            return None
        _, _, job_id, number, *_ = [*parts.path.split("/"), "", ""]
        expires, signature = query.get("expires", [""])[0], query.get("signature", [""])[0]
        bad_link = self._links.find_error("GET", parts.path, expires, signature, now)
        if bad_link == "SignatureDoesNotMatch" and self._find_job(job_id) is None:
            return None  # somebody else's folder that happens to have this name
        if bad_link:
            raise LookupError(field.field)
        return self._resolve_output(job_id, "", int(number), field, now)

    def _resolve_output(self, job_id: str, kind: str, number: int, field: FileField, now: float) -> InputFile:
        job = self._find_job(job_id)
        if job is None or job.status(now) != "complete":
            raise LookupError(job_id)
        made = "image" if job.tool.kind == "face-detection" else job.tool.kind
        fits = made in field.accepts or job.extension in field.accepts
        if not fits or (kind and kind != job.tool.kind):
            raise LookupError(job_id)
        return InputFile(made, job=job, number=number)
