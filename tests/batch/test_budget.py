"""The budget of a batch: what may be sent, in any order of responses and ends."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from magic_hour_provider.api.prices.priced_fields import PricedFields
from magic_hour_provider.batch.budget import Budget, Permission

EXAMPLES = int(os.environ.get("MAGIC_HOUR_EXAMPLES", "100"))
A, B, UNKNOWN = PricedFields("a"), PricedFields("b"), PricedFields(None)
SEND, WAIT, STOP = Permission.SEND, Permission.WAIT, Permission.STOP


def pay(budget: Budget, key: str, credits: int | None, priced: PricedFields = A) -> None:
    """Submit an item that is accepted."""
    assert budget.may_send(key, priced).permission is SEND
    budget.sent(key, priced)
    budget.charged(key, credits)


def test_without_a_limit_everything_may_be_sent():
    """No price is waited for and nothing stops, whatever is charged."""
    budget = Budget(None)
    for number in range(10):
        decision = budget.may_send(f"i{number}", UNKNOWN)
        assert (decision.permission, decision.price, decision.reason) == (SEND, None, "")
        budget.sent(f"i{number}", UNKNOWN)
    budget.charged("i0", 5)
    budget.settled("i0", 500)
    budget.lost("i1")
    budget.settled("i2", None)
    assert budget.may_send("more", A).permission is SEND
    assert (budget.spent, budget.excess, budget.stop_reason) == (500, 0, "")


def test_a_job_of_unknown_price_is_sent_alone():
    """Whatever comes next, of known price or not, waits for what its response says."""
    budget = Budget(100)
    pay(budget, "known", 5, A)
    budget.sent("first", B)
    for priced in (A, B, UNKNOWN):
        decision = budget.may_send("next", priced)
        assert decision.permission is WAIT
        assert decision.reason == "What a job under way costs is not known yet."
    budget.charged("first", 20)
    assert [budget.may_send("next", priced).price for priced in (A, B, UNKNOWN)] == [5, 20, None]
    assert {budget.may_send("next", priced).permission for priced in (A, B, UNKNOWN)} == {SEND}
    assert (budget.spent, budget.reserved) == (0, 25)


def test_a_response_that_names_no_credits():
    """The price stays unknown until the job has settled; if nothing says it even then, the limit cannot be kept."""
    budget = Budget(100)
    pay(budget, "first", None)
    assert budget.may_send("next", B).permission is WAIT
    budget.settled("first", 30)
    assert budget.price(A) == 30
    pay(budget, "second", None)  # it costs what the first did
    assert budget.reserved == 30
    budget.settled("second", None)
    assert (budget.spent, budget.reserved) == (60, 0)
    pay(budget, "third", None, B)
    budget.settled("third", None)
    assert budget.may_send("next", A).permission is STOP
    assert budget.stop_reason == "Magic Hour did not say what item third has cost."


def test_the_limit_is_met_exactly():
    """Spent, reserved and the next may be the limit; then what is under way is waited for, as it may be refunded."""
    budget = Budget(100, spent=40)
    pay(budget, "one", 30)
    pay(budget, "two", 30)
    decision = budget.may_send("three", A)
    assert (decision.permission, decision.price) == (WAIT, 30)
    assert decision.reason == "The next item costs 30 credits, and 0 of max_credits are left."
    budget.settled("one", 0)
    pay(budget, "three", 30)
    budget.settled("two", 30)
    budget.settled("three", 30)
    assert budget.may_send("four", A).permission is STOP
    assert budget.may_send("four", B).permission is STOP
    assert (budget.spent, budget.excess) == (100, 0)
    assert budget.stop_reason == "The next item has a price that is not known, and 0 of max_credits are left."


def test_a_cheaper_item_may_still_fit():
    """That one item costs more than what is left says nothing of another one."""
    budget = Budget(100)
    pay(budget, "a", 60, A)
    budget.settled("a", 60)
    pay(budget, "b", 30, B)
    budget.settled("b", 30)
    budget.learn(PricedFields("c"), 10)
    assert budget.may_send("a2", A).permission is STOP
    assert budget.may_send("c", PricedFields("c")).permission is SEND


def test_a_first_job_may_cost_more_than_is_left():
    """Nobody knows it before; then nothing more is sent, and the excess is reported."""
    budget = Budget(100, spent=99)
    pay(budget, "first", 51)
    assert budget.may_send("next", B).permission is STOP
    assert budget.excess == 50
    assert budget.describe_stop() + " " + budget.describe_missing([(A, None), (A, None), (B, None)]) == (
        "The first of its price, item first was charged 51 credits. Of max_credits=100, 99 credits of this task are "
        "spent and 51 reserved for jobs under way, 50 more than the limit. 3 items are not paid for: they would cost "
        "102 credits, and 1 of them has a price that nobody knows."
    )


@pytest.mark.parametrize("is_limited", [True, False])
def test_a_service_that_charges_more_than_before(is_limited):
    """Submissions stop at once, though there is room left; without a limit there is nothing to keep."""
    budget = Budget(1000 if is_limited else None)
    pay(budget, "one", 20)
    pay(budget, "two", 25)
    assert budget.may_send("three", A).permission is (STOP if is_limited else SEND)
    assert budget.stop_reason == ("Item two was charged 25 credits, where 20 were expected." if is_limited else "")
    assert (budget.reserved, budget.price(A)) == (45, 25)


def test_a_service_that_settles_higher():
    """Submissions stop at once; what is under way may pass the limit by what it settles higher, and that is said."""
    budget = Budget(60)
    for key in ("one", "two", "three"):
        pay(budget, key, 20)
    budget.settled("one", 40)
    assert budget.may_send("four", B).permission is STOP
    assert budget.excess == 20
    budget.settled("two", 40)
    budget.settled("three", 40)
    assert (budget.spent, budget.reserved, budget.excess) == (120, 0, 60)
    assert budget.describe_stop() + " " + budget.describe_missing([(A, None)]) == (
        "Item one was settled at 40 credits, where 20 were expected. Of max_credits=60, 120 credits of this task are "
        "spent and 0 reserved for jobs under way, 60 more than the limit. 1 item is not paid for: it would cost 40 "
        "credits. max_credits=160 is enough for all."
    )


def test_the_next_try_knows_what_jobs_have_settled_at():
    """With what an earlier try has seen, jobs that settle higher are held at that, and nothing stops."""
    budget = Budget(200, spent=40)
    budget.learn(A, 20)  # what it was charged
    budget.learn(A, 40)  # and what it has settled at
    budget.learn(UNKNOWN, 7)
    assert budget.price(UNKNOWN) is None
    pay(budget, "two", 20)
    assert budget.reserved == 40
    budget.settled("two", 40)
    assert budget.may_send("three", A).permission is SEND
    assert (budget.spent, budget.reserved) == (80, 0)


def test_jobs_of_an_earlier_try_are_under_way():
    """They are reserved at what they were charged, also where that is more than others, and stop nothing."""
    budget = Budget(100)
    budget.resume("one", A, 20)
    budget.resume("two", A, 30)
    budget.resume("three", UNKNOWN, 10)
    assert (budget.reserved, budget.price(A)) == (60, 30)
    assert budget.may_send("four", A).permission is SEND
    budget.resume("four", B, None)
    assert budget.may_send("five", A).permission is WAIT
    budget.settled("four", 0)
    assert budget.may_send("five", A).permission is SEND
    budget.settled("unheard of", 1000)
    budget.charged("unheard of", 1000)
    assert budget.spent == 0


def test_a_refused_request_frees_its_credits():
    """What surely made no job costs nothing, and teaches no price."""
    budget = Budget(20)
    budget.sent("one", A)
    budget.withdrawn("one")
    assert budget.price(A) is None
    pay(budget, "one", 20)
    budget.sent("two", A)
    budget.withdrawn("two")
    assert (budget.spent, budget.reserved) == (0, 20)


def test_a_lost_response_counts_as_spent():
    """It may have been charged, and nothing will say so; at an unknown price the limit cannot be kept any more."""
    budget = Budget(100)
    pay(budget, "one", 20)
    budget.sent("two", A)
    budget.lost("two")
    assert (budget.spent, budget.reserved) == (20, 20)
    assert budget.may_send("three", B).permission is SEND
    budget.sent("three", B)
    budget.lost("three")
    assert budget.may_send("four", A).permission is STOP
    assert budget.stop_reason == "The response to a request of unknown price was lost: nobody knows what it costs."


def test_a_limit_of_nothing():
    """With max_credits=0 only what is known to be free is sent."""
    budget = Budget(0)
    assert budget.may_send("one", A).permission is STOP
    budget.learn(A, 0)
    pay(budget, "one", 0)
    assert budget.may_send("two", A).permission is SEND


def test_a_longer_text_costs_no_less():
    """The price of a longer text is known to cover a shorter one; what it was charged is then what is held."""
    budget = Budget(100)
    text = [PricedFields("voice", characters) for characters in range(1001)]
    pay(budget, "one", 50, text[500])
    assert [budget.price(text[n]) for n in (1, 500, 501)] == [50, 50, None]
    assert budget.price(PricedFields("other voice", 1)) is None
    assert budget.may_send("two", text[30]).price == 50
    budget.sent("two", text[30])
    budget.charged("two", 3)
    assert budget.reserved == 53
    assert [budget.price(text[n]) for n in (1, 30, 31)] == [3, 3, 50]
    assert budget.may_send("three", text[31]).permission is WAIT
    assert budget.stop_reason == ""


def test_the_canary_is_complete_before_others_are_paid_for():
    """Two items are sent, and no other while either is on its way; a second try of one of them is still its own."""
    budget = Budget(None, canary=2)
    pay(budget, "one", 5)
    assert budget.may_send("two", A).permission is SEND
    pay(budget, "two", 5)
    decision = budget.may_send("three", A)
    assert (decision.permission, decision.reason) == (
        WAIT,
        "Nothing else is paid for before 2 canaries are complete.",
    )
    budget.settled("one", 0)
    assert budget.may_send("three", A).permission is WAIT
    pay(budget, "one", 5)
    budget.settled("two", 5)  # its files are still to come
    assert budget.may_send("three", A).permission is WAIT
    budget.completed("two")
    assert budget.may_send("three", A).reason == "Nothing else is paid for before the canary is complete."
    budget.settled("one", 5)
    budget.completed("one")
    pay(budget, "three", 5)
    budget.settled("three", 0)
    budget.failed("three")
    assert budget.may_send("four", A).permission is SEND


@pytest.mark.parametrize("end", ["failed", "lost", "refused"])
def test_a_canary_that_fails_stops_everything(end):
    """Also without a limit, and also where it was refused or its response was lost."""
    budget = Budget(None, canary=1)
    budget.sent("one", A)
    if end == "lost":
        budget.lost("one")
    else:
        budget.failed("one")
        budget.withdrawn("one")
    decision = budget.may_send("two", A)
    assert decision.permission is STOP
    assert decision.reason.startswith("Nothing else is paid for, as item one was a canary, and it ")
    assert budget.describe_missing([(A, None), (B, None)]).startswith(
        "2 items are not paid for, at a price that is not known."
    )


def test_canaries_of_an_earlier_try():
    """What is complete counts, and what is under way is one of them."""
    assert Budget(None, canary=2, completed=2).may_send("one", A).permission is SEND
    budget = Budget(None, canary=2, completed=1)
    budget.resume("one", A, 5)
    assert budget.may_send("two", A).permission is WAIT
    budget.withdrawn("one")
    assert budget.may_send("two", A).permission is SEND


def test_who_submits_may_stop_it():
    """A key that is refused, say, stops everything with its own words; the first ones count."""
    budget = Budget(None)
    budget.learn(A, 20)
    budget.stop("The key was refused.")
    budget.stop("The balance is gone.")
    assert budget.may_send("one", A).permission is STOP
    assert (
        budget.describe_stop() + " " + budget.describe_missing([(A, None), (A, None)])
        == "The key was refused. 2 items are not paid for: they would cost 40 credits."
    )


def test_nothing_is_said_where_nothing_is_left():
    """A batch that has paid for everything has only its sum to report."""
    assert Budget(None).describe_stop() == ""
    assert Budget(10, spent=10).describe_stop() == (
        "Of max_credits=10, 10 credits of this task are spent and 0 reserved for jobs under way."
    )


def test_a_lost_response_counts_its_estimate():
    """Where it was expected to cost something, that is spent, and more where a job like it is charged more."""
    budget = Budget(100)
    budget.sent("one", A, 10)
    budget.lost("one")
    assert (budget.spent, budget.is_known) == (10, True)
    pay(budget, "two", 30)
    assert (budget.spent, budget.reserved) == (30, 30)
    budget.lost_before(B, 40)
    assert budget.may_send("three", A).permission is WAIT
    budget.settled("two", 0)
    assert budget.may_send("three", A).permission is SEND
    budget.lost_before(UNKNOWN, None)
    assert budget.may_send("four", A).permission is STOP


def test_what_is_missing_is_estimated():
    """Where no job of the batch says what an item costs, its estimate does, and that it is one is said."""
    budget = Budget(40)
    pay(budget, "one", 20)
    assert budget.describe_missing([(A, None)]) == "1 item is not paid for: it would cost 20 credits."
    assert budget.describe_missing([(A, None), (B, 5)]) == (
        "2 items are not paid for: they would cost about 25 credits. max_credits=45 is enough for all, by the estimate."
    )
    assert budget.describe_missing([(A, 7), (B, 5), (UNKNOWN, None)]) == (
        "3 items are not paid for: they would cost about 25 credits, and 1 of them has a price that nobody knows."
    )


class AnyOrder(RuleBasedStateMachine):
    """Responses and ends in any order, beside the rule in its own words: a list of events that is summed up each time.

    Each item has a priced field, and a service of its own mind charges for it, settles it, refunds it, or is silent.
    """

    def __init__(self) -> None:
        super().__init__()
        self.limit = 0
        self.budget = Budget(None)
        self.prices: dict[str, int] = {}
        self.known: dict[str | None, int] = {}
        self.sent: dict[str, PricedFields] = {}
        self.accepted: dict[str, PricedFields] = {}
        self.held: dict[str, int | None] = {}
        self.spent = self.earlier = 0
        self.count = 0
        self.has_taken_more = False
        self.bill: dict[str, int] = {}
        """What the service has charged, in truth, by item."""
        self.surprise = 0
        """Credits that nobody could know of: a first price, and what was taken beyond what was said."""
        self.is_started = False

    @precondition(lambda self: not self.is_started)
    @rule(
        limit=st.integers(0, 30),
        spent=st.integers(0, 10),
        prices=st.lists(st.integers(0, 6), min_size=3, max_size=3),
    )
    def start(self, limit: int, spent: int, prices: list[int]) -> None:
        """Begin with a limit, and with what earlier tries have spent."""
        self.is_started = True
        self.limit, self.spent, self.earlier, self.prices = limit, spent, spent, dict(zip("abc", prices, strict=True))
        self.budget = Budget(limit, spent=spent)

    @precondition(lambda self: self.is_started)
    @rule(field=st.sampled_from(["a", "b", "c", None]))
    def submit(self, field: str | None) -> None:
        """Ask for the next item, and send it if it may be."""
        key, priced = f"item{self.count}", PricedFields(field)
        self.count += 1
        decision = self.budget.may_send(key, priced)
        price = self.known.get(field)
        assert decision.price == price
        if decision.permission is not SEND:
            assert decision.reason
            return
        assert not self.has_taken_more
        assert None not in self.held.values()
        total = self.spent + sum(held or 0 for held in self.held.values())
        assert total + price <= self.limit if price is not None else total < self.limit
        self.budget.sent(key, priced)
        self.sent[key] = priced
        self.held[key] = price

    @precondition(lambda self: self.is_started)
    @rule(field=st.sampled_from(["a", "b", "c", None]), credits=st.integers(0, 9))
    def learn(self, field: str | None, credits: int) -> None:
        """Another run of the batch has paid for a job: it cost nothing here, and says what the next one may cost."""
        self.budget.learn(PricedFields(field), credits)
        if field is not None:
            self.known[field] = max(credits, self.known.get(field, 0))

    @precondition(lambda self: self.is_started)
    @rule(field=st.sampled_from(["a", "b", "c", None]), credits=st.sampled_from([2, 4, 6, None]))
    def resume(self, field: str | None, credits: int | None) -> None:
        """A job that an earlier try has submitted is found under way."""
        key = f"item{self.count}"
        self.count += 1
        self.budget.resume(key, PricedFields(field), credits)
        if field is not None and credits is not None:
            self.known[field] = max(credits, self.known.get(field, 0))
        self.held[key] = self.known.get(field, credits)
        self.accepted[key] = PricedFields(field)
        self.bill[key] = credits or 4
        self.surprise += self.bill[key]

    @precondition(lambda self: self.sent)
    @rule(
        data=st.data(),
        more=st.sampled_from([0, 0, 0, 0, 0, 0, 2, -1]),
        speaks=st.sampled_from([True, True, True, False]),
    )
    def answer(self, data: st.DataObject, more: int, speaks: bool) -> None:
        """A submission is accepted; the response says what was charged, or nothing of it."""
        key = data.draw(st.sampled_from(sorted(self.sent)))
        priced = self.sent.pop(key)
        self.accepted[key] = priced
        field = priced.digest
        credits = max(0, self.prices.get(field or "", 4) + more)
        self.bill[key] = credits
        before = self.held[key]
        self.budget.charged(key, credits if speaks else None)
        if not speaks:
            self.surprise += credits if before is None else max(0, credits - before)
            return
        self.surprise += max(0, credits - (before or 0))
        self.has_taken_more |= before is not None and credits > before
        if field is not None:
            self.known[field] = max(credits, self.known.get(field, 0))
        self.held[key] = self.known[field] if field is not None else credits
        self.has_taken_more |= before is None and self.total > self.limit

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), is_lost=st.booleans())
    def refuse(self, data: st.DataObject, is_lost: bool) -> None:
        """A submission is refused, or its response is lost: then it may have been charged."""
        key = data.draw(st.sampled_from(sorted(self.sent)))
        priced = self.sent.pop(key)
        held = self.held.pop(key)
        if not is_lost:
            self.budget.withdrawn(key)
            return
        self.budget.lost(key)
        self.bill[key] = self.prices.get(priced.digest or "", 4)
        self.surprise += max(0, self.bill[key] - (held or 0))
        self.spent += held or 0
        self.has_taken_more |= held is None

    @precondition(lambda self: self.accepted)
    @rule(
        data=st.data(),
        share=st.sampled_from([1.0, 1.0, 1.0, 1.0, 0.0, 0.5, 1.5]),
        speaks=st.sampled_from([True] * 5 + [False]),
    )
    def settle(self, data: st.DataObject, share: float, speaks: bool) -> None:
        """A job ends: at its price, refunded, lower or higher; or nothing says at what."""
        key = data.draw(st.sampled_from(sorted(self.accepted)))
        field = self.accepted.pop(key).digest
        held = self.held.pop(key)
        charged = self.bill[key]
        self.bill[key] = int(charged * share)
        self.surprise += max(0, self.bill[key] - charged)
        self.budget.settled(key, self.bill[key] if speaks else None)
        if not speaks:
            self.spent += held or 0
            self.has_taken_more |= held is None
            return
        self.spent += self.bill[key]
        self.has_taken_more |= held is not None and self.bill[key] > held
        if field is not None and self.bill[key]:
            self.known[field] = max(self.bill[key], self.known.get(field, 0))
        self.has_taken_more |= held is None and self.total > self.limit

    @property
    def total(self) -> int:
        """Credits spent and held."""
        return self.spent + sum(held or 0 for held in self.held.values())

    @invariant()
    def sums_are_right(self) -> None:
        """What is spent and reserved is what the events say."""
        if self.is_started:
            assert self.budget.spent == self.spent
            assert self.budget.reserved == self.total - self.spent
            assert self.budget.excess == max(0, self.total - self.limit)

    @invariant()
    def only_surprises_pass_the_limit(self) -> None:
        """The service's own bill of what was sent here passes the limit by nothing that anybody could know before."""
        if self.is_started:
            assert self.earlier + sum(self.bill.values()) <= max(self.limit, self.earlier) + self.surprise

    @invariant()
    def it_stops_at_once(self) -> None:
        """From the moment on in which the service takes more than it said, nothing may be sent."""
        if self.has_taken_more:
            for field in ("a", "b", "c", None):
                decision = self.budget.may_send("next", PricedFields(field))
                assert decision.permission is STOP
                assert decision.reason == self.budget.stop_reason
                assert self.budget.describe_stop().startswith(decision.reason)


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=EXAMPLES, stateful_step_count=60, deadline=None)
