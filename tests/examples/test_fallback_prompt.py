"""The fallback, whole: which prompts are sent, what stays charged, and what is no reason for a second one."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def fallback(load_example: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Any:
    """The DAG, loaded when its folder for files is known."""
    monkeypatch.setenv("AIRFLOW__MAGIC_HOUR__OUTPUT_PATH", str(tmp_path))
    return load_example("fallback_prompt")["dag"]


def prompts(sim: Any) -> list[str]:
    """Return the prompts of all jobs that were made."""
    return [job["request"]["style"]["prompt"] for job in sim.jobs()]


def test_a_prompt_that_is_taken_is_the_only_one(magic_hour_simulator, fallback, returned):
    """One job is paid for, and the second prompt is never sent."""
    run = fallback.test()
    assert (run.state, magic_hour_simulator.stats()["creates"]["accepted"]) == ("success", 1)
    assert returned(run, "use")["prompt"] == "first"


def test_a_refused_prompt_is_replaced(magic_hour_simulator, fallback, returned):
    """Two jobs are made and one stays charged; no retry sends the refused prompt again."""
    magic_hour_simulator.inject_fault("job-outcome", status="error", code="content_policy_violation")
    run = fallback.test()
    stats = magic_hour_simulator.stats()
    assert (run.state, stats["creates"]["accepted"]) == ("success", 2)
    assert stats["credits"]["refunded"] == stats["credits"]["charged"] / 2 > 0
    assert [prompt.split(" a dragon")[0] for prompt in prompts(magic_hour_simulator)] == [
        "A knight fights",
        "A knight stands before",
    ]
    assert returned(run, "use")["prompt"] == "second"


def test_any_other_failure_stays_one(magic_hour_simulator, fallback):
    """A request that Magic Hour rejects is no matter of the prompt: nothing is paid for, and the run fails."""
    magic_hour_simulator.inject_fault("status", endpoint="create", status=422)
    assert fallback.test().state == "failed"
    assert magic_hour_simulator.stats()["creates"]["accepted"] == 0
