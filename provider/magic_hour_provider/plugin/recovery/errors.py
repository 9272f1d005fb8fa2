"""Why something that a person asked for is refused."""

from __future__ import annotations


class RecoveryError(Exception):
    """What a person asked for is refused, and nothing has changed: the text says why, and what to do.

    :param status: the HTTP status: 400 it cannot work, 404 no such task, 409 something has changed meanwhile, 502 or
        503 it cannot be checked now.
    """

    def __init__(self, message: str, status: int = 409) -> None:
        super().__init__(message)
        self.status = status


class NeedsConfirmationError(RecoveryError):
    """The job's name carries the tag of something else: a person has to confirm that it is the right one.

    :param tag: that tag.
    """

    def __init__(self, message: str, tag: str) -> None:
        super().__init__(message)
        self.tag = tag
