"""The delivery queue: which deliveries are due, when, and when they are retried. :mod:`.sender` sends them."""

from __future__ import annotations

import heapq
import json
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

from magic_hour_provider.simulator.account.accounting import Accounting, DeliveryAttempt, DeliveryOutcome
from magic_hour_provider.simulator.behavior import Behavior
from magic_hour_provider.simulator.faults.catalog import WEBHOOK, Fault, FaultStage, unknown_effect
from magic_hour_provider.simulator.faults.queue import FaultQueue, FaultTarget
from magic_hour_provider.simulator.jobs.job import SimulatedJob
from magic_hour_provider.simulator.webhooks.registration import Webhook, job_events, sign_delivery

_RETRIED_FOR_S = 24 * 3600.0
_MAX_WAITING = 20_000
_DEPRECATED = ("download", "total_frame_cost")


@dataclass(eq=False)
class QueuedDelivery:
    """One event on its way to one webhook.

    :param url: of the webhook.
    :param type: the event, such as ``video.completed``.
    :param job: what it is about.
    :param body: the same bytes at each attempt.
    :param fault: name of the fault injected into it, or None.
    :param attempt: how many times it has been sent.
    :param first_sent: when it was sent first, in seconds since 1970 on the simulator's clock.
    :param headers: the first attempt's signature.
    """

    url: str
    type: str
    job: SimulatedJob
    body: bytes
    fault: str | None = None
    attempt: int = 0
    first_sent: float = math.nan
    headers: dict[str, str] | None = None


