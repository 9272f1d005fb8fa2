"""Maps HTTP outcomes to exceptions: never delivered, rejected or unknown. The charge is said by :mod:`.protocol`."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import httpx

from magic_hour_provider.api import errors
from magic_hour_provider.api.errors import Charge, RequestFailure, describe_credits, describe_error
from magic_hour_provider.api.models import CANCELED, ERROR, GONE, Job, library_url
from magic_hour_provider.api.redaction import clean_text, redact
from magic_hour_provider.times import parse_http_date

_MAX_SHOWN = 300  # characters of an unexpected response shown to a person
_MAX_RETRY_AFTER_S = 3600.0


class Response(NamedTuple):
    """One HTTP response.

    :param status: HTTP status code.
    :param headers: headers, looked up without regard to case.
    :param body: the raw body.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    @classmethod
    def of(cls, response: httpx.Response) -> Response:
        """Copy what is needed of httpx's response."""
        return cls(response.status_code, response.headers, response.content)

    @property
    def ok(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300


def describe(response: Response) -> str:
    """Describe an unexpected response for a person: status, content type, the start of the body, no secrets."""
    kind = response.headers.get("content-type") or "no content type"
    text = redact(response.body.decode("utf-8", "replace").strip(), limit=_MAX_SHOWN)
    return f"HTTP {response.status}, {kind}, {f'body {text!r}' if text else 'an empty body'}"


def _parse_int(digits: str) -> int | float:
    # Python refuses to read thousands of digits, and would lose what stands beside them.
    return int(digits) if len(digits) < 400 else float(digits)


_DECODER = json.JSONDecoder(strict=False, parse_int=_parse_int)  # json.loads would make one for each response


def json_object(response: Response) -> dict[str, Any] | None:
    """Return the JSON object of the body, whatever its content type; None if it holds none."""
    return parse_object(response.body)


def parse_object(body: bytes) -> dict[str, Any] | None:
    """Return the JSON object in a body, its texts cleaned as by :func:`.redaction.clean_text`; None if it holds none.

    A byte order mark, a byte that is no UTF-8 or a control character in a text hides nothing else: the id beside it
    may be that of a paid job.
    """
    try:
        value = _DECODER.decode(body.decode(json.detect_encoding(body), "replace"))
        if b"\\u" in body or b"\0" in body:
            value = _clean(value)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


# What gateways in front of a service answer in the same form, without having heard from it: AWS API Gateway
# (https://docs.aws.amazon.com/apigateway/latest/developerguide/handle-errors-in-lambda-integration.html), Kong, APISIX.
_GATEWAY_MESSAGES = frozenset(
    {
        "bad gateway",
        "internal server error",
        "an invalid response was received from the upstream server",
        "endpoint request timed out",
        "service unavailable",
    }
)
_GATEWAY_HEADERS = ("x-amzn-errortype", "x-amz-apigw-id")


def is_own_error(response: Response) -> bool:
    """Whether an error is recognizably Magic Hour's own, and not that of a proxy or gateway on the way.

    Its envelope is a JSON object with the text ``message``, since lately also ``code``, and nothing else
    (https://docs.magichour.ai/api-reference). Anything else may come from a gateway, which cannot know what became of
    the request.
    """
    kind = (response.headers.get("content-type") or "").partition(";")[0].strip().lower()
    try:
        json.loads(response.body)  # as it came: json_object forgives what the service itself would not send
    except (ValueError, RecursionError):
        return False
    body = json_object(response)
    if kind != "application/json" or body is None or not set(body) <= {"message", "code"}:
        return False
    message = as_str(body.get("message"))
    if message is None or not isinstance(body.get("code"), str | None):
        return False
    from_gateway = any(response.headers.get(name) is not None for name in _GATEWAY_HEADERS)
    return not from_gateway and message.strip().rstrip(".").lower() not in _GATEWAY_MESSAGES


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, list):
        return [_clean(element) for element in value]
    return {clean_text(key): _clean(inner) for key, inner in value.items()} if isinstance(value, dict) else value


def as_str(value: Any) -> str | None:
    """Return a string that is not empty, else None."""
    return value if isinstance(value, str) and value else None


def as_int(value: Any) -> int | None:
    """Return a number as an integer; None for anything else, also for JSON's numbers that are too large to be one."""
    try:
        return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    except (OverflowError, ValueError):
        return None


