"""The books: what was asked, made, charged and given back. The service holds its lock around them."""

from __future__ import annotations

import heapq
from collections import Counter, deque
from dataclasses import asdict, dataclass, fields
from itertools import islice
from typing import Any

from magic_hour_provider.simulator.jobs.job import Job, iso

_JOBS_SHOWN = 100
_ATTEMPTS_KEPT = 10_000
_REFUNDED = ("error", "canceled")

# How a webhook request that was sent went: answered with 2xx, with something else, not at all, or too late.
ACCEPTED, REFUSED, NO_ANSWER, TOO_SLOW = SENT = ("accepted", "refused", "no_response", "timeout")
# What becomes of a delivery that is not sent: a fault lost it, or it has been repeated long enough.
LOST, GIVEN_UP = NOT_SENT = ("lost", "abandoned")


@dataclass(frozen=True)
class Attempt:
    """One attempt to deliver an event to a webhook.

    :param at: when, in seconds since 1970 on the simulator's clock.
    :param url: of the webhook.
    :param type: the event, such as ``video.completed``.
    :param id: of the job.
    :param attempt: 1 for the first; 0 for one that was never sent.
    :param outcome: one of :data:`SENT` and :data:`NOT_SENT`.
    :param status: of the answer, or None.
    :param fault: name of the fault that struck it, or None.
    """

    at: float
    url: str
    type: str
    id: str
    attempt: int
    outcome: str
    status: int | None
    fault: str | None


@dataclass(frozen=True)
class Summary:
    """The books in brief: ``assert sim.summary() == Summary(creates=1, credits=5, polls=9)``.

    As text it is one line without what did not happen: ``1 create, 5 credits, 9 looks``.

    :param creates: jobs accepted.
    :param refused: creates refused.
    :param credits: credits that stay charged: taken less refunded.
    :param polls: requests for the details of a job, also of one that is not there.
    :param uploads: files that arrived whole.
    :param downloads: files asked for and had.
    :param deletes: jobs deleted.
    :param deliveries: webhook requests sent, whatever came of them.
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
        words = [f"{count} {name if count != 1 else _one_of(name)}" for name, count in counts if count]
        return ", ".join(words) or "nothing"


def _one_of(name: str) -> str:
    return name[:-3] + "y" if name.endswith("ies") else name.removesuffix("s")


class Bookkeeper:
    """Counts, and keeps the account's credits.

    :param start: credits at the start.
    :param refunded_shows: what ``credits_charged`` of a refunded job says; see :class:`.behavior.Behavior`.
    """

    def __init__(self, start: int, refunded_shows: str) -> None:
        self.requests: Counter[str] = Counter()
        self._start = start
        self._refunded_shows = refunded_shows
        self._counts = dict.fromkeys(("accepted", "refused", "polls", "uploads", "downloads", "deletes"), 0)
        self._taken = self._refunded = self._settled = 0
        self._outcomes: Counter[str] = Counter()
        self._attempts: deque[Attempt] = deque(maxlen=_ATTEMPTS_KEPT)
        # Jobs whose money is not settled, by the time they end; the number keeps jobs themselves from being compared.
        self._open: list[tuple[float, int, Job]] = []

    @property
    def balance(self) -> int:
        """Credits left; below 0 only for accounts that pay later."""
        return self._start - self._taken + self._refunded

    def count(self, what: str) -> None:
        """Count one of ``refused``, ``looks``, ``uploads``, ``downloads`` and ``deletes``."""
        self._counts[what] += 1

    def attempted(self, attempt: Attempt) -> None:
        """Note an attempt to deliver an event to a webhook."""
        self._outcomes[attempt.outcome] += 1
        self._attempts.append(attempt)

    def deliveries(self) -> list[dict[str, Any]]:
        """Return the last 10,000 attempts to deliver an event to a webhook, the oldest first."""
        return [asdict(attempt) | {"at": iso(attempt.at)} for attempt in self._attempts]

    def accepted(self, job: Job) -> None:
        """Take a job's credits."""
        self._counts["accepted"] += 1
        self._taken += job.price
        due = job.created if job.ending.immediately else job.ends
        heapq.heappush(self._open, (due, self._counts["accepted"], job))

    def settle(self, now: float) -> None:
        """Settle the money of the jobs that are over.

        :param now: the time, in seconds since 1970 on the simulator's clock.
        """
        while self._open and self._open[0][0] <= now:
            job = heapq.heappop(self._open)[2]
            if job.ending.status in _REFUNDED:
                self.refund(job)
            elif job.ending.status == "complete" and not job.settled:
                job.settled = True
                difference = job.price - job.final_price
                self._refunded += max(difference, 0)
                self._taken += max(-difference, 0)
                self._settled += job.final_price
                job.credits_charged = job.final_price

    def refund(self, job: Job) -> None:
        """Give a job's credits back, once."""
        if not job.settled:
            job.settled = True
            self._refunded += job.price
            job.credits_charged = {"zero": 0, "negative": -job.price, "unchanged": job.price}[self._refunded_shows]

    def summary(self) -> Summary:
        """Return the books in brief."""
        counts = self._counts
        return Summary(
            creates=counts["accepted"],
            credits=self._taken - self._refunded,
            deliveries=self._sent(),
            **{name: counts[name] for name in ("refused", "polls", "uploads", "downloads", "deletes")},
        )

    def _sent(self) -> int:
        return sum(self._outcomes[outcome] for outcome in SENT)

    def stats(self, jobs: dict[str, Job], struck: dict[str, int]) -> dict[str, Any]:
        """Return the books in full.

        ``balance`` is always ``start`` - ``taken`` + ``refunded``; ``settled`` is what finished jobs cost in the end.

        :param jobs: all jobs, the oldest first; the looks at the last 100 are listed.
        :param struck: how many times each kind of fault has struck.
        """
        counts = dict(self._counts)
        creates = {"accepted": counts.pop("accepted"), "refused": counts.pop("refused")}
        money = {
            "start": self._start,
            "charged": self._taken,
            "refunded": self._refunded,
            "balance": self.balance,
            "settled": self._settled,
        }
        last = list(islice(reversed(jobs.values()), _JOBS_SHOWN))[::-1]
        looks = {job.id: {"polls": job.polls, "polled_at": [iso(time) for time in job.polled_at]} for job in last}
        requests = dict(sorted(self.requests.items()))
        webhooks = {"sent": self._sent()} | {outcome: self._outcomes[outcome] for outcome in (*SENT, *NOT_SENT)}
        return {
            "creates": creates,
            "credits": money,
            **counts,
            "requests": requests,
            "faults_injected": struck,
            "webhooks": webhooks,
            "jobs": looks,
        }
