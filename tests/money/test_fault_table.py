"""Every fault of the paid request, in every place where an attempt may pay: how many jobs are made and charged."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowException, AirflowFailException

from helpers.attempts import Connected, TaskInstance
from helpers.money_report import note
from helpers.samples import KEY
from helpers.stores import LEDGERS
from helpers.waiting import until
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.simulator.faults.catalog import FAULTS as KINDS

REQUEST = {"style": {"prompt": "waves"}, "end_seconds": 3}
PRICE = 72

REFUSED, FOR_NOW, UNKNOWN = "refused for good", "refused for now", "unknown"
REPEATED, LATE = "sent again", "late"


@dataclass(frozen=True)
class Fault:
    """One row.

    :param name: what happens to the create.
    :param means: what the design's response table says of it.
    :param order: the simulator's fault; empty: nothing listens at the connection's host.
    :param accepted: whether a job was made and charged all the same.
    """

    name: str
    means: str
    order: dict[str, Any] = field(default_factory=dict)
    accepted: int = 0


def responds(status: int, means: str, **options: Any) -> Fault:
    """Return the fault of a response that came without a job."""
    words = "".join(f", {name} {value}" for name, value in options.items())
    return Fault(f"HTTP {status}{words}", means, {"fault": "status", "status": status, **options})


def accepted_then(status: int, **options: Any) -> Fault:
    """Return the fault of a job that was made although the response does not say so."""
    words = "".join(f", {name} {value!r}" for name, value in options.items())
    order = {"fault": "accept-then-status", "status": status, **options}
    return Fault(f"accepted, then HTTP {status}{words}", UNKNOWN, order, accepted=1)


FAULTS = [
    Fault("nothing listens", FOR_NOW),
    responds(307, REFUSED),
    responds(400, REFUSED),
    responds(401, REFUSED),
    responds(402, REFUSED),
    responds(403, REFUSED),
    responds(404, REFUSED),
    responds(418, REFUSED),
    responds(422, REFUSED),
    responds(429, REPEATED),
    responds(429, FOR_NOW, retry_after=600),
    responds(429, FOR_NOW, count=99),
    responds(502, REPEATED),
    responds(502, UNKNOWN, count=9),
    responds(200, UNKNOWN, body="{}"),
    responds(200, UNKNOWN, html=True),
    responds(408, UNKNOWN),
    responds(409, UNKNOWN),
    responds(500, UNKNOWN),
    responds(503, UNKNOWN),
    responds(504, UNKNOWN, html=True),
    accepted_then(200, body=""),
    accepted_then(200, body='{"credits_charged": 72}'),
    accepted_then(408),
    accepted_then(500),
    accepted_then(502),
    accepted_then(503, html=True),
    Fault("accepted, then the connection closes", UNKNOWN, {"fault": "close-after-accept"}, accepted=1),
    Fault("accepted, then closed in the response's body", UNKNOWN, {"fault": "close-mid-body"}, accepted=1),
    Fault("accepted, then silence in the response's body", UNKNOWN, {"fault": "stall-mid-body"}, accepted=1),
    Fault("accepted, half the response as if it were the whole", UNKNOWN, {"fault": "truncated"}, accepted=1),
    Fault("accepted, other bytes in the response", UNKNOWN, {"fault": "corrupt"}, accepted=1),
    Fault("accepted, no id in the response", UNKNOWN, {"fault": "no-id"}, accepted=1),
    Fault("closed without reading", UNKNOWN, {"fault": "close-before-read"}),
    Fault("silence", UNKNOWN, {"fault": "stall"}),
    Fault("a late response", LATE, {"fault": "latency", "seconds": 0.2}),
    Fault("a slow response", LATE, {"fault": "slow", "bytes_per_second": 500}),
]


def test_every_fault_of_a_create_has_a_row():
    """A fault that the simulator learns is one that this table must judge."""
    of_creates = {name for name, kind in KINDS.items() if "create" in kind.endpoints and kind.stage != "job"}
    assert of_creates == {fault.order["fault"] for fault in FAULTS if fault.order}


@contextmanager
def injected(airflow: Connected, fault: Fault) -> Iterator[None]:
    """Let the next create meet the fault; afterwards the simulator is done with it."""
    with pytest.MonkeyPatch.context() as patch:
        if not fault.order:
            with socket.create_server(("127.0.0.1", 0)) as taken:
                free = taken.getsockname()[1]
            airflow.connect(host=f"http://127.0.0.1:{free}")
            yield
            return
        kind, before = fault.order["fault"], airflow.creates()
        airflow.sim.inject_fault(**fault.order)
        if kind.startswith("stall"):
            time_out_create(patch)
        yield
        # A client that has timed out does not know how far the simulator is.
        until(lambda: airflow.sim.stats()["faults_injected"].get(kind))
        until(lambda: airflow.creates() >= before + fault.accepted)


def time_out_create(patch: pytest.MonkeyPatch) -> None:
    """Let the client wait 0.3 s for the response to a paid request; all else has the time that it needs."""
    create = MagicHourClient.create

    def time_out(client: MagicHourClient, *arguments: Any) -> Any:
        with MagicHourClient(api_key=KEY, base_url=client.base_url, timeout=0.3) as other:
            return create(other, *arguments)

    patch.setattr(MagicHourClient, "create", time_out)


def outcome_of(airflow: Connected, operator: Any, ti: TaskInstance) -> str:
    """Run one attempt and say how it ended."""
    try:
        airflow.attempt(operator, ti)
    except AirflowFailException as error:
        return UNKNOWN if "It is unknown whether" in str(error) else REFUSED
    except AirflowException:
        return FOR_NOW
    return "success"


# Where the record is and how an attempt waits do not meet each other, nor the moment of the fault: each fault meets
# every moment, every mode and every ledger, but not all three at once.
CASES = [
    (fault, when, ledger, mode)
    for fault in FAULTS
    for when, ledger, mode in (
        ("first attempt", LEDGERS[0], "deferrable"),
        ("retry", LEDGERS[0], "deferrable"),
        ("clear", LEDGERS[0], "deferrable"),
        ("retry", LEDGERS[0], "sync"),
        ("retry", LEDGERS[1], "deferrable"),
    )
]


@pytest.mark.parametrize(
    ("fault", "when", "either_ledger", "mode"),
    CASES,
    ids=[f"{fault.name}-{when}-{ledger}-{mode}" for fault, when, ledger, mode in CASES],
    indirect=["either_ledger"],
)
def test_what_a_fault_of_the_create_costs(airflow, either_ledger, fault, when, mode):
    """The attempt that meets the fault, and the attempt after it, make as many jobs as the design's table says."""
    options = {"deferrable": mode == "deferrable", "output_path": "", "on_clear": "regenerate", "dag": DAG("teaser")}
    operator, ti = airflow.operator("text-to-video", REQUEST, **options), TaskInstance()
    before, kept = 0, 0
    if when == "retry":
        # A job that failed and was refunded: the one case in which a retry pays.
        airflow.sim.inject_fault("job-outcome", status="error", code="unknown_error")
        assert outcome_of(airflow, operator, ti) == FOR_NOW
        before = 1
    elif when == "clear":
        assert outcome_of(airflow, operator, ti) == "success"
        ti.clear()
        before, kept = 1, 1
    assert airflow.creates() == before

    with injected(airflow, fault):
        met = outcome_of(airflow, operator, ti)
    means = fault.means
    if fault.name == "HTTP 502" and when == "retry":
        means = UNKNOWN  # the refund of the job before may come late, and would hide a charge
    assert met == ("success" if means in (REPEATED, LATE) else means)
    assert airflow.creates() == before + (1 if met == "success" else fault.accepted)
    assert ((ti.record or {}).get("state") == "intent") is (met == UNKNOWN)

    airflow.sim.clear_faults()
    airflow.connect()
    following = outcome_of(airflow, operator, ti)
    assert following == (UNKNOWN if met == UNKNOWN else "success")
    made = fault.accepted if met == UNKNOWN else 1
    assert airflow.creates() == before + made
    money = airflow.sim.stats()["credits"]
    charged = money["charged"] - money["refunded"]
    assert charged == PRICE * (kept + made)
    note(
        "Faults of the create",
        (fault.name, when, mode),
        creates=before + made,
        credits=charged,
        outcome=f"{met}; next attempt: {following}",
    )
