"""Whatever happens to a task in whatever order, it pays for what was asked for and for nothing else."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from helpers.attempts import Connected, TaskInstance
from helpers.money_report import note
from helpers.stores import LEDGERS
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.execution import attempt
from magic_hour_provider.execution.attempt import JobAttempt
from magic_hour_provider.ledger.intent import Intent
from magic_hour_provider.ledger.ledger import Ledger

EXAMPLES = int(os.environ.get("MAGIC_HOUR_EXAMPLES", "60"))

# Where a process dies: the method that it does not come back from, so that the one before it is the last thing done.
DEATHS = {
    "dies before the intent": (attempt, "run_preflight"),
    "dies before the request": (MagicHourClient, "create"),
    "dies before the record": (Intent, "complete"),
    "dies while waiting": (JobAttempt, "wait"),
    "dies before success": (Ledger, "mark_delivered"),
}
FAULTS: dict[str, dict[str, Any]] = {
    "is refused": {"fault": "status", "status": 422},
    "loses the response": {"fault": "close-after-accept"},
}
ENDINGS: dict[str, dict[str, Any]] = {
    "job fails": {"fault": "job-outcome", "status": "error", "code": "unknown_error"},
    "job fails for good": {"fault": "job-outcome", "status": "error", "code": "no_source_face"},
    "job is canceled": {"fault": "job-outcome", "status": "canceled"},
}
ATTEMPTS = ["succeeds", *DEATHS, *FAULTS, *ENDINGS]
PERSON = ["edit", "regenerate", "adopt", "clear"]  # in this order, where several come before one attempt
ROUNDS = st.lists(
    st.tuples(st.sets(st.sampled_from(PERSON), max_size=3), st.sampled_from(ATTEMPTS)), min_size=2, max_size=6
)


class Killed(BaseException):
    """Stands for kill -9: nothing of ours catches it."""


@dataclass
class Expected:
    """What the design says of a sequence, in its own words: a model of the record, without any code of ours."""

    regenerates: bool
    resubmits: bool
    state: str | None = None
    paid_version: int = 0
    version: int = 0
    cleared: bool = False
    regenerate: bool = False
    adopt: bool = False
    ending: str = ""
    """How the recorded job ends; empty: complete."""
    last_ending: str = ""
    """How the newest accepted job ends: adopting names that one."""
    creates: Counter[str] = field(default_factory=Counter)
    """Accepted creates, by the reason to pay."""
    credits: int = 0
    """What stays charged by the simulator's counters."""

    def attempt(self, how: str) -> None:
        """One attempt, and what happens to it."""
        if self.adopt:
            if self.state != "delivered":  # then it is the recorded one
                self.state = "submitted"
            self.adopt, self.ending = False, self.last_ending
            self.cleared, self.paid_version, self.regenerate = False, self.version, False
            self._wait(how)
            return
        reason = self._reason_to_pay()
        if reason == "unknown" or reason == "ended":
            return
        if reason is None:
            self.cleared = False
            self._wait(how)
            return
        if how == "dies before the intent":
            return
        if how == "is refused":
            return  # what was recorded and asked for before counts again
        self.state, self.paid_version, self.cleared, self.regenerate = "intent", self.version, False, False
        if how == "dies before the request":
            return
        self.creates[reason] += 1
        self.last_ending = how if how in ENDINGS else ""
        if how in ("dies before the record", "loses the response"):
            return
        self.state, self.ending = "submitted", self.last_ending
        self._wait(how)

    def _reason_to_pay(self) -> str | None:
        if self.regenerate:
            return "regeneration asked for"
        if self.state is None:
            return "request asked for"
        if self.state == "intent":
            if self.resubmits or (self.cleared and self.regenerates):
                return "regeneration asked for"
            return "unknown"
        if self.state == "failed":
            return "failed job retried"
        if self.state == "ended":
            return "failed job cleared" if self.cleared else "ended"
        if self.cleared and self.regenerates:
            return "regeneration asked for"
        if self.cleared and self.version != self.paid_version:
            return "request asked for"
        return None

    def _wait(self, how: str) -> None:
        if how == "dies while waiting":
            return
        if self.ending:
            self.state = "failed" if self.ending == "job fails" else "ended"
        elif how != "dies before success":
            self.state = "delivered"


def inject(airflow: Connected, patch: pytest.MonkeyPatch, how: str) -> None:
    """Let the next attempt meet what is to happen to it."""
    if how in DEATHS:

        def die(*_: Any, **__: Any) -> None:
            raise Killed

        patch.setattr(*DEATHS[how], die)
    elif how in FAULTS or how in ENDINGS:
        airflow.sim.inject_fault(**(FAULTS | ENDINGS)[how])


runs = itertools.count()