def retry_after(headers: Mapping[str, str], *, now: float | None = None) -> float | None:
    """Return the seconds of a ``Retry-After`` header, given as seconds or as a date; None without a readable one.

    An hour is the most that is obeyed: a day is a fault, and would keep a job's end from its task.

    :param now: the time, in seconds since 1970; None: by the response's own ``Date``, as the two are of one clock;
        without it by the machine's.
    """
    text = (headers.get("retry-after") or "").strip()
    try:
        return min(_MAX_RETRY_AFTER_S, max(0.0, float(text)))
    except ValueError:
        pass
    moment = parse_http_date(text)
    if moment is None:
        return None
    if now is None:
        now = parse_http_date((headers.get("date") or "").strip())
    return min(_MAX_RETRY_AFTER_S, max(0.0, moment - (time.time() if now is None else now)))


def _service_message(response: Response) -> tuple[str, str | None]:
    """Return the service's message and code; without JSON, what was received instead."""
    body = json_object(response) or {}
    message, code = as_str(body.get("message")), as_str(body.get("code"))
    if message is None:
        return describe(response), code
    return f'"{redact(message, limit=1000)}"' + (f" ({code})" if code else ""), code


# httpx maps failures of DNS, of opening the socket and of the TLS handshake to ConnectError or ConnectTimeout, and
# those of a proxy's tunnel to ProxyError; PoolTimeout and UnsupportedProtocol come before any of them.
_NEVER_DELIVERED = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.ProxyError,
    httpx.PoolTimeout,
    httpx.UnsupportedProtocol,
)


def classify_failure(outcome: Response | httpx.RequestError) -> RequestFailure:
    """Return what is known of a request that did not succeed; a 2xx counts as one whose body says nothing usable.

    408 and 409 say that the service gave up on a request, or met another one, and not what became of this one.
    """
    if isinstance(outcome, httpx.RequestError):
        delivered = not isinstance(outcome, _NEVER_DELIVERED)
        return RequestFailure.UNKNOWN_OUTCOME if delivered else RequestFailure.NEVER_DELIVERED
    rejected = 300 <= outcome.status < 500 and outcome.status not in (408, 409)
    return RequestFailure.REJECTED if rejected else RequestFailure.UNKNOWN_OUTCOME


def rejection_error(response: Response, doing: str, *, charge: Charge | None = None) -> errors.MagicHourError:
    """Return the error of a request that the service rejected.

    :param doing: what the request was for, such as ``"submitting lip-sync"``; it becomes part of the message.
    :param charge: what the rejection means for the charge; None where the request was free.
    """
    message, code = _service_message(response)
    status = response.status
    if status == 401:
        return errors.AuthenticationError(
            f"Magic Hour does not accept the API key (HTTP 401) when {doing}: {message}.",
            charge=charge,
            next_step="Check the connection's password; a revoked key stops working at once.",
            status_code=status,
            code=code,
        )
    if status in (402, 403):
        return errors.InsufficientCreditsError(
            f"Magic Hour rejected {doing} (HTTP {status}): {message}. The credits or the plan do not cover it.",
            charge=charge,
            next_step="Top up or change the plan at https://magichour.ai/pricing, or ask for less.",
            status_code=status,
            code=code,
        )
    if status == 404:
        return errors.NotFoundError(
            f"Magic Hour knows nothing there (HTTP 404) when {doing}: {message}.",
            charge=charge,
            next_step="The id may be of another kind or another account, or deleted; or the connection's host may be "
            "wrong.",
            status_code=status,
            code=code,
        )
    if status == 429:
        wait = retry_after(response.headers)
        return errors.RateLimitedError(
            f"Magic Hour limits the rate (HTTP 429) when {doing}: {message}."
            f"{f' It names a wait of {wait:g} s.' if wait is not None else ''}",
            charge=charge,
            retry_after=wait,
            code=code,
        )
    if 300 <= status < 400:
        return errors.RequestRejectedError(
            f"The connection's host answers {doing} with a redirect (HTTP {status}), which is never followed.",
            charge=charge,
            next_step="Check the host.",
            status_code=status,
        )
    return errors.RequestRejectedError(
        f"Magic Hour rejected {doing} (HTTP {status}): {message}.", charge=charge, status_code=status, code=code
    )


