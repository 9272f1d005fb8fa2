"""Every way in which talking to Magic Hour can fail: one base class, named subclasses.

Each error is a sentence for a person, and each knows whether another try can help.
"""

from __future__ import annotations

from magic_hour_provider.api.redaction import redact


class MagicHourError(Exception):
    """Base of all errors of this package.

    :param message: what happened, what it means for the charge, what to do next.
    :param status_code: HTTP status of the answer, if there was one.
    :param code: the service's own error code, if it gave one.
    """

    retryable: bool = False
    """Whether another try can help without anybody changing anything."""
    retry_after: float | None = None
    """Seconds that the service asks us to wait (429, 503), where it does."""

    def __init__(self, message: str, *, status_code: int | None = None, code: str | None = None) -> None:
        super().__init__(redact(message))
        self.status_code = status_code
        self.code = code


class InvalidInputError(MagicHourError, ValueError):
    """Something we were given cannot work; found before any request was sent."""


class SignatureError(MagicHourError):
    """A webhook delivery does not prove that Magic Hour sent it just now. It does not say why: a forger would learn."""

    def __init__(self) -> None:
        super().__init__("The delivery's signature is wrong, missing or too old: it was not read.")


class AuthenticationError(MagicHourError):
    """401: the API key is wrong, missing or revoked."""


class InsufficientCreditsError(MagicHourError):
    """402 or 403: the credits or the plan do not cover the request."""


class RequestRejectedError(MagicHourError):
    """The service read the request and refused it; nothing was made."""


class NotFoundError(MagicHourError):
    """404: no such job or route for this key."""


class RateLimitedError(MagicHourError):
    """429: too many requests.

    :param retry_after: seconds the service asks us to wait, or None.
    """

    retryable = True

    def __init__(self, message: str, *, retry_after: float | None = None, code: str | None = None) -> None:
        super().__init__(message, status_code=429, code=code)
        self.retry_after = retry_after


class ServerError(MagicHourError):
    """5xx on a request that is safe to repeat.

    :param retry_after: seconds the service asks us to wait, or None.
    """

    retryable = True

    def __init__(self, message: str, *, retry_after: float | None = None, status_code: int | None = None) -> None:
        super().__init__(message, status_code=status_code)
        self.retry_after = retry_after


class ConnectionFailedError(MagicHourError):
    """The request never left: no connection could be made (DNS, refused, TLS)."""

    retryable = True


class ResponseLostError(MagicHourError):
    """The request left and its answer never came whole; only for requests that are safe to repeat."""

    retryable = True


class InvalidResponseError(MagicHourError):
    """The answer is not what the API sends: HTML, an empty body, no JSON."""

    retryable = True


class SubmissionUnknownError(MagicHourError):
    """A create was sent and nobody can say whether a job was made and charged.

    :param not_created_per_docs: True for a 502 without an id, of which Magic Hour's documentation says that no job was
        made (https://docs.magichour.ai/get-started/quick-start).
    :param job_id: id of the job where it is known although it could not be recorded.
    :param created: True where the job surely exists, and only its record is missing.
    """

    def __init__(
        self,
        message: str,
        *,
        status_code: int | None = None,
        not_created_per_docs: bool = False,
        job_id: str | None = None,
        created: bool = False,
    ) -> None:
        super().__init__(message, status_code=status_code)
        self.not_created_per_docs = not_created_per_docs
        self.job_id = job_id
        self.created = created


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
        self.retryable = not (code is not None and (code in _FINAL_JOB_CODES or code.startswith("invalid_")))


class JobCanceledError(MagicHourError):
    """The job was canceled in the web app, or is gone (deleted, or made with another account's key)."""


class WaitTimedOutError(MagicHourError):
    """Our patience ended, not the job: another try goes on waiting for the same job."""

    retryable = True


class TransferError(MagicHourError):
    """A file could not be moved whole; nothing half-written is left behind."""

    retryable = True


class InputChangedError(TransferError):
    """A file became longer or shorter while it was uploaded; nothing of it is used."""
