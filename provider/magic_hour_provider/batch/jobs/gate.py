"""The gate before each paid request of a batch: once it is closed nothing more is sent, whoever is on the way there."""

from __future__ import annotations

import threading
from typing import Any

from magic_hour_provider.api.errors import Charge, MagicHourError
from magic_hour_provider.batch.records.intent import ItemIntent


class AttemptStoppedError(MagicHourError):
    """The attempt was stopped before an item's request was sent."""

    charge = Charge.NONE
    retryable = True

    def __init__(self) -> None:
        super().__init__(
            "The attempt was stopped before this was sent.", next_step="A retry makes only what is missing."
        )


class Gate:
    """Whether requests may be sent, and whose are being sent now. Threads share it."""

    def __init__(self) -> None:
        self.is_closed = False
        """Whether nothing more is sent. A signal's handler may close it, so that this takes no lock."""
        self._changed = threading.Condition()
        self._keys: set[str] = set()

    def close(self) -> None:
        """Let nothing more be sent; what is being sent continues."""
        self.is_closed = True

    def enter(self, key: str) -> None:
        """Begin to send an item's request.

        :raises AttemptStoppedError: nothing more is sent.
        """
        with self._changed:
            if self.is_closed:
                raise AttemptStoppedError
            self._keys.add(key)

    def leave(self, key: str) -> None:
        """End it: what has come of the request is recorded, or none was sent."""
        with self._changed:
            self._keys.discard(key)
            self._changed.notify_all()

    def wait(self, seconds: float) -> set[str]:
        """Wait until nothing is being sent, and return the items whose request still is after so many seconds."""
        with self._changed:
            self._changed.wait_for(lambda: not self._keys, seconds)
            return set(self._keys)


class GatedIntent(ItemIntent):
    """The intent of an item that is declared only while the gate is open.

    :param gate: the gate.
    :param more: as of :class:`.ItemIntent`.
    """

    def __init__(self, gate: Gate, *intent: Any, **more: Any) -> None:
        super().__init__(*intent, **more)
        self._gate = gate

    def write(self) -> None:
        """Write it; see :meth:`.ItemIntent.write`.

        :raises AttemptStoppedError: the gate is closed; nothing may be sent.
        """
        self._gate.enter(self._key)
        try:
            super().write()
        except BaseException:
            self._gate.leave(self._key)
            raise

    def withdraw(self) -> None:
        """Take it back, as surely no job was made; the pause after that holds nobody up."""
        super().withdraw()
        self._gate.leave(self._key)
