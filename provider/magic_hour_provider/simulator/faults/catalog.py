"""The catalog of faults: what each does, at which endpoints it can be injected, and its options.

A new fault is a row of :data:`FAULTS`, and what it does: to a response in :mod:`.http.fault_injector`, to a job in
:mod:`.jobs.factory`, to a delivery in :mod:`.webhooks.queue`. A row alone is an error when it is injected.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

from magic_hour_provider.api.catalog import TOOLS

FAULT_ENDPOINTS = ("create", "get-job", "delete", "upload-urls", "upload", "download", "account", "saved-items")
WEBHOOK = "webhook"
"""The endpoint of faults in deliveries, which the simulator sends instead of receiving."""
_WITH_JOB = ("create", "get-job", "delete", "download", WEBHOOK)  # their requests have a tool, and the text of a job
_WITH_BODY = tuple(endpoint for endpoint in FAULT_ENDPOINTS if endpoint not in ("delete", "upload"))

_HOLD_S = 600.0
_AGE_S = 3600.0
_EVENTS = ("started", "completed", "errored")
_RESPONSE = ("status", "retry_after", "html", "body", "code", "message")
_HOLD = ("hold_seconds",)
_OUTCOME = ("status", "code", "message", "immediately")


class FaultStage(StrEnum):
    """When a fault is injected."""

    DELAY = "delay"
    """Before anything else."""
    INSTEAD = "instead"
    """The request is not acted upon."""
    AFTER = "after"
    """The request is acted upon, and its response is spoilt."""
    JOB = "job"
    """The job that a create makes is another one."""
    DELIVERY = "delivery"
    """A webhook's delivery is not sent once and in time."""
    SIGNATURE = "signature"
    """One attempt of a delivery is signed otherwise."""


@dataclass(frozen=True)
class FaultKind:
    """One kind of fault.

    :param stage: when it is injected.
    :param options: its own options, beside those of every fault.
    :param endpoints: where it can be injected.
    :param does: what it does, in words that follow its name.
    """

    stage: FaultStage
    options: tuple[str, ...]
    endpoints: tuple[str, ...]
    does: str


_DELAY, _INSTEAD, _AFTER, _JOB, _DELIVERY, _SIGNATURE = FaultStage
_ALL, _CREATE, _HOOK = FAULT_ENDPOINTS, ("create",), (WEBHOOK,)
FAULTS: Mapping[str, FaultKind] = {
    "latency": FaultKind(_DELAY, ("seconds",), _ALL, "answers later by so many real seconds"),
    "status": FaultKind(_INSTEAD, _RESPONSE, _ALL, "answers a status without acting"),
    "close-before-read": FaultKind(_INSTEAD, (), _ALL, "closes the connection without acting"),
    "stall": FaultKind(_INSTEAD, _HOLD, _ALL, "stalls without acting or answering, then closes"),
    "expired-link": FaultKind(_INSTEAD, (), ("upload", "download"), "says that the link has expired"),
    "close-after-accept": FaultKind(_AFTER, _HOLD, _ALL, "acts, and closes instead of answering"),
    "accept-then-status": FaultKind(_AFTER, _RESPONSE, _ALL, "acts, and answers a status all the same"),
    "no-id": FaultKind(_AFTER, (), _CREATE, "accepts the job, and leaves its id out of the response"),
    "close-mid-body": FaultKind(_AFTER, (), _WITH_BODY, "acts, and closes in the middle of the response's body"),
    "stall-mid-body": FaultKind(_AFTER, _HOLD, _WITH_BODY, "acts, stalls in the middle of the body, then closes"),
    "truncated": FaultKind(_AFTER, (), _WITH_BODY, "acts, and answers half the body as if it were the whole"),
    "corrupt": FaultKind(_AFTER, (), _WITH_BODY, "acts, and answers a body of the right length with other bytes"),
    "slow": FaultKind(_AFTER, ("bytes_per_second",), _WITH_BODY, "acts, and sends the body no faster than this"),
    "job-outcome": FaultKind(_JOB, _OUTCOME, _CREATE, "decides how the next job ends"),
    "job-duration": FaultKind(_JOB, ("seconds",), _CREATE, "decides how long the next job takes"),
    "lost-delivery": FaultKind(_DELIVERY, ("event",), _HOOK, "never sends a webhook's delivery"),
    "duplicate-delivery": FaultKind(_DELIVERY, ("event",), _HOOK, "sends a webhook's delivery twice"),
    "late-delivery": FaultKind(_DELIVERY, ("seconds", "event"), _HOOK, "sends a webhook's delivery later"),
    "out-of-order-delivery": FaultKind(_DELIVERY, (), _HOOK, "sends 'started' behind the job's last delivery"),
    "wrong-signature": FaultKind(_SIGNATURE, ("event",), _HOOK, "signs an attempt of a delivery wrongly"),
    "expired-timestamp": FaultKind(_SIGNATURE, ("seconds", "event"), _HOOK, "signs an attempt as if sent long ago"),
}


