"""Workers of a batch in processes of their own, on one file system and in real time."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from helpers import batch_process
from helpers.batches import results
from helpers.processes import ModuleProcess
from helpers.samples import KEY
from helpers.waiting import until
from magic_hour_provider.simulator import Simulator

pytestmark = pytest.mark.long

ROWS, SENT_AT_ONCE, SETTLES_S = 30, 4, 20.0


@pytest.fixture
def sim():
    """A simulator in whose time a minute passes in a second."""
    with Simulator(speed=60, api_key=KEY) as one:
        yield one


@pytest.fixture
def start(sim, tmp_path):
    """Starts the worker of a run; what is left of it at the end is killed."""
    connection = {"conn_type": "magic_hour", "password": KEY, "host": sim.url}
    environment = {"AIRFLOW_CONN_MAGIC_HOUR_DEFAULT": json.dumps(connection)}
    with ExitStack() as stack:

        def start(run: int, settles_s: float = 0) -> ModuleProcess:
            return stack.enter_context(batch_process.start(tmp_path, ROWS, run, environment, settles_s=settles_s))

        yield start


def test_two_runs_at_once(sim, start: Callable, tmp_path: Path):
    """Each item is made by one of them, both end with the same rows, and each pays for what it has made."""
    workers = [start(run) for run in (1, 2)]
    (tmp_path / "go").touch()
    made = [worker.read_result() for worker in workers]
    assert sim.stats()["creates"]["accepted"] == ROWS
    assert [(one["complete"], one["unknown"]) for one in made] == [(ROWS, 0)] * 2
    assert sum(one["credits_charged"] for one in made) == sum(job["credits_charged"] for job in sim.jobs())
    assert results(made[0]) == results(made[1])
    assert len(list((tmp_path / "out").glob("*.png"))) == ROWS


def test_one_of_two_is_killed(sim, start: Callable, tmp_path: Path):
    """The other one finishes all, but for what the dead one was sending: that is unknown and paid for by nobody."""
    # A killed process writes no record later. The minutes in which a frozen one could are another test's.
    dead, alive = start(1), start(2, SETTLES_S)
    (tmp_path / "go").touch()
    until(lambda: sim.stats()["creates"]["accepted"] >= ROWS // 3, 300)
    dead.send_signal(signal.SIGKILL)
    made = alive.read_result()
    jobs = sim.jobs()
    assert sim.stats()["creates"]["accepted"] == len({job["name"].split()[0] for job in jobs}) <= ROWS
    assert made["complete"] + made["unknown"] == ROWS
    assert made["unknown"] <= SENT_AT_ONCE
    found = results(made).values()
    known = {row["id"] for row in found if row["status"] == "complete"}
    tags = {row["tag"] for row in found if row["status"] == "unknown"}
    assert all(job["id"] in known or job["name"].rpartition("#")[2] in tags for job in jobs)
