"""An item's records on each kind of storage: declared by one, completed, given up, adopted, and read back."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from helpers.clocks import MovableTime
from helpers.items import OWNER, done, failed, intent, job, owner
from helpers.waiting import HANG_S
from magic_hour_provider import clock
from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.batch.records import folder
from magic_hour_provider.batch.records.content import digest_fingerprint
from magic_hour_provider.batch.records.declaration.claims import TakenError
from magic_hour_provider.batch.records.records import ItemRecords
from magic_hour_provider.batch.records.state import ItemState, Spent
from magic_hour_provider.clock import SimulatedClock
from magic_hour_provider.ledger.instruction import Instruction
from magic_hour_provider.ledger.record import RecordError


@pytest.fixture
def records(place) -> ItemRecords:
    """The records of one attempt."""
    return ItemRecords.open(place.uri, OWNER)


def steps(records: ItemRecords, key: str = "a") -> list[str]:
    """Name the steps of an item, but for claims."""
    return [f"{step.name.number} {step.name.step}" for step in records.read(key) if step.name.step != "claim"]


def lose(records: ItemRecords, key: str = "a") -> ItemState:
    """Leave an item whose response was lost."""
    declared = records.declare(key, records.get(key), intent())
    records.give_up(key, declared.number, declared.record)
    return records.get(key)


def test_the_good_case(records):
    """Three files, four where claims are needed; the state and the sum are the same from a listing alone."""
    declared = records.declare("a", ItemState(), intent())
    assert records.get("a") == ItemState("intent", 1, 1)
    records.complete(declared, job("x", 5))
    digest = digest_fingerprint(intent().fingerprint)
    paid = ItemState("job", 1, 1, "x", 5, OWNER.digest, 1_800_000_000, digest)
    assert records.get("a") == paid
    records.deliver("a", 1, done("x", 4))
    states = ItemRecords.open(records.folder.uri.rpartition("/")[0], OWNER).load()
    assert {key: (one.status, one.job_id, one.credits) for key, one in states.items()} == {"a": ("done", "x", 4)}
    assert len(records.folder.list_all()) == (3 if records.prove().is_exclusive else 4)
    found = {step.name.step: step for step in records.read("a")}
    assert found["job"].record.job_id == "x"
    assert found["done"].record.files == done("x").files
    assert found["intent"].owner == OWNER
    assert found["intent"].record.written_at
    assert records.load() == states
    assert records.spent(OWNER) == records.spent(owner(1, try_number=7)) == Spent(4, 1, 0)
    assert records.spent(owner(2)) == Spent()


def test_loading_reads_no_file(records, monkeypatch):
    """But for an id that is too long for a name."""
    records.complete(records.declare("a", ItemState(), intent()), job("x"))
    records.complete(records.declare("b", ItemState(), intent()), job("y" * 100))
    read = []
    real = folder.read_file
    monkeypatch.setattr(folder, "read_file", lambda path: read.append(path.name) or real(path))
    assert {key: one.job_id for key, one in records.load().items()} == {"a": "x", "b": "y" * 100}
    assert [name.split("!")[0] for name in read] == ["b"]
    assert records.read("b")[-1].record.job_id == "y" * 100


def test_of_many_workers_one_declares(place):
    """All at the same moment, each with its own view of the storage, for ten items."""
    workers, barrier = 6, threading.Barrier(6)
    for number in range(10):
        key, owners = f"sku-{number}", []

        def declare(worker: int, key: str = key, owners: list[int] = owners) -> None:
            records = ItemRecords.open(place.uri, owner(worker))
            records.prove()
            state = records.get(key)
            barrier.wait(HANG_S)
            try:
                records.declare(key, state, intent())
            except TakenError:
                return
            owners.append(worker)

        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(declare, range(workers)))
        state = ItemRecords.open(place.uri).get(key)
        assert len(owners) <= 1
        # Where claims are needed all may step back, once.
        assert owners or (place.taken != "refused" and state.status == "new")
        assert state.status == ("intent" if owners else "new")


def test_a_refused_request_counts_for_nothing(records):
    """The next intent has the next number, and what was before counts again."""
    first = records.declare("a", ItemState(), intent())
    records.complete(first, job("x"))
    records.fail("a", 1, failed("x"), refunded=True)
    before = records.get("a")
    assert records.withdraw(records.declare("a", before, intent()), "HTTP 429")
    after = records.get("a")
    assert (after.status, after.number, after.last) == ("failed", 1, 2)
    with pytest.raises(TakenError):
        records.declare("a", before, intent())
    declared = records.declare("a", after, intent())
    assert declared.number == 3
    assert [step.note for step in records.read("a") if step.name.step == "withdrawn"] == ["HTTP 429"]


def test_a_state_that_has_changed_is_not_paid_over(records):
    """The job of a lost response is recorded while another worker is about to pay for a new one."""
    late = records.declare("a", ItemState(), intent())
    records.give_up("a", 1, late.record)
    seen = records.get("a")
    records.complete(late, job("x"))
    with pytest.raises(TakenError, match="changed meanwhile"):
        records.declare("a", seen, intent())
    now = records.get("a")
    assert (now.status, now.number, now.job_id) == ("job", 1, "x")


def test_an_item_under_way_is_no_reason_to_declare(records):
    """Whoever wants to has not asked for its state."""
    records.declare("a", ItemState(), intent())
    with pytest.raises(ValueError, match="under way"):
        records.declare("a", records.get("a"), intent())
    with pytest.raises(TakenError):
        records.declare("a", ItemState(), intent())


def test_a_rejected_request_is_kept_as_failed(records):
    """There is no job, and nothing was charged."""
    declared = records.declare("a", ItemState(), intent())
    records.withdraw(declared)
    records.fail("a", declared.number, failed(None, retryable=False), refunded=True)
    assert records.get("a") == ItemState("failed", 1, 1, refunded=True)
    assert records.load()["a"].status == "failed"
    assert records.spent(OWNER) == Spent()


def test_two_jobs_of_one_intent(records):
    """Both are named, both were paid for, and a person can say which one is meant."""
    declared = records.declare("a", ItemState(), intent())
    records.complete(declared, job("x"))
    records.complete(declared, job("y"))
    state = records.load()["a"]
    assert (state.status, state.conflicting) == ("conflict", ("x", "y"))
    assert records.spent(OWNER) == Spent(10, 2, 0)
    records.instruct("a", state, Instruction("adopt", "y"))
    records.adopt("a", records.get("a"), job("y"))
    assert (records.get("a").status, records.get("a").job_id) == ("job", "y")
    records.load()
    assert records.spent(OWNER) == Spent(10, 2, 0)


# -- what persons ask for ----------------------------------------------------------------------------------------------


def test_a_new_job_in_the_place_of_a_lost_one(records):
    """Asked for once, made once; the intent names what it does."""
    state = lose(records)
    records.instruct("a", state, Instruction("regenerate", replaces="#AAAAAAAA"))
    asked = records.get("a")
    assert asked.instruction == Instruction("regenerate")
    with pytest.raises(TakenError, match="changed"):
        records.declare("a", state, intent())  # decided before the person had asked
    declared = records.declare("a", records.get("a"), intent("BBBBBBBB"))
    written = next(
        step for step in records.read("a") if (step.name.number, step.name.step) == (declared.number, "intent")
    )
    assert written.instruction is True
    assert records.get("a").instruction is None
    records.complete(declared, job("x"))
    records.fail("a", declared.number, failed("x"), refunded=True)
    assert records.get("a").instruction is None


def test_a_regenerate_request_outlives_a_refusal(records):
    """As an intent that is withdrawn consumes nothing."""
    records.instruct("a", lose(records), Instruction("regenerate"))
    records.withdraw(records.declare("a", records.get("a"), intent()))
    assert records.get("a").instruction == Instruction("regenerate")


def test_an_instruction_for_another_record_is_void(records):
    """The lost job was recorded after all; and what is asked for now must be for what is there now."""
    declared = records.declare("a", ItemState(), intent())
    records.give_up("a", 1, declared.record)
    seen = records.get("a")
    records.instruct("a", seen, Instruction("regenerate"))
    records.complete(declared, job("x"))
    assert records.get("a").instruction is None
    with pytest.raises(TakenError, match="since it was read"):
        records.instruct("a", seen, Instruction("regenerate"))
    records.instruct("a", records.get("a"), Instruction("regenerate"))
    assert records.get("a").instruction == Instruction("regenerate", None, "x")


def test_the_last_instruction_counts(records):
    """It takes the place of those before; an address is as good as an id, and nonsense is refused."""
    state = lose(records)
    for instruction in (
        Instruction("regenerate"),
        Instruction("adopt", "y"),
        Instruction("adopt", "https://magichour.ai/my-library?imageId=z"),
    ):
        records.instruct("a", state, instruction)
    assert records.get("a").instructions == (Instruction("adopt", "z"),)
    with pytest.raises(InvalidInputError):
        records.instruct("a", state, Instruction("adopt", "../z"))


def test_adopting_the_job_of_a_lost_response(records):
    """The task instance that lost it has paid for it; another one's job costs nobody anything."""
    other = ItemRecords.open(records.folder.uri.rpartition("/")[0], owner(2))
    records.instruct("a", lose(records), Instruction("adopt", "x"))
    other.adopt("a", other.get("a"), job("x", 5))
    assert steps(other) == ["1 intent", "1 unknown", "1 adopt", "2 intent", "2 job"]
    other.adopt("b", ItemState(), job("handmade", 9))
    states = other.load()
    assert [(one.status, one.job_id, one.instruction) for one in states.values()] == [
        *([("job", "x", None), ("job", "handmade", None)] if list(states) == ["a", "b"] else []),
        *([("job", "handmade", None), ("job", "x", None)] if list(states) == ["b", "a"] else []),
    ]
    assert other.spent(OWNER) == Spent(5, 1, 0)
    assert other.spent(owner(2)) == Spent()


