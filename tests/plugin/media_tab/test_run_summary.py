"""A run's contact sheet costs what its tiles cost: the rest of the run is counted by light values alone."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from airflow.models.xcom import XComModel
from airflow.sdk import DAG
from airflow.utils.session import create_session

from helpers.airflow_rows import RUN, put_mapped, put_run, put_task
from helpers.database import DIALECTS, airflow_on
from magic_hour_provider.operators.magic_hour import MagicHourOperator
from magic_hour_provider.plugin.media_tab.database import queries
from magic_hour_provider.plugin.media_tab.database.queries import load_run, load_snapshots
from magic_hour_provider.plugin.media_tab.database.run_summary import Entry, summarize_run
from magic_hour_provider.plugin.media_tab.pages import run_page

PROMPT = "a lighthouse at dawn"
MANY = 300


@pytest.fixture(scope="module", params=DIALECTS)
def airflow(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Airflow's own tables in a database of their own, with a run of many mapped tasks that have not started."""
    with airflow_on(request.param, tmp_path_factory.mktemp("runs")) as dialect:
        yield dialect


@pytest.fixture
def run(airflow) -> str:
    """The run of a DAG with a mapped task and a single one."""
    with DAG("many", schedule=None) as dag:
        one = {"style": {"prompt": PROMPT}, "image_count": 1}
        mapped = MagicHourOperator.partial(task_id="make", tool="ai-image-generator").expand(request=[one] * MANY)
        mapped >> MagicHourOperator(task_id="last", tool="ai-image-generator", request=one)
    put_run(dag, state="running")
    return airflow


def report(number, **more):
    """Return what an operator reports."""
    request = {"style": {"prompt": f"{PROMPT} {number}"}, "image_count": 1}
    job = {"tool": "ai-image-generator", "kind": "image", "id": f"job{number}", "request": request, "polls": 3}
    times = {"submitted_at": "2026-11-25T08:00:00+00:00", "ended_at": "2026-11-25T08:00:09+00:00"}
    return job | times | {"status": "complete", "credits_charged": 5} | more


def xcoms(number, *names, **more):
    """Return the XComs of a task that has succeeded, as its worker pushes them."""
    job = report(number, **more)
    media = [{"uri": name, "index": index, "size": 9} for index, name in enumerate(names)]
    result = {name: job[name] for name in ("id", "kind", "tool", "status", "credits_charged")}
    result |= {"files": list(names), "file": names[0] if names else None, "media": media}
    return {"magic_hour_job": job, "return_value": result, **result}


def both():
    """Return the summary as it is, and as it would be if every XCom were read whole."""
    with create_session(scoped=False) as session:
        light = load_run(session, "many", RUN)
        snapshots = load_snapshots(session, "many", RUN, light.tasks)
        return light, summarize_run(map(Entry.from_snapshot, snapshots.values()), live=light.live)


def test_the_light_values_say_what_the_whole_ones_do(run):
    """Files, kinds, credits and seconds are the same, of tasks at every stage and with several files."""
    put_mapped(
        "many", "make", "success", [xcoms(n, *(f"/m/x-job{n}-{i}.{'mp4' if n % 3 else 'png'}" for i in range(n % 4)))
                                    for n in range(MANY)],
    )  # fmt: skip
    put_task("many", "make", "failed", {"magic_hour_job": report(1, status="error", credits_charged=0)}, map_index=1)
    put_task("many", "make", "deferred", {"magic_hour_job": report(2, status="rendering", ended_at=None)}, map_index=2)
    put_task("many", "make", "skipped", map_index=4)
    put_task("many", "last", "success", xcoms(7, "/m/x-job7-0.mp4", request={}))  # as a sensor reports another's job
    light, whole = both()
    assert light == whole
    assert light.live
    assert light.totals["credits"] > 5 * (MANY - 10)
    assert light.totals["seconds"] > 9 * (MANY - 10)
    assert light.kinds.keys() == {"video", "image"}


@pytest.mark.parametrize(
    "reshape",
    [
        json.dumps,
        lambda value: json.dumps(json.dumps(value)),
        lambda value: [value],
        lambda value: value | {"files": "a.png", "media": {"uri": "a.png"}},
        lambda value: value | {"id": {"a": 1}, "kind": ["image"], "credits_charged": "many", "submitted_at": 7},
        lambda value: value | {"credits_charged": 10**400, "polls": 10**4000},
        lambda value: value | {"credits_charged": 1e308, "kind": "x" * 100_000},
        lambda value: {},
        lambda value: None,
    ],
    ids=["text", "text twice", "list", "other shapes", "other types", "huge", "long", "empty", "null"],
)
def test_values_of_another_shape(run, reshape):
    """What Airflow's REST API or anybody has written is counted as far as it can be, and never fails the query."""
    good = xcoms(0, "/m/x-job0-0.png")
    odd = {name: reshape(value) for name, value in xcoms(1, "/m/x-job1-0.png").items() if isinstance(value, dict)}
    put_mapped("many", "make", "success", [good, odd, *(xcoms(n, f"/m/x-job{n}-0.png") for n in range(2, MANY))])
    light, _ = both()
    assert light.totals["files"] >= MANY - 1
    assert light.totals["credits"] >= 5 * (MANY - 1)
    assert light.stages["succeeded"] == MANY
    selection = light.select(limit=2)
    with create_session(scoped=False) as session:
        snapshots = load_snapshots(session, "many", RUN, [tile.task for tile in selection.tiles])
    page = run_page(light, selection, snapshots, {}, 0.0)
    assert json.loads(json.dumps(page, allow_nan=False))["tiles"][0]["file"]["uri"] == "/m/x-job0-0.png"


