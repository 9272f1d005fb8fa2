"""Faults that one item of a batch meets, and refusals that all of them meet, at each request: creates and outcome."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import AirflowException

from helpers.attempts import Connected, TaskInstance
from helpers.batches import Batches, results, rows
from helpers.samples import KEY
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.batch.jobs.collector import Collector
from magic_hour_provider.batch.records.folder import RecordFolder
from magic_hour_provider.ledger.record import RecordError
from magic_hour_provider.simulator import Simulator
from magic_hour_provider.simulator.faults.catalog import FAULTS


def status(code: int, **more) -> dict:
    """Return the fault of a response without effect."""
    return {"fault": "status", "status": code, **more}


PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00\x1f\x15\xc4\x89"

# What the one item comes to in the attempt that meets the fault, and how many jobs were made by then and at the end.
CREATES = {
    "422": (status(422), "failed", 2, 2),
    "404": (status(404), "failed", 2, 2),
    "429": (status(429), "complete", 3, 3),
    "500": (status(500), "unknown", 2, 2),
    "502": (status(502), "unknown", 2, 2),
    "no JSON": (status(200, html=True), "unknown", 2, 2),
    "closed": ({"fault": "close-before-read"}, "unknown", 2, 2),
    "lost": ({"fault": "close-after-accept"}, "unknown", 3, 3),
    "accepted, then 500": ({"fault": "accept-then-status", "status": 500}, "unknown", 3, 3),
    "no id": ({"fault": "no-id"}, "unknown", 3, 3),
    "half": ({"fault": "truncated"}, "unknown", 3, 3),
    "closed in the body": ({"fault": "close-mid-body"}, "unknown", 3, 3),
    "other bytes": ({"fault": "corrupt"}, "unknown", 3, 3),
    "late": ({"fault": "latency", "seconds": 0.1}, "complete", 3, 3),
    "slow": ({"fault": "slow", "bytes_per_second": 5000}, "complete", 3, 3),
    "stalled": ({"fault": "stall"}, "unknown", 2, 2),
    "stalled in the body": ({"fault": "stall-mid-body"}, "unknown", 3, 3),
    "fails": ({"fault": "job-outcome", "status": "error", "code": "unknown_error"}, "complete", 4, 4),
    "takes long": ({"fault": "job-duration", "seconds": 500}, "complete", 3, 3),
}


def test_every_fault_of_a_create_is_here():
    """A fault that the simulator learns is one that this table must judge."""
    assert {fault["fault"] for fault, *_ in CREATES.values()} == {
        name for name, kind in FAULTS.items() if "create" in kind.endpoints
    }


@pytest.mark.parametrize("name", CREATES)
def test_a_create_that_meets_a_fault(batches, monkeypatch, name):
    """The other items are complete whatever it is, and the next attempt pays for nothing that may have been paid."""
    fault, becomes, creates, at_last = CREATES[name]
    batches.airflow.sim.inject_fault(**fault, prompt="shoe 1")
    if name.startswith("stalled"):
        create = MagicHourClient.create

        def time_out(client, *arguments):
            if "shoe 1" not in str(arguments):
                return create(client, *arguments)
            with MagicHourClient(api_key=KEY, base_url=client.base_url, timeout=0.3) as other:
                return create(other, *arguments)

        monkeypatch.setattr(MagicHourClient, "create", time_out)
    ti, operator = TaskInstance("campaign"), batches.operator(rows(3), item_id="sku")
    found = end(batches, operator, ti)
    assert [row["status"] for row in found.values()] == ["complete", becomes, "complete"]
    assert batches.creates() == creates
    batches.airflow.sim.clear_faults()
    assert [row["status"] for row in end(batches, operator, ti).values()] == ["complete", becomes, "complete"]
    assert batches.creates() == at_last


def end(batches: Batches, operator, ti: TaskInstance) -> dict:
    """Run an attempt to its end, in a bounded time, and return its results."""
    began = batches.airflow.sim.now()
    try:
        batches.attempt(operator, ti)
    except AirflowException as error:
        assert "Each is listed in" in str(error)
    assert batches.airflow.sim.now() - began < 4 * 3600
    return results(ti.xcoms["magic_hour_batch"])


OTHERS = [
    {"endpoint": "get-job"} | fault
    for fault in (
        status(429, retry_after=30),
        status(500),
        status(404),
        status(200, html=True),
        {"fault": "close-before-read"},
        {"fault": "truncated"},
        {"fault": "corrupt"},
        {"fault": "close-mid-body"},
        {"fault": "stall", "hold_seconds": 0.1},
        {"fault": "stall-mid-body", "hold_seconds": 0.1},
    )
] + [
    {"endpoint": "download"} | fault
    for fault in (
        status(500),
        status(404),
        {"fault": "expired-link"},
        {"fault": "close-before-read"},
        {"fault": "truncated"},
        {"fault": "close-mid-body"},
        {"fault": "stall-mid-body", "hold_seconds": 0.1},
    )
]


@pytest.mark.parametrize("fault", OTHERS, ids=lambda fault: "-".join(map(str, fault.values())))
def test_a_poll_or_a_download_that_meets_a_fault(batches, fault):
    """Nothing is paid for again, and at the latest the next attempt has all files."""
    batches.airflow.sim.inject_fault(**fault, prompt="shoe 1")
    ti, operator = TaskInstance("campaign"), batches.operator(rows(3), item_id="sku")
    end(batches, operator, ti)
    assert batches.attempt(operator, ti)["complete"] == 3
    assert batches.creates() == 3


UPLOADS = [
    {"endpoint": "upload-urls"} | status(403),
    {"endpoint": "upload-urls"} | status(500),
    {"endpoint": "upload-urls", "fault": "truncated"},
    {"endpoint": "upload"} | status(403),
    {"endpoint": "upload"} | status(500),
    {"endpoint": "upload", "fault": "expired-link"},
    {"endpoint": "upload", "fault": "close-before-read"},
    {"endpoint": "upload", "fault": "stall", "hold_seconds": 0.1},
]


@pytest.mark.parametrize("fault", UPLOADS, ids=lambda fault: "-".join(map(str, fault.values())))
def test_an_upload_that_meets_a_fault(batches, fault):
    """While it stays nothing is paid for, and no intent is left; what it passes is uploaded, and paid for once."""
    given = []
    for number in range(3):
        file = batches.airflow.output / f"{number}.png"
        file.write_bytes(PNG + bytes([number]))
        given.append({"sku": f"shoe-{number}", "assets": {"image_file_path": str(file)}})
    operator = batches.operator(
        given, item_id="sku", tool="ai-image-upscaler", request={"scale_factor": 2}, max_active_jobs=1
    )
    ti = TaskInstance("campaign")
    batches.airflow.sim.inject_fault(**fault, count=None)
    with pytest.raises(AirflowException, match=r"0 are complete.*3 are missing"):
        batches.attempt(operator, ti)
    assert batches.creates() == 0
    assert not list(Path(batches.folder).rglob("*!intent*"))
    batches.airflow.sim.clear_faults()
    batches.airflow.sim.inject_fault(**fault)
    end(batches, operator, ti)
    assert [row["status"] for row in end(batches, operator, ti).values()] == ["complete"] * 3
    assert batches.creates() == 3


# -- what all items meet -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("deferrable", [True, False])
@pytest.mark.parametrize("code", [401, 403, 402])
def test_a_key_that_is_revoked_while_jobs_are_under_way(batches, code, deferrable):
    """The task ends with a sentence; with a key that works the next attempt resumes all, and pays for the rest."""
    operator = batches.operator(
        [{"sku": str(number), "style": {"prompt": "waves [[seconds:300]]"}} for number in range(4)],
        item_id="sku",
        tool="text-to-video",
        request={"end_seconds": 3},
        max_active_jobs=2,
        deferrable=deferrable,
    )
    ti = TaskInstance("campaign")
    batches.airflow.sim.inject_fault("status", status=code, endpoint="get-job", count=None)
    began = batches.airflow.sim.now()
    with pytest.raises(AirflowException, match=r"4 are missing.*Nothing more was submitted"):
        batches.attempt(operator, ti)
    assert batches.airflow.sim.now() - began < 3600
    assert batches.creates() == 2
    batches.airflow.sim.clear_faults()
    assert batches.attempt(operator, ti)["complete"] == 4
    assert batches.creates() == 4


def test_a_balance_that_ends_in_the_middle(monkeypatch, tmp_path):
    """What was paid is finished; nothing is sent in vain more than once; with credits the next attempt goes on."""
    with Simulator(api_key=KEY, clock=lambda: 1_800_000_000.0, credits=25) as sim:
        batches = Batches(Connected(sim, monkeypatch, tmp_path))
        ti, operator = TaskInstance("campaign"), batches.operator(rows(6), item_id="sku", max_active_jobs=1)
        with pytest.raises(AirflowException, match=r"2 are complete.*4 are missing.*credits"):
            batches.attempt(operator, ti)
        assert batches.creates() == 2
        assert sim.stats()["creates"]["refused"] == 1


def test_a_balance_below_the_minimum_does_not_stop_what_is_under_way(batches):
    """A retry below ``min_credits_left`` finishes the jobs that are paid for and sends nothing."""
    ti = TaskInstance("campaign")
    given = [{"sku": str(number), "style": {"prompt": "a [[seconds:2000]]"}} for number in range(3)]
    with pytest.raises(AirflowException, match="2 are missing"):
        batches.attempt(batches.operator(given[:2], item_id="sku", timeout=60), ti)
    batches.airflow.setting("min_credits_left", "99999999")
    with pytest.raises(AirflowException, match=r"2 are complete.*1 are missing.*min_credits_left"):
        batches.attempt(batches.operator(given, item_id="sku", timeout=9000), ti)
    assert batches.creates() == 2


def test_429s_without_end(batches):
    """The worker is not held for ever: the attempt ends with a sentence, and a retry resumes."""
    batches.airflow.sim.inject_fault("status", status=429, count=None)
    ti, operator = TaskInstance("campaign"), batches.operator(rows(3), item_id="sku")
    began = batches.airflow.sim.now()
    with pytest.raises(AirflowException, match=r"3 are missing.*A retry"):
        batches.attempt(operator, ti)
    assert batches.airflow.sim.now() - began < 4 * 3600
    batches.airflow.sim.clear_faults()
    assert batches.attempt(operator, ti)["complete"] == 3
    assert batches.creates() == 3


@pytest.mark.parametrize("code", [500, 502])
def test_a_service_that_answers_nothing_but_errors(batches, code):
    """Nothing is sent any more after a few lost responses: not every item must be recovered by a person."""
    batches.airflow.sim.inject_fault("status", status=code, count=None)
    ti, operator = TaskInstance("campaign"), batches.operator(rows(20), item_id="sku")
    with pytest.raises(AirflowException, match=r"0 are complete.*responses in a row were lost.*A retry"):
        batches.attempt(operator, ti)
    lost = [row["status"] for row in results(ti.xcoms["magic_hour_batch"]).values()].count("unknown")
    assert 3 <= lost <= 3 + 3  # those that were under way beside the third
    batches.airflow.sim.clear_faults()
    with pytest.raises(AirflowException, match=f"{20 - lost} are complete.*{lost} are of an unknown outcome"):
        batches.attempt(operator, ti)
    assert batches.creates() == 20 - lost


def test_a_service_that_cannot_be_reached_any_more(batches):
    """The attempt ends with a sentence, before anything is sent."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free = taken.getsockname()[1]
    batches.airflow.connect(host=f"http://127.0.0.1:{free}")
    with pytest.raises(AirflowException, match="reach"):
        batches.attempt(batches.operator(rows(2), item_id="sku"), TaskInstance("campaign"))
    assert batches.creates() == 0