class FaultError(ValueError):
    """A fault with a name or an option that makes no sense; its text says what would."""


@dataclass(frozen=True)
class Fault:
    """A fault to inject. Make it with :func:`make_fault`, which checks it.

    Requests without the right key are refused before any fault is injected.

    :param fault: its name, a key of :data:`FAULTS`.
    :param count: how many times it is injected; None for every time. 1, or every time when ``probability`` or ``every``
        is given.
    :param probability: how likely it is injected into a request that matches, from 0 to 1.
    :param every: 2 for every second request that matches, beginning with the second, and so on; 1 for each.
    :param endpoint: where it is injected, one of :data:`FAULT_ENDPOINTS`; by default ``create``, and ``download`` for a
        fault that cannot be injected there, ``webhook`` for one of deliveries, which are sent and not received.
    :param tool: slug of the only tool whose requests match; None for any.
    :param prompt: a regular expression, such as a plain word; only requests match, and polls of jobs, whose text it is
        found in, in capitals or not. None for any.
    :param hold_seconds: how long the client is kept waiting before the connection closes, in real seconds; 0 for
        ``close-after-accept`` and 600 for stalls.
    :param bytes_per_second: how fast the body is sent.
    :param status: an HTTP status, or for ``job-outcome`` the status of the job.
    :param retry_after: value of the ``Retry-After`` header, in seconds; None for no header.
    :param html: answer with a page of HTML, as gateways do.
    :param body: raw text of the response; may be empty; None for the usual JSON.
    :param code: error code, of the response or of the job.
    :param message: error message, of the response or of the job.
    :param immediately: the outcome shows at the first poll, not at the end of the job's time.
    :param seconds: how long the job takes, in seconds of the simulator's clock; for ``latency`` real seconds; for
        ``late-delivery`` how much later, and for ``expired-timestamp`` how long ago (3600), on the simulator's clock.
    :param event: the only event that matches: ``started``, ``completed`` or ``errored``; None for any.
    """

    fault: str
    count: int | None = 1
    probability: float = 1.0
    every: int = 1
    endpoint: str = "create"
    tool: str | None = None
    prompt: str | None = None
    hold_seconds: float | None = None
    bytes_per_second: float | None = None
    status: int | str | None = None
    retry_after: float | None = None
    html: bool = False
    body: str | None = None
    code: str | None = None
    message: str | None = None
    immediately: bool = False
    seconds: float | None = None
    event: str | None = None

    @property
    def stage(self) -> FaultStage:
        """When it is injected."""
        return FAULTS[self.fault].stage

    @property
    def hold_s(self) -> float:
        """How long the client is kept waiting, in real seconds."""
        if self.hold_seconds is None:
            return _HOLD_S if self.fault.startswith("stall") else 0.0
        return self.hold_seconds

    @property
    def age_s(self) -> float:
        """How old an expired timestamp is, in seconds."""
        return _AGE_S if self.seconds is None else self.seconds

    def options(self) -> dict[str, Any]:
        """Return the options that were given, as ``GET /_simulator/faults`` lists them."""
        defaults = {field.name: field.default for field in fields(self)}
        always = ("fault", "endpoint")
        return {name: value for name, value in asdict(self).items() if name in always or value != defaults[name]}


def unknown_effect(fault: Fault) -> NotImplementedError:
    """Return the error of a fault that is a row of :data:`FAULTS` and nothing else: nowhere is written what it does."""
    return NotImplementedError(f"The fault {fault.fault!r} is in the catalog, but nothing says what it does there.")


