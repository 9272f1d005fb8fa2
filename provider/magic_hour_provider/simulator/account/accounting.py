"""Accounting: counters of what was requested, and the account's credits. The service holds its lock around it."""

from __future__ import annotations

import heapq
from collections import Counter, deque
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from itertools import islice
from typing import Any

from magic_hour_provider.simulator.jobs.facts import format_api_time
from magic_hour_provider.simulator.jobs.job import SimulatedJob

_JOBS_SHOWN = 100
_ATTEMPTS_KEPT = 10_000
_REFUNDED = ("error", "canceled")


class DeliveryOutcome(StrEnum):
    """How an attempt to deliver an event ended."""

    ACCEPTED = "accepted"
    """Answered with 2xx."""
    REFUSED = "refused"
    """Answered with anything else."""
    NO_RESPONSE = "no_response"
    """Not answered: nothing listens, or the connection closed."""
    TIMEOUT = "timeout"
    """Not answered in time."""
    LOST = "lost"
    """Never sent: a fault lost it."""
    ABANDONED = "abandoned"
    """Never sent again: it was retried long enough, or too many were waiting."""


SENT_OUTCOMES = tuple(DeliveryOutcome)[:4]
"""The outcomes of attempts that sent a request."""


@dataclass(frozen=True)
class DeliveryAttempt:
    """One attempt to deliver an event to a webhook.

    :param at: when, in seconds since 1970 on the simulator's clock.
    :param url: of the webhook.
    :param type: the event, such as ``video.completed``.
    :param id: of the job.
    :param attempt: 1 for the first; 0 for one that was never sent.
    :param outcome: how it ended.
    :param status: of the response, or None.
    :param fault: name of the fault injected into it, or None.
    """

    at: float
    url: str
    type: str
    id: str
    attempt: int
    outcome: DeliveryOutcome
    status: int | None
    fault: str | None


@dataclass(frozen=True)
class Summary:
    """The counters in brief: ``assert sim.summary() == Summary(creates=1, credits=5, polls=9)``.

    As text it is one line without what is 0: ``1 create, 5 credits, 9 polls``.

    :param creates: jobs accepted.
    :param refused: creates refused.
    :param credits: credits that stay charged: charged less refunded.
    :param polls: requests for the details of a job, also of one that does not exist.
    :param uploads: files received whole.
    :param downloads: files requested and sent.
    :param deletes: jobs deleted.
    :param deliveries: webhook requests sent, whatever their outcome.
    """

    creates: int = 0
    refused: int = 0
    credits: int = 0
    polls: int = 0
    uploads: int = 0
    downloads: int = 0
    deletes: int = 0
    deliveries: int = 0

    def __str__(self) -> str:
        counts = [(field.name, getattr(self, field.name)) for field in fields(self)]
        words = [f"{count} {name if count != 1 else _singular(name)}" for name, count in counts if count]
        return ", ".join(words) or "nothing"


def _singular(name: str) -> str:
    return name[:-3] + "y" if name.endswith("ies") else name.removesuffix("s")


class Accounting:
    """Counts requests and outcomes, and keeps the account's credits.

    :param start: credits at the start.
    :param refunded_credits: what ``credits_charged`` of a refunded job says; see :class:`.behavior.Behavior`.
    """

    def __init__(self, start: int, refunded_credits: str) -> None:
        self.requests: Counter[str] = Counter()
        self._start = start
        self._refunded_credits = refunded_credits
        self._counts = dict.fromkeys(("accepted", "refused", "polls", "uploads", "downloads", "deletes"), 0)
        self._charged = self._refunded = self._settled = 0
        self._outcomes: Counter[DeliveryOutcome] = Counter()
        self._attempts: deque[DeliveryAttempt] = deque(maxlen=_ATTEMPTS_KEPT)
        # Jobs whose charge is not final, by the time they end; the number keeps jobs themselves from being compared.
        self._unsettled: list[tuple[float, int, SimulatedJob]] = []

    @property
    def balance(self) -> int:
        """Credits left; below 0 only for accounts that pay later."""
        return self._start - self._charged + self._refunded

    def count(self, what: str) -> None:
        """Count one of ``refused``, ``polls``, ``uploads``, ``downloads`` and ``deletes``."""
        self._counts[what] += 1

    def record_attempt(self, attempt: DeliveryAttempt) -> None:
        """Record an attempt to deliver an event to a webhook."""
        self._outcomes[attempt.outcome] += 1
        self._attempts.append(attempt)

    def list_deliveries(self) -> list[dict[str, Any]]:
        """Return the last 10,000 attempts to deliver an event to a webhook, the oldest first."""
        return [
            asdict(attempt) | {"at": format_api_time(attempt.at), "outcome": attempt.outcome.value}
            for attempt in self._attempts
        ]

    def charge(self, job: SimulatedJob) -> None:
        """Count an accepted job, and charge its price."""
        self._counts["accepted"] += 1
        self._charged += job.price
        due = job.created if job.outcome.immediately else job.ends_at
        heapq.heappush(self._unsettled, (due, self._counts["accepted"], job))

    def settle(self, now: float) -> None:
        """Settle or refund the jobs that have ended.

        :param now: the time, in seconds since 1970 on the simulator's clock.
        """
        while self._unsettled and self._unsettled[0][0] <= now:
            job = heapq.heappop(self._unsettled)[2]
            if job.outcome.status in _REFUNDED:
                self.refund(job)
            elif job.outcome.status == "complete" and not job.settled:
                job.settled = True
                difference = job.price - job.final_price
                self._refunded += max(difference, 0)
                self._charged += max(-difference, 0)
                self._settled += job.final_price
                job.credits_charged = job.final_price

    def refund(self, job: SimulatedJob) -> None:
        """Refund a job, once."""
        if not job.settled:
            job.settled = True
            self._refunded += job.price
            job.credits_charged = {"zero": 0, "negative": -job.price, "unchanged": job.price}[self._refunded_credits]

    def summary(self) -> Summary:
        """Return the counters in brief."""
        counts = self._counts
        return Summary(
            creates=counts["accepted"],
            credits=self._charged - self._refunded,
            deliveries=self._count_sent(),
            **{name: counts[name] for name in ("refused", "polls", "uploads", "downloads", "deletes")},
        )

    def stats(self, jobs: dict[str, SimulatedJob], faults_injected: dict[str, int]) -> dict[str, Any]:
        """Return all counters.

        ``balance`` is always ``start`` - ``charged`` + ``refunded``; ``settled`` is what completed jobs cost.

        :param jobs: all jobs, the oldest first; the polls of the last 100 are listed.
        :param faults_injected: how many times each fault has been injected.
        """
        counts = dict(self._counts)
        creates = {"accepted": counts.pop("accepted"), "refused": counts.pop("refused")}
        account = {
            "start": self._start,
            "charged": self._charged,
            "refunded": self._refunded,
            "balance": self.balance,
            "settled": self._settled,
        }
        last = list(islice(reversed(jobs.values()), _JOBS_SHOWN))[::-1]
        return {
            "creates": creates,
            "credits": account,
            **counts,
            "requests": dict(sorted(self.requests.items())),
            "faults_injected": faults_injected,
            "webhooks": {"sent": self._count_sent()}
            | {outcome.value: self._outcomes[outcome] for outcome in DeliveryOutcome},
            "jobs": {
                job.id: {"polls": job.polls, "polled_at": [format_api_time(at) for at in job.polled_at]} for job in last
            },
        }

    def _count_sent(self) -> int:
        return sum(self._outcomes[outcome] for outcome in SENT_OUTCOMES)
