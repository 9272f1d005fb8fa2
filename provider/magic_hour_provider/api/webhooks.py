"""Webhook deliveries: verifies their signature and parses them. Without any IO, like the rest of the protocol.

How Magic Hour signs: https://docs.magichour.ai/integration/webhook/secure-handler; what it sends:
https://docs.magichour.ai/integration/webhook/event-types.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from magic_hour_provider.api.errors import InvalidInputError, SignatureError
from magic_hour_provider.api.models import COMPLETE, ERROR, as_id, library_url
from magic_hour_provider.api.responses import as_int, as_str, parse_object

__all__ = [
    "SIGNATURE_HEADER",
    "TIMESTAMP_HEADER",
    "TOLERANCE_S",
    "Delivery",
    "SignatureError",
    "read_delivery",
    "sign",
    "split_secrets",
    "verify",
]

SIGNATURE_HEADER: Final = "magic-hour-event-signature"
TIMESTAMP_HEADER: Final = "magic-hour-event-timestamp"
TOLERANCE_S: Final = 300.0
"""How far a delivery's timestamp may be from our clock, in seconds, as Magic Hour documents."""

_SIGNATURE = re.compile(r"[0-9a-fA-F]{64}")
_TIMESTAMP = re.compile(r"[0-9]{1,15}")
_TYPE = re.compile(r"([a-z0-9_-]{1,64})\.([a-z0-9._-]{1,64})")
_STATUS_OF_EVENT = {"started": "rendering", "completed": COMPLETE, "errored": ERROR}


@dataclass(frozen=True)
class Delivery:
    """The content of one webhook request. Its links are left out: who wants the files polls the job.

    :param type: kind and event in lower case, such as ``video.completed``.
    :param kind: ``video``, ``image`` or ``audio``, or a word we do not know.
    :param event: ``started``, ``completed`` or ``errored``, or a word we do not know.
    :param id: the job's id; it may go into a path.
    :param name: the job's label, or None.
    :param status: the job's status in the service's word; where it is missing, the one that belongs to the event, or
        an empty text if we do not know the event.
    :param credits_charged: credits, or None if it does not say.
    :param error_code: why the job failed, or None.
    :param job_type: what the service calls the tool. It spells them in several ways, so show it and do not compare it.
    :param created_at: ISO 8601 time of the submission, or None.
    """

    type: str
    kind: str
    event: str
    id: str
    name: str | None = None
    status: str = ""
    credits_charged: int | None = None
    error_code: str | None = None
    job_type: str | None = None
    created_at: str | None = None

    @property
    def key(self) -> str:
        """The key that a delivery shares with its repeats, as Magic Hour documents; deliveries have no id."""
        return f"{self.id}:{self.type}"

    @property
    def library_url(self) -> str | None:
        """The job's page in the web library, or None for a kind that has none."""
        return library_url(self.kind, self.id)


def split_secrets(value: object) -> list[str]:
    """Return the secrets of a connection's ``webhook_secret``: several while one takes the place of another.

    :param value: one secret; several in one text, with blanks, line breaks or commas between them; or a list of
        secrets, each taken as it is. None or an empty text is none.
    :raises InvalidInputError: it is something else.
    """
    parts = re.split(r"[\s,]+", value) if isinstance(value, str) else value
    if parts is None:
        return []
    if not isinstance(parts, list | tuple) or not all(isinstance(part, str) for part in parts):
        # Without the value: it is meant to be secret.
        raise InvalidInputError(
            "The connection's webhook_secret must be a text or a list of texts, as Magic Hour's Developer Hub shows "
            f"them; it is {type(value).__name__}."
        )
    return list(dict.fromkeys(part.strip() for part in parts if part.strip()))


def sign(body: bytes, secret: str, timestamp: int) -> dict[str, str]:
    """Return the headers of a delivery, as Magic Hour makes them; to try a receiver out.

    :param body: the raw body.
    :param timestamp: when it is sent, in whole seconds since 1970.
    """
    text = str(int(timestamp))
    return {SIGNATURE_HEADER: _signature(body, secret, text), TIMESTAMP_HEADER: text}


def verify(
    body: bytes,
    headers: Mapping[str, str],
    secrets: Sequence[str],
    now: float,
    tolerance_s: float = TOLERANCE_S,
) -> None:
    """Verify that a delivery was signed with one of the secrets, and not long ago.

    :param body: the raw body, before anything has read it.
    :param headers: the request's headers, in any case.
    :param secrets: those of :func:`split_secrets`; one of them has to fit.
    :param now: the time, in seconds since 1970.
    :param tolerance_s: how far its timestamp may be from ``now``, in seconds, both ways.
    :raises SignatureError: no secret fits, or it is too old or too new; the text does not say which.
    :raises InvalidInputError: there is no secret, so nothing can be checked.
    """
    if isinstance(secrets, str) or not secrets or not all(secrets):
        raise InvalidInputError(
            "Without a webhook secret it is unknown who sent a delivery: set one in the connection."
        )
    signature, timestamp = (_only(headers, name) for name in (SIGNATURE_HEADER, TIMESTAMP_HEADER))
    if not _SIGNATURE.fullmatch(signature) or not _TIMESTAMP.fullmatch(timestamp):
        raise SignatureError
    # All of them every time: how long it takes tells nothing.
    fits = [hmac.compare_digest(_signature(body, secret, timestamp), signature.lower()) for secret in secrets]
    if not (any(fits) and abs(now - int(timestamp)) <= tolerance_s):
        raise SignatureError


def read_delivery(body: bytes) -> Delivery:
    """Parse a delivery leniently: it needs only a type and a job's id. Verify it first.

    The job is in ``payload``, or in ``object`` as in Magic Hour's signing example.

    :raises InvalidInputError: it is no delivery.
    """
    envelope = parse_object(body) or {}
    named = _TYPE.fullmatch((as_str(envelope.get("type")) or "").lower())
    job: Any = next((envelope[key] for key in ("payload", "object") if isinstance(envelope.get(key), dict)), {})
    job_id = as_id(job.get("id"))
    if named is None or job_id is None:
        raise InvalidInputError(
            "This is no delivery of Magic Hour: it must be a JSON object with a type, such as 'video.completed', and "
            "a payload with a job's id. It was left alone."
        )
    kind, event = named.groups()
    error = job.get("error")
    return Delivery(
        type=named.group(),
        kind=kind,
        event=event,
        id=job_id,
        name=as_str(job.get("name")),
        status=as_str(job.get("status")) or _STATUS_OF_EVENT.get(event, ""),
        credits_charged=as_int(job.get("credits_charged")),
        error_code=as_str(error.get("code")) if isinstance(error, dict) else None,
        job_type=as_str(job.get("type")),
        created_at=as_str(job.get("created_at")),
    )


def _signature(body: bytes, secret: str, timestamp: str) -> str:
    # Half a character pair, which a connection's JSON can hold, has no UTF-8; it must not end in a traceback.
    key = secret.encode("utf-8", "surrogatepass")
    return hmac.new(key, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def _only(headers: Mapping[str, str], name: str) -> str:
    """Return the header's value; an empty text where it is missing or given twice."""
    values = [value for key, value in headers.items() if key.lower() == name]
    return values[0] if len(values) == 1 else ""
