"""A missing record is not "never paid": before anything is paid on it, the places must show that they work."""

from __future__ import annotations

import json

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowException, AirflowFailException, TaskDeferred

from helpers.attempts import TaskInstance
from helpers.stores import Store
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.execution import attempt as attempts
from magic_hour_provider.ledger.file_store import open_file_store
from magic_hour_provider.ledger.places.mark import ATTEMPT
from magic_hour_provider.ledger.record import KEY

VIDEO = {"style": {"prompt": "waves"}, "end_seconds": 3}


class Killed(BaseException):
    """Stands for kill -9: nothing of ours catches it."""


class OlderServer(Store):
    """An API server without these routes, which Airflow's SDK takes for a missing key; it can be upgraded.

    :param accepts: whether what is written is taken and forgotten, instead of being refused.
    """

    def __init__(self, *, accepts: bool = False) -> None:
        super().__init__()
        self.is_older, self.accepts, self.trips = False, accepts, []

    def get(self, key, default=None):
        """Return the value, or the default, as for each HTTP 404."""
        self.trips.append(f"get {key}")
        return default if self.is_older else super().get(key, default)

    def set(self, key, value, *, retention=None):
        """Write a value, or fail."""
        self.trips.append(f"set {key}")
        if not self.is_older:
            super().set(key, value, retention=retention)
        elif not self.accepts:
            raise RuntimeError("API_SERVER_ERROR: 404 Not Found")

    def delete(self, key):
        """Remove a key."""
        self.trips.append(f"delete {key}")
        super().delete(key)


def killed(airflow, monkeypatch, ti, owner, name) -> None:
    """Run an attempt that dies as it calls a function; of `create`, after Magic Hour has accepted."""
    real = getattr(owner, name)

    def die(*arguments, **options):
        if name == "create":
            real(*arguments, **options)
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(owner, name, die)
        airflow.attempt(airflow.operator(), ti)


def unpaid(airflow, ti, message: str) -> str:
    """Run an attempt that cannot know what was paid for: it pays nothing, says what to do, and may be retried."""
    creates = airflow.creates()
    with pytest.raises(AirflowException, match=rf"(?s){message}.*(Nothing was sent|nothing was charged)") as caught:
        airflow.attempt(airflow.operator(), ti)
    assert not isinstance(caught.value, AirflowFailException)
    assert airflow.creates() == creates
    return str(caught.value)


@pytest.mark.parametrize("accepts", [False, True])
@pytest.mark.parametrize("leaves_xcoms", [True, False])
@pytest.mark.parametrize("cleared", [True, False])
def test_an_older_api_server_during_an_upgrade(airflow, accepts, leaves_xcoms, cleared):
    """Finished tasks that are cleared, or retried, meet "no such key": nothing is paid, and later they are resumed."""
    ti = TaskInstance()
    ti.store = OlderServer(accepts=accepts)
    made = airflow.attempt(airflow.operator(), ti)["id"]
    if cleared:
        ti.clear()
    if not leaves_xcoms:
        ti.xcoms = {}
    ti.store.is_older = True
    for _ in range(2):
        unpaid(airflow, ti, "")
    ti.store.is_older = False
    assert airflow.attempt(airflow.operator(), ti)["id"] == made
    assert airflow.creates() == 1


@pytest.mark.parametrize("cleared", [True, False])
def test_a_record_that_is_lost_beside_its_mark(airflow, cleared):
    """The mark says that a paid request was declared: after a clear too nothing is paid, until a person says so."""
    ti = TaskInstance()
    airflow.attempt(airflow.operator(), ti)
    tag = ti.record["key"]
    ti.store.delete(KEY)
    ti.xcoms = {}
    if cleared:
        ti.clear()
    for _ in range(2):
        message = unpaid(airflow, ti, f"declared the paid request #{tag}")
        assert "magic_hour.adopt" in message
        assert "magic_hour.regenerate" in message
    ti.store.set("magic_hour.regenerate", True)
    assert airflow.attempt(airflow.operator(), ti)["status"] == "complete"
    assert airflow.creates() == 2


def test_a_record_that_is_lost_with_its_mark(airflow):
    """Airflow names the XComs of the attempt before: the job is known by them, at each retry, and can be adopted."""
    ti = TaskInstance()
    made = airflow.attempt(airflow.operator(), ti)["id"]
    ti.store.rows.clear()
    for _ in range(3):
        assert f'value "{made}", with the quotes' in unpaid(airflow, ti, f"had Magic Hour job {made}")
    ti.store.set("magic_hour.adopt", made)
    ti.clear()
    assert airflow.attempt(airflow.operator(), ti)["id"] == made
    assert airflow.creates() == 1


@pytest.mark.parametrize("left", ["mark", "xcoms"])
def test_killed_in_its_request_and_cleared(airflow, monkeypatch, left):
    """The record is gone, and no job was ever pushed: the intent's own key, or the mark, is enough to pay nothing."""
    ti = TaskInstance()
    killed(airflow, monkeypatch, ti, MagicHourClient, "create")
    tag = ti.record["key"]
    ti.store.delete(KEY)
    if left == "mark":
        ti.xcoms = {}
    else:
        ti.store.rows.clear()
    ti.clear()
    for _ in range(2):
        unpaid(airflow, ti, f"declared the paid request #{tag}")
    assert airflow.creates() == 1


