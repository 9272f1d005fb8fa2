"""Faults on order: what to do wrong, where, and how many times."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from magic_hour_provider.api.catalog import TOOLS

ENDPOINTS = ("create", "look", "upload-urls", "upload", "download", "account")

_ANSWER = ("status", "retry_after", "html", "body", "code", "message")
# The options of each fault, beside count, endpoint and tool.
OPTIONS: Mapping[str, tuple[str, ...]] = {
    "close-after-accept": ("hold",),
    "status": _ANSWER,
    "accept-then-status": _ANSWER,
    "outcome": ("status", "code", "message", "at_once"),
    "seconds": ("seconds",),
}
# Faults that spoil an answer; the others shape the job that a create makes.
ANSWER_FAULTS = ("close-after-accept", "status", "accept-then-status")


class FaultError(ValueError):
    """An order for a fault that makes no sense; its text says what would."""


@dataclass
class Fault:
    """One fault on order. Make it with :func:`make_fault`, which checks it.

    :param fault: its name, a key of :data:`OPTIONS`.
    :param count: how many times it strikes.
    :param endpoint: where it strikes, one of :data:`ENDPOINTS`.
    :param tool: slug of the only tool it strikes; None for any.
    :param hold: how long the client is kept waiting before the connection closes, in real seconds.
    :param status: an HTTP status, or for ``outcome`` the status of the job.
    :param retry_after: value of the ``Retry-After`` header, in seconds; None for no header.
    :param html: answer with a page of HTML, as gateways do.
    :param body: raw text of the answer; may be empty; None for the usual JSON.
    :param code: error code, of the answer or of the job.
    :param message: error message, of the answer or of the job.
    :param at_once: the outcome shows at the first look, not at the end of the job's time.
    :param seconds: how long the job takes, in seconds of the simulator's clock.
    """

    fault: str
    count: int = 1
    endpoint: str = "create"
    tool: str | None = None
    hold: float = 0.0
    status: int | str | None = None
    retry_after: float | None = None
    html: bool = False
    body: str | None = None
    code: str | None = None
    message: str | None = None
    at_once: bool = False
    seconds: float | None = None


def _check(good: bool, sentence: str) -> None:
    if not good:
        raise FaultError(sentence)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value >= 0


def make_fault(options: Mapping[str, Any]) -> Fault:
    """Return the fault that these options order.

    :param options: ``fault`` and whatever else :class:`Fault` has for it.
    :raises FaultError: a name or a value is unknown; the text lists the valid ones.
    """
    name = options.get("fault")
    if not isinstance(name, str) or name not in OPTIONS:
        raise FaultError(f"There is no fault {name!r}: use one of {', '.join(OPTIONS)}.")
    valid = ("fault", "count", "endpoint", "tool", *OPTIONS[name])
    unknown = [key for key in options if key not in valid]
    _check(not unknown, f"The fault {name!r} has no option {unknown[:1]}: it takes {', '.join(valid)}.")
    fault = Fault(**options)
    count, status = fault.count, fault.status
    _check(
        isinstance(count, int) and not isinstance(count, bool) and count > 0, "count must be a whole number above 0."
    )
    _check(fault.endpoint in ENDPOINTS, f"There is no endpoint {fault.endpoint!r}: use one of {', '.join(ENDPOINTS)}.")
    _check(
        fault.endpoint == "create" or name in ANSWER_FAULTS,
        f"The fault {name!r} is about a job being made: its endpoint can only be 'create'.",
    )
    _check(fault.tool in (None, *TOOLS), f"There is no tool {fault.tool!r}: use one of {', '.join(TOOLS)}.")
    _check(
        fault.tool is None or fault.endpoint in ("create", "look", "download"),
        f"Requests to {fault.endpoint!r} belong to no tool: leave tool out.",
    )
    for field in fields(fault):
        value = getattr(fault, field.name)
        if field.name in ("hold", "retry_after", "seconds") and value is not None:
            _check(_is_number(value), f"{field.name} must be a number of seconds, 0 or more.")
        elif field.name in ("html", "at_once"):
            _check(isinstance(value, bool), f"{field.name} must be true or false.")
        elif field.name in ("body", "code", "message"):
            _check(value is None or isinstance(value, str), f"{field.name} must be text.")
    if name == "outcome":
        _check(
            isinstance(status, str) and bool(status),
            "status must be the status that the job ends with, such as 'error', 'canceled', 'gone' or any other text.",
        )
    elif name in ("status", "accept-then-status"):
        _check(
            isinstance(status, int) and not isinstance(status, bool) and 200 <= status <= 599,
            "status must be an HTTP status from 200 to 599.",
        )
    _check(name != "seconds" or fault.seconds is not None, "seconds must say how long the job takes.")
    return fault


class FaultBook:
    """The faults on order. Safe to use from several threads."""

    def __init__(self) -> None:
        self._orders: list[Fault] = []
        self._lock = threading.Lock()

    def __bool__(self) -> bool:
        return bool(self._orders)

    def add(self, fault: Fault) -> None:
        """Put a fault on order, behind those already there."""
        with self._lock:
            self._orders.append(fault)

    def clear(self) -> None:
        """Cancel every order."""
        with self._lock:
            self._orders.clear()

    def take(self, names: tuple[str, ...], endpoint: str, tool: str | None) -> Fault | None:
        """Return the oldest fault that fits, and count it down; None when none fits.

        :param names: the faults that may strike here.
        :param endpoint: where the request goes, one of :data:`ENDPOINTS`.
        :param tool: slug of the tool that the request is about, if there is one.
        """
        with self._lock:
            for fault in self._orders:
                if fault.fault in names and fault.endpoint == endpoint and fault.tool in (None, tool):
                    fault.count -= 1
                    if fault.count == 0:
                        self._orders.remove(fault)
                    return fault
        return None

    def put_back(self, fault: Fault) -> None:
        """Undo a :meth:`take`: the request failed by itself and the fault has not struck."""
        with self._lock:
            fault.count += 1
            if fault.count == 1:
                self._orders.insert(0, fault)
