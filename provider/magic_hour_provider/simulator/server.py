"""The class ``Simulator``: the simulator in a thread of this process."""

from __future__ import annotations

import math
import secrets
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from magic_hour_provider.simulator.account.accounting import Summary
from magic_hour_provider.simulator.account.details import TIERS
from magic_hour_provider.simulator.behavior import Behavior
from magic_hour_provider.simulator.faults.catalog import make_fault
from magic_hour_provider.simulator.http.app import build_app
from magic_hour_provider.simulator.http.connections import OpenConnections
from magic_hour_provider.simulator.http.uvicorn_server import UvicornServer, listen
from magic_hour_provider.simulator.rendering.render import Renderer
from magic_hour_provider.simulator.service import Service
from magic_hour_provider.simulator.webhooks.registration import make_webhook
from magic_hour_provider.simulator.webhooks.sender import DeliverySender

DEFAULT_API_KEY = "mhk_live_simulator"
_MANUAL_CLOCK_START = 1_800_000_000.0  # 2027-01-15, the same in every run


class Simulator:
    """An offline Magic Hour on a port of this machine; ``with Simulator(speed=20) as sim: ... sim.url ...``.

    :param speed: jobs run at so many x real time; above 0.
    :param port: port to listen on; 0 for a free one.
    :param api_key: the only key it accepts.
    :param credits: balance at the start; a whole number.
    :param tier: the account's tier: ``free``, ``creator``, ``pro`` or ``business``.
    :param seed: one seed gives the same ids, durations and outputs to the same requests in the same order; None for
        random ones, so that a simulator that is started again does not repeat the ids of jobs that are stored.
    :param clock: returns the time in seconds since 1970; None for the real time.
    :param host: address to listen on.
    :param storage: folder for uploads and outputs, kept at the end; None for a temporary one.
    :param log: called with one line per request received or sent, from threads of the simulator; None for silence.
    :param manual_clock: time moves by :meth:`advance` alone, from the same moment in every run.
    :param duration_jitter: largest deviation of a duration from the median, as a part of it, from 0 to 1: with 0.3 a
        job of 100 s takes from 70 to 130 s, as the seed has it.
    :param usage_based: the account pays later: it has no subscription, and its balance may go below 0.
    :param behavior: how it behaves where Magic Hour's behavior is not established.
    :param webhook: where webhooks are sent: an http address of this machine, or several; more options, and webhooks
        made later, by :meth:`add_webhook`.
    :param webhook_secret: signs them; None for ``whsec_simulator``.
    :raises ValueError: a number, the tier or an address makes no sense, or the storage is no folder.
    """

    def __init__(
        self,
        speed: float = 1.0,
        port: int = 0,
        api_key: str = DEFAULT_API_KEY,
        credits: int = 100_000,
        tier: str = "creator",
        seed: int | None = None,
        clock: Callable[[], float] | None = None,
        host: str = "127.0.0.1",
        storage: Path | str | None = None,
        log: Callable[[str], None] | None = None,
        *,
        manual_clock: bool = False,
        duration_jitter: float = 0.0,
        usage_based: bool = False,
        behavior: Behavior = Behavior(),  # noqa: B008 - frozen
        webhook: str | Sequence[str] = (),
        webhook_secret: str | None = None,
    ) -> None:
        if not 0 < speed < math.inf:
            raise ValueError(f"speed must be a number above 0, not {speed}.")
        if not 0 <= port <= 65535:
            raise ValueError(f"port must be from 0 to 65535, not {port}.")
        if credits < 0:
            raise ValueError(f"credits must be 0 or more, not {credits}.")
        if tier not in TIERS:
            raise ValueError(f"tier must be one of {', '.join(TIERS)}, not {tier!r}.")
        if not 0 <= duration_jitter <= 1:
            raise ValueError(f"duration_jitter must be a number from 0 to 1, not {duration_jitter}.")
        if manual_clock and clock is not None:
            raise ValueError("clock and manual_clock exclude each other: give one of them.")
        if usage_based and tier == "free":
            raise ValueError("A usage-based account is a paid one: its tier cannot be free.")
        if not api_key:
            raise ValueError("api_key must not be empty.")
        urls = [webhook] if isinstance(webhook, str) else webhook
        webhooks = [make_webhook({"url": url, "secret": webhook_secret}) for url in urls]
        self._address = (host, port)
        self._api_key = api_key
        self._log = log
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        if storage is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="magic-hour-simulator-", ignore_cleanup_errors=True)
        folder = Path(self._temporary.name if self._temporary else str(storage))
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as bad:
            raise ValueError(f"storage {folder} cannot be used as a folder: {bad.strerror}.") from bad
        self._service = Service(
            speed=speed,
            balance=credits,
            tier=tier,
            seed=secrets.randbits(64) if seed is None else seed,
            clock=(lambda: _MANUAL_CLOCK_START) if manual_clock else clock or time.time,
            storage=folder,
            behavior=behavior,
            duration_jitter=duration_jitter,
            usage_based=usage_based,
        )
        self._sender = DeliverySender(self._service.webhooks, log)
        self._service.webhooks.on_due = self._sender.wake
        for one in webhooks:
            self._service.webhooks.add_webhook(one)
        self._renderer = Renderer(folder / "outputs")
        self._server: UvicornServer | None = None
        self._url = ""

    # --- running

    @property
    def url(self) -> str:
        """Where it listens, such as ``http://127.0.0.1:8765``."""
        if not self._url:
            raise RuntimeError("The simulator is not running: call start(), or use it in a with statement.")
        return self._url

    def start(self) -> Simulator:
        """Listen and serve; returns when requests are answered.

        :raises OSError: the address is not available, for example because the port is busy.
        """
        if self._server is not None:
            return self
        listening = listen(*self._address)
        host = self._address[0]
        # 0.0.0.0 means every address, and a client needs one.
        shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
        self._url = f"http://{f'[{shown}]' if ':' in shown else shown}:{listening.getsockname()[1]}"
        self._service.webhooks.base_url = self._url
        self._service.webhooks.wake()
        connections = OpenConnections()
        app = build_app(self._service, self._renderer, connections, self._api_key, self._log)
        self._server = UvicornServer(app, connections)
        self._server.start(listening)
        return self

    def close(self) -> None:
        """Stop serving and remove the temporary folder. Open connections are closed at once."""
        self._sender.close()
        if self._server is not None:
            self._server.stop()
            self._server = None
            self._url = ""
        if self._temporary is not None:
            self._temporary.cleanup()

    def __enter__(self) -> Simulator:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- counters, faults, webhooks and clock

    def summary(self) -> Summary:
        """Return the counters in brief: ``assert str(sim.summary()) == "1 create, 5 credits, 9 polls"``."""
        return self._service.summary()

    def stats(self) -> dict[str, Any]:
        """Return all counters, as ``GET /_simulator/stats`` answers."""
        return self._service.stats()

    def jobs(self) -> list[dict[str, Any]]:
        """Return every job ever accepted, the oldest first, as ``GET /_simulator/jobs`` answers."""
        return self._service.list_jobs()

    def inject_fault(self, fault: str, **options: Any) -> None:
        """Inject a fault, as ``POST /_simulator/faults`` does.

        :param fault: its name, a key of :data:`.faults.FAULTS`, such as ``close-after-accept``.
        :param options: what else :class:`.faults.catalog.Fault` has for it.
        :raises FaultError: a name or a value is unknown; the text lists the valid ones.
        """
        self._service.faults.add(make_fault({"fault": fault, **options}))

    def pending_faults(self) -> list[dict[str, Any]]:
        """Return the pending faults, as ``GET /_simulator/faults`` answers."""
        return self._service.faults.list_pending()

    def clear_faults(self) -> None:
        """Remove the faults that are still pending."""
        self._service.faults.clear()

    def add_webhook(
        self,
        url: str,
        secret: str | None = None,
        events: Sequence[str] | None = None,
        response_timeout: float | None = None,
    ) -> None:
        """Register a webhook, as ``POST /_simulator/webhooks`` does; one with the same address is replaced.

        Its deliveries are sent in the background once they are due on the simulator's clock;
        :meth:`wait_for_deliveries` waits for them.

        :param url: where to; an http address of this machine.
        :param secret: signs its requests; None for ``whsec_simulator``.
        :param events: the events it wants, such as ``video.completed``; None for all.
        :param response_timeout: how long a response may take, in real seconds; None for 10.
        :raises WebhookError: one of them makes no sense.
        """
        options = {"url": url, "secret": secret, "events": events, "response_timeout": response_timeout}
        self._service.webhooks.add_webhook(make_webhook(options))

    def webhooks(self) -> list[dict[str, Any]]:
        """Return the webhooks, as ``GET /_simulator/webhooks`` answers."""
        return self._service.webhooks.list_webhooks()

    def clear_webhooks(self) -> None:
        """Remove all webhooks; what has not been sent never will be."""
        self._service.webhooks.clear_webhooks()

    def deliveries(self) -> list[dict[str, Any]]:
        """Return the last 10,000 attempts to deliver an event, as ``GET /_simulator/deliveries`` answers."""
        return self._service.list_deliveries()

    def wait_for_deliveries(self, timeout: float = 30.0) -> None:
        """Wait until every delivery that is due on the simulator's clock has been answered or has failed.

        :param timeout: how long, in real seconds.
        :raises TimeoutError: it takes longer.
        """
        self._service.webhooks.wait_until_sent(timeout)

    def now(self) -> float:
        """Return the simulator's time, in seconds since 1970."""
        return self._service.now()

    def advance(self, seconds: float) -> None:
        """Move the simulator's clock forward.

        :param seconds: how far; 0 or more.
        :raises ApiError: the number makes no sense.
        """
        self._service.advance(seconds)
