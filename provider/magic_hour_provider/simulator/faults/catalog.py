"""Faults that can be ordered: what they do, where, and what they take."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from magic_hour_provider.api.catalog import TOOLS

ENDPOINTS = ("create", "get-job", "delete", "upload-urls", "upload", "download", "account", "saved-items")
WEBHOOK = "webhook"  # no request to the simulator, but one that it sends
_OF_A_JOB = ("create", "get-job", "delete", "download", WEBHOOK)  # their requests belong to a tool, and to words
_WITH_BODY = tuple(endpoint for endpoint in ENDPOINTS if endpoint not in ("delete", "upload"))

# When a fault strikes. INSTEAD: the request is not acted upon. AFTER: it is, and its answer is spoilt.
# PLAN: a webhook's delivery is sent otherwise. SIGN: one attempt of it is signed otherwise.
DELAY, INSTEAD, AFTER, JOB, PLAN, SIGN = "delay", "instead", "after", "job", "plan", "sign"
_HOLD_S = 600.0
_AGE_S = 3600.0
_EVENTS = ("started", "completed", "errored")
_ANSWER = ("status", "retry_after", "html", "body", "code", "message")
_HOLD = ("hold_seconds",)
_OUTCOME = ("status", "code", "message", "immediately")


@dataclass(frozen=True)
class FaultKind:
    """One kind of fault.

    :param stage: when it strikes: ``delay``, ``instead``, ``after`` or ``job``.
    :param options: what it takes, beside what every fault takes.
    :param endpoints: where it can strike.
    :param does: what it does, for people.
    """

    stage: str
    options: tuple[str, ...]
    endpoints: tuple[str, ...]
    does: str


FAULTS: Mapping[str, FaultKind] = {
    "latency": FaultKind(DELAY, ("seconds",), ENDPOINTS, "answers later by so many real seconds"),
    "status": FaultKind(INSTEAD, _ANSWER, ENDPOINTS, "answers a status without acting"),
    "close-before-read": FaultKind(INSTEAD, (), ENDPOINTS, "closes the connection without acting"),
    "stall": FaultKind(INSTEAD, _HOLD, ENDPOINTS, "holds without acting or answering, then closes"),
    "expired-link": FaultKind(INSTEAD, (), ("upload", "download"), "says that the link has expired"),
    "close-after-accept": FaultKind(AFTER, _HOLD, ENDPOINTS, "acts, and closes instead of answering"),
    "accept-then-status": FaultKind(AFTER, _ANSWER, ENDPOINTS, "acts, and answers a status all the same"),
    "no-id": FaultKind(AFTER, (), ("create",), "accepts the job, and leaves its id out of the answer"),
    "close-mid-body": FaultKind(AFTER, (), _WITH_BODY, "acts, and closes in the middle of the answer's body"),
    "stall-mid-body": FaultKind(AFTER, _HOLD, _WITH_BODY, "acts, stalls in the middle of the body, then closes"),
    "truncated": FaultKind(AFTER, (), _WITH_BODY, "acts, and answers half the body as if it were the whole"),
    "corrupt": FaultKind(AFTER, (), _WITH_BODY, "acts, and answers a body of the right length with other bytes"),
    "slow": FaultKind(AFTER, ("bytes_per_second",), _WITH_BODY, "acts, and sends the body no faster than this"),
    "job-outcome": FaultKind(JOB, _OUTCOME, ("create",), "decides how the next job ends"),
    "job-duration": FaultKind(JOB, ("seconds",), ("create",), "decides how long the next job takes"),
    "lost-delivery": FaultKind(PLAN, ("event",), (WEBHOOK,), "never sends a webhook's delivery"),
    "duplicate-delivery": FaultKind(PLAN, ("event",), (WEBHOOK,), "sends a webhook's delivery twice"),
    "late-delivery": FaultKind(PLAN, ("seconds", "event"), (WEBHOOK,), "sends a webhook's delivery later"),
    "out-of-order-delivery": FaultKind(PLAN, (), (WEBHOOK,), "sends 'started' behind the job's last delivery"),
    "wrong-signature": FaultKind(SIGN, ("event",), (WEBHOOK,), "signs an attempt of a delivery wrongly"),
    "expired-timestamp": FaultKind(SIGN, ("seconds", "event"), (WEBHOOK,), "signs an attempt as if sent long ago"),
}


class FaultError(ValueError):
    """An order for a fault that makes no sense; its text says what would."""


@dataclass(frozen=True)
class Fault:
    """One fault on order. Make it with :func:`make_fault`, which checks it.

    Requests without the right key are refused before any fault can strike.

    :param fault: its name, a key of :data:`FAULTS`.
    :param count: how many times it strikes; None for every time. 1, or every time when ``probability`` or ``every``
        is given.
    :param probability: how likely it strikes a request that fits, from 0 to 1.
    :param every: 2 strikes every second request that fits, beginning with the second, and so on; 1 strikes each.
    :param endpoint: where it strikes, one of :data:`ENDPOINTS`; by default ``create``, and ``download`` for a fault
        that cannot strike there, ``webhook`` for one of deliveries, which are sent and not received.
    :param tool: slug of the only tool it strikes; None for any.
    :param prompt: a regular expression, such as a plain word; it strikes only requests, and looks at jobs, whose
        words it is found in, in capitals or not. None for any.
    :param hold_seconds: how long the client is kept waiting before the connection closes, in real seconds; 0 for
        ``close-after-accept`` and 600 for stalls.
    :param bytes_per_second: how fast the body is sent.
    :param status: an HTTP status, or for ``outcome`` the status of the job.
    :param retry_after: value of the ``Retry-After`` header, in seconds; None for no header.
    :param html: answer with a page of HTML, as gateways do.
    :param body: raw text of the answer; may be empty; None for the usual JSON.
    :param code: error code, of the answer or of the job.
    :param message: error message, of the answer or of the job.
    :param immediately: the outcome shows at the first look, not at the end of the job's time.
    :param seconds: how long the job takes, in seconds of the simulator's clock; for ``latency`` real seconds; for
        ``late-delivery`` how much later, and for ``expired-timestamp`` how long ago (3600), on the simulator's clock.
    :param event: the only event it strikes: ``started``, ``completed`` or ``errored``; None for any.
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
    def stage(self) -> str:
        """When it strikes."""
        return FAULTS[self.fault].stage

    @property
    def hold_s(self) -> float:
        """How long the client is kept waiting, in real seconds."""
        if self.hold_seconds is None:
            return _HOLD_S if self.fault.startswith("stall") else 0.0
        return self.hold_seconds

    @property
    def age_s(self) -> float:
        """How old an old timestamp is, in seconds."""
        return _AGE_S if self.seconds is None else self.seconds

    def order(self) -> dict[str, Any]:
        """Return the options that were given, as ``GET /_simulator/faults`` lists them."""
        usual = {field.name: field.default for field in fields(self)}
        always = ("fault", "endpoint")
        return {name: value for name, value in asdict(self).items() if name in always or value != usual[name]}


