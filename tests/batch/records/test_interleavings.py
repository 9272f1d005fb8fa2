"""Workers that meet at any call to their storage: of each number of an item one at most has the intent."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.items import failed, intent, job, owner
from helpers.turns import TurnsStorage, Worker, take_turns
from magic_hour_provider.batch.records.declaration import declarer
from magic_hour_provider.batch.records.records import ItemRecords
from magic_hour_provider.batch.records.state import ItemState
from magic_hour_provider.ledger.instruction import Instruction
from magic_hour_provider.ledger.record import RecordError

EXAMPLES = int(os.environ.get("MAGIC_HOUR_EXAMPLES", "300"))
KEY = "sku-1"
ANSWERS = ("paid", "refused", "lost")
FAULTS = ("fails", "fails late", "dies", "dies late")


@dataclass
class Magic:
    """What the service was asked for, and by whom."""

    sent: list[tuple[int, int]] = field(default_factory=list)
    """The number of each intent whose request was sent, and the worker that sent it."""
    made: list[str] = field(default_factory=list)
    """The ids of the jobs that were made."""
    answers: list[str] = field(default_factory=list)

    def send(self, number: int, worker: int) -> str:
        """Take a request; return what becomes of it."""
        self.sent.append((number, worker))
        answer = self.answers.pop(0) if self.answers else "paid"
        if answer != "refused":
            self.made.append(f"job-{number}-{worker}")
        return answer


def work(records: ItemRecords, magic: Magic, worker: int) -> None:
    """Do what the engine does for one item, a few times over: read its state, declare, pay, record."""
    for _ in range(6):
        try:
            state = records.get(KEY)
            if state.status == "intent":
                if (unsent := records.find_open_intent(KEY, state.number, 60.0).unsent) is not None:
                    records.withdraw(unsent)
                continue
            if state.status not in ("new", "failed") and not state.instructions:
                return
            declared = records.declare(KEY, state, intent())
        except RecordError:
            continue
        answer = magic.send(declared.number, worker)
        if answer == "refused":
            records.withdraw(declared)
        elif answer == "paid":
            for _ in range(3):
                try:
                    records.complete(declared, job(magic.made[-1]))
                except RecordError:
                    continue
                return
            return
        else:
            return


@dataclass
class End:
    """What came of it."""

    magic: Magic
    workers: list[Worker]
    state: ItemState

    @property
    def recorded(self) -> str | None:
        """The id of the job that counts."""
        return self.state.job_id


def meet(
    believes: Sequence[bool],
    order: Sequence[int],
    *,
    before: str = "nothing",
    answers: Sequence[str] = (),
    faults: dict[int, dict[int, str]] | None = None,
) -> End:
    """Let workers meet at one item, and make sure that no number of it has two owners.

    :param believes: for each worker, whether it takes the storage for one that refuses a taken name. It does if any
        of them believes that.
    :param order: whose turn it is; after it they end one after the other.
    """
    storage, magic = TurnsStorage(True), Magic(answers=list(answers))
    nonces = (hashlib.sha256(str(number).encode()).hexdigest()[:16] for number in itertools.count())
    with storage.patched(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(declarer, "secrets", SimpleNamespace(token_hex=lambda _: next(nonces)))
        storage.is_exclusive = all(believes)
        first = ItemRecords.open("/out", owner(0))
        first.prove()
        shared = []
        for number, storage.is_exclusive in enumerate(believes):
            shared.append(ItemRecords.open("/out", owner(number + 1)))
            shared[-1].prove()
        storage.is_exclusive = any(believes)
        prepare(first, before)
        workers = [
            Worker(partial(work, records, magic, number), (faults or {}).get(number))
            for number, records in enumerate(shared)
        ]
        take_turns(workers, order)
        owners = Counter(number for number, _ in magic.sent)
        assert max(owners.values(), default=0) <= 1
        return End(magic, workers, first.get(KEY))


def prepare(records: ItemRecords, before: str) -> None:
    """Write what was there before."""
    if before == "nothing":
        return
    declared = records.declare(KEY, records.get(KEY), intent())
    if before == "a failed job":
        records.complete(declared, job("old"))
        records.fail(KEY, declared.number, failed("old"), refunded=True)
    else:
        records.give_up(KEY, declared.number, declared.record)
        records.instruct(KEY, records.get(KEY), Instruction("regenerate"))


BEFORE = ["nothing", "a failed job", "a regenerate request"]
BELIEFS = [(True, True), (False, False), (True, False), (False, True)]


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("believes", BELIEFS)
def test_two_workers_at_each_call(believes, before):
    """One stops before its call i while the other one comes to its call j; then the first goes to its end."""
    calls = meet(believes[:1], [0] * 200, before=before).workers[0].calls
    pays = 0
    for i, j in itertools.product(range(1, calls + 1), range(1, calls + 6)):
        end = meet(believes, [0] * i + [1] * j + [0] * 200, before=before)
        # Two that disagree on the storage may both step back.
        assert len(end.magic.made) == 1 or (believes[0] != believes[1] and not end.magic.made)
        assert end.recorded == (end.magic.made[0] if end.magic.made else "old" if before == "a failed job" else None)
        pays += len(end.magic.made)
    assert pays > 20


@pytest.mark.parametrize("how", FAULTS)
@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("is_exclusive", [True, False])
def test_each_call_fails(is_exclusive, before, how):
    """Each call of one worker fails in turn, or is its last; another one comes after it, or meets it before that."""
    for at in itertools.count():
        seen = []
        for order in ([0] * 200, [0, 1] * 200, [1] * 6 + [0] * 200):
            end = meet([is_exclusive] * 2, order, before=before, faults={0: {at: how}})
            seen.append(end.workers[0].calls > at)
            assert len(end.magic.made) <= 1
            if how.startswith("fails"):
                # Nobody was killed: it is paid for, and nothing is lost.
                assert end.recorded == end.magic.made[0]
            elif not end.magic.made:
                # Whoever was killed had its intent there, or another one would have paid.
                assert end.state.status == "intent"
        if not any(seen):
            break
    assert at > 4


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    believes=st.lists(st.booleans(), min_size=2, max_size=3),
    order=st.lists(st.integers(0, 2), max_size=120),
    before=st.sampled_from(BEFORE),
    answers=st.lists(st.sampled_from(ANSWERS), max_size=4),
    faults=st.dictionaries(
        st.integers(0, 1), st.dictionaries(st.integers(0, 25), st.sampled_from(FAULTS), max_size=2), max_size=2
    ),
)
def test_any_order_of_workers_answers_and_faults(believes, order, before, answers, faults):
    """Whatever happens: at most one owner of a number, and one job of an item, which is recorded if anybody can."""
    end = meet(believes, order, before=before, answers=answers, faults=faults)
    assert len(end.magic.made) <= 1
    if end.magic.made and "lost" not in answers and not faults:
        assert end.recorded == end.magic.made[0]