def raise_for_status(response: Response, doing: str) -> Response:
    """Return the response of a request that is safe to repeat, if it succeeded.

    :param doing: what the request was for, such as ``"polling job abc"``; it becomes part of the message.
    :raises MagicHourError: the subclass that fits the status.
    """
    if response.ok:
        return response
    if response.status == 404 and json_object(response) is None:
        # The API's own 404 is JSON: this one is a proxy's or another host's, and says nothing about the job.
        raise errors.InvalidResponseError(
            f"The response when {doing} is not Magic Hour's ({describe(response)}).",
            next_step="A proxy or a wrong host in the connection is the usual cause.",
            status_code=404,
        )
    if classify_failure(response) is RequestFailure.REJECTED:
        raise rejection_error(response, doing)
    raise errors.ServerError(
        f"Magic Hour has a fault when {doing} (HTTP {response.status}): {_service_message(response)[0]}.",
        next_step="Try again later.",
        retry_after=retry_after(response.headers),
        status_code=response.status,
    )


def transport_error(
    error: httpx.RequestError, doing: str, *, charge: Charge | None = None
) -> errors.ConnectionFailedError | errors.ResponseLostError:
    """Return the error of a broken connection, for a request that is safe to repeat.

    :param charge: what it means for the charge if no connection could be made; None where the request was free.
    """
    return connection_error(describe_error(error), classify_failure(error), doing, charge=charge)


def connection_error(
    cause: str, failure: RequestFailure, doing: str, *, charge: Charge | None = None
) -> errors.ConnectionFailedError | errors.ResponseLostError:
    """Return the error of a broken connection, whichever library spoke HTTP; as :func:`transport_error`.

    :param cause: what broke, for a person.
    """
    if failure is RequestFailure.NEVER_DELIVERED:
        return errors.ConnectionFailedError(
            f"Magic Hour could not be reached when {doing} ({cause}); no request was sent.",
            charge=charge,
            next_step="Check the connection's host and the network.",
        )
    return errors.ResponseLostError(f"The connection broke when {doing} ({cause}).")


def job_error(
    job: Job, *, tool: str | None = None, paid_here: bool = True, how_to_resume: str = ""
) -> errors.MagicHourError:
    """Return the error of a job that ended without a result.

    :param paid_here: False for a task that only waits for a job or downloads it: there a retry pays for nothing.
    :param how_to_resume: what a person does so that the task resumes the job, as whole sentences.
    """
    what = f"Magic Hour job {job.id} ({tool or job.kind})"
    page = library_url(job.kind, job.id)
    see = f" See {page}" if page else ""
    if job.status == ERROR:
        words = redact(job.error_message or "no message", limit=500)
        cost = f" It is now charged {describe_credits(job.credits_charged)}." if job.credits_charged is not None else ""
        failure = errors.JobFailedError(
            f"{what} failed with {job.error_code or 'no code'}: {words}.{cost}", code=job.error_code
        )
        if not paid_here:
            advice = "This task pays for nothing: make the job again where it was made."
        elif failure.retryable:
            advice = "A retry of the task makes and pays for one new job."
        else:
            advice = "The same request would fail again: change it, then clear the task."
        failure.next_step = advice + see
        return failure
    if job.status == GONE and not paid_here:
        return errors.JobNotFoundError(
            f"Magic Hour finds no {job.kind} job {job.id}: the id is mistyped, the job is of another kind or deleted, "
            "or it belongs to another account than the connection's key. This task pays for nothing.",
            charge=Charge.NONE,
            next_step="Take the job's address from the library of that account, https://magichour.ai/my-library, and "
            "give it as it is.",
        )
    renewal = "clear it to make and pay for a new job" if paid_here else "make it again where it was made"
    if job.status == CANCELED:
        # Only videos can be canceled, and those are refunded in full
        # (https://docs.magichour.ai/integration/development-and-testing).
        return errors.JobCanceledError(
            f"{what} was canceled in the Magic Hour web app.",
            charge=Charge.REFUNDED,
            next_step=f"The task will not pay for another by itself: {renewal}.{see}",
        )
    if job.status == GONE:
        return errors.JobCanceledError(
            f"{what} is gone: it was deleted, or the connection's key now belongs to another account.",
            charge=Charge.KEPT,
            next_step="The task will not pay for another by itself. If the key is the cause, bring back the right one: "
            f"the job is there again, and is paid for. {how_to_resume} If it is deleted, {renewal}.{see}",
        )
    return errors.InvalidResponseError(f"{what} ended as {job.status!r}, which is not known.{see}")
