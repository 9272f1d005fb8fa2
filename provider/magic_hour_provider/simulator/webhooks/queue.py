"""Deliveries: which webhook requests are to be sent, when, and when again. The sending itself is in :mod:`.sender`."""

from __future__ import annotations

import heapq
import json
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

from magic_hour_provider.simulator.account.accounting import ACCEPTED, GIVEN_UP, LOST, Attempt, Bookkeeper
from magic_hour_provider.simulator.behavior import Behavior
from magic_hour_provider.simulator.faults.catalog import PLAN, SIGN, WEBHOOK
from magic_hour_provider.simulator.faults.queue import FaultBook, Order
from magic_hour_provider.simulator.jobs.job import Job
from magic_hour_provider.simulator.webhooks.registration import Webhook, events_of, signed

_REPEATED_FOR_S = 24 * 3600.0
_MOST = 20_000  # that wait at the same time
_DEPRECATED = ("download", "total_frame_cost")


@dataclass(eq=False)
class Delivery:
    """One event on its way to one webhook.

    :param url: of the webhook.
    :param type: the event, such as ``video.completed``.
    :param job: what it is about.
    :param body: the same bytes at each attempt.
    :param fault: name of the fault that struck it, or None.
    :param attempt: how many times it has been sent.
    :param first_sent: when it was sent first, in seconds since 1970 on the simulator's clock.
    :param headers: the first attempt's signature.
    """

    url: str
    type: str
    job: Job
    body: bytes
    fault: str | None = None
    attempt: int = 0
    first_sent: float = math.nan
    headers: dict[str, str] | None = None


