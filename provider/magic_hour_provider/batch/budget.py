"""The credits of a batch: what the next item costs, and whether it may be paid for now.

No input and no output: who submits says what has happened, and asks before each submission. All of it is of one task
instance, over all its tries; items that were paid for before, or by another run, cost nothing here. Not for several
threads.

With ``max_credits``, spent + reserved + the next one's price is never above it, at the price known when the next one
is sent. That is what an accepted create with the same priced fields said
(:mod:`magic_hour_provider.api.prices.priced_fields`), or more, where jobs of that price settled higher. A job of
unknown price is sent alone: with nothing else whose price is not known, while less than the limit is spent and
reserved, and everything else waits for what the response says. So what is spent can only pass the limit by what nobody
knew: the price of such a job, or a service that takes more than it said. Where its response is lost its estimate counts
as spent, if there is one. Otherwise, and whenever the service takes more than was reserved, nothing more is sent, and
the excess is at most that of the jobs under way.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from magic_hour_provider.api.errors import describe_credits
from magic_hour_provider.api.prices.priced_fields import PricedFields


class Permission(Enum):
    """Whether an item may be submitted."""

    SEND = "send"
    WAIT = "wait"
    """Not now: the end of a job under way, or the response to a submission, may change it."""
    STOP = "stop"
    """Not in this attempt: nothing that is under way can change it."""


@dataclass(frozen=True)
class BudgetDecision:
    """Whether an item may be submitted, and why not.

    :param permission: whether.
    :param price: what is reserved for it in credits; None: not known.
    :param reason: why not, as a sentence; empty if it may.
    :param is_over_limit: whether it is refused as it would pass the limit.
    """

    permission: Permission
    price: int | None
    reason: str = ""
    is_over_limit: bool = False


@dataclass
class _Reservation:
    """The credits held for one job: its price until the service says more; None: nobody knows.

    What was expected of it then, if anything, counts where its response is lost.
    """

    priced: PricedFields
    credits: int | None
    expected: int | None = None


class Budget:
    """What a batch may still submit.

    :param max_credits: limit in credits; None: there is none.
    :param spent: credits that this task instance's earlier jobs were charged and not refunded, those included whose
        response was lost; what is still under way comes by :meth:`resume`.
    :param canary: number of items that must be complete before any other is paid for; 0: none.
    :param completed: how many are complete already.
    """

    def __init__(self, max_credits: int | None, *, spent: int = 0, canary: int = 0, completed: int = 0) -> None:
        self.max_credits = max_credits
        self.spent = spent
        self.reserved = 0
        """Credits held for jobs under way; those of unknown price are not in it."""
        self.stop_reason = ""
        """Why nothing more was permitted, as a sentence; empty while that has not happened."""
        self.is_known = True
        """Whether all is known that was spent; False: a response of unknown price was lost."""
        self._is_stopped = False
        self._reservations: dict[str, _Reservation] = {}
        self._unpriced: set[str] = set()
        self._lost: dict[PricedFields, list[int]] = {}  # what lost responses count, where no charge had said it
        self._prices: dict[str, _PriceList] = {}
        self._canary = canary
        self._completed = completed
        self._canaries: set[str] = set()

    @property
    def excess(self) -> int:
        """Credits spent and reserved beyond the limit."""
        return max(0, self.spent + self.reserved - self.max_credits) if self.max_credits is not None else 0

    def price(self, priced: PricedFields) -> int | None:
        """Return what a job costs, at the most that is known; None: not known."""
        prices = self._prices.get(priced.digest) if priced.digest is not None else None
        return prices.find(priced.characters) if prices is not None else None

    # -- before a submission

    def may_send(self, key: str, priced: PricedFields, expected: int | None = None) -> BudgetDecision:
        """Decide whether an item may be submitted now. It reserves nothing: :meth:`sent` does.

        :param key: the item's.
        :param expected: its estimate, where no job of this batch says what it costs: it is still sent alone, and not
            at all where the estimate is above what is left. None: there is none.
        """
        price = self.price(priced)
        if self._is_stopped:
            return BudgetDecision(Permission.STOP, price, self.stop_reason)
        if self._completed < self._canary and key not in self._canaries:
            left = self._canary - self._completed
            if len(self._canaries) >= left:
                words = "the canary is" if left == 1 else f"{left} canaries are"
                return BudgetDecision(Permission.WAIT, price, f"Nothing else is paid for before {words} complete.")
        if self.max_credits is None:
            return BudgetDecision(Permission.SEND, price)
        if self._unpriced:
            return BudgetDecision(Permission.WAIT, price, "What a job under way costs is not known yet.")
        held = self.spent + self.reserved
        likely = price if price is not None else expected
        if held + likely <= self.max_credits if likely is not None else held < self.max_credits:
            return BudgetDecision(Permission.SEND, price)
        costs = "has a price that is not known" if likely is None else f"costs {describe_credits(likely)}"
        costs += " by its estimate" * (likely is not None and price is None)
        reason = f"The next item {costs}, and {max(0, self.max_credits - held)} of max_credits are left."
        if self._reservations:
            # What is under way may settle lower, or be refunded.
            return BudgetDecision(Permission.WAIT, price, reason)
        self.stop_reason = reason
        return BudgetDecision(Permission.STOP, price, reason, is_over_limit=True)

    # -- what has happened

    def learn(self, priced: PricedFields, credits: int) -> None:
        """Record a price that another job of this batch was charged: of an earlier try, or of another run."""
        if priced.digest is not None:
            self._prices.setdefault(priced.digest, _PriceList()).add(priced.characters, credits)
            for lost, counted in self._lost.items():
                if lost.digest == priced.digest:  # what was lost may have cost as much
                    known = self.price(lost) or 0
                    self.spent += sum(max(0, known - one) for one in counted)
                    counted[:] = [max(known, one) for one in counted]

    def resume(self, key: str, priced: PricedFields, credits: int | None) -> None:
        """Record a job under way that an earlier try of this task instance has submitted.

        :param credits: what it was charged; None: its response did not say.
        """
        self.sent(key, priced)
        if credits is not None:
            self._hold(key, priced, credits)

    def sent(self, key: str, priced: PricedFields, expected: int | None = None) -> None:
        """Record that an item is being submitted: its price is reserved.

        :param expected: its estimate, as of :meth:`may_send`.
        """
        self._reserve(key, priced, self.price(priced), expected)
        if self._completed < self._canary:
            self._canaries.add(key)

    def withdrawn(self, key: str) -> None:
        """Record that a submission surely made no job: refused, or never delivered."""
        self._release(key)
        self._canaries.discard(key)

    def lost(self, key: str) -> None:
        """Record that it is unknown whether a submission made a job: its price counts as spent.

        Where no job of this batch says it, its estimate does, and from then on what jobs like it are charged, if that
        is more.
        """
        reservation = self._release(key)
        if reservation is not None:
            self._count_lost(reservation)
        self._stop_at_canary(key, "it is unknown whether it was paid for")

    def lost_before(self, priced: PricedFields, expected: int | None) -> None:
        """Record that an earlier try has lost a response: as :meth:`lost`, but it is no canary of this one.

        :param expected: its estimate, as of :meth:`may_send`.
        """
        self._count_lost(_Reservation(priced, self.price(priced), expected))

    def charged(self, key: str, credits: int | None) -> None:
        """Record an accepted submission.

        :param credits: what the response said was charged; None: it did not say, so that the price known stays.
        """
        before = self._reservations.get(key)
        if before is None or credits is None:
            return
        self._hold(key, before.priced, credits)
        if before.credits is not None and credits > before.credits:
            self._stop_spending(_describe_more("charged", key, credits, before.credits))
        elif before.credits is None and self.excess:
            self._stop_spending(f"The first of its price, item {key} was charged {describe_credits(credits)}.")

    def settled(self, key: str, credits: int | None) -> None:
        """Record that a job has ended and what it cost.

        :param credits: what stays charged: 0 if it was refunded, whatever the job says; None: the service did not say,
            so that what was reserved counts.
        """
        reservation = self._release(key)
        if reservation is None:
            return
        if credits is None and reservation.credits is None:
            self._stop_spending(f"Magic Hour did not say what item {key} has cost.")
            return
        cost = max(0, credits if credits is not None else reservation.credits or 0)
        self.spent += cost
        if cost:
            self.learn(reservation.priced, cost)
        if reservation.credits is not None and cost > reservation.credits:
            self._stop_spending(_describe_more("settled at", key, cost, reservation.credits))
        elif reservation.credits is None and self.excess:
            self._stop_spending(f"The first of its price, item {key} has cost {describe_credits(cost)}.")

    def completed(self, key: str) -> None:
        """Record that an item is complete."""
        self._completed += 1
        self._canaries.discard(key)

    def failed(self, key: str) -> None:
        """Record that an item has failed for good."""
        self._stop_at_canary(key, "it has failed")

    def stop(self, reason: str) -> None:
        """Record that nothing more may be sent in this attempt: a key, a plan or a balance was refused, say.

        :param reason: why, as a sentence; the first one counts.
        """
        if not self._is_stopped:
            self._is_stopped, self.stop_reason = True, reason

    # -- what to say

    def describe_stop(self) -> str:
        """Return why nothing more is submitted, and what is spent of the limit, as whole sentences."""
        sentences = [self.stop_reason] if self.stop_reason else []
        if self.max_credits is not None:
            more = f", {self.excess} more than the limit" if self.excess else ""
            sentences.append(
                f"Of max_credits={self.max_credits}, {describe_credits(self.spent)} of this task are spent and "
                f"{self.reserved} reserved for jobs under way{more}."
            )
        return " ".join(sentences)

    def describe_missing(self, left: Iterable[tuple[PricedFields, int | None]]) -> str:
        """Return what is not paid for and what it would cost, as whole sentences; empty: nothing is left.

        :param left: of each item that is not paid for, with its estimate; None: there is none.
        """
        count = unknown = cost = estimated = 0
        for priced, expected in left:
            price = self.price(priced)
            estimated += price is None and expected is not None
            price = expected if price is None else price
            count, unknown, cost = count + 1, unknown + (price is None), cost + (price or 0)
        if not count:
            return ""
        text = _describe_left(count, unknown, cost, is_estimated=bool(estimated))
        enough = self.spent + self.reserved + cost
        if self.max_credits is None or unknown or enough <= self.max_credits:
            return text
        by = ", by the estimate" if estimated else ""
        return f"{text} max_credits={enough} is enough for all{by}."

    # -- inside

    def _count_lost(self, reservation: _Reservation) -> None:
        if reservation.credits is not None:
            self.spent += reservation.credits
        elif reservation.expected is not None:
            self.spent += reservation.expected
            self._lost.setdefault(reservation.priced, []).append(reservation.expected)
        else:
            self.is_known = False
            self._stop_spending("The response to a request of unknown price was lost: nobody knows what it costs.")

    def _reserve(self, key: str, priced: PricedFields, credits: int | None, expected: int | None = None) -> None:
        self._release(key)
        self._reservations[key] = _Reservation(priced, credits, expected)
        if credits is None:
            self._unpriced.add(key)
        else:
            self.reserved += credits

    def _hold(self, key: str, priced: PricedFields, charged: int) -> None:
        """Reserve what a job was charged, or more, where jobs like it have settled higher."""
        self.learn(priced, charged)
        prices = self._prices.get(priced.digest) if priced.digest is not None else None
        self._reserve(key, priced, prices.credits[priced.characters] if prices is not None else charged)

    def _release(self, key: str) -> _Reservation | None:
        reservation = self._reservations.pop(key, None)
        self._unpriced.discard(key)
        if reservation is not None:
            self.reserved -= reservation.credits or 0
        return reservation

    def _stop_spending(self, reason: str) -> None:
        if self.max_credits is not None:
            self.stop(reason)

    def _stop_at_canary(self, key: str, why: str) -> None:
        if key in self._canaries:
            self._canaries.discard(key)
            self.stop(f"Nothing else is paid for, as item {key} was a canary, and {why}.")


class _PriceList:
    """The prices of jobs that differ in nothing but the length of their text."""

    def __init__(self) -> None:
        self.credits: dict[int, int] = {}
        """By the number of characters: the most that one was charged or has settled at."""
        self._lengths: list[int] = []

    def add(self, characters: int, credits: int) -> None:
        if characters not in self.credits:
            insort(self._lengths, characters)
        self.credits[characters] = max(credits, self.credits.get(characters, 0))

    def find(self, characters: int) -> int | None:
        """Return the price of a text of this length, or of the next longer one: it costs no more."""
        place = bisect_left(self._lengths, characters)
        return self.credits[self._lengths[place]] if place < len(self._lengths) else None


def _describe_more(what: str, key: str, credits: int, expected: int) -> str:
    return f"Item {key} was {what} {describe_credits(credits)}, where {expected} were expected."


def _describe_left(count: int, unknown: int, cost: int, *, is_estimated: bool) -> str:
    one = count == 1
    items = f"{count} item{' is' if one else 's are'} not paid for"
    if unknown == count:
        return f"{items}, at a price that is not known."
    about = "about " if is_estimated else ""
    rest = f", and {unknown} of them {'has a price' if unknown == 1 else 'have prices'} that nobody knows"
    return f"{items}: {'it' if one else 'they'} would cost {about}{describe_credits(cost)}{rest if unknown else ''}."