def test_a_text_that_is_no_json(run):
    """SQLite would refuse a query over all values because of one; PostgreSQL does not store it."""
    if run == "postgresql":
        pytest.skip("PostgreSQL does not store it")
    put_mapped("many", "make", "success", [xcoms(n, f"/m/x-job{n}-0.png") for n in range(MANY)])
    for number, text in enumerate(("{", "NaN", '{"id": NaN}', "")):
        with create_session(scoped=False) as session:
            where = (
                XComModel.map_index == number,
                XComModel.key.in_(["magic_hour_job", "files", "media", "return_value"]),
            )
            session.execute(
                sa.update(XComModel).where(*where).values(value=sa.literal_column(f"'{text}'")),
                execution_options={"synchronize_session": False},
            )
    light, _ = both()
    assert light.totals["files"] == MANY - 4


def test_only_the_tiles_values_leave_the_database(run, monkeypatch):
    """Of a large run the requests of its own tiles are read, and no other; the rest is counted."""
    put_mapped("many", "make", "success", [xcoms(n, f"/m/x-job{n}-0.png") for n in range(MANY)])
    read = []
    parse = queries._parse_value
    monkeypatch.setattr(queries, "_parse_value", lambda stored: read.append(stored) or parse(stored))
    with create_session(scoped=False) as session:
        summary = load_run(session, "many", RUN)
        assert not [text for text in read if PROMPT in str(text)]
        selection = summary.select(limit=20)
        snapshots = load_snapshots(session, "many", RUN, [tile.task for tile in selection.tiles])
    assert len([text for text in read if PROMPT in str(text)]) == 20
    page = run_page(summary, selection, snapshots, {}, 0.0)
    assert (len(page["tiles"]), page["matching"], page["totals"]["credits"]) == (20, MANY + 1, 5 * MANY)


def test_only_the_asked_task_instances_are_read(airflow, monkeypatch):
    """Of two mapped tasks the first instance of one and the second of the other: not all four."""
    one = {"style": {"prompt": PROMPT}, "image_count": 1}
    with DAG("pair", schedule=None) as dag:
        for task_id in ("make", "other"):
            MagicHourOperator.partial(task_id=task_id, tool="ai-image-generator").expand(request=[one] * 2)
    put_run(dag)
    for task_id in ("make", "other"):
        put_mapped("pair", task_id, "success", [xcoms(n, f"/m/x-job{n}-0.png") for n in range(2)])
    read = []
    parse = queries._parse_value
    monkeypatch.setattr(queries, "_parse_value", lambda stored: read.append(stored) or parse(stored))
    with create_session(scoped=False) as session:
        entries = [Entry("make", 0, "success", None, True), Entry("other", 1, "success", None, True)]
        snapshots = load_snapshots(session, "pair", RUN, entries)
    assert set(snapshots) == {("make", 0), ("other", 1)}
    assert [snapshots[key].job["id"] for key in (("make", 0), ("other", 1))] == ["job0", "job1"]
    assert len([text for text in read if PROMPT in str(text)]) == 2


@pytest.mark.parametrize(("offset", "limit"), [(0, 7), (7, 7), (150, 1000), (10_000, 5), (10**30, 5)])
@pytest.mark.parametrize(
    "filters", [{}, {"kind": "video"}, {"stage": "succeeded"}, {"kind": "image", "stage": "failed"}]
)
def test_a_selection_is_a_part_of_all(filters, offset, limit):
    """Pages of any size put together are the whole sheet, filtered or not."""
    names = [[f"/m/{n}-{i}.{'mp4' if i % 2 else 'png'}" for i in range(n)] for n in range(30)]
    entries = [Entry("make", n, "success", None, True, files=uris) for n, uris in enumerate(names)]
    entries += [Entry("last", n, "failed", None, True, kind="image") for n in range(9)]
    summary = summarize_run(entries, live=False)
    every = summary.select(limit=10**6)
    kind, stage = filters.get("kind"), filters.get("stage")
    matching = [tile for tile in every.tiles if kind in (None, tile.kind) and stage in (None, tile.task.stage)]
    selection = summary.select(**filters, offset=offset, limit=limit)
    assert selection.tiles == matching[offset : offset + limit]
    assert selection.counts["matching"] == len(matching)
    assert selection.counts["with_file"] == len([tile for tile in matching if tile.index is not None])
