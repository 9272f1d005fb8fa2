"""Workers of a batch that die at any step of an item: nothing is paid for twice, and no recorded job is lost."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import AirflowException

from helpers.attempts import TaskInstance
from helpers.batches import Batches, rows
from helpers.places import CLOUDS
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.batch.jobs import collector
from magic_hour_provider.batch.records.intent import ItemIntent
from magic_hour_provider.batch.records.records import ItemRecords
from magic_hour_provider.batch.run import attempt as run
from magic_hour_provider.batch.run.results import read_results
from magic_hour_provider.storage.paths import open_path

ITEMS = 4


class Killed(BaseException):
    """Stands for kill -9: nothing of ours catches it."""


class Death:
    """Kills a process as a function is called for the second time: from then on no thread of it does anything.

    :param steps: of an item: what no thread comes through once the process is dead.
    """

    steps = (
        (ItemIntent, "write"),
        (MagicHourClient, "create"),
        (ItemIntent, "complete"),
        (ItemIntent, "withdraw"),
        (MagicHourClient, "get_job"),
        (MagicHourClient, "download"),
        (collector, "store_outputs"),
        (ItemRecords, "deliver"),
        (ItemRecords, "give_up"),
        (run, "write_results"),
    )

    def __init__(self, patch: pytest.MonkeyPatch, at: str, when: int, *, after: bool = False) -> None:
        self.is_dead, self._at, self._when, self._after = False, at, when, after
        self._calls, self._lock = 0, threading.Lock()
        self.recorded: set[str] = set()
        """The ids of jobs of which the record was written."""
        for owner, name in self.steps:
            patch.setattr(owner, name, self._wrap(name, getattr(owner, name)))

    def _wrap(self, name, real):
        def call(*arguments, **options):
            self._check(name if not self._after else "")
            result = real(*arguments, **options)
            if name == "complete":
                self.recorded.add(result.job_id)
            self._check(name if self._after else "")
            return result

        return call

    def _check(self, name: str) -> None:
        with self._lock:
            if name == self._at:
                self._calls += 1
                self.is_dead |= self._calls == self._when
            if self.is_dead:
                raise Killed


# Where it dies, and whether after that step.
STEPS = {
    "before the intent": ("write", False),
    "after the intent": ("write", True),
    "before the request": ("create", False),
    "after it was accepted": ("create", True),
    "after the answer": ("complete", False),
    "after the record": ("complete", True),
    "at a poll": ("get_job", True),
    "during a download": ("download", False),
    "after a download": ("download", True),
    "after storing": ("store_outputs", True),
    "before done": ("deliver", False),
    "after done": ("deliver", True),
    "before the results": ("write_results", False),
    "after the results": ("write_results", True),
}


@pytest.mark.parametrize(("when", "again"), [(1, "a retry"), (3, "another run")])
@pytest.mark.parametrize("step", STEPS)
def test_a_worker_that_dies(batches, step, when, again):
    """The attempt after it pays for what was never sent, and finishes all whose answer was read."""
    dies(batches, step, when, again)


@pytest.mark.long
@pytest.mark.parametrize("storage", ["memory", "s3", *CLOUDS])
@pytest.mark.parametrize("step", STEPS)
def test_a_worker_that_dies_in_each_storage(batches, request, storage, step):
    """The same where records are objects, and where a taken name is not refused."""
    batches.use(storage, request)
    dies(batches, step, 2, "a retry")


@pytest.mark.parametrize(
    ("storage", "step"),
    [("memory", "after it was accepted"), ("s3", "before done"), ("s3 without conditions", "after the answer")],
)
def test_a_worker_that_dies_elsewhere(batches, request, storage, step):
    """Some of the same, for every change."""
    batches.use(storage, request)
    dies(batches, step, 1, "a retry")


def dies(batches: Batches, step: str, when: int, again: str) -> None:
    """Let a worker die at a step, and see what the attempt after it does."""
    at, after = STEPS[step]
    ti = TaskInstance("campaign")
    operator = batches.operator(rows(ITEMS, image_count=2), item_id="sku")
    with pytest.MonkeyPatch.context() as patch:
        death = Death(patch, at, 1 if at == "write_results" else when, after=after)
        with pytest.raises(Killed):
            batches.attempt(operator, ti)
    assert death.is_dead
    made = {job["id"] for job in batches.airflow.sim.jobs()}
    if again == "another run":
        ti = TaskInstance("campaign")
        ti.run_id = "manual__2"
    began = batches.airflow.sim.now()
    try:
        batches.attempt(operator, ti)
    except AirflowException as error:
        assert "unknown" in str(error)
    assert batches.airflow.sim.now() - began < 3600
    found = list(read_results(ti.xcoms["magic_hour_batch"]))
    unknown = [row for row in found if row["status"] == "unknown"]
    complete = [row for row in found if row["status"] == "complete"]
    assert len(complete) + len(unknown) == ITEMS
    assert batches.creates() <= ITEMS
    # Lost at the most are those that were being sent as it died, by one thread each.
    assert death.recorded <= {row["id"] for row in complete}
    assert len(made - {row["id"] for row in complete}) <= len(unknown) <= ITEMS - len(death.recorded)
    if at not in ("write", "create", "complete", "get_job"):
        assert not unknown
    for row in complete:
        assert len(row["media"]) == 2
        for media in row["media"]:
            whole = open_path(media["uri"]).read_bytes()
            assert hashlib.sha256(whole).hexdigest() == media["sha256"]
    # One file of each name, and nothing half: what is left over is removed or has another name.
    assert len([path for path in open_path(batches.folder).iterdir() if path.suffix == ".png"]) == 2 * len(complete)
    creates = batches.creates()
    try:
        batches.attempt(operator, ti)
    except AirflowException:
        assert unknown
    assert batches.creates() == creates


@pytest.mark.parametrize("step", ["job", "done"])
def test_a_worker_that_dies_while_it_writes_a_record(batches, step):
    """Between the file and its name: the id of the paid job is in a staging file, and the next attempt uses it."""
    ti, operator, real = TaskInstance("campaign"), batches.operator(rows(ITEMS), item_id="sku"), os.link
    dead = threading.Event()

    def link(source, target):
        if f"!{step}!" in str(target):
            dead.set()
        if dead.is_set():
            raise Killed
        real(source, target)

    with pytest.MonkeyPatch.context() as patch:
        Death(patch, "", 0)
        patch.setattr(os, "link", link)
        unlink = Path.unlink
        patch.setattr(Path, "unlink", lambda path, **more: None if dead.is_set() else unlink(path, **more))
        with pytest.raises((Killed, AirflowException)):
            batches.attempt(operator, ti)
    made = {job["id"] for job in batches.airflow.sim.jobs()}
    batches.attempt(operator, ti)
    found = list(read_results(ti.xcoms["magic_hour_batch"]))
    assert [row["status"] for row in found] == ["complete"] * ITEMS
    assert made <= {row["id"] for row in found}
    assert batches.creates() == ITEMS