def test_killed_in_its_request_a_task_is_no_quiet_neighbour(airflow, monkeypatch):
    """Cleared, it has no state and no job: what it pushed before its request says that it may have one."""
    other = TaskInstance("other")
    real = MagicHourClient.create

    def die(*arguments):
        real(*arguments)
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(MagicHourClient, "create", die)
        airflow.attempt(airflow.operator(task_id="other"), other)
    assert other.xcoms["magic_hour_job"]["status"] == "submitting"
    with DAG("teaser") as dag:
        airflow.operator(task_id="other")
    ti = TaskInstance()
    ti.other_states = {"other": {"other": None}}
    ti.other_jobs = {("other", -1): other.xcoms["magic_hour_job"]}
    airflow.sim.inject_fault("status", status=502)
    with pytest.raises(AirflowFailException, match="It is unknown whether"):
        airflow.attempt(airflow.operator(dag=dag), ti)
    assert airflow.creates() == 1


def test_an_airflow_that_names_no_xcoms(airflow, monkeypatch):
    """Then nothing shows that the attempt before a plain retry paid nothing, if all is lost: nothing is paid."""
    ti = TaskInstance()
    airflow.attempt(airflow.operator(), ti)
    ti.store.rows.clear()
    ti.next_attempt()
    del ti._ti_context_from_server
    creates = airflow.creates()
    with pytest.raises(AirflowException, match="nothing shows that the attempt before ended before its request"):
        airflow.start(airflow.operator(), ti)
    assert airflow.creates() == creates == 1


@pytest.mark.parametrize("how", ["before the mark", "no connection", "before the intent", "refused"])
def test_an_attempt_that_ended_before_its_request(airflow, either_ledger, monkeypatch, how):
    """Its mark says so, or there is none: the retry pays for one job."""
    ti = TaskInstance()
    if how == "before the mark":
        ti.next_attempt()  # a worker that never began
    elif how == "no connection":
        airflow.disconnect()
        with pytest.raises(AirflowException):
            airflow.attempt(airflow.operator(), ti)
        assert json.loads(ti.store.rows[ATTEMPT])["tag"] is None
        airflow.connect()
    elif how == "before the intent":
        killed(airflow, monkeypatch, ti, attempts, "run_preflight")
        assert json.loads(ti.store.rows[ATTEMPT])["tag"] is None
    else:
        airflow.sim.inject_fault("status", status=429, retry_after=600)
        with pytest.raises(AirflowException):
            airflow.attempt(airflow.operator(), ti)
        assert not [key for key in ti.xcoms if key.startswith("magic_hour.intent.")]
    assert airflow.attempt(airflow.operator(), ti)["status"] == "complete"
    assert airflow.creates() == 1


def test_a_place_that_lost_what_an_attempt_began_with(airflow, monkeypatch, tmp_path):
    """A mark in one place and nothing in another: an intent would be in both, so the one that is left is enough."""
    airflow.setting("ledger_path", str(tmp_path / "ledger"))
    ti = TaskInstance()
    killed(airflow, monkeypatch, ti, attempts, "run_preflight")
    ti.store.rows.clear()
    assert airflow.attempt(airflow.operator(), ti)["status"] == "complete"
    assert airflow.creates() == 1


def test_a_place_that_was_added_later(airflow, monkeypatch, tmp_path):
    """`ledger_path` set between two attempts: it has lost nothing."""
    ti = TaskInstance()
    killed(airflow, monkeypatch, ti, attempts, "run_preflight")
    airflow.setting("ledger_path", str(tmp_path / "ledger"))
    assert airflow.attempt(airflow.operator(), ti)["status"] == "complete"
    assert open_file_store(ti, "", None).get(KEY) == ti.record
    assert airflow.creates() == 1


def test_a_place_that_keeps_nothing(airflow):
    """What is written is not there: nothing is paid, at the first attempt too."""
    ti = TaskInstance()
    ti.store = OlderServer(accepts=True)
    ti.store.is_older = True
    unpaid(airflow, ti, "is not what this attempt wrote there")
    assert airflow.creates() == 0


def test_round_trips(airflow):
    """Of the twelve to the store before a new job is waited for, four are the proof; a resumed job has none."""
    ti = TaskInstance()
    ti.store = OlderServer()
    operator = airflow.operator("text-to-video", VIDEO, output_path="")
    ti.next_attempt()
    outcome = airflow.start(operator, ti)
    assert isinstance(outcome, TaskDeferred)
    assert ti.store.trips == [
        "get magic_hour.job",
        "set magic_hour.attempt",
        "get magic_hour.adopt",
        "get magic_hour.regenerate",
        "get magic_hour.attempt",
        "get magic_hour.job",
        "get magic_hour.regenerate",
        "set magic_hour.job",
        "get magic_hour.job",
        "set magic_hour.attempt",
        "get magic_hour.job",
        "set magic_hour.job",
    ]
    ti.store.trips.clear()
    airflow.resume(operator, ti, outcome)
    assert ti.store.trips == ["get magic_hour.job", "get magic_hour.job", "set magic_hour.job"]
    assert airflow.creates() == 1
