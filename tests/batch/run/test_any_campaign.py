"""Whatever becomes of a campaign in whatever order, it pays for what its rows ask for and for nothing else."""

from __future__ import annotations

import itertools
import os

import pytest
from airflow.providers.common.compat.sdk import AirflowException
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from helpers.attempts import TaskInstance
from helpers.batches import Batches
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.batch.jobs import collector
from magic_hour_provider.batch.records.intent import ItemIntent
from magic_hour_provider.batch.run import attempt
from magic_hour_provider.batch.run.results import read_results

EXAMPLES = int(os.environ.get("MAGIC_HOUR_EXAMPLES", "12"))

# Where the process dies: no thread of it comes through this.
DEATHS = {
    "dies before the intents": (ItemIntent, "write"),
    "dies before the requests": (MagicHourClient, "create"),
    "dies before the records": (ItemIntent, "complete"),
    "dies before it stores": (collector, "store_outputs"),
    "dies before the results": (attempt, "write_results"),
}
FAULTS = {
    "loses a response": {"fault": "close-after-accept"},
    "is refused once": {"fault": "status", "status": 422},
    "meets a 429": {"fault": "status", "status": 429},
    "meets a job that fails": {"fault": "job-outcome", "status": "error", "code": "unknown_error"},
}
PERSON = ["edit", "reorder", "add", "remove", "clear", "another run"]
ROUNDS = st.lists(
    st.tuples(st.sets(st.sampled_from(PERSON), max_size=2), st.sampled_from(["ends", *DEATHS, *FAULTS])),
    min_size=2,
    max_size=5,
)
runs = itertools.count()


class Killed(BaseException):
    """Stands for kill -9: nothing of ours catches it."""


@example(rounds=[({"edit"}, "is refused once"), ({"edit"}, "ends")])
@example(rounds=[(set(), "loses a response"), ({"edit", "clear"}, "ends")])
@given(rounds=ROUNDS)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],  # a shorter sequence would take minutes to find
    derandomize="MAGIC_HOUR_EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_creates_are_what_was_asked_for(batches, rounds):
    """Creates = distinct requests asked for + failed jobs tried again, and the results have the order of the rows."""
    campaign = Campaign(batches)
    for person, how in rounds:
        campaign.live(person, how)
    campaign.end()


class Campaign:
    """One campaign through its rounds."""

    def __init__(self, batches: Batches) -> None:
        number = next(runs)
        self.airflow, self.batches = batches.airflow, batches
        batches.folder = str(batches.airflow.output / f"campaign_{number}")
        self.ti, self.runs, self.already = TaskInstance(f"campaign_{number}"), 1, len(batches.airflow.sim.jobs())
        self.rows = {"a": 0, "b": 0, "c": 0}
        """The version of each row's request, in the order of the rows."""
        self.story: list[str] = []

    def change(self, person: set[str]) -> bool:
        """Do what a person does, and return whether rows that have changed may be paid for again."""
        names = list(self.rows)
        if "edit" in person:
            self.rows[names[0]] += 1
        if "remove" in person and len(names) > 2:
            del self.rows[names[-1]]
        if "add" in person and len(names) < 4:
            self.rows[f"new-{len(self.story)}"] = 0
        if "reorder" in person:
            self.rows = dict(reversed(self.rows.items()))
        if "clear" in person:
            self.ti.clear()
        if "another run" in person:
            self.runs += 1
            self.ti = TaskInstance(self.ti.task_id)
            self.ti.run_id = f"manual__{self.runs}"
        return bool(person & {"clear", "another run"})

    def live(self, person: set[str], how: str) -> None:
        """Live through one round."""
        before = self.jobs()
        may_buy_again = self.change(person)
        with pytest.MonkeyPatch.context() as patch:
            if how in DEATHS:

                def die(*_, **__):
                    raise Killed

                patch.setattr(*DEATHS[how], die)
            elif how in FAULTS:
                self.airflow.sim.inject_fault(**FAULTS[how])
            self.attempt()
        self.airflow.sim.clear_faults()
        after = self.jobs()
        self.story.append(f"{sorted(person)}, {how} -> {self.rows}: {after}")
        for request, jobs in after.items():
            # One that is not known to have failed is the last one of its request.
            assert all(job == "error" for job in jobs[:-1]), self.story
            if not may_buy_again and request not in before:
                # On a retry nothing is bought in the place of something else that was.
                others = [other for other in before if other[0] == request[0]]
                assert all(set(before[other]) == {"error"} for other in others), self.story

    def attempt(self) -> None:
        """Run an attempt of the task, however it ends."""
        given = [
            {"sku": name, "name": f"{name}.{version}", "style": {"prompt": f"{name}, version {version}"}}
            for name, version in self.rows.items()
        ]
        try:
            self.batches.attempt(self.batches.operator(given, item_id="sku", task_id=self.ti.task_id), self.ti)
        except (AirflowException, Killed) as end:
            self.story.append(f"{type(end).__name__} {end}"[:200])

    def jobs(self) -> dict[tuple[str, str], list[str]]:
        """Return how the jobs that were made of each request have ended, in their order."""
        found: dict[tuple[str, str], list[str]] = {}
        for job in self.airflow.sim.jobs()[self.already :]:
            name, _, version = job["name"].split()[0].partition(".")
            found.setdefault((name, version), []).append(job["status"])
        return found

    def end(self) -> None:
        """Hold what has become of everything against what was asked for."""
        self.live({"another run"}, "ends")
        found = list(read_results(self.ti.xcoms["magic_hour_batch"]))
        assert [row["item_id"] for row in found] == list(self.rows), self.story
        jobs = self.jobs()
        for row in found:
            made = jobs.get((row["item_id"], str(self.rows[row["item_id"]])), [])
            assert row["status"] in ("complete", "unknown", "failed"), self.story
            if row["status"] == "complete":
                assert made[-1:] == ["complete"], self.story
            elif row["status"] == "failed":
                assert "422" in row["message"], self.story
                assert not made, self.story
        creates = self.batches.creates()
        self.live(set(), "ends")
        assert self.batches.creates() == creates, self.story
