"""Each call to each place of the record fails in turn, and the attempts after it pay for what was asked for, once."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException

from helpers.attempts import TaskInstance
from helpers.stores import Store
from magic_hour_provider.execution.attempt import JobAttempt
from magic_hour_provider.ledger import file_store
from magic_hour_provider.ledger.file_store import open_file_store
from magic_hour_provider.ledger.instruction import Instruction
from magic_hour_provider.ledger.intent import Intent

CALLS = [
    (file_store, "read_file"),
    (file_store, "replace_file"),
    (file_store, "remove_file"),
    (file_store, "create_file"),
    (Store, "get"),
    (Store, "set"),
    (Store, "delete"),
]


class Killed(BaseException):
    """Stands for kill -9: nothing of ours catches it."""


class Fault:
    """What happens at one call to a place, counted from 0.

    :param how: ``fails``; ``fails late``, after it took effect; ``forgets``: from then on that place takes what it is
        given and has nothing, but for what is removed; ``dies late``: after that call no other comes through.
    """

    def __init__(self, how: str, at: int) -> None:
        self.how, self.at, self.calls, self.forgetful, self.is_dead = how, at, 0, None, False

    def around(self, owner: Any, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function with its fault."""

        def call(*arguments: Any, **options: Any) -> Any:
            is_hit = self.calls == self.at
            self.calls += 1
            if self.is_dead:
                raise Killed
            if is_hit and self.how == "fails":
                raise OSError("away")
            if is_hit and self.how == "forgets":
                self.forgetful = owner
            if self.forgetful is owner and name not in ("remove_file", "delete"):
                if name == "read_file":
                    raise FileNotFoundError
                return arguments[2] if name == "get" else None
            result = real(*arguments, **options)
            if is_hit and self.how == "fails late":
                raise OSError("away")
            if is_hit and self.how == "dies late":
                self.is_dead = True
                raise Killed
            return result

        return call


def attempt(airflow, ti, fault: Fault | None, **options: Any) -> str:
    """Run one attempt with a fault, and return how it ended with all that it says of its jobs."""
    with pytest.MonkeyPatch.context() as patch:
        for owner, name in CALLS if fault is not None else []:
            patch.setattr(owner, name, fault.around(owner, name, getattr(owner, name)))
        try:
            end = airflow.attempt(airflow.operator(output_path="", task_id=ti.task_id, **options), ti)["status"]
        except (AirflowException, Killed) as error:
            end = str(error)
    return f"{end} {list(ti.xcoms)}"


def first(airflow, ti) -> dict[str, Any]:
    """Nothing was before."""
    return {}


def refused(airflow, ti) -> dict[str, Any]:
    """Nothing was before, and Magic Hour refuses the request."""
    airflow.sim.inject_fault("status", status=422)
    return {}


def lost(airflow, ti) -> dict[str, Any]:
    """Nothing was before, and the response is lost."""
    airflow.sim.inject_fault("close-after-accept")
    return {}


def cleared(airflow, ti) -> dict[str, Any]:
    """A finished task is cleared, for a new job."""
    attempt(airflow, ti, None)
    ti.clear()
    return {"on_clear": "regenerate"}


def killed(airflow, ti) -> dict[str, Any]:
    """An earlier attempt was killed while it waited for its job."""
    _die_at(airflow, ti, JobAttempt, "wait")
    return {}


def regenerated(airflow, ti) -> dict[str, Any]:
    """An earlier attempt was killed in its request, and a person wants a new job."""
    _die_at(airflow, ti, Intent, "complete")
    open_file_store(ti, "", None).set("magic_hour.regenerate", True)
    return {}


def readopted(airflow, ti) -> dict[str, Any]:
    """A second job was made, and a person wants the first one again."""
    attempt(airflow, ti, None)
    made = ti.record["job_id"]
    ti.clear()
    attempt(airflow, ti, None, on_clear="regenerate")
    ti.store.set("magic_hour.adopt", made)
    return {}


def regenerated_in_the_tab(airflow, ti) -> dict[str, Any]:
    """A person asks for a new job in the place of one that is delivered."""
    attempt(airflow, ti, None)
    _instruct(ti, Instruction("regenerate", replaces=ti.record["job_id"]))
    return {}


def regenerated_and_refused(airflow, ti) -> dict[str, Any]:
    """A person asks for a new job in the place of a lost one, and Magic Hour refuses it."""
    _die_at(airflow, ti, Intent, "complete")
    _instruct(ti, Instruction("regenerate", replaces=f"#{ti.record['key']}"))
    airflow.sim.inject_fault("status", status=422)
    return {}


def adopted_in_the_tab(airflow, ti) -> dict[str, Any]:
    """A person names the job of a lost response, and another one has asked for a new one by hand."""
    _die_at(airflow, ti, Intent, "complete")
    open_file_store(ti, "", None).set("magic_hour.regenerate", True)
    _instruct(ti, Instruction("adopt", airflow.sim.jobs()[-1]["id"], f"#{ti.record['key']}"))
    return {}


def _instruct(ti, instruction: Instruction) -> None:
    ti.store.set(instruction.key, instruction.to_json())
    ti.clear(keep=True)


def _die_at(airflow, ti, owner, name) -> None:
    def die(*_: Any, **__: Any) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, die)
        attempt(airflow, ti, None)


HOW = ["fails", "fails late", "forgets", "dies late"]
BEFORE = [
    (first, 1),
    (refused, 1),
    (lost, 1),
    (cleared, 1),
    (killed, 0),
    (regenerated, 1),
    (readopted, 0),
    (regenerated_in_the_tab, 1),
    (regenerated_and_refused, 1),
    (adopted_in_the_tab, 0),
]
# Each fault meets every second story, and each story every second fault; the others take minutes.
CASES = [
    pytest.param(before, pays, how, id=f"{before.__name__}-{how}", marks=[pytest.mark.long] if (n + m) % 2 else [])
    for n, (before, pays) in enumerate(BEFORE)
    for m, how in enumerate(HOW)
]


@pytest.mark.parametrize(("before", "pays", "how"), CASES)
def test_each_call(airflow, tmp_path, before, pays, how):
    """With two places: never more than was asked for, no job that nothing names, and one failure asks for nobody."""
    airflow.setting("ledger_path", str(tmp_path / "ledger"))
    for at in itertools.count():
        ti, fault, already = TaskInstance(f"make_{at}"), Fault(how, at), airflow.creates()
        options = before(airflow, ti)
        adopted = ti.store.get("magic_hour.adopt")
        adopted = adopted["job"] if isinstance(adopted, dict) else adopted
        paid = airflow.creates()
        said = [attempt(airflow, ti, fault, **options)]
        airflow.sim.clear_faults()
        if fault.calls <= at:
            break
        sent = airflow.creates() - paid
        said += [attempt(airflow, ti, None, **options) for _ in range(2)]
        story = f"{before.__name__}, {how} at call {at}: {said}"
        assert airflow.creates() - paid <= pays, story
        said += [json.dumps(ti.record), json.dumps(open_file_store(ti, "", None).get("magic_hour.job"))]
        for job in airflow.sim.jobs()[already:]:
            assert any(job["id"] in one or job["name"].rpartition("#")[2] in one for one in said), story
        if how in ("fails", "fails late") and (sent == 0 or before is not lost):
            assert said[2].startswith("complete"), story
        if adopted and how.startswith("fails"):
            assert ti.record["job_id"] == adopted, story
    assert at > 0
