"""Prompt directives: faults ordered by the words of a request, as test card numbers do for payments.

Put them anywhere into a prompt, a script or a ``name``; several may stand together. They hold for every create that
carries them, so a retry meets the same fault again.

================================  ==================================================================================
``[[seconds:12]]``                the job takes 12 seconds of the simulator's clock
``[[error]]``                     the job fails with ``unknown_error`` and is refunded
``[[error:no_source_face]]``      the job fails with this code and is refunded
``[[canceled]]``                  the job ends as if canceled by hand, and is refunded
``[[queued]]``                    the job stays in the queue for ever, and stays paid
``[[rendering]]``                 the job renders for ever, and stays paid
``[[final-status:dreaming]]``     the job ends with any other status, also one that nobody knows, and stays paid
``[[deleted]]``                   the job vanishes when its time is over (404), and stays paid
``[[status:503]]``                the create is answered 503; nothing is made or charged
``[[status:429:30]]``             the same, with ``Retry-After: 30``
``[[accepted:500]]``              the job is made and charged, and the create is answered 500 all the same
``[[lost-response]]``             the job is made and charged, and the connection closes before the answer
``[[no-id]]``                     the job is made and charged, and the answer has no id
``[[connection-closed]]``         the connection closes without an answer; nothing is made or charged
``[[latency:2]]``                 the create is answered 2 real seconds later
================================  ==================================================================================

Other words in double brackets are left alone, as prompts may have them for reasons of their own. One of these words
with a value that makes no sense is refused (400).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from magic_hour_provider.simulator.errors import invalid
from magic_hour_provider.simulator.faults.catalog import Fault, FaultError, make_fault

_WORD = re.compile(r"\[\[\s*([a-z-]+)\s*((?::[^\[\]:]*)*)\]\]")


def _job(status: str) -> Callable[[], dict[str, Any]]:
    return lambda: {"fault": "job-outcome", "status": status}


def _number(text: str) -> int | float:
    return int(text) if text.isascii() and text.isdecimal() else float(text)


def _status(status: str, retry_after: str | None = None) -> dict[str, Any]:
    wait = {} if retry_after is None else {"retry_after": _number(retry_after)}
    return {"fault": "status", "status": _number(status), **wait}


# The forms of each word, and what makes the order for a fault from the values after it, which are text.
SPELLS: Mapping[str, tuple[str, Callable[..., dict[str, Any]]]] = {
    "seconds": ("[[seconds:12]]", lambda seconds: {"fault": "job-duration", "seconds": _number(seconds)}),
    "error": (
        "[[error]] or [[error:no_source_face]]",
        lambda code="unknown_error": {"fault": "job-outcome", "status": "error", "code": code},
    ),
    "canceled": ("[[canceled]]", _job("canceled")),
    "queued": ("[[queued]]", _job("queued")),
    "rendering": ("[[rendering]]", _job("rendering")),
    "final-status": ("[[final-status:dreaming]]", lambda status: {"fault": "job-outcome", "status": status}),
    "deleted": ("[[deleted]]", _job("gone")),
    "status": ("[[status:503]] or [[status:429:30]]", _status),
    "accepted": ("[[accepted:500]]", lambda status: {"fault": "accept-then-status", "status": _number(status)}),
    "lost-response": ("[[lost-response]]", lambda: {"fault": "close-after-accept"}),
    "no-id": ("[[no-id]]", lambda: {"fault": "no-id"}),
    "connection-closed": ("[[connection-closed]]", lambda: {"fault": "close-before-read"}),
    "latency": ("[[latency:2]]", lambda seconds: {"fault": "latency", "seconds": _number(seconds)}),
}


def faults_in(words: str) -> list[Fault]:
    """Return the faults that the words of a request order, in their order.

    :raises ApiError: a prompt directive has a value that makes no sense.
    """
    if "[[" not in words:
        return []
    found = []
    for match in _WORD.finditer(words):
        name, rest = match.groups()
        if name not in SPELLS:
            continue
        forms, order = SPELLS[name]
        values = [value.strip() for value in rest.split(":")[1:]]
        try:
            if "" in values:
                raise ValueError("a value is empty")
            found.append(make_fault(order(*values)))
        except (FaultError, TypeError, ValueError) as bad:
            why = f" {bad}" if isinstance(bad, FaultError) else ""
            raise invalid(f"The prompt directive {match[0]} is not understood.{why} Use {forms}.") from bad
    return found
