"""Lineage of a real run: what the OpenLineage provider sends by itself, to a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers.samples import KEY
from helpers.waiting import until
from magic_hour_provider.outputs.lineage import FACET
from magic_hour_provider.simulator.webhooks.registration import DEFAULT_SECRET

pytestmark = pytest.mark.system

TASKS = ("picture", "clip", "campaign")
SECRETS = ("5ec7e75ec7e7", "AKIAEXAMPLE", "mhk_live", KEY, DEFAULT_SECRET)  # the first two are of the link in the DAG


@pytest.fixture(scope="module")
def traced(world):
    """Run the DAG once; return its Airflow and Magic Hour, the run's id, and the events of the run."""
    pytest.importorskip("airflow.providers.openlineage")
    sent, paid = world.airflow.home.parent / "events.jsonl", world.sim.stats()["creates"]["accepted"]
    run_id = world.airflow.trigger("traced")
    assert world.airflow.wait_for_run("traced", run_id) == "success"
    # Sent by each task's own process after its end, so maybe a moment after Airflow knows that.
    until(lambda: all(completed(events_in(sent), task) for task in TASKS))
    assert world.sim.stats()["creates"]["accepted"] == paid + 4
    return world, run_id, events_in(sent)


def events_in(path):
    """Return what has been sent so far, as far as it is whole."""
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def completed(events, task):
    """Return the events that say that a task has succeeded."""
    return [one for one in events if one["eventType"] == "COMPLETE" and one["job"]["name"] == f"traced.{task}"]


def names(datasets):
    """Return datasets as one text each."""
    return [f"{one['namespace']} {one['name']}" for one in datasets]


def test_what_a_task_read_and_stored(traced):
    """The photo and the link without its signature; the picture where it is stored; the job with its credits."""
    world, run_id, events = traced
    result = world.airflow.xcom("traced", run_id, "picture")
    (event,) = completed(events, "picture")
    given = Path(world.airflow.environment["GIVEN"])
    assert names(event["inputs"]) == [f"file {given / 'photo.png'}", "https://bucket.s3.amazonaws.com in/logo.png"]
    assert names(event["outputs"]) == [f"file {result['file']}"]
    facet = event["run"]["facets"][FACET]
    assert (facet["tool"], facet["model"], facet["kind"]) == ("ai-image-editor", "seedream-v4", "image")
    assert (facet["job_id"], facet["credits"]) == (result["id"], result["credits_charged"])
    assert facet["library_url"] == result["library_url"]


def test_a_chain_is_connected(traced):
    """What one task has stored is the input of the next; media that nobody stores are Magic Hour's own datasets."""
    world, run_id, events = traced
    (picture,), (clip,) = completed(events, "picture"), completed(events, "clip")
    result = world.airflow.xcom("traced", run_id, "clip")
    assert names(clip["inputs"]) == names(picture["outputs"])
    assert names(clip["outputs"]) == [f"magic-hour://video {result['id']}"]
    assert clip["run"]["facets"][FACET]["job_id"] == result["id"]


def test_a_batch(traced):
    """The file of rows, the folder and the results, and what all items cost together."""
    world, run_id, events = traced
    manifest = world.airflow.xcom("traced", run_id, "campaign")
    (event,) = completed(events, "campaign")
    given = Path(world.airflow.environment["GIVEN"])
    assert names(event["inputs"]) == [f"file {given / 'rows.jsonl'}"]
    assert names(event["outputs"]) == [f"file {given / 'campaign'}", f"file {manifest['results']}"]
    facet = event["run"]["facets"][FACET]
    assert (facet["items"], facet["credits"]) == (2, manifest["credits_charged"])


def test_nothing_secret_is_sent(traced):
    """In no event of the run is a key, a signature, or a link that opens a file of Magic Hour's."""
    events = traced[2]
    text = json.dumps(events)
    assert len(events) >= 2 * len(TASKS)
    assert "logo.png" in text
    assert not [secret for secret in SECRETS if secret in text]
    assert "signature=" not in text.lower()