def test_a_worker_that_dies_while_it_adopts(records, monkeypatch):
    """Nothing was sent: whoever comes next completes it."""
    records.instruct("a", lose(records), Instruction("adopt", "x"))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):

        def die(*_):
            raise KeyboardInterrupt

        patch.setattr(ItemRecords, "_write_job", die)
        records.adopt("a", records.get("a"), job("x"))
    other = ItemRecords.open(records.folder.uri.rpartition("/")[0], owner(2))
    state = other.get("a")
    assert state.status == "intent"
    left = other.find_open_intent("a", state.number, 60.0)
    assert left.adopts == "x"
    other.finish_adoption(left, job("x"))
    assert (other.get("a").status, other.get("a").job_id, other.get("a").owner) == ("job", "x", OWNER.digest)


# -- intents of others -------------------------------------------------------------------------------------------------


def test_how_long_an_intent_may_be_alive(place):
    """An earlier try's is waited for as long as its request and its record may take; another run's for longer."""
    time = MovableTime()
    with clock.override(SimulatedClock(time)):
        first = ItemRecords.open(place.uri, OWNER)
        first.declare("a", ItemState(), intent())
        readers = {
            "the next try": owner(1, try_number=2),
            "another run": owner(2),
            "the same try": OWNER,
        }
        found = {}
        for name, reader in readers.items():
            records = ItemRecords.open(place.uri, reader)
            left = records.find_open_intent("a", 1, 60.0)
            assert left.step.owner == OWNER
            assert left.unsent is None
            found[name] = left.settles_in
            time.advance(left.settles_in)
            assert records.find_open_intent("a", 1, 60.0).settles_in == pytest.approx(0, abs=1)
            time.advance(-left.settles_in)
    assert found == pytest.approx({"the next try": 240, "another run": 630, "the same try": 630}, abs=2)


