"""What a worker was writing when it was killed: the next one uses it, as it may be all that names a paid job."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from helpers.items import OWNER, done, failed, intent, job, owner
from magic_hour_provider.batch.records.names import parse_staged
from magic_hour_provider.batch.records.records import ItemRecords
from magic_hour_provider.batch.records.state import ItemState


class Killed(BaseException):
    """Stands for kill -9."""


WRITES = {
    "job": lambda records, declared: records.complete(declared, job("x", 7)),
    "withdrawn": lambda records, declared: records.withdraw(declared),
    "unknown": lambda records, declared: records.give_up("a", declared.number, declared.record),
    "failed": lambda records, declared: records.fail("a", declared.number, failed("x"), refunded=True),
    "done": lambda records, declared: records.deliver("a", declared.number, done("x", 7)),
}
STATUS = {"job": "job", "withdrawn": "new", "unknown": "unknown", "failed": "failed", "done": "done"}


def leave(path: Path, step: str, *, cut: int | None = None) -> ItemRecords:
    """Kill a worker between the file of a step and its name; return the records as the next one opens them."""
    records = ItemRecords.open(str(path), OWNER)
    declared = records.declare("a", ItemState(), intent())
    if step in ("failed", "done"):
        records.complete(declared, job("x", 7))

    def kill(*_) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "link", kill)
        patch.setattr(Path, "unlink", lambda *_, **__: None)  # a process that is killed removes nothing
        with pytest.raises(Killed):
            WRITES[step](records, declared)
    (staged,) = [
        path for path in path.rglob(".*.tmp") if "!" in path.name and parse_staged(f"{path.parent.name}/{path.name}")
    ]
    if cut is not None:
        staged.write_bytes(staged.read_bytes()[:cut])
    return ItemRecords.open(str(path), owner(2))


@pytest.mark.parametrize("step", WRITES)
def test_what_a_killed_worker_was_writing_is_used(tmp_path, step):
    """By whoever loads all, and by whoever waits for the item; once is enough."""
    records = leave(tmp_path / "one", step)
    assert records.load()["a"].status == STATUS[step]
    assert records.get("a") == records.load().get("a", ItemState())
    assert [one.name.step for one in records.read("a") if one.record is not None][-1] == step
    assert not records.finish_staged("a")
    other = leave(tmp_path / "other", step)
    assert other.finish_staged("a")
    assert other.get("a") == records.get("a")


@pytest.mark.parametrize("step", WRITES)
def test_a_file_that_was_half_written_when_its_worker_was_killed(tmp_path, step):
    """The id of a paid job is in its name; where the name says less than the file, the job is polled again."""
    state = leave(tmp_path, step, cut=40).load()["a"]
    assert state.status == {"failed": "job", "done": "job"}.get(step, STATUS[step])
    assert state.job_id == (None if step in ("withdrawn", "unknown") else "x")


def test_a_long_id_that_was_half_written(tmp_path):
    """Its name does not tell it: the item stays as it is, and the other items can be read."""
    records = ItemRecords.open(str(tmp_path), OWNER)
    declared = records.declare("a", ItemState(), intent())
    name = f".a!{declared.number}!job!_!5!{OWNER.digest}!1800000000!.0123abcd.tmp"
    next(tmp_path.rglob("a!1!intent")).with_name(name).write_bytes(b"{")
    assert records.load()["a"].status == "intent"


def test_what_must_not_be_finished(tmp_path):
    """An intent that was never declared, and what is no record at all."""
    records = ItemRecords.open(str(tmp_path), OWNER)
    records.complete(records.declare("a", ItemState(), intent()), job("x"))
    folder = next(tmp_path.rglob("a!1!intent")).parent
    for name in (".a!2!intent.0123abcd.tmp", ".a!9!adopt!x!y.0123abcd.tmp", ".a!1!bill.0123abcd.tmp", ".a!1.tmp"):
        (folder / name).write_bytes(b"{}")
    assert records.load()["a"].last == 1
    assert not records.finish_staged("a")


def test_a_person_who_only_reads_writes_nothing(tmp_path):
    """The Media tab and the command line finish no file."""
    leave(tmp_path, "job")
    before = sorted(tmp_path.rglob("*"))
    assert ItemRecords.open(str(tmp_path)).load()["a"].status == "intent"
    assert sorted(tmp_path.rglob("*")) == before
