"""Every way in which talking to Magic Hour can fail: one base class, named subclasses.

Each error is a sentence for a person, and each knows whether another try can help.
"""

from __future__ import annotations

import re

# What must never be in an error text, a log or an XCom: bearer keys, and the part of a link that opens a file.
_SECRETS = (
    (re.compile(r"(?i)\bbearer\s+[\w.~+/=-]+"), "Bearer ***"),
    (re.compile(r"\bmhk_\w+"), "mhk_***"),
    (re.compile(r"(https?://[^\s\"'<>?#]+)[?#][^\s\"'<>]*"), r"\1?***"),
)


def redact(text: str, *, limit: int | None = None) -> str:
    """Return ``text`` without keys and without the query of its links, shortened to ``limit`` characters."""
    # A library address is public and its query is the job's id: people need it whole.
    kept: list[str] = []

    def keep(match: re.Match[str]) -> str:
        kept.append(match.group(0))
        return f"\0{len(kept) - 1}\0"

    text = re.sub(r"https://magichour\.ai/my-library\?(?:video|image|audio)Id=[\w-]+(?![\w&=])", keep, text)
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    text = re.sub(r"\0(\d+)\0", lambda match: kept[int(match.group(1))], text)
    return text if limit is None or len(text) <= limit else f"{text[:limit]}…"


class MagicHourError(Exception):
    """Base of all errors of this package.

    :param message: what happened, what it means for the charge, what to do next.
    :param status_code: HTTP status of the answer, if there was one.
    :param code: the service's own error code, if it gave one.
    """

    can_retry: bool = False
    """Whether another try can help without anybody changing anything."""

    def __init__(self, message: str, *, status_code: int | None = None, code: str | None = None) -> None:
        super().__init__(redact(message))
        self.status_code = status_code
        self.code = code


class BadInputError(MagicHourError, ValueError):
    """Something we were given cannot work; found before any request was sent."""


class BadKeyError(MagicHourError):
    """401: the API key is wrong, missing or revoked."""


class NoCreditsError(MagicHourError):
    """402 or 403: the credits or the plan do not cover the request."""


class RefusedError(MagicHourError):
    """The service read the request and refused it; nothing was made."""


class NotFoundError(MagicHourError):
    """404: no such job or route for this key."""


class RateLimitedError(MagicHourError):
    """429: too many requests.

    :param retry_after: seconds the service asks us to wait, or None.
    """

    can_retry = True

    def __init__(self, message: str, *, retry_after: float | None = None, code: str | None = None) -> None:
        super().__init__(message, status_code=429, code=code)
        self.retry_after = retry_after


class ServerFaultError(MagicHourError):
    """5xx on a request that is safe to repeat."""

    can_retry = True


class UnreachableError(MagicHourError):
    """The request never left: no connection could be made (DNS, refused, TLS)."""

    can_retry = True


class LostAnswerError(MagicHourError):
    """The request left and its answer never came whole; only for requests that are safe to repeat."""

    can_retry = True


class UnreadableAnswerError(MagicHourError):
    """The answer is not what the API sends: HTML, an empty body, no JSON."""

    can_retry = True


class SubmissionUnknownError(MagicHourError):
    """A create was sent and nobody can say whether a job was made and charged.

    :param no_job_claimed: True for a 502 without an id, of which Magic Hour's documentation says that no job was made
        (https://docs.magichour.ai/get-started/quick-start).
    :param job_id: id of the job where it is known although it could not be recorded.
    """

    def __init__(
        self,
        message: str,
        *,
        status_code: int | None = None,
        no_job_claimed: bool = False,
        job_id: str | None = None,
    ) -> None:
        super().__init__(message, status_code=status_code)
        self.no_job_claimed = no_job_claimed
        self.job_id = job_id


# Codes of failures that a new job might not meet. Unknown codes count as such too: the user's retries bound them.
_FINAL_JOB_CODES = frozenset(
    {
        "no_source_face",
        "no_target_face",
        "file_too_large",
        "insufficient_credits",
        "content_policy_violation",
        "text_too_long",
    }
)


class JobFailedError(MagicHourError):
    """The job ended in ``error``. Magic Hour refunds it.

    Failures caused by the input, the policy or the balance end for good; ``unknown_error``,
    ``processing_timeout`` and codes we do not know may be tried again, one new job per try.
    (Codes: https://docs.magichour.ai/integration/webhook/event-types)
    """

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.can_retry = not (code is not None and (code in _FINAL_JOB_CODES or code.startswith("invalid_")))


class JobCanceledError(MagicHourError):
    """The job was canceled in the web app, or is gone (deleted, or made with another account's key)."""


class WaitTimedOutError(MagicHourError):
    """Our patience ended, not the job: another try goes on waiting for the same job."""

    can_retry = True


class TransferError(MagicHourError):
    """A file could not be moved whole; nothing half-written is left behind."""

    can_retry = True
