"""Uploads: slots for files, each with a signed link and a reference that requests name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from magic_hour_provider.api.catalog import EXTENSIONS, MAX_UPLOAD_BYTES
from magic_hour_provider.simulator.behavior import Behavior
from magic_hour_provider.simulator.errors import ApiError, invalid_request_error, not_found_error
from magic_hour_provider.simulator.jobs.facts import format_api_time
from magic_hour_provider.simulator.jobs.signed_links import LinkSigner

UPLOAD_KEPT_S = 7 * 24 * 3600
_KINDS = ("video", "audio", "image")
_MAX_PER_REQUEST = 100


@dataclass
class UploadSlot:
    """A slot for one file.

    :param kind: ``image``, ``video`` or ``audio``.
    :param path: where the file is stored.
    :param received: when it arrived, in seconds since 1970 on the simulator's clock; None before that.
    """

    kind: str
    path: Path
    received: float | None = None


class UploadStore:
    """The upload slots, by the reference that requests name: ``api-assets/...``.

    :param folder: where the files are stored.
    :param links: signs the addresses.
    :param behavior: whether a link takes a second file, how long it lives, and the largest file.
    :param tier: the account's tier, which limits how large a file may be.
    """

    def __init__(self, folder: Path, links: LinkSigner, behavior: Behavior, tier: str) -> None:
        self.by_reference: dict[str, UploadSlot] = {}
        self.limit = behavior.upload_limit_bytes or MAX_UPLOAD_BYTES[tier]
        self._folder = folder
        self._links = links
        self._behavior = behavior

    def open_slot(self, reference: str, size: int | None) -> UploadSlot:
        """Return the slot that a file is being sent to.

        :param reference: the slot's reference.
        :param size: the file's size in bytes; None while it is not known.
        :raises ApiError: there is no such slot, it is used up, or the file is too large.
        """
        slot = self.by_reference.get(reference)
        if slot is None:
            raise not_found_error("The upload")
        if slot.received is not None and self._behavior.upload_link_reuse == "refused":
            raise ApiError(403, "forbidden", "A file was uploaded here before: ask for another link.")
        self.check_size(size or 0)
        return slot

    def check_size(self, size: int) -> None:
        """Refuse a file that is too large for the account.

        :raises ApiError: it has more bytes than the tier takes.
        """
        if size > self.limit:
            raise ApiError(413, "file_too_large", f"The file is larger than {self.limit} bytes, the plan's limit.")

    def create_slots(self, body: object, base_url: str, token: str, now: float) -> dict[str, Any]:
        """Create slots, and return the response of ``POST /v1/files/upload-urls``.

        :param body: the request.
        :param base_url: where the client reaches the simulator.
        :param token: unique to this request.
        :param now: the time, in seconds since 1970 on the simulator's clock.
        :raises ApiError: the request is malformed, or an extension does not fit its type.
        """
        items = body.get("items") if isinstance(body, dict) else None
        if not isinstance(items, list) or not 0 < len(items) <= _MAX_PER_REQUEST:
            raise invalid_request_error(f"items must be a list of 1 to {_MAX_PER_REQUEST} files.")
        # All are checked before any is created.
        formats = [_kind_and_extension(item, f"items[{number}]") for number, item in enumerate(items)]
        expires = int(now) + self._behavior.upload_link_seconds
        urls = []
        for number, (kind, extension) in enumerate(formats):
            name = f"{token}/{number}.{extension}"
            self.by_reference[f"api-assets/{name}"] = UploadSlot(kind, self._folder / name)
            urls.append(
                {
                    "upload_url": base_url + self._links.sign("PUT", f"/_uploads/{name}", expires),
                    "expires_at": format_api_time(expires),
                    "file_path": f"api-assets/{name}",
                }
            )
        return {"items": urls}


def _kind_and_extension(item: object, where: str) -> tuple[str, str]:
    kind = item.get("type") if isinstance(item, dict) else None
    extension = item.get("extension") if isinstance(item, dict) else None
    if not isinstance(kind, str) or kind not in _KINDS:
        raise invalid_request_error(f"{where}.type must be one of {', '.join(_KINDS)}.")
    if not isinstance(extension, str) or not re.fullmatch("[a-z0-9]+", extension):
        raise invalid_request_error(f"{where}.extension must be lower-case letters and digits.")
    # A GIF has no type of its own: clients send it as an image or as a video.
    allowed = EXTENSIONS[kind] if kind == "audio" else (*EXTENSIONS[kind], "gif")
    if extension not in allowed:
        sentence = f"{where}.extension for {kind} must be one of {', '.join(allowed)}."
        raise ApiError(422, "unprocessable_entity", sentence)
    return kind, extension
