"""Sends the deliveries that are due, in a thread that starts with the first webhook."""

from __future__ import annotations

import asyncio
import threading
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from magic_hour_provider.simulator.account.accounting import DeliveryOutcome
from magic_hour_provider.simulator.webhooks.queue import DeliveryQueue, QueuedDelivery

if TYPE_CHECKING:
    import httpx

# So many are sent at a time. A job's deliveries all go to one worker, so that they arrive in their order.
_WORKERS = 8
# A clock that moves by itself is read at least this often, in real seconds.
_LONGEST_PAUSE_S = 0.25


class DeliverySender:
    """Sends the deliveries that are due.

    :param deliveries: the queue they are in.
    :param log: called with one line per attempt, from this thread; None for silence.
    """

    def __init__(self, deliveries: DeliveryQueue, log: Callable[[str], None] | None) -> None:
        self._deliveries = deliveries
        self._log = log
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken = asyncio.Event()
        self._closing = False

    def wake(self) -> None:
        """Send what is due soon. May be called from any thread."""
        with self._lock:
            if self._closing:
                return
            if self._thread is None:
                self._thread = threading.Thread(
                    target=asyncio.run, args=(self._run(),), name="magic-hour-webhooks", daemon=True
                )
                self._thread.start()
            else:
                self._set_woken()

    def close(self) -> None:
        """Stop at once; requests under way are cut."""
        with self._lock:
            self._closing = True
            self._set_woken()
        if self._thread is not None:
            self._thread.join()

    def _set_woken(self) -> None:
        if self._loop is not None:  # else it has not begun, and sends what is due when it does
            with suppress(RuntimeError):  # the loop is closed, so it has stopped
                self._loop.call_soon_threadsafe(self._woken.set)

    async def _run(self) -> None:
        import httpx  # takes a moment, and few need it

        with self._lock:
            self._loop = asyncio.get_running_loop()
        queues: list[asyncio.Queue[QueuedDelivery]] = [asyncio.Queue() for _ in range(_WORKERS)]
        # No proxy, no certificates, and a connection for each request: a receiver may close a kept one at any moment.
        limits = httpx.Limits(max_keepalive_connections=0)
        async with (
            httpx.AsyncClient(verify=False, trust_env=False, timeout=None, limits=limits) as client,  # noqa: S113, S501
            asyncio.TaskGroup() as group,
        ):
            workers = [group.create_task(self._work(queue, client)) for queue in queues]
            while not self._closing:
                self._woken.clear()
                for delivery in self._deliveries.take_due():
                    queues[zlib.crc32(delivery.job.id.encode()) % _WORKERS].put_nowait(delivery)
                await self._pause()
            for worker in workers:
                worker.cancel()

    async def _pause(self) -> None:
        left = self._deliveries.seconds_until_due()
        with suppress(TimeoutError):
            async with asyncio.timeout(None if left is None else min(left, _LONGEST_PAUSE_S)):
                await self._woken.wait()

    async def _work(self, queue: asyncio.Queue[QueuedDelivery], client: httpx.AsyncClient) -> None:
        while True:
            await self._send(await queue.get(), client)

    async def _send(self, delivery: QueuedDelivery, client: httpx.AsyncClient) -> None:
        import httpx

        attempt = self._deliveries.start_attempt(delivery)
        if attempt is None:
            return
        webhook, signature = attempt
        headers = {"content-type": "application/json", "user-agent": "magic-hour-simulator", **signature}
        status = None
        try:
            async with (
                asyncio.timeout(webhook.response_timeout),
                client.stream("POST", webhook.url, content=delivery.body, headers=headers) as response,
            ):
                status = response.status_code
            outcome = DeliveryOutcome.ACCEPTED if response.is_success else DeliveryOutcome.REFUSED
        except TimeoutError:
            outcome = DeliveryOutcome.TIMEOUT
        except httpx.TransportError:
            outcome = DeliveryOutcome.NO_RESPONSE
        self._deliveries.finish_attempt(delivery, outcome, status)
        if self._log is not None:
            # Without the query, as in the lines of incoming requests.
            path = webhook.url.partition("?")[0]
            result = status or outcome.replace("_", " ")
            self._log(f"webhook {delivery.type} {delivery.job.id} to {path} {result}")