def test_the_age_of_an_intent_by_the_storages_clock(place):
    """Whatever the reader's own clock says."""
    ItemRecords.open(place.uri, OWNER).declare("a", ItemState(), intent())
    with clock.override(SimulatedClock(MovableTime(lambda: 5_000_000_000.0))):
        records = ItemRecords.open(place.uri, owner(2))
        assert records.find_open_intent("a", 1, 60.0).age > 1e9
        records.prove()
        assert 0 <= records.find_open_intent("a", 1, 60.0).age < 600


def test_an_intent_of_a_clock_that_is_ahead(place):
    """It is no younger than it has been known."""
    time = MovableTime()
    with clock.override(SimulatedClock(time)):
        first = ItemRecords.open(place.uri, OWNER)
        first.prove()
        time.advance(10_000)
        first.declare("a", ItemState(), intent())
        time.advance(-10_000)
        records = ItemRecords.open(place.uri, owner(2))
        assert records.find_open_intent("a", 1, 60.0).age == pytest.approx(0, abs=1)
        time.advance(300)
        assert records.find_open_intent("a", 1, 60.0).age == pytest.approx(300, abs=1)


def test_an_intent_that_a_failure_has_hidden(place, monkeypatch):
    """It was written although an error came: the worker that knows that it sent nothing declares it after all."""
    records = ItemRecords.open(place.uri, OWNER)
    records.prove()

    def late(real):
        def write(path, data):
            real(path, data)
            if "!intent" in path.name:
                raise OSError("away")

        return write

    with monkeypatch.context() as patch:
        for name in ("create_file", "replace_file"):
            patch.setattr(folder, name, late(getattr(folder, name)))
        with pytest.raises(RecordError, match="cannot be written now"):
            records.declare("a", ItemState(), intent())
    assert ItemRecords.open(place.uri, owner(2)).find_open_intent("a", 1, 60.0).unsent is None
    assert records.find_open_intent("a", 1, 60.0).unsent is not None
    assert records.declare("a", ItemState(), intent()).number == 1
    assert records.find_open_intent("a", 1, 60.0).unsent is None


