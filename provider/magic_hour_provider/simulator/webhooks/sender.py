"""Sends the deliveries, from a thread of its own that starts with the first webhook."""

from __future__ import annotations

import asyncio
import threading
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from magic_hour_provider.simulator.account.accounting import ACCEPTED, NO_ANSWER, REFUSED, TOO_SLOW
from magic_hour_provider.simulator.webhooks.queue import Deliveries, Delivery

if TYPE_CHECKING:
    import httpx

# So many are sent at a time. A job's deliveries all go down one lane, so that they arrive in their order.
_LANES = 8
# How long a clock that moves by itself is left alone, in real seconds.
_LONGEST_PAUSE_S = 0.25


class Sender:
    """Sends what is due.

    :param deliveries: knows it.
    :param log: called with one line per attempt, from this thread; None for silence.
    """

    def __init__(self, deliveries: Deliveries, log: Callable[[str], None] | None) -> None:
        self._deliveries = deliveries
        self._log = log
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken = asyncio.Event()
        self._closing = False

    def wake(self) -> None:
        """See what is due. May be called from any thread."""
        with self._lock:
            if self._closing:
                return
            if self._thread is None:
                self._thread = threading.Thread(
                    target=asyncio.run, args=(self._run(),), name="magic-hour-webhooks", daemon=True
                )
                self._thread.start()
            else:
                self._poke()

    def close(self) -> None:
        """Stop at once; requests under way are cut."""
        with self._lock:
            self._closing = True
            self._poke()
        if self._thread is not None:
            self._thread.join()

    def _poke(self) -> None:
        if self._loop is not None:  # else it has not begun, and will look round when it does
            with suppress(RuntimeError):  # the loop is closed, so it has stopped
                self._loop.call_soon_threadsafe(self._woken.set)

    async def _run(self) -> None:
        import httpx  # takes a moment, and few need it

        with self._lock:
            self._loop = asyncio.get_running_loop()
        lanes: list[asyncio.Queue[Delivery]] = [asyncio.Queue() for _ in range(_LANES)]
        # No proxy, no certificates, and a connection for each request: a receiver may close a kept one at any moment.
        limits = httpx.Limits(max_keepalive_connections=0)
        async with (
            httpx.AsyncClient(verify=False, trust_env=False, timeout=None, limits=limits) as client,  # noqa: S113, S501
            asyncio.TaskGroup() as group,
        ):
            workers = [group.create_task(self._work(lane, client)) for lane in lanes]
            while not self._closing:
                self._woken.clear()
                for delivery in self._deliveries.take():
                    lanes[zlib.crc32(delivery.job.id.encode()) % _LANES].put_nowait(delivery)
                await self._pause()
            for worker in workers:
                worker.cancel()

    async def _pause(self) -> None:
        left = self._deliveries.next_in()
        with suppress(TimeoutError):
            async with asyncio.timeout(None if left is None else min(left, _LONGEST_PAUSE_S)):
                await self._woken.wait()

    async def _work(self, lane: asyncio.Queue[Delivery], client: httpx.AsyncClient) -> None:
        while True:
            await self._send(await lane.get(), client)

    async def _send(self, delivery: Delivery, client: httpx.AsyncClient) -> None:
        import httpx

        begun = self._deliveries.begin(delivery)
        if begun is None:
            return
        webhook, signature = begun
        headers = {"content-type": "application/json", "user-agent": "magic-hour-simulator", **signature}
        status = None
        try:
            async with (
                asyncio.timeout(webhook.response_timeout),
                client.stream("POST", webhook.url, content=delivery.body, headers=headers) as answer,
            ):
                status = answer.status_code
            outcome = ACCEPTED if answer.is_success else REFUSED
        except TimeoutError:
            outcome = TOO_SLOW
        except httpx.TransportError:
            outcome = NO_ANSWER
        self._deliveries.done(delivery, outcome, status)
        if self._log is not None:
            # Without the query, as in the lines of the requests that come in.
            path = webhook.url.partition("?")[0]
            said = status or outcome.replace("_", " ")
            self._log(f"webhook {delivery.type} {delivery.job.id} to {path} {said}")
