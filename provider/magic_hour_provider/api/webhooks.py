"""Webhook deliveries: verifies their signature and parses them. Without any IO, like the rest of the protocol.

How Magic Hour signs: https://docs.magichour.ai/integration/webhook/secure-handler; what it sends:
https://docs.magichour.ai/integration/webhook/event-types.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any, Final, Literal, TypedDict

from magic_hour_provider.api.errors import InvalidInputError, SignatureError
from magic_hour_provider.api.models import COMPLETE, ERROR, as_id, library_url
from magic_hour_provider.api.responses import as_int, as_str, parse_object

__all__ = [
    "MAX_AGE_S",
    "PROOF_HEADER",
    "SIGNATURE_HEADER",
    "TIMESTAMP_HEADER",
    "TOLERANCE_S",
    "Delivery",
    "ForwardResult",
    "SignatureError",
    "digest_proof",
    "forward",
    "read_delivery",
    "sign",
    "split_secrets",
    "verify",
]

SIGNATURE_HEADER: Final = "magic-hour-event-signature"
TIMESTAMP_HEADER: Final = "magic-hour-event-timestamp"
TOLERANCE_S: Final = 300.0
"""How far a delivery's timestamp may be from our clock, in seconds, as Magic Hour documents."""

PROOF_HEADER: Final = "x-magic-hour-task-proof"
"""Sent by :func:`forward` beside Magic Hour's own headers: see :func:`digest_proof`."""
MAX_AGE_S: Final = 14 * 86_400.0
"""How old a delivery may be that a task forwards, in seconds: Amazon SQS keeps a message for 14 days at the most
(https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html)."""

_SIGNATURE = re.compile(r"[0-9a-fA-F]{64}")
_TIMESTAMP = re.compile(r"[0-9]{1,15}")
_TYPE = re.compile(r"([a-z0-9_-]{1,64})\.([a-z0-9._-]{1,64})")
_MAX_NAME = 500  # characters
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
    :param sent_at: when Magic Hour signed it, in seconds since 1970, or None.
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
    sent_at: float | None = None

    @property
    def key(self) -> str:
        """The key that a delivery shares with its repeats, as Magic Hour documents; deliveries have no id."""
        return f"{self.id}:{self.type}"

    @property
    def library_url(self) -> str | None:
        """The job's page in the web library, or None for a kind that has none."""
        return library_url(self.kind, self.id)

    def describe(self, conn_id: str) -> dict[str, Any]:
        """Return the job's data as the operators' result has it, without signed links: the extra of an asset event.

        :param conn_id: the connection whose secret signed the delivery; its key sees the job.
        """
        return {
            "id": self.id,
            "type": self.type,
            "kind": self.kind,
            "name": self.name and self.name[:_MAX_NAME],
            "credits_charged": self.credits_charged,
            "library_url": self.library_url,
            "conn_id": conn_id,
        }


class ForwardResult(TypedDict):
    """What became of a delivery that a task has forwarded. It holds no signed link, so that a task can return it."""

    status: Literal["accepted", "left to polling", "ignored", "refused"]
    """``accepted``: the API server has it. ``left to polling``: the API server has no such route, or did not accept it.
    ``ignored``: signed, and nothing that this version knows. ``refused``: its signature or its time is wrong."""
    type: str | None
    """Of the delivery, such as ``video.completed``; None where it was not read."""
    id: str | None
    """The job's id."""
    event_emitted: bool
    """Whether the task's own outlet has an asset event for it: only where it is left to polling."""
    message: str
    """What happened, as whole sentences."""


def forward(
    body: bytes | str, headers: Mapping[str, str], conn_id: str, *, received_at: float | None = None
) -> ForwardResult:
    """Hand a delivery that came through a queue to the API server's webhook route, from the code of a running task.

    The signature is checked here and there. The route accepts it whatever its age, up to :data:`MAX_AGE_S`, as Airflow
    itself tells it that a running task sends it; once, however often it comes. Where the route is not there, or does
    not accept it, polling finds the end of the job, and the delivery becomes an asset event of each ``AssetAlias``
    among the task's outlets. Takes at most about a minute and a half. Nothing is charged in any case.

    :param body: as Magic Hour sent it, to the last byte.
    :param headers: of Magic Hour's request, in any case; only the two that sign it are used.
    :param conn_id: the connection whose ``webhook_secret`` signs it; the API server's ``[magic_hour] webhook_conn_ids``
        names it too.
    :param received_at: when the gateway received it, in seconds since 1970, by the gateway's word: it is refused where
        Magic Hour signed it more than 5 minutes before, so that nobody can send it to the gateway a second time. None:
        not known.
    :returns: what became of it.
    :raises AirflowFailException: no task's code calls it, or the connection has no secret.
    :raises AirflowException: it is not known whether the API server has accepted it; a retry is safe.
    """
    # Airflow's side of it is not of this folder, which is of use without Airflow.
    forward_delivery: Callable[..., ForwardResult] = resolve_name(
        "magic_hour_provider.deliveries.forwarding:forward_delivery"
    )
    return forward_delivery(body, headers, conn_id, received_at=received_at)


def digest_proof(proof: str, body: bytes, headers: Mapping[str, str]) -> str:
    """Return what a task announces to Airflow before it forwards a delivery, as 64 characters.

    Only who knows the proof can have announced it, and it announces this one delivery.

    :param proof: the random text of :data:`PROOF_HEADER`.
    :param body: the delivery's raw body.
    :param headers: its headers, in any case.
    """
    signed = "\n".join((proof, _only(headers, TIMESTAMP_HEADER), _only(headers, SIGNATURE_HEADER).lower(), ""))
    return hashlib.sha256(signed.encode("utf-8", "surrogatepass") + body).hexdigest()


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
    *,
    max_age_s: float | None = None,
) -> int:
    """Verify that a delivery was signed with one of the secrets, and not long ago.

    :param body: the raw body, before anything has read it.
    :param headers: the request's headers, in any case.
    :param secrets: those of :func:`split_secrets`; one of them has to fit.
    :param now: the time, in seconds since 1970.
    :param tolerance_s: how far its timestamp may be from ``now``, in seconds, both ways.
    :param max_age_s: how far it may be before ``now``, if that is more: only for a sender that something else vouches
        for, as anybody may have recorded an old delivery.
    :returns: its timestamp: when it was signed, in seconds since 1970.
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
    age = now - int(timestamp)
    if not (any(fits) and -tolerance_s <= age <= (tolerance_s if max_age_s is None else max_age_s)):
        raise SignatureError
    return int(timestamp)


def read_delivery(body: bytes, sent_at: float | None = None) -> Delivery:
    """Parse a delivery leniently: it needs only a type and a job's id. Verify it first.

    The job is in ``payload``, or in ``object`` as in Magic Hour's signing example.

    :param sent_at: when it was signed, in seconds since 1970, if that is known.
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
        sent_at=sent_at,
    )


def _signature(body: bytes, secret: str, timestamp: str) -> str:
    # Half a character pair, which a connection's JSON can hold, has no UTF-8; it must not end in a traceback.
    key = secret.encode("utf-8", "surrogatepass")
    return hmac.new(key, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def _only(headers: Mapping[str, str], name: str) -> str:
    """Return the header's value; an empty text where it is missing or given twice."""
    values = [value for key, value in headers.items() if key.lower() == name]
    return values[0] if len(values) == 1 else ""