def make_fault(options: Mapping[str, Any]) -> Fault:
    """Return the fault with these options.

    :param options: ``fault`` and whatever else :class:`Fault` has for it.
    :raises FaultError: a name or a value makes no sense; the text lists the valid ones.
    """
    name = options.get("fault")
    if not isinstance(name, str) or name not in FAULTS:
        raise FaultError(f"There is no fault {name!r}: use one of {', '.join(FAULTS)}.")
    kind = FAULTS[name]
    valid = ("fault", "count", "probability", "every", "endpoint", "tool", "prompt", *kind.options)
    unknown = [key for key in options if key not in valid]
    _require(not unknown, f"The fault {name!r} has no option {unknown[:1]}: it takes {', '.join(valid)}.")
    given = dict(options)
    if "probability" in given or "every" in given:
        given.setdefault("count", None)
    if "endpoint" not in given and "create" not in kind.endpoints:
        given["endpoint"] = kind.endpoints[-1]
    if name == "out-of-order-delivery":
        given["event"] = "started"  # nothing comes after the others
    fault = Fault(**given)
    _check_target(fault, kind)
    _check_options(fault)
    return fault


def _check_target(fault: Fault, kind: FaultKind) -> None:
    count, chance, endpoint = fault.count, fault.probability, fault.endpoint
    whole = count is None or (isinstance(count, int) and not isinstance(count, bool) and count > 0)
    _require(whole, "count must be a whole number above 0, or null for every time.")
    _require(_is_number(chance) and chance <= 1, "probability must be a number from 0 to 1.")
    every = fault.every
    whole = isinstance(every, int) and not isinstance(every, bool) and every > 0
    _require(whole, "every must be a whole number above 0.")
    known = (*FAULT_ENDPOINTS, WEBHOOK)
    _require(endpoint in known, f"There is no endpoint {endpoint!r}: use one of {', '.join(known)}.")
    _require(
        endpoint in kind.endpoints,
        f"The fault {fault.fault!r} {kind.does}, so its endpoint can only be {' or '.join(map(repr, kind.endpoints))}.",
    )
    _require(fault.tool in (None, *TOOLS), f"There is no tool {fault.tool!r}: use one of {', '.join(TOOLS)}.")
    if fault.tool is not None or fault.prompt is not None:
        _require(endpoint in _WITH_JOB, f"Requests to {endpoint!r} belong to no job: leave tool and prompt out.")
    if fault.prompt is not None:
        _require(isinstance(fault.prompt, str) and fault.prompt != "", "prompt must be text to search for.")
        try:
            re.compile(fault.prompt)
        except re.error as bad:
            raise FaultError(f"prompt must be a regular expression, and {fault.prompt!r} is none: {bad}.") from bad


def _check_options(fault: Fault) -> None:
    name, status = fault.fault, fault.status
    for field in fields(fault):
        value = getattr(fault, field.name)
        if field.name in ("hold_seconds", "retry_after", "seconds") and value is not None:
            _require(_is_number(value), f"{field.name} must be a number of seconds, 0 or more.")
        elif field.name in ("html", "immediately"):
            _require(isinstance(value, bool), f"{field.name} must be true or false.")
        elif field.name in ("body", "code", "message"):
            _require(value is None or isinstance(value, str), f"{field.name} must be text.")
    if name == "job-outcome":
        _require(
            isinstance(status, str) and bool(status),
            "status must be the status that the job ends with, such as 'error', 'canceled', 'gone' or any other text.",
        )
    elif name in ("status", "accept-then-status"):
        _require(
            isinstance(status, int) and not isinstance(status, bool) and 200 <= status <= 599,
            "status must be an HTTP status from 200 to 599.",
        )
    elif name == "slow":
        speed = fault.bytes_per_second
        _require(_is_number(speed) and speed != 0, "bytes_per_second must be a number above 0.")
    _require(fault.event in (None, *_EVENTS), f"event must be {' or '.join(_EVENTS)}.")
    timed = name in ("job-duration", "latency", "late-delivery")
    _require(not timed or fault.seconds is not None, "seconds must say how long it takes.")


def _require(good: bool, sentence: str) -> None:
    if not good:
        raise FaultError(sentence)


def _is_number(value: object) -> bool:
    """Return whether a value is a finite number, 0 or more."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf
