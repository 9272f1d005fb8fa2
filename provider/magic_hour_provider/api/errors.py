"""The exceptions of this package.

An error says what happened, what it means for the charge, and what to do next, each in a part of its own; it also
knows whether a retry can help, and what is known of the request that failed.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Any


class Charge(Enum):
    """What a failure means for the charge. The sentence of each is written here and nowhere else."""

    NONE = "none"
    KEPT = "kept"
    REFUNDED = "refunded"
    UNKNOWN = "unknown"

    @property
    def sentence(self) -> str:
        """The charge in words, for the middle or the end of a message."""
        return _CHARGE_SENTENCES[self]


_CHARGE_SENTENCES = {
    Charge.NONE: "No job was created and nothing was charged.",
    Charge.KEPT: "The job was paid for and stays charged.",
    Charge.REFUNDED: "Magic Hour refunds the job.",
    Charge.UNKNOWN: "It is unknown whether a job was created and charged.",
}


class RequestFailure(Enum):
    """What is known of a request that did not succeed: it decides whether a paid one may be sent again."""

    NEVER_DELIVERED = "never delivered"
    """No connection could be made, or nothing was sent at all."""
    REJECTED = "rejected"
    """The service read the request and refused it: it had no effect."""
    UNKNOWN_OUTCOME = "unknown outcome"
    """It was sent, and nothing says whether it was carried out."""


class MagicHourError(Exception):
    """Base of all errors of this package. ``str()`` of one is its message, the charge's sentence and the next step.

    :param message: what happened, as whole sentences.
    :param charge: what it means for the charge; None: what its class says, which for most is that the one who
        catches it knows.
    :param next_step: what a person can do, as whole sentences; None: nothing beyond the message.
    :param status_code: HTTP status of the response, if there was one.
    :param code: the service's own error code, if it gave one.
    """

    charge: Charge | None = None
    """What the failure means for the charge; None: not known where it was raised."""
    charge_words: str | None = None
    """That in other words than those of one job, as a batch has many; None: the sentence of :attr:`charge`."""
    retryable: bool = False
    """Whether a retry can help without anybody changing anything."""
    retry_after: float | None = None
    """Seconds that the service asks us to wait (429, 503), where it does."""
    failure: RequestFailure | None = None
    """What is known of the request that failed; None: the error is not about one request."""

    def __init__(
        self,
        message: str,
        *,
        charge: Charge | None = None,
        next_step: str | None = None,
        status_code: int | None = None,
        code: str | None = None,
    ) -> None:
        self.message = _to_words(message)
        super().__init__(self.message)
        if charge is not None:
            self.charge = charge
        self.next_step = None if next_step is None else _to_words(next_step)
        self.status_code = status_code
        self.code = code

    def __str__(self) -> str:
        return self._join(self.charge_words or (self.charge and self.charge.sentence))

    @property
    def without_charge(self) -> str:
        """The message and the next step, for a text that knows more of the charge than this error does."""
        return self._join(None)

    def _join(self, charge: str | None) -> str:
        following = " ".join(filter(None, (charge, self.next_step)))
        return f"{_end(self.message)} {following}" if following else self.message

    def append(
        self, message: str | None = None, *, charge: Charge, charge_words: str | None = None, next_step: str | None
    ) -> None:
        """Add what else is known to the message and to the next step.

        :param charge: what all of it together means for the charge.
        :param charge_words: that in other words than those of one job.
        """
        self.message = f"{_end(self.message)} {_to_words(message)}" if message else self.message
        self.charge, self.charge_words = charge, charge_words
        self.next_step = " ".join(filter(None, (self.next_step, next_step and _to_words(next_step)))) or None


class InvalidInputError(MagicHourError, ValueError):
    """Something we were given cannot work; found before any request was sent."""

    charge = Charge.NONE
    failure = RequestFailure.NEVER_DELIVERED


class SignatureError(MagicHourError):
    """A webhook delivery does not prove that Magic Hour sent it just now. It does not say why: a forger would learn."""

    def __init__(self) -> None:
        super().__init__("The delivery's signature is wrong, missing or too old: it was not read.")


class AuthenticationError(MagicHourError):
    """401: the API key is wrong, missing or revoked."""

    failure = RequestFailure.REJECTED


class InsufficientCreditsError(MagicHourError):
    """402 or 403: the credits or the plan do not cover the request."""

    failure = RequestFailure.REJECTED


class RequestRejectedError(MagicHourError):
    """The service read the request and rejected it; nothing was created."""

    failure = RequestFailure.REJECTED


class NotFoundError(MagicHourError):
    """404: no such job or route for this key."""

    failure = RequestFailure.REJECTED


class RateLimitedError(MagicHourError):
    """429: too many requests.

    :param retry_after: seconds the service asks us to wait, or None.
    :param more: as of :class:`MagicHourError`.
    """

    retryable = True
    failure = RequestFailure.REJECTED

    def __init__(self, message: str, *, retry_after: float | None = None, **more: Any) -> None:
        super().__init__(message, **{"status_code": 429, **more})
        self.retry_after = retry_after


class ServerError(MagicHourError):
    """5xx on a request that is safe to repeat.

    :param retry_after: seconds the service asks us to wait, or None.
    :param more: as of :class:`MagicHourError`.
    """

    retryable = True
    failure = RequestFailure.UNKNOWN_OUTCOME

    def __init__(self, message: str, *, retry_after: float | None = None, **more: Any) -> None:
        super().__init__(message, **more)
        self.retry_after = retry_after


class ConnectionFailedError(MagicHourError):
    """No connection could be made (DNS, refused, TLS), so the request was never delivered."""

    retryable = True
    failure = RequestFailure.NEVER_DELIVERED


class ResponseLostError(MagicHourError):
    """The request was sent and its response never came whole; only for requests that are safe to repeat."""

    retryable = True
    failure = RequestFailure.UNKNOWN_OUTCOME


class InvalidResponseError(MagicHourError):
    """The response is not what the API sends: HTML, an empty body, no JSON."""

    retryable = True
    failure = RequestFailure.UNKNOWN_OUTCOME


class SubmissionUnknownError(MagicHourError):
    """A create was sent, and it is unknown whether a job was created and charged.

    :param not_created_per_docs: True for a 502 that is Magic Hour's own error and has no id, of which its documentation
        says that no job was created (https://docs.magichour.ai/get-started/quick-start).
    :param job_id: id of the job where it is known although it could not be recorded.
    :param created: True where the job surely exists, and only its record is missing.
    :param more: as of :class:`MagicHourError`.
    """

    charge = Charge.UNKNOWN
    failure = RequestFailure.UNKNOWN_OUTCOME

    def __init__(
        self,
        message: str,
        *,
        not_created_per_docs: bool = False,
        job_id: str | None = None,
        created: bool = False,
        **more: Any,
    ) -> None:
        super().__init__(message, **more)
        self.not_created_per_docs = not_created_per_docs
        self.job_id = job_id
        self.created = created
        if created:
            self.charge = Charge.KEPT


# Codes of job failures that a new job would meet again. Unknown codes are retryable: the user's retries bound them.
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
    ``processing_timeout`` and codes we do not know may be retried, one new job per retry.
    (Codes: https://docs.magichour.ai/integration/webhook/event-types)
    """

    charge = Charge.REFUNDED

    def __init__(self, message: str, *, code: str | None = None, **more: Any) -> None:
        super().__init__(message, code=code, **more)
        self.retryable = not (code is not None and (code in _FINAL_JOB_CODES or code.startswith("invalid_")))


class JobCanceledError(MagicHourError):
    """The job was canceled in the web app, or is gone (deleted, or made with another account's key)."""


class NotRetryableError(MagicHourError):
    """The task cannot go further until a person changes something. Its message is whole: the charge is in it."""

    def _join(self, charge: str | None) -> str:  # noqa: ARG002
        return self.message


class CreditLimitError(MagicHourError):
    """A limit of credits that the user has set refuses a job before it is paid for."""

    charge = Charge.NONE


class JobNotFoundError(NotRetryableError):
    """Magic Hour does not know a job that somebody else has named: nothing tells whether it was ever made."""


class WaitTimedOutError(MagicHourError):
    """This attempt's timeout ended, not the job: a retry resumes waiting for the same job."""

    charge = Charge.KEPT
    retryable = True


class ExecutionTimedOutError(WaitTimedOutError):
    """The task's ``execution_timeout`` ended, not the job: a retry resumes waiting for the same job."""


class TransferError(MagicHourError):
    """A file could not be moved whole; no partial file is left behind."""

    retryable = True


class InputChangedError(TransferError):
    """A file became longer or shorter while it was uploaded; nothing of it is used."""


def describe_error(error: BaseException) -> str:
    """Name an exception's class and message, for the middle of another error's message."""
    text = error.message if isinstance(error, MagicHourError) else str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def with_article(noun: str) -> str:
    """Return a noun with its article, ``a`` or ``an``, by its first letter."""
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


def describe_credits(credits: int | None) -> str:
    """Return a number of credits in words; None: it is not known."""
    return f"{'an unknown number of' if credits is None else credits} credit{'' if credits == 1 else 's'}"


def _end(text: str) -> str:
    """Return a text whose last sentence ends, as another one follows; a link at its end stays as it is."""
    ended = text.rstrip("`'\")").endswith((".", "!", "?", "…", ":")) or "://" in text.rpartition(" ")[2]
    return text if ended else f"{text}."


# A sentence that ends twice, as what it ends with is quoted: "it failed: no face.." or "did you mean `x`?.".
_TWO_ENDS = r"((?<!\.)\.|\.{3}|[!?…])([`'\"]?)\.(?=\s|\Z)"


def _to_words(text: str) -> str:
    # Its patterns take long to compile, and whoever parses a DAG file needs none.
    from magic_hour_provider.api.redaction import clean_text, redact

    return re.sub(_TWO_ENDS, r"\1\2", clean_text(redact(text))).replace(".). ", "). ")