def any_sequence(examples: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Run a test with so many sequences of rounds, and with one that was once paid wrongly."""

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        for decorator in (
            example(
                # A clear that resumes the job counts once: the change after it comes with a retry.
                rounds=[(set(), "succeeds"), ({"clear"}, "dies while waiting"), ({"edit"}, "succeeds")],
                regenerates=False,
                resubmits=False,
            ),
            given(rounds=ROUNDS, regenerates=st.booleans(), resubmits=st.booleans()),
            settings(
                max_examples=examples,
                deadline=None,
                derandomize="MAGIC_HOUR_EXAMPLES" not in os.environ,
                suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
            ),
        ):
            test = decorator(test)
        return test

    return decorate


@pytest.mark.parametrize("either_ledger", LEDGERS[:1], indirect=True)
@any_sequence(EXAMPLES)
def test_creates_are_what_was_asked_for(airflow, either_ledger, rounds, regenerates, resubmits):
    """Creates = distinct requests asked for + failed jobs tried again + regenerations asked for; no id is lost."""
    run(airflow, rounds, regenerates=regenerates, resubmits=resubmits)


@pytest.mark.parametrize("either_ledger", LEDGERS[1:], indirect=True)
@any_sequence(EXAMPLES // 3)
def test_creates_are_what_was_asked_for_with_files(airflow, either_ledger, rounds, regenerates, resubmits):
    """The same where the record is kept as files: what reads and writes them does not decide."""
    run(airflow, rounds, regenerates=regenerates, resubmits=resubmits)


OPTIONS = {
    (False, False): "as it comes",
    (False, True): "resubmit",
    (True, False): "regenerate",
    (True, True): "both",
}


def in_words(person: set[str]) -> str:
    """What a person does, in the same words in every process: the order of a set is not."""
    return " and ".join(sorted(person)) or "nothing"


# The record's place meets what a person does and how an attempt ends, not the options: those meet one of the two.
LIVES = [(LEDGERS[0], options) for options in OPTIONS] + [(LEDGERS[1], (False, False))]


@pytest.mark.parametrize(
    "person", [set(), {"clear"}, {"edit"}, {"edit", "clear"}, {"regenerate"}, {"adopt"}], ids=in_words
)
@pytest.mark.parametrize("first", ATTEMPTS)
@pytest.mark.parametrize("either_ledger", LEDGERS, indirect=True)
def test_what_the_attempt_after_it_pays(airflow, either_ledger, first, person):
    """Every way for an attempt to end, everything a person may do then, and the attempt that follows."""
    for regenerates, resubmits in [options for ledger, options in LIVES if ledger == either_ledger]:
        lived = run(airflow, [(set(), first), (person, "succeeds")], regenerates=regenerates, resubmits=resubmits)
        note(
            "The attempt after an attempt",
            (f"first {first}; then {in_words(person)}", OPTIONS[regenerates, resubmits]),
            creates=lived.creates.total(),
            credits=lived.credits,
            outcome=f"{'unknown' if lived.state == 'intent' else lived.state}: "
            + (", ".join(f"{count} {reason}" for reason, count in lived.creates.items()) or "nothing paid"),
        )


def run(airflow: Connected, rounds: Any, *, regenerates: bool, resubmits: bool) -> Expected:
    """Let a task live through the rounds and hold it against the model after each."""
    story: list[str] = []
    number = next(runs)
    ti, expected = TaskInstance(f"make_{number}"), Expected(regenerates, resubmits)
    already = len(airflow.sim.jobs())
    options = {
        "output_path": str(airflow.output / str(number)),
        "on_clear": "regenerate" if regenerates else "reuse",
        "on_unknown_submission": "resubmit" if resubmits else "fail",
    }
    for person, step in rounds:
        jobs = airflow.sim.jobs()[already:]
        if "edit" in person:
            expected.version += 1
        if "regenerate" in person:
            ti.store.set("magic_hour.regenerate", True)
            expected.regenerate = True
        if "adopt" in person and jobs:
            ti.store.set("magic_hour.adopt", jobs[-1]["id"])
            expected.adopt = True
        if "clear" in person:
            ti.clear()
            expected.cleared = True
        request = {"image_count": 1, "style": {"prompt": f"a lighthouse, version {expected.version}"}}
        operator = airflow.operator(request=request, **options)
        with pytest.MonkeyPatch.context() as patch:
            inject(airflow, patch, step)
            try:
                airflow.attempt(operator, ti)
            except (AirflowException, Killed) as end:
                story.append(f"{type(end).__name__} {end}"[:300])
        airflow.sim.clear_faults()
        expected.attempt(step)
        record = ti.record or {}
        jobs = airflow.sim.jobs()[already:]
        story.append(f"{sorted(person)}, {step} -> {record.get('state')}, {len(jobs)} jobs, expected {expected}")
        assert record.get("state") == expected.state, story
        assert len(jobs) == expected.creates.total(), story
        if record.get("state") not in (None, "intent"):
            # One record, one job; what it replaced is in its history, by its id or, after a lost response, its tag.
            known = {record["job_id"], *(past.get("job_id") for past in record["history"])}
            keys = {past["key"] for past in record["history"]}
            for job in jobs:
                assert job["id"] in known or job["name"].rpartition("#")[2] in keys, story
    expected.credits = sum(job["credits_charged"] for job in airflow.sim.jobs()[already:])
    return expected