def test_an_intent_that_could_not_be_withdrawn(place, monkeypatch):
    """The worker that wrote it may withdraw it later; it is used for nothing more."""
    records = ItemRecords.open(place.uri, OWNER)
    declared = records.declare("a", ItemState(), intent())

    def away(*_):
        raise OSError("away")

    with monkeypatch.context() as patch, clock.override(SimulatedClock(MovableTime())):
        for name in ("create_file", "replace_file"):
            patch.setattr(folder, name, away)
        assert not records.withdraw(declared)
    with pytest.raises(TakenError):
        records.declare("a", ItemState(), intent())
    unsent = records.find_open_intent("a", 1, 60.0).unsent
    assert records.withdraw(unsent)
    assert records.get("a") == ItemState(last=1)


def test_a_file_that_was_half_written(tmp_path):
    """On a disk without hard links a kill leaves half of it: its name counts, and its owner is waited for."""
    records = ItemRecords.open(str(tmp_path), OWNER)
    records.complete(records.declare("a", ItemState(), intent()), job("x"))
    records.declare("b", ItemState(), intent())
    for path in Path(records.folder.uri).rglob("*!*"):
        path.write_bytes(path.read_bytes()[:30])
    assert {key: one.status for key, one in records.load().items()} == {"a": "job", "b": "intent"}
    assert [(step.record, step.owner) for step in records.read("a")] == [(None, None)] * 2
    left = records.find_open_intent("b", 1, 60.0)
    assert left.settles_in == pytest.approx(630, abs=60)
    records.give_up("b", 1, left.step.record)
    assert records.get("b").status == "unknown"


def test_a_staging_file_of_a_killed_writer_is_no_record(tmp_path):
    """Nor does it keep anybody from declaring."""
    records = ItemRecords.open(str(tmp_path), OWNER)
    records.withdraw(records.declare("a", ItemState(), intent()))
    shard = next(path.parent for path in Path(records.folder.uri).rglob("*!*"))
    (shard / ".a!2!intent.01234567.tmp").write_text("{")
    assert records.load() == {"a": ItemState(last=1)}
    assert records.declare("a", ItemState(last=1), intent()).number == 2


def test_the_intent_is_sent_again_only_if_nothing_was_recorded_since(records):
    """As after a 502 that made no job."""
    declared = records.declare("a", ItemState(), intent())
    records.check(declared)
    records.give_up("a", 1, declared.record)
    with pytest.raises(TakenError, match="'unknown'"):
        records.check(declared)


def test_a_reader_needs_no_task(place):
    """The Media tab reads the records without an attempt, and gives instructions."""
    lose(ItemRecords.open(place.uri, OWNER))
    reader = ItemRecords.open(place.uri)
    reader.instruct("a", reader.load()["a"], Instruction("regenerate"))
    assert reader.get("a").instruction == Instruction("regenerate")
    assert reader.read("a")[-1].owner is None
