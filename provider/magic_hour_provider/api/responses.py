"""What an answer or a broken connection means: the one place that tells refused, repeatable and unknown apart."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from magic_hour_provider.api import errors
from magic_hour_provider.api.models import CANCELED, ERROR, GONE, Job, library_url
from magic_hour_provider.api.redaction import redact

NOT_CHARGED = "Nothing was made and nothing was charged."
_KEPT = 300  # characters of an unexpected answer shown to a person
_LONGEST_PAUSE_S = 3600.0


@dataclass(frozen=True)
class Response:
    """One HTTP answer.

    :param status: HTTP status code.
    :param headers: headers, looked up without regard to case.
    :param body: the raw body.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    @classmethod
    def of(cls, response: httpx.Response) -> Response:
        """Take what is needed of httpx's response."""
        return cls(response.status_code, response.headers, response.content)

    @property
    def ok(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300


def describe(answer: Response) -> str:
    """Describe an unexpected answer for a person: status, content type, the start of the body, no secrets."""
    kind = answer.headers.get("content-type") or "no content type"
    text = redact(answer.body.decode("utf-8", "replace").strip(), limit=_KEPT)
    return f"HTTP {answer.status}, {kind}, {f'body {text!r}' if text else 'an empty body'}"


def json_object(answer: Response) -> dict[str, Any] | None:
    """Return the JSON object of the body, whatever its content type; None if it holds none."""
    try:
        value = json.loads(answer.body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def as_str(value: Any) -> str | None:
    """Return a text that is not empty, else None."""
    return value if isinstance(value, str) and value else None


def as_int(value: Any) -> int | None:
    """Return a number as a whole one; None for anything else, also for JSON's numbers that are too large to be one."""
    try:
        return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    except (OverflowError, ValueError):
        return None


def retry_after(headers: Mapping[str, str], *, now: datetime | None = None) -> float | None:
    """Return the seconds of a ``Retry-After`` header, given as seconds or as a date; None without a readable one.

    An hour is the longest that is believed: a day is a fault, and would keep a job's end from its task.
    """
    text = (headers.get("retry-after") or "").strip()
    try:
        return min(_LONGEST_PAUSE_S, max(0.0, float(text)))
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(_LONGEST_PAUSE_S, max(0.0, (moment - (now or datetime.now(UTC))).total_seconds()))


def _said(answer: Response) -> tuple[str, str | None]:
    """Return the service's words and code; without JSON, what was received instead."""
    body = json_object(answer) or {}
    message, code = as_str(body.get("message")), as_str(body.get("code"))
    if message is None:
        return describe(answer), code
    words = redact(message, limit=1000)
    return f'"{words}"' + (f" ({code})" if code else ""), code


def rejection_error(answer: Response, doing: str, consequence: str) -> errors.MagicHourError | None:
    """Return the error of a definite "no", or None if the answer is not one.

    :param consequence: the sentence on what it means for the charge.
    """
    said, code = _said(answer)
    status = answer.status
    if status == 401:
        return errors.AuthenticationError(
            f"Magic Hour does not accept the API key (HTTP 401) when {doing}: {said}. "
            f"Check the connection's password; a revoked key stops working at once. {consequence}",
            status_code=status,
            code=code,
        )
    if status in (402, 403):
        return errors.InsufficientCreditsError(
            f"Magic Hour refused {doing} (HTTP {status}): {said}. The credits or the plan do not cover it: "
            f"see https://magichour.ai/pricing, or ask for less. {consequence}",
            status_code=status,
            code=code,
        )
    if status == 404:
        return errors.NotFoundError(
            f"Magic Hour knows nothing there (HTTP 404) when {doing}: {said}. "
            "The id may be of another kind or another account, or deleted; or the connection's host may be wrong.",
            status_code=status,
            code=code,
        )
    if status == 429:
        wait = retry_after(answer.headers)
        return errors.RateLimitedError(
            f"Magic Hour asks us to slow down (HTTP 429) when {doing}: {said}. "
            f"{f'It names a wait of {wait:g} s. ' if wait is not None else ''}{consequence}",
            retry_after=wait,
            code=code,
        )
    if 300 <= status < 400:
        return errors.RequestRejectedError(
            f"The connection's host answers {doing} with a redirect (HTTP {status}), which is never followed: "
            f"check the host. {consequence}",
            status_code=status,
        )
    if 400 <= status < 500 and status not in (408, 409):
        return errors.RequestRejectedError(
            f"Magic Hour refused {doing} (HTTP {status}): {said}. {consequence}", status_code=status, code=code
        )
    return None


def check(answer: Response, doing: str) -> Response:
    """Return the answer of a request that is safe to repeat, if it succeeded.

    :param doing: what the request was for, such as ``"looking at job abc"``; it becomes part of the message.
    :raises MagicHourError: the subclass that fits the status.
    """
    if answer.ok:
        return answer
    if answer.status == 404 and json_object(answer) is None:
        # The API's own 404 is JSON: this one is a proxy's or another host's, and says nothing about the job.
        raise errors.InvalidResponseError(
            f"The answer when {doing} is not Magic Hour's ({describe(answer)}): a proxy or a wrong host in the "
            "connection is the usual cause. The request changed nothing.",
            status_code=404,
        )
    raise rejection_error(answer, doing, "The request changed nothing.") or errors.ServerError(
        f"Magic Hour has a fault when {doing} (HTTP {answer.status}): {_said(answer)[0]}. The request changed "
        "nothing; try again later.",
        retry_after=retry_after(answer.headers),
        status_code=answer.status,
    )


# httpx maps failures of DNS, of opening the socket and of the TLS handshake to ConnectError or ConnectTimeout, and
# those of a proxy's tunnel to ProxyError; PoolTimeout and UnsupportedProtocol come before any of them.
_NEVER_LEFT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.ProxyError,
    httpx.PoolTimeout,
    httpx.UnsupportedProtocol,
)


def describe_error(error: httpx.RequestError) -> str:
    """Name what broke, for a person."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def transport_error(error: httpx.RequestError, doing: str) -> errors.MagicHourError:
    """Say what a broken connection means for a request that is safe to repeat."""
    words = describe_error(error)
    if isinstance(error, _NEVER_LEFT):
        return errors.ConnectionFailedError(
            f"Magic Hour could not be reached when {doing} ({words}). No request was sent and nothing was charged; "
            "check the connection's host and the network."
        )
    return errors.ResponseLostError(f"The connection broke when {doing} ({words}). The request changed nothing.")


def job_error(
    job: Job, *, tool: str | None = None, paid_here: bool = True, adopt: str = "this task's state 'magic_hour.adopt'"
) -> errors.MagicHourError:
    """Return the error of a job that ended without a result.

    :param paid_here: False for a task that only waits for a job or collects it: there a retry pays for nothing.
    :param adopt: where a person puts the id of a job that the task shall go on with.
    """
    what = f"Magic Hour job {job.id} ({tool or job.kind})"
    page = library_url(job.kind, job.id)
    see = f" See {page}" if page else ""
    if job.status == ERROR:
        code = job.error_code or "no code"
        failure = errors.JobFailedError("", code=job.error_code)
        if not paid_here:
            advice = "This task pays for nothing: make the job anew where it was made"
        elif failure.retryable:
            advice = "A retry of the task makes and pays for one new job"
        else:
            advice = "The same request would fail again: change it, then clear the task"
        charge = f"; it is now {job.credits_charged} credits" if job.credits_charged is not None else ""
        return errors.JobFailedError(
            f"{what} failed with {code}: {redact(job.error_message or 'no message', limit=500)}. "
            f"Magic Hour refunds failed jobs{charge}. {advice}.{see}",
            code=job.error_code,
        )
    anew = "clear it to make and pay for a new job" if paid_here else "make it anew where it was made"
    if job.status == CANCELED:
        return errors.JobCanceledError(
            f"{what} was canceled in the Magic Hour web app. Canceled videos are refunded in full; the "
            f"task will not pay for another by itself: {anew}.{see}"
        )
    if job.status == GONE:
        return errors.JobCanceledError(
            f"{what} is gone: it was deleted, or the connection's key now belongs to another account. It was paid "
            f"for, so the task will not pay for another by itself. If the key is the cause, bring back the right one"
            + (f', put "{job.id}" into {adopt} and clear the task' if paid_here else "")
            + f": nothing is paid. If it is deleted, {anew}.{see}"
        )
    return errors.InvalidResponseError(f"{what} ended as {job.status!r}, which is not known.{see}")