class DeliveryQueue:
    """The webhooks, and their deliveries. Safe to use from several threads.

    :param lock: the service's.
    :param now: returns the simulator's time, in seconds since 1970.
    :param faults: the pending faults.
    :param accounting: where every attempt is recorded.
    :param behavior: which events and fields are sent, and how a retry is signed.
    :param describe: returns the details of a job, with links at an address, at a time.
    """

    def __init__(
        self,
        lock: threading.RLock,
        now: Callable[[], float],
        faults: FaultQueue,
        accounting: Accounting,
        behavior: Behavior,
        describe: Callable[[SimulatedJob, str, float], dict[str, Any]],
    ) -> None:
        self.base_url = ""
        """Where the simulator is reached, for the links in the payload; empty while it does not run."""
        self.on_due: Callable[[], None] = lambda: None
        """Called, from any thread, when something may be due."""
        self._changed = threading.Condition(lock)
        self._now = now
        self._faults = faults
        self._accounting = accounting
        self._behavior = behavior
        self._describe = describe
        self._webhooks: dict[str, Webhook] = {}
        self._number = count()
        # Both by time; the numbers keep what is due at once in its order, and jobs from being compared.
        self._events: list[tuple[float, int, SimulatedJob, str]] = []
        self._waiting: list[tuple[float, bool, int, QueuedDelivery]] = []
        self._sending = 0

    # --- webhooks

    def add_webhook(self, webhook: Webhook) -> None:
        """Register a webhook; one with the same address is replaced, as when its secret is changed."""
        with self._changed:
            self.advance_to(self._now())  # it gets nothing of what was before
            self._webhooks[webhook.url] = webhook
            if self.base_url:
                self.wake()

    def clear_webhooks(self) -> None:
        """Remove all webhooks. What has not been sent never will be."""
        with self._changed:
            self._webhooks.clear()
            self._waiting.clear()
            self._changed.notify_all()

    def list_webhooks(self) -> list[dict[str, Any]]:
        """Return the webhooks, the oldest first, without their secrets."""
        with self._changed:
            return [webhook.listed() for webhook in self._webhooks.values()]

    # --- time passes

    def schedule_events(self, job: SimulatedJob) -> None:
        """Schedule the events of a new job."""
        for moment, event in job_events(job):
            if event != "image.started" or self._behavior.image_started == "sent":
                heapq.heappush(self._events, (moment, next(self._number), job, event))
        self.wake()

    def wake(self) -> None:
        """Have what is due sent soon: time has been moved, or there is more to send."""
        if self._webhooks:
            self.on_due()

    def advance_to(self, now: float) -> None:
        """Queue the deliveries of the events up to a time. Each has the details of its own time.

        :param now: in seconds since 1970 on the simulator's clock.
        """
        while self._events and self._events[0][0] <= now:
            moment, _, job, event = heapq.heappop(self._events)
            receivers = [webhook for webhook in self._webhooks.values() if event in webhook.events]
            if receivers and not job.deleted:
                self._accounting.settle(moment)
                body = self._body(job, event, moment)
                for webhook in receivers:
                    self._schedule(QueuedDelivery(webhook.url, event, job, body), moment)

    def _body(self, job: SimulatedJob, event: str, moment: float) -> bytes:
        details = self._describe(job, self.base_url, moment)
        if self._behavior.webhook_deprecated == "omitted":
            details = {name: value for name, value in details.items() if name not in _DEPRECATED}
        envelope = {"type": event, self._behavior.webhook_envelope: details}
        return json.dumps(envelope, separators=(",", ":"), ensure_ascii=False).encode(errors="backslashreplace")

    def _schedule(self, delivery: QueuedDelivery, due: float) -> None:
        fault = self._take_fault(delivery, FaultStage.DELIVERY)
        if fault is None:
            self._push(delivery, due)
            return
        delivery.fault = fault.fault
        if fault.fault == "lost-delivery":
            self._record(delivery, DeliveryOutcome.LOST)
        elif fault.fault == "late-delivery":
            self._push(delivery, due + (fault.seconds or 0))
        elif fault.fault == "out-of-order-delivery":
            self._push(delivery, max(due, delivery.job.ends_at), last=True)
        elif fault.fault == "duplicate-delivery":
            self._push(delivery, due)
            self._push(QueuedDelivery(delivery.url, delivery.type, delivery.job, delivery.body, fault.fault), due)
        else:
            raise unknown_effect(fault)

    def _push(self, delivery: QueuedDelivery, due: float, *, last: bool = False) -> None:
        if len(self._waiting) + self._sending >= _MAX_WAITING:
            self._record(delivery, DeliveryOutcome.ABANDONED)
            return
        heapq.heappush(self._waiting, (due, last, next(self._number), delivery))
        self.wake()

    # --- for the sender

    def seconds_until_due(self) -> float | None:
        """Return how many seconds are left until something is due; None while nothing is scheduled."""
        with self._changed:
            if not self._webhooks:
                return None
            first = min((heap[0][0] for heap in (self._events, self._waiting) if heap), default=None)
            return None if first is None else max(0.0, first - self._now())

    def take_due(self) -> list[QueuedDelivery]:
        """Return what is due, in its order, to be sent now."""
        with self._changed:
            now = self._now()
            self.advance_to(now)
            due = []
            while self._waiting and self._waiting[0][0] <= now:
                due.append(heapq.heappop(self._waiting)[-1])
            self._sending += len(due)
            return due

    def start_attempt(self, delivery: QueuedDelivery) -> tuple[Webhook, dict[str, str]] | None:
        """Return the webhook and the signature of an attempt; None when the webhook has been removed."""
        with self._changed:
            webhook = self._webhooks.get(delivery.url)
            if webhook is None:
                self._count_sent()
                return None
            now = self._now()
            delivery.attempt += 1
            if delivery.attempt == 1:
                delivery.first_sent = now
                delivery.headers = sign_delivery(delivery.body, webhook.secret, int(now))
            fault = self._take_fault(delivery, FaultStage.SIGNATURE)
            if fault is not None:
                delivery.fault = fault.fault
                if fault.fault == "wrong-signature":
                    return webhook, sign_delivery(delivery.body + b" ", webhook.secret, int(now))
                if fault.fault == "expired-timestamp":
                    return webhook, sign_delivery(delivery.body, webhook.secret, int(now - fault.age_s))
                raise unknown_effect(fault)
            if self._behavior.webhook_repeats == "original" and delivery.headers is not None:
                return webhook, delivery.headers
            return webhook, sign_delivery(delivery.body, webhook.secret, int(now))

    def finish_attempt(self, delivery: QueuedDelivery, outcome: DeliveryOutcome, status: int | None) -> None:
        """Record how an attempt ended, and schedule a retry unless it was accepted.

        :param outcome: one of :data:`.accounting.SENT_OUTCOMES`.
        :param status: of the response, if there was one.
        """
        with self._changed:
            self._record(delivery, outcome, status)
            self._count_sent()
            delivery.fault = None
            if outcome is DeliveryOutcome.ACCEPTED or delivery.url not in self._webhooks:
                return
            due = self._now() + 2.0 ** (delivery.attempt - 1)
            if due > delivery.first_sent + _RETRIED_FOR_S:
                self._record(delivery, DeliveryOutcome.ABANDONED)
            else:
                self._push(delivery, due)

    # --- waiting and counters

    def wait_until_sent(self, timeout: float) -> None:
        """Wait until everything that is due has been sent and answered, or has failed.

        :param timeout: how long, in real seconds.
        :raises TimeoutError: it takes longer.
        """
        with self._changed:
            if not self._changed.wait_for(self._is_idle, timeout):
                raise TimeoutError(f"After {timeout:g} s webhook deliveries still under way: {self.stats()['due']}.")

    def stats(self) -> dict[str, int]:
        """Return how many are under way (``due``), and how many are for later (``waiting``)."""
        with self._changed:
            now = self._now()
            due = sum(entry[0] <= now for entry in self._waiting)
            return {"due": due + self._sending, "waiting": len(self._waiting) - due}

    def _is_idle(self) -> bool:
        now = self._now()
        self.advance_to(now)
        return self._sending == 0 and not (self._waiting and self._waiting[0][0] <= now)

    def _count_sent(self) -> None:
        self._sending -= 1
        self._changed.notify_all()

    def _take_fault(self, delivery: QueuedDelivery, stage: FaultStage) -> Fault | None:
        job, event = delivery.job, delivery.type.partition(".")[2]
        queued = self._faults.take((stage,), FaultTarget(WEBHOOK, job.tool.slug, job.text, event))
        return None if queued is None else queued.fault

    def _record(self, delivery: QueuedDelivery, outcome: DeliveryOutcome, status: int | None = None) -> None:
        self._accounting.record_attempt(
            DeliveryAttempt(
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
