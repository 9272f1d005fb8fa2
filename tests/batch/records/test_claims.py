"""Claims, in storage that refuses no taken name: one worker at most finds its own alone, and a dead one's is passed."""

from __future__ import annotations

import itertools
from functools import partial

import pytest

from helpers.turns import TurnsStorage, Worker, take_turns
from magic_hour_provider.batch.records.declaration.claims import TakenError, claim_number
from magic_hour_provider.batch.records.folder import RecordFolder
from magic_hour_provider.batch.records.names import StepName

LOW, HIGH = "0" * 16, "f" * 16


def claim(winners: list[str], nonce: str) -> None:
    """Claim the first number of the item."""
    try:
        claim_number(RecordFolder("/out"), StepName("a", 1, "claim", nonce=nonce))
    except TakenError:
        return
    winners.append(nonce)


@pytest.mark.parametrize("nonces", [(LOW, HIGH), (HIGH, LOW)])
def test_of_two_claims_one_is_alone(nonces):
    """Wherever they meet. None is only where one was so slow that the other one passed it over."""
    alone = 0
    for i, j in itertools.product(range(1, 8), repeat=2):
        winners: list[str] = []
        with TurnsStorage(False).patched():
            workers = [Worker(partial(claim, winners, nonce)) for nonce in nonces]
            take_turns(workers, [0] * i + [1] * j + [0] * 200)
        assert len(winners) <= 1
        alone += len(winners)
    assert alone > 20


@pytest.mark.parametrize("nonces", [(LOW, HIGH), (HIGH, LOW)])
def test_the_claim_of_a_killed_worker_is_passed_over(nonces):
    """The number is void, and whoever asks for it later is refused at once."""
    storage, winners = TurnsStorage(False), []
    with storage.patched():
        dead = Worker(lambda: claim(winners, nonces[0]), {1: "dies"})
        take_turns([dead, Worker(lambda: claim(winners, nonces[1]))], [0] * 10)
        late = Worker(lambda: claim(winners, "7" * 16))
        take_turns([late], [])
    assert winners == []
    assert sorted(name.split("!")[2] for name in storage.files) == ["claim", "void"]
    assert late.calls == 4  # its claim, a listing in two turns, and the claim away


def test_a_number_that_is_declared_is_refused():
    """Whatever became of its claim."""
    storage, winners = TurnsStorage(False), []
    with storage.patched():
        RecordFolder("/out").write(StepName("a", 1, "intent", nonce=HIGH).path, b"")
        claim(winners, LOW)
        claim(winners, HIGH)  # its own, which an error has hidden
    assert winners == [HIGH]
