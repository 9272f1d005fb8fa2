"""Any XCom, and any record: each tab shows its page, and no value costs more work than its size."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import strategies as st

from helpers.fuzz import anything, assert_linear, fuzz, nested, numbers, objects, one_of_these, texts
from magic_hour_provider.api.errors import Charge, InvalidInputError
from magic_hour_provider.ledger.record import Record
from magic_hour_provider.plugin.media_tab import pages
from magic_hour_provider.plugin.media_tab.database.run_summary import Entry, summarize_run
from magic_hour_provider.plugin.media_tab.snapshot import TaskSnapshot
from magic_hour_provider.plugin.spend_tab.page import describe_spend, write_csv
from magic_hour_provider.plugin.spend_tab.queries import SpendPage
from magic_hour_provider.plugin.spend_tab.run_spend import RunSpend, TaskRecord, TaskReport, count_run
from magic_hour_provider.plugin.web.sanitize import flatten_request, to_safe_json
from magic_hour_provider.xcoms import BATCH_XCOM, JOB_XCOM, REFUNDED_PREFIX, intent_xcom

NOW = 1_800_000_000.0
TIME = one_of_these(["2027-01-15T08:00:00+00:00", "2027-01-15T08:00:30.5Z", "2027-02-30T08:00:00Z", "2027-01-15"])
TOOL = one_of_these(["ai-image-generator", "lip-sync", "face-detection", "no-tool"])
ID = one_of_these(["cmabc123", "a" * 129])
URI = one_of_these(["/files/a.png", "s3://aws@bucket/a.mp4", "file:///x", "://", "a\nb.png"])
MEDIA = st.lists(st.one_of(objects(uri=URI, size=numbers), anything), max_size=3)
CHARGE = st.sampled_from([charge.value for charge in Charge])
REPORT = objects(
    tool=TOOL,
    kind=one_of_these(["image", "face-detection"]),
    id=ID,
    name=texts,
    status=one_of_these(["complete", "error", "canceled", "rendering", "gone"]),
    tag=texts,
    request=st.dictionaries(texts, anything, max_size=3),
    credits_charged=numbers,
    polls=numbers,
    submitted_at=TIME,
    ended_at=TIME,
    written_at=TIME,
    error=texts,
    charge=CHARGE,
    charge_words=texts,
    next_step=texts,
    faces=st.lists(anything, max_size=2),
)
RESULT = objects(tool=TOOL, kind=texts, id=ID, media=MEDIA, files=st.lists(URI, max_size=3), credits_charged=numbers)
NUMBERS = ("items", "complete", "failed", "unknown", "active", "left", "credits_charged", "max_credits")
BATCH = objects(
    tool=TOOL, updated_at=TIME, error=texts, charge=CHARGE, results=texts, **dict.fromkeys(NUMBERS, numbers)
)
XCOMS = st.builds(
    dict,
    st.fixed_dictionaries(
        {},
        optional={
            JOB_XCOM: st.one_of(REPORT, REPORT, anything),
            "return_value": st.one_of(RESULT, RESULT, anything),
            BATCH_XCOM: st.one_of(BATCH, anything),
            "media": st.one_of(MEDIA, anything),
            "files": st.one_of(st.lists(URI, max_size=3), anything),
            intent_xcom("abc"): st.one_of(REPORT, anything),
        },
    ),
)
RECORD = st.builds(
    lambda known, odd: {**known, **odd},
    st.fixed_dictionaries(
        {
            "state": one_of_these(["intent", "submitted", "delivered", "failed", "ended"]),
            "tool": TOOL,
            "kind": st.just("image"),
            "key": st.just("abc"),
            "fingerprint": st.just({}),
        },
        optional={
            "job_id": ID,
            "credits_charged": numbers,
            "reason": one_of_these(["It failed.", Charge.REFUNDED.sentence]),
            "files": MEDIA,
            "history": st.lists(objects(job_id=ID, state=texts, tool=TOOL, earlier=objects(paid=numbers)), max_size=2),
        },
    ),
    st.one_of(
        st.just({}),
        st.dictionaries(
            one_of_these(
                ["job_id", "tool", "name", "reason", "files", "history", "submitted_at", "written_at", "version"]
            ),
            anything,
            max_size=2,
        ),
    ),
)
STATE = one_of_these(["success", "failed", "running", "deferred", "up_for_retry", "upstream_failed", "skipped", None])


def write(page: dict[str, Any]) -> str:
    """Write a page as the API server does."""
    text = json.dumps(page, allow_nan=False, ensure_ascii=False)
    text.encode()
    return text


def read_record(value: object) -> Record | None:
    """Return a record, or None where it is none."""
    try:
        return Record.read(value)
    except InvalidInputError:
        return None


@fuzz(xcoms=XCOMS, record=st.one_of(st.none(), RECORD), state=STATE, label=st.one_of(st.none(), texts))
def test_any_xcoms_on_the_media_tab(
    xcoms: dict[str, Any], record: object, state: str | None, label: str | None
) -> None:
    """The page of the task and its tile hold their values, and the run is summed up."""
    task = TaskSnapshot("make", -1, state, label, True, xcoms, read_record(record))
    page = pages.task_page(task, {}, NOW, live=True)
    assert pages._UNREADABLE not in write(page)
    summary = summarize_run([Entry.from_snapshot(task)] * 2, live=True)
    sheet = pages.run_page(summary, summary.select(), {("make", -1): task}, {}, NOW)
    assert pages._UNREADABLE not in write(sheet)


LIGHT = st.one_of(st.none(), texts, numbers.map(str), one_of_these(["5", "-5", "1e17", "image", "complete", "{", "{}"]))
LIGHT_REPORT = st.builds(
    TaskReport,
    st.just(1),
    one_of_these(["make", "idle"]),
    st.just(-1),
    one_of_these([JOB_XCOM, BATCH_XCOM, f"{REFUNDED_PREFIX}cmabc123", REFUNDED_PREFIX, "other"]),
    *[st.one_of(LIGHT, TOOL, ID)] * 3,
    *[LIGHT] * 9,
    st.one_of(LIGHT, objects(paid=numbers).map(json.dumps)),
)
LIGHT_RECORD = st.builds(TaskRecord, st.just(1), st.just("make"), st.just(-1), st.one_of(texts, RECORD.map(json.dumps)))


@fuzz(reports=st.lists(LIGHT_REPORT, max_size=3), records=st.lists(LIGHT_RECORD, max_size=2), name=texts)
def test_any_xcoms_on_the_spend_tab(reports: list[TaskReport], records: list[TaskRecord], name: str) -> None:
    """A run is counted, whatever was recorded, and never less than nothing; its page and its CSV are written."""
    run = RunSpend(1, name, "success", NOW)
    count_run(run, reports, records, {"idle"})
    assert run.credits >= 0 and min(run.jobs, run.failed, run.refunded, run.unknown, run.unreadable) >= 0
    page = SpendPage([run, run], None)
    write(describe_spend(page, NOW))
    write_csv(page).encode()


@fuzz(value=anything)
def test_any_value_of_a_page(value: object) -> None:
    """As JSON, and as rows of a request."""
    write({"value": to_safe_json(value), "rows": flatten_request(value)})


SIZES = {
    "text": lambda n: "https://" * n,
    "list": lambda n: ["https://"] * n,
    "object": lambda n: {f"a{i}": {"b": i} for i in range(n)},
    "objects in objects": lambda n: {"a": {f"{i}": {"b": {"c": i}} for i in range(n)}},
    "names with dots": lambda n: {"a." * n: {"b." * n: 1}},
    "depth without names": lambda n: nested(min(n, 300), ""),
    "media": lambda n: {"media": [{"uri": f"/files/{i}.png"} for i in range(n)]},
}


@pytest.mark.parametrize("make", SIZES.values(), ids=SIZES)
def test_a_value_of_any_size_is_linear_work(make):
    """Eight times as much is at most about eight times the work, in the request as in the result."""

    def show(value: Any) -> None:
        xcoms = {JOB_XCOM: {"tool": "lip-sync", "id": "cmabc123", "request": value}, "return_value": value}
        write(pages.task_page(TaskSnapshot("make", -1, "success", None, True, xcoms), {}, NOW, live=True))

    assert_linear(show, make, 30)