def make_fault(options: Mapping[str, Any]) -> Fault:
    """Return the fault that these options order.

    :param options: ``fault`` and whatever else :class:`Fault` has for it.
    :raises FaultError: a name or a value is unknown; the text lists the valid ones.
    """
    name = options.get("fault")
    if not isinstance(name, str) or name not in FAULTS:
        raise FaultError(f"There is no fault {name!r}: use one of {', '.join(FAULTS)}.")
    kind = FAULTS[name]
    valid = ("fault", "count", "probability", "every", "endpoint", "tool", "prompt", *kind.options)
    unknown = [key for key in options if key not in valid]
    _check(not unknown, f"The fault {name!r} has no option {unknown[:1]}: it takes {', '.join(valid)}.")
    given = dict(options)
    if "probability" in given or "every" in given:
        given.setdefault("count", None)
    if "endpoint" not in given and "create" not in kind.endpoints:
        given["endpoint"] = kind.endpoints[-1]
    if name == "out-of-order-delivery":
        given["event"] = "started"  # nothing comes after the others
    fault = Fault(**given)
    _check_where(fault, kind)
    _check_values(fault)
    return fault


def _check_where(fault: Fault, kind: FaultKind) -> None:
    count, chance, endpoint = fault.count, fault.probability, fault.endpoint
    whole = count is None or (isinstance(count, int) and not isinstance(count, bool) and count > 0)
    _check(whole, "count must be a whole number above 0, or null for every time.")
    _check(_is_number(chance) and 0 <= chance <= 1, "probability must be a number from 0 to 1.")
    every = fault.every
    _check(
        isinstance(every, int) and not isinstance(every, bool) and every > 0, "every must be a whole number above 0."
    )
    known = (*ENDPOINTS, WEBHOOK)
    _check(endpoint in known, f"There is no endpoint {endpoint!r}: use one of {', '.join(known)}.")
    _check(
        endpoint in kind.endpoints,
        f"The fault {fault.fault!r} {kind.does}, so its endpoint can only be {' or '.join(map(repr, kind.endpoints))}.",
    )
    _check(fault.tool in (None, *TOOLS), f"There is no tool {fault.tool!r}: use one of {', '.join(TOOLS)}.")
    if fault.tool is not None or fault.prompt is not None:
        _check(endpoint in _OF_A_JOB, f"Requests to {endpoint!r} belong to no job: leave tool and prompt out.")
    if fault.prompt is not None:
        _check(isinstance(fault.prompt, str) and fault.prompt != "", "prompt must be text to look for.")
        try:
            re.compile(fault.prompt)
        except re.error as bad:
            raise FaultError(f"prompt must be a regular expression, and {fault.prompt!r} is none: {bad}.") from bad


def _check_values(fault: Fault) -> None:
    name, status = fault.fault, fault.status
    for field in fields(fault):
        value = getattr(fault, field.name)
        if field.name in ("hold_seconds", "retry_after", "seconds") and value is not None:
            _check(_is_number(value), f"{field.name} must be a number of seconds, 0 or more.")
        elif field.name in ("html", "immediately"):
            _check(isinstance(value, bool), f"{field.name} must be true or false.")
        elif field.name in ("body", "code", "message"):
            _check(value is None or isinstance(value, str), f"{field.name} must be text.")
    if name == "job-outcome":
        _check(
            isinstance(status, str) and bool(status),
            "status must be the status that the job ends with, such as 'error', 'canceled', 'gone' or any other text.",
        )
    elif name in ("status", "accept-then-status"):
        _check(
            isinstance(status, int) and not isinstance(status, bool) and 200 <= status <= 599,
            "status must be an HTTP status from 200 to 599.",
        )
    elif name == "slow":
        speed = fault.bytes_per_second
        _check(_is_number(speed) and speed != 0, "bytes_per_second must be a number above 0.")
    _check(fault.event in (None, *_EVENTS), f"event must be {' or '.join(_EVENTS)}.")
    timed = name in ("job-duration", "latency", "late-delivery")
    _check(not timed or fault.seconds is not None, "seconds must say how long it takes.")


def _check(good: bool, sentence: str) -> None:
    if not good:
        raise FaultError(sentence)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf
