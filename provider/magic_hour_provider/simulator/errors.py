"""Refusals, with the status and code that Magic Hour answers them with."""

from __future__ import annotations


class ApiError(Exception):
    """A refusal.

    :param status: the HTTP status of the response.
    :param code: its error code.
    :param message: one sentence for people.
    :param retry_after: whole seconds for the ``Retry-After`` header; None for no header.
    """

    def __init__(self, status: int, code: str, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after = retry_after

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the response, beside those of every response."""
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}


def invalid_request_error(message: str) -> ApiError:
    """Return the refusal of a malformed request."""
    return ApiError(400, "invalid_request", message)


def not_found_error(what: str) -> ApiError:
    """Return the refusal of a request for something that does not exist."""
    return ApiError(404, "not_found", f"{what} was not found.")
