"""Prompt directives: faults that the text of a request asks for, as test card numbers do for payments.

Put them anywhere into a prompt, a script or a ``name``; several may stand together. They are injected into every create
that carries them, so a retry meets the same fault again.

================================  ==================================================================================
``[[seconds:12]]``                the job takes 12 seconds of the simulator's clock
``[[error]]``                     the job fails with ``unknown_error`` and is refunded
``[[error:no_source_face]]``      the job fails with this code and is refunded
``[[canceled]]``                  the job ends as if a person had canceled it, and is refunded
``[[queued]]``                    the job stays in the queue for ever, and stays charged
``[[rendering]]``                 the job renders for ever, and stays charged
``[[final-status:dreaming]]``     the job ends with any other status, also an unknown one, and stays charged
``[[deleted]]``                   the job is not found (404) once its time is over, and stays charged
``[[status:503]]``                the create is answered 503; no job is created or charged
``[[status:429:30]]``             the same, with ``Retry-After: 30``
``[[accepted:500]]``              the job is created and charged, and the create is answered 500 all the same
``[[lost-response]]``             the job is created and charged, and the connection closes before the response
``[[no-id]]``                     the job is created and charged, and the response has no id
``[[connection-closed]]``         the connection closes without a response; no job is created or charged
``[[latency:2]]``                 the create is answered 2 real seconds later
================================  ==================================================================================

Other text in double brackets is left alone, as prompts may have it for reasons of their own. A directive with a value
that makes no sense is refused (400).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from magic_hour_provider.simulator.errors import invalid_request_error
from magic_hour_provider.simulator.faults.catalog import Fault, FaultError, make_fault

_DIRECTIVE = re.compile(r"\[\[\s*([a-z-]+)\s*((?::[^\[\]:]*)*)\]\]")


def _outcome(status: str) -> Callable[[], dict[str, Any]]:
    return lambda: {"fault": "job-outcome", "status": status}


def _number(text: str) -> int | float:
    return int(text) if text.isascii() and text.isdecimal() else float(text)


def _status(status: str, retry_after: str | None = None) -> dict[str, Any]:
    wait = {} if retry_after is None else {"retry_after": _number(retry_after)}
    return {"fault": "status", "status": _number(status), **wait}


DIRECTIVES: Mapping[str, tuple[str, Callable[..., dict[str, Any]]]] = {
    "seconds": ("[[seconds:12]]", lambda seconds: {"fault": "job-duration", "seconds": _number(seconds)}),
    "error": (
        "[[error]] or [[error:no_source_face]]",
        lambda code="unknown_error": {"fault": "job-outcome", "status": "error", "code": code},
    ),
    "canceled": ("[[canceled]]", _outcome("canceled")),
    "queued": ("[[queued]]", _outcome("queued")),
    "rendering": ("[[rendering]]", _outcome("rendering")),
    "final-status": ("[[final-status:dreaming]]", lambda status: {"fault": "job-outcome", "status": status}),
    "deleted": ("[[deleted]]", _outcome("gone")),
    "status": ("[[status:503]] or [[status:429:30]]", _status),
    "accepted": ("[[accepted:500]]", lambda status: {"fault": "accept-then-status", "status": _number(status)}),
    "lost-response": ("[[lost-response]]", lambda: {"fault": "close-after-accept"}),
    "no-id": ("[[no-id]]", lambda: {"fault": "no-id"}),
    "connection-closed": ("[[connection-closed]]", lambda: {"fault": "close-before-read"}),
    "latency": ("[[latency:2]]", lambda seconds: {"fault": "latency", "seconds": _number(seconds)}),
}
"""Each directive's name: its forms, and the options of its fault from its values, which are text."""


def parse_directives(text: str) -> list[Fault]:
    """Return the faults that the directives in the text of a request ask for, in their order.

    :param text: the request's text, as :func:`.jobs.facts.searchable_text` returns it.
    :raises ApiError: a directive has a value that makes no sense; the message shows the right form.
    """
    if "[[" not in text:
        return []
    faults = []
    for match in _DIRECTIVE.finditer(text):
        name, rest = match.groups()
        if name not in DIRECTIVES:
            continue
        forms, options = DIRECTIVES[name]
        values = [value.strip() for value in rest.split(":")[1:]]
        try:
            if "" in values:
                raise ValueError("a value is empty")
            faults.append(make_fault(options(*values)))
        except (FaultError, TypeError, ValueError) as bad:
            why = f" {bad}" if isinstance(bad, FaultError) else ""
            raise invalid_request_error(f"The prompt directive {match[0]} makes no sense.{why} Use {forms}.") from bad
    return faults
