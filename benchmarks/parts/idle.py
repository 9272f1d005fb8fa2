"""The least that a trigger can be: what Airflow itself costs for each, as a limit to compare with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent


class IdleTrigger(BaseTrigger):
    """Sleeps once and sends one event; opens, reads and logs nothing.

    :param seconds: how long it sleeps.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the argument."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {"seconds": self.seconds}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Sleep, and send the event."""
        await asyncio.sleep(self.seconds)
        yield TriggerEvent({"status": "complete"})