# -- the program, and the storage ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("owner", "name"), [(Collector, "store"), (MagicHourClient, "get_job")])
def test_an_error_of_the_program_ends_one_item_alone(batches, monkeypatch, owner, name):
    """In a thread, too: the others are complete, the task says so, and the next attempt resumes the job."""
    real, seen = getattr(owner, name), []

    def fail_for_one(self, *arguments):
        seen.append(arguments[-1 if owner is MagicHourClient else 0])
        if seen[-1] == seen[0]:
            raise ZeroDivisionError
        return real(self, *arguments)

    ti, operator = TaskInstance("campaign"), batches.operator(rows(3), item_id="sku")
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, fail_for_one)
        assert [row["status"] for row in end(batches, operator, ti).values()].count("complete") == 2
    assert batches.attempt(operator, ti)["complete"] == 3
    assert batches.creates() == 3


def test_records_that_cannot_be_listed_any_more(batches, monkeypatch):
    """What is under way is given up with a sentence, and nothing is paid for without a record."""
    ti, operator = TaskInstance("campaign"), batches.operator(rows(5), item_id="sku", max_active_jobs=2)
    real, calls = RecordFolder.list_item, []

    def go_away(folder, key):
        calls.append(key)
        if len(calls) > 3:
            raise RecordError("The folder is away.")
        return real(folder, key)

    began = batches.airflow.sim.now()
    with monkeypatch.context() as patch:
        patch.setattr(RecordFolder, "list_item", go_away)
        with pytest.raises(AirflowException, match="away"):
            batches.attempt(operator, ti)
    assert batches.airflow.sim.now() - began < 4 * 3600
    creates = batches.creates()
    assert creates < 5
    end(batches, operator, ti)
    assert batches.creates() <= 5
