"""Settings for behavior that Magic Hour's documentation leaves open."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_type_hints


@dataclass(frozen=True)
class Behavior:
    """How the simulator behaves where Magic Hour's behavior is not established.

    A test that passes with every value of a setting does not depend on what is unknown. Each setting is one of the
    contract's open questions or contradictions.

    :param refunded_credits: what ``credits_charged`` says after a refund (open whether 0 or negative): ``zero``,
        ``negative`` (the price with a minus), or ``unchanged``. The balance is the same with all three.
    :param deleted_job: how a poll is answered after DELETE (open): ``not_found`` (404), or ``disabled``: the details
        with ``enabled: false`` and no files.
    :param delete_active: what DELETE does to a job that still runs (open): ``refused`` (422); ``removed``: the job is
        gone and stays charged; ``canceled``: it is gone and refunded.
    :param wrong_kind: how a poll at the route of another kind is answered (404 is assumed): ``not_found``, or
        ``details`` as at its own route.
    :param upload_link_reuse: whether an upload link takes a second file (open): ``allowed``, which replaces the
        first, or ``refused`` (403).
    :param upload_link_seconds: how long an upload link lives, in seconds (open; 900).
    :param unknown_fields: what a field that the catalog does not have does to a create (open): ``ignored``, so that
        requests newer than this package run in tests too, as the operators check names themselves; or ``refused``
        (400), for tests of one's own HTTP calls.
    :param unknown_values: what a value does that is in none of the catalog's lists, such as a model of next week:
        ``refused`` (422, as documented for values), or ``accepted``. Bounds of numbers and lengths always hold.
    :param missing_file: what a reference to a file that is not there does (both are documented): ``failed_job``: the
        job is accepted, fails with ``invalid_*_path`` and is refunded; or ``refused`` (422).
    :param input_links: whether links given as files are followed (open when, and how often): ``trusted``, as the
        simulator never leaves this machine, or ``fetched`` before the create is answered: those of this machine, to
        their end, up to the plan's largest file; one that does not open counts as a missing file. ``stats()`` has
        ``input_links``: ``fetched``, ``failed`` and ``bytes``.
    :param plan_limit: how a model beyond the account's plan is refused (the sources contradict each other):
        ``forbidden`` (403), or ``payment_required`` (402, code ``plan_upgrade_required``).
    :param error_code: whether the body of an error has a ``code`` beside its ``message`` (older descriptions have
        none): ``included``, or ``omitted``.
    :param image_started: whether webhooks get ``image.started`` (it may be skipped for fast jobs): ``sent``, or
        ``skipped``.
    :param webhook_repeats: whether a retried delivery has a timestamp and a signature of its own (open):
        ``resigned``, or ``original``, which a receiver finds too old after 300 seconds.
    :param webhook_envelope: where a delivery has the job (the sources contradict each other): ``payload``, or
        ``object``.
    :param webhook_deprecated: whether a delivery has the deprecated fields of the details (open): ``included``, or
        ``omitted``.
    :param body_limit_bytes: the largest JSON body taken, in bytes (open; 4 MiB); larger ones are answered 413.
    :param upload_limit_bytes: the largest upload taken, in bytes; 0 for that of the account's tier.
    :param polls_per_second: how many polls are answered within any second (429 is documented, numbers are not); more
        are answered 429. 0 for no limit.
    :param concurrent_jobs: how many jobs run at the same time (plans have 1, 3, 5 or no limit; whether jobs of the API
        count is open). 0 for no limit.
    :param concurrent_jobs_beyond: what becomes of one more (open): it is ``queued`` until another has ended, or
        ``refused`` (429).
    :param budgeted_requests: whether the service knows the envelope ``budgeted_request`` of image-to-video, and says so
        in the account's capabilities (prepared by the vendor, not released): ``unknown``, or ``accepted``.
    :param retry_after: whether such a 429 has a ``Retry-After`` header, of 1 s (none is documented): ``included``, or
        ``omitted``.
    :raises ValueError: a value is none of these; the text lists them.
    """

    refunded_credits: Literal["zero", "negative", "unchanged"] = "zero"
    deleted_job: Literal["not_found", "disabled"] = "not_found"
    delete_active: Literal["refused", "removed", "canceled"] = "refused"
    wrong_kind: Literal["not_found", "details"] = "not_found"
    upload_link_reuse: Literal["allowed", "refused"] = "allowed"
    upload_link_seconds: int = 900
    unknown_fields: Literal["ignored", "refused"] = "ignored"
    unknown_values: Literal["refused", "accepted"] = "refused"
    missing_file: Literal["failed_job", "refused"] = "failed_job"
    input_links: Literal["trusted", "fetched"] = "trusted"
    plan_limit: Literal["forbidden", "payment_required"] = "forbidden"
    error_code: Literal["included", "omitted"] = "included"
    image_started: Literal["sent", "skipped"] = "sent"
    webhook_repeats: Literal["resigned", "original"] = "resigned"
    webhook_envelope: Literal["payload", "object"] = "payload"
    webhook_deprecated: Literal["included", "omitted"] = "included"
    body_limit_bytes: int = 4 * 1024 * 1024
    upload_limit_bytes: int = 0
    polls_per_second: int = 0
    concurrent_jobs: int = 0
    concurrent_jobs_beyond: Literal["queued", "refused"] = "queued"
    budgeted_requests: Literal["unknown", "accepted"] = "unknown"
    retry_after: Literal["included", "omitted"] = "included"

    def __post_init__(self) -> None:
        for name, allowed in allowed_values().items():
            value = getattr(self, name)
            if allowed and value not in allowed:
                raise ValueError(f"{name} must be {' or '.join(allowed)}, not {value!r}.")
            if not allowed and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
                raise ValueError(f"{name} must be a whole number, 0 or more, not {value!r}.")


def allowed_values() -> dict[str, tuple[str, ...]]:
    """Return the values of each setting; none for those that take a number."""
    hints = get_type_hints(Behavior)
    return {field.name: get_args(hints[field.name]) for field in fields(Behavior)}


def parse_behavior(assignments: Iterable[str]) -> Behavior:
    """Return the behavior that a command line asks for.

    :param assignments: such as ``deleted_job=disabled``.
    :raises ValueError: one is not understood; the text lists what is.
    """
    known = allowed_values()
    chosen: dict[str, Any] = {}
    for assignment in assignments:
        name, _, value = assignment.partition("=")
        name = name.strip().replace("-", "_")
        if name not in known:
            raise ValueError(f"There is no behavior {name!r}: use one of {', '.join(known)}, as NAME=VALUE.")
        number = not known[name] and value.isascii() and value.isdecimal()
        chosen[name] = int(value) if number else value
    return Behavior(**chosen)
