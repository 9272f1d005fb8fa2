"""Registered webhooks, the events of a job, and the signature of a delivery.

As documented: https://docs.magichour.ai/integration/webhook/create-webhook and
https://docs.magichour.ai/integration/webhook/secure-handler. Magic Hour needs HTTPS and registers them in its Developer
Hub; the simulator sends to this machine alone.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from magic_hour_provider.simulator.jobs.job import SimulatedJob

DEFAULT_SECRET = "whsec_simulator"  # noqa: S105 - like the default key, it is no secret
RESPONSE_TIMEOUT_S = 10.0

# The event that a job sends when it reaches a status; the other statuses send nothing.
_EVENT_OF_STATUS = {"rendering": "started", "complete": "completed", "error": "errored"}
EVENTS = tuple(f"{kind}.{event}" for kind in ("video", "image", "audio") for event in _EVENT_OF_STATUS.values())

# What is accepted, not what is refused: no address that two parsers could read in two ways.
_THIS_MACHINE = re.compile(r"http://(?:127\.0\.0\.1|localhost|\[::1\])(?::([0-9]{1,5}))?(?:[/?][!-\"$-~]*)?")
_OPTIONS = ("url", "secret", "events", "response_timeout")


class WebhookError(ValueError):
    """A webhook that makes no sense; the text says what would."""


@dataclass(frozen=True)
class Webhook:
    """One registered webhook. Make it with :func:`make_webhook`, which checks it.

    :param url: where to; an http address of this machine.
    :param secret: signs its requests.
    :param events: the events it wants, such as ``video.completed``.
    :param response_timeout: how long a response may take, in real seconds.
    """

    url: str
    secret: str = field(default=DEFAULT_SECRET, repr=False)
    events: tuple[str, ...] = EVENTS
    response_timeout: float = RESPONSE_TIMEOUT_S

    def listed(self) -> dict[str, Any]:
        """Return it as ``GET /_simulator/webhooks`` lists it: without its secret."""
        return {"url": self.url, "events": list(self.events), "response_timeout": self.response_timeout}


def make_webhook(options: Mapping[str, Any]) -> Webhook:
    """Return the webhook with these options.

    :param options: ``url``, and whatever else :class:`Webhook` has; what is None is left out.
    :raises WebhookError: a name or a value makes no sense; the text says what would.
    """
    given = {name: value for name, value in options.items() if value is not None}
    unknown = [name for name in given if name not in _OPTIONS]
    _require(not unknown, f"A webhook has no option {unknown[:1]}: it takes {', '.join(_OPTIONS)}.")
    url = given.get("url")
    matched = _THIS_MACHINE.fullmatch(url) if isinstance(url, str) else None
    _require(
        matched is not None and 0 < int(matched[1] or 80) <= 65535,
        "The simulator sends webhooks to this machine only: use an address such as "
        f"http://127.0.0.1:8080/magic-hour/webhook (or localhost), not {str(url)[:200]!r}.",
    )
    secret = given.get("secret", DEFAULT_SECRET)
    _require(isinstance(secret, str) and secret.isprintable() and secret != "", "secret must be printable text.")
    events = given.get("events", EVENTS)
    _require(
        isinstance(events, list | tuple) and bool(events) and all(event in EVENTS for event in events),
        f"events must be a list with some of {', '.join(EVENTS)}.",
    )
    timeout = given.get("response_timeout", RESPONSE_TIMEOUT_S)
    _require(
        isinstance(timeout, int | float) and not isinstance(timeout, bool) and 0 < timeout < math.inf,
        "response_timeout must be a number of seconds above 0.",
    )
    return Webhook(str(url), secret, tuple(events), float(timeout))


def _require(good: bool, sentence: str) -> None:
    if not good:
        raise WebhookError(sentence)


def job_events(job: SimulatedJob) -> list[tuple[float, str]]:
    """Return the events of a job, each with its time in seconds since 1970 on the simulator's clock.

    A job that is canceled, is not found any more or never ends sends no event for it, and a face detection sends none.
    """
    found: list[tuple[float, str]] = []
    before = ""
    for moment in (job.created, job.renders_at, job.ends_at):
        status = job.status(moment)
        if status != before and status in _EVENT_OF_STATUS:
            found.append((moment, f"{job.tool.kind}.{_EVENT_OF_STATUS[status]}"))
        before = status
    return [one for one in found if one[1] in EVENTS]


def sign_delivery(body: bytes, secret: str, timestamp: int) -> dict[str, str]:
    """Return the headers that sign a delivery.

    :param body: the bytes that are sent.
    :param secret: of the webhook.
    :param timestamp: when it is sent, in whole seconds since 1970.
    """
    message = b"%d.%b" % (timestamp, body)
    signature = hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()
    return {"magic-hour-event-signature": signature, "magic-hour-event-timestamp": str(timestamp)}