class Deliveries:
    """The webhooks, and what is on its way to them. Safe to use from several threads.

    :param lock: the service's.
    :param now: returns the simulator's time, in seconds since 1970.
    :param faults: the faults on order.
    :param books: where every attempt is noted.
    :param behavior: how open questions are answered.
    :param describe: returns the details of a job, with links at an address, at a time.
    """

    def __init__(
        self,
        lock: threading.RLock,
        now: Callable[[], float],
        faults: FaultBook,
        books: Bookkeeper,
        behavior: Behavior,
        describe: Callable[[Job, str, float], dict[str, Any]],
    ) -> None:
        self.base_url = ""
        """Where the simulator is reached, for the links in the payload; empty while it does not run."""
        self.on_due: Callable[[], None] = lambda: None
        """Called, from any thread, when something may be due."""
        self._quiet = threading.Condition(lock)
        self._now = now
        self._faults = faults
        self._books = books
        self._behavior = behavior
        self._describe = describe
        self._webhooks: dict[str, Webhook] = {}
        self._number = count()
        # Both by time; the numbers keep what is due at once in its order, and jobs from being compared.
        self._events: list[tuple[float, int, Job, str]] = []
        self._waiting: list[tuple[float, bool, int, Delivery]] = []
        self._sending = 0

    # --- webhooks

    def add(self, webhook: Webhook) -> None:
        """Register a webhook; one with the same address is replaced, as when its secret is changed."""
        with self._quiet:
            self.pass_time(self._now())  # it gets nothing of what was before
            self._webhooks[webhook.url] = webhook
            if self.base_url:
                self.wake()

    def clear(self) -> None:
        """Remove all webhooks. What has not been sent never will be."""
        with self._quiet:
            self._webhooks.clear()
            self._waiting.clear()
            self._quiet.notify_all()

    def listed(self) -> list[dict[str, Any]]:
        """Return the webhooks, the oldest first, without their secrets."""
        with self._quiet:
            return [webhook.listed() for webhook in self._webhooks.values()]

    # --- time passes

    def expect(self, job: Job) -> None:
        """Let a new job send its events when their time comes."""
        for moment, event in events_of(job):
            if event != "image.started" or self._behavior.image_started == "sent":
                heapq.heappush(self._events, (moment, next(self._number), job, event))
        self.wake()

    def wake(self) -> None:
        """Have what is due sent soon: time has been moved, or there is more to send."""
        if self._webhooks:
            self.on_due()

    def pass_time(self, now: float) -> None:
        """Turn the events up to a time into deliveries. Each is described as of its own time.

        :param now: in seconds since 1970 on the simulator's clock.
        """
        while self._events and self._events[0][0] <= now:
            moment, _, job, event = heapq.heappop(self._events)
            wanted = [webhook for webhook in self._webhooks.values() if event in webhook.events]
            if wanted and not job.deleted:
                self._books.settle(moment)
                body = self._body(job, event, moment)
                for webhook in wanted:
                    self._plan(Delivery(webhook.url, event, job, body), moment)

    def _body(self, job: Job, event: str, moment: float) -> bytes:
        details = self._describe(job, self.base_url, moment)
        if self._behavior.webhook_deprecated == "omitted":
            details = {name: value for name, value in details.items() if name not in _DEPRECATED}
        envelope = {"type": event, self._behavior.webhook_envelope: details}
        return json.dumps(envelope, separators=(",", ":"), ensure_ascii=False).encode(errors="backslashreplace")

    def _plan(self, delivery: Delivery, due: float) -> None:
        order = self._struck(delivery, PLAN)
        if order is None:
            self._push(delivery, due)
            return
        fault = order.fault
        delivery.fault = fault.fault
        if fault.fault == "lost-delivery":
            self._note(delivery, LOST)
        elif fault.fault == "late-delivery":
            self._push(delivery, due + (fault.seconds or 0))
        elif fault.fault == "out-of-order-delivery":
            self._push(delivery, max(due, delivery.job.ends), behind=True)
        else:  # a duplicate
            self._push(delivery, due)
            self._push(Delivery(delivery.url, delivery.type, delivery.job, delivery.body, fault.fault), due)

    def _push(self, delivery: Delivery, due: float, *, behind: bool = False) -> None:
        if len(self._waiting) + self._sending >= _MOST:
            self._note(delivery, GIVEN_UP)
            return
        heapq.heappush(self._waiting, (due, behind, next(self._number), delivery))
        self.wake()

    # --- for the sender

    def next_in(self) -> float | None:
        """Return how many seconds are left until something is due; None while nothing is known to come."""
        with self._quiet:
            if not self._webhooks:
                return None
            first = min((heap[0][0] for heap in (self._events, self._waiting) if heap), default=None)
            return None if first is None else max(0.0, first - self._now())

    def take(self) -> list[Delivery]:
        """Return what is due, in its order, to be sent now."""
        with self._quiet:
            now = self._now()
            self.pass_time(now)
            due = []
            while self._waiting and self._waiting[0][0] <= now:
                due.append(heapq.heappop(self._waiting)[-1])
            self._sending += len(due)
            return due

    def begin(self, delivery: Delivery) -> tuple[Webhook, dict[str, str]] | None:
        """Return the webhook and the signature of an attempt; None when the webhook is gone."""
        with self._quiet:
            webhook = self._webhooks.get(delivery.url)
            if webhook is None:
                self._sent()
                return None
            now = self._now()
            delivery.attempt += 1
            if delivery.attempt == 1:
                delivery.first_sent = now
                delivery.headers = signed(delivery.body, webhook.secret, int(now))
            order = self._struck(delivery, SIGN)
            if order is not None:
                delivery.fault = order.fault.fault
                if order.fault.fault == "wrong-signature":
                    return webhook, signed(delivery.body + b" ", webhook.secret, int(now))
                return webhook, signed(delivery.body, webhook.secret, int(now - order.fault.age_s))
            if self._behavior.webhook_repeats == "original" and delivery.headers is not None:
                return webhook, delivery.headers
            return webhook, signed(delivery.body, webhook.secret, int(now))

    def done(self, delivery: Delivery, outcome: str, status: int | None) -> None:
        """Note how an attempt went, and plan the next one if it went wrong.

        :param outcome: one of :data:`.books.SENT`.
        :param status: of the answer, if there was one.
        """
        with self._quiet:
            self._note(delivery, outcome, status)
            self._sent()
            delivery.fault = None
            if outcome == ACCEPTED or delivery.url not in self._webhooks:
                return
            due = self._now() + 2.0 ** (delivery.attempt - 1)
            if due > delivery.first_sent + _REPEATED_FOR_S:
                self._note(delivery, GIVEN_UP)
            else:
                self._push(delivery, due)

    # --- books

    def wait(self, timeout: float) -> None:
        """Wait until everything that is due has been sent and answered, or has failed.

        :param timeout: how long, in real seconds.
        :raises TimeoutError: it takes longer.
        """
        with self._quiet:
            if not self._quiet.wait_for(self._all_sent, timeout):
                raise TimeoutError(f"After {timeout:g} s webhook deliveries still under way: {self.stats()['due']}.")

    def stats(self) -> dict[str, int]:
        """Return how many are under way (``due``), and how many are for later (``waiting``)."""
        with self._quiet:
            now = self._now()
            due = sum(entry[0] <= now for entry in self._waiting)
            return {"due": due + self._sending, "waiting": len(self._waiting) - due}

    def _all_sent(self) -> bool:
        now = self._now()
        self.pass_time(now)
        return self._sending == 0 and not (self._waiting and self._waiting[0][0] <= now)

    def _sent(self) -> None:
        self._sending -= 1
        self._quiet.notify_all()

    def _struck(self, delivery: Delivery, stage: str) -> Order | None:
        job, event = delivery.job, delivery.type.partition(".")[2]
        return self._faults.take((stage,), WEBHOOK, job.tool.slug, job.words, event=event)

    def _note(self, delivery: Delivery, outcome: str, status: int | None = None) -> None:
        self._books.attempted(
            Attempt(
                at=self._now(),
                url=delivery.url,
                type=delivery.type,
                id=delivery.job.id,
                attempt=delivery.attempt,
                outcome=outcome,
                status=status,
                fault=delivery.fault,
            )
        )
