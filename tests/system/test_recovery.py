"""A lost response, and a picture that nobody likes: recovered in the Media tab, on real Airflow, in a real browser."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import pytest

from helpers.browser import needs_chromium
from helpers.money_report import note
from helpers.system import World
from helpers.waiting import until
from magic_hour_provider.api.models import library_url

pytestmark = [pytest.mark.system, needs_chromium]

DAG_ID = "lost_response"
TABLE = "Recovery in the Media tab, on real Airflow"


@pytest.fixture(scope="module")
def run_id(world: World) -> str:
    """Return a run whose task ``lost`` has failed with its response lost, beside one that has made its picture."""
    run_id = world.airflow.trigger(DAG_ID)
    assert world.airflow.wait_for_run(DAG_ID, run_id) == "failed"
    states = {ti["task_id"]: ti["state"] for ti in world.airflow.task_instances(DAG_ID, run_id)}
    assert states == {"lost": "failed", "made": "success", "publish": "upstream_failed"}
    return run_id


def jobs_of(world: World, task_id: str) -> list[dict[str, Any]]:
    """Return the jobs that were paid for by a task: its name begins each job's."""
    return [job for job in world.sim.jobs() if job["name"].startswith(f"{DAG_ID}.{task_id} ")]


def events(world: World, task_id: str) -> list[str]:
    """Return what Airflow's audit log says was done to a task, by whom, without what Airflow itself does."""
    entries = world.airflow.api("GET", "/eventLogs", dag_id=DAG_ID, task_id=task_id, limit=100)["event_logs"]
    return [f"{entry['owner']}: {entry['event']}" for entry in entries if "magic_hour" in entry["event"]]


def address(world: World, run_id: str, task_id: str) -> str:
    """Return where the server's part of a task's recovery is."""
    return f"{world.airflow.url}/magic-hour/media/dags/{DAG_ID}/runs/{run_id}/tasks/{task_id}/-1/recovery"


def count_clicks(tab: Any) -> None:
    """Have the page count the clicks in it."""
    counting = "() => { page.dataset.clicks = Number(page.dataset.clicks ?? 0) + 1; }"
    tab.locator("html").evaluate(f"page => page.addEventListener('click', {counting}, true)")


def test_who_may_only_read_sees_no_form(world, run_id, visit):
    """A viewer of the DAG sees the failure as ever, and no form; the server refuses both reading and instructing."""
    someone = visit("viewer")
    with someone.page.expect_response(lambda answer: answer.url.endswith("/recovery")) as refused:
        tab = someone.open(DAG_ID, run_id, "lost")
    assert refused.value.status == 403
    assert tab.get_by_text("Next step", exact=True).is_visible()
    assert tab.locator("#recovery").get_by_role("button").count() == 0
    url, headers = address(world, run_id, "lost"), {"authorization": f"Bearer {world.token_of('viewer')}"}
    instruction = {"action": "regenerate", "job": None, "replaces": "nothing", "confirmed_tag": None}
    assert httpx.get(url, headers=headers).status_code == 403
    assert httpx.post(url, headers=headers, json=instruction).status_code == 403
    assert (len(jobs_of(world, "lost")), events(world, "lost")) == (1, [])


def test_another_site_is_refused(world, run_id, visit):
    """A page of another origin that the admin opens can give no instruction, with the login cookie or without."""
    someone = visit()
    url = address(world, run_id, "lost")
    replaces = httpx.get(url, headers={"authorization": f"Bearer {world.token_of('admin')}"}).json()["replaces"]
    instruction = {"action": "regenerate", "job": None, "replaces": replaces, "confirmed_tag": None}
    elsewhere = "http://localhost:9/"
    someone.context.route(elsewhere, lambda route: route.fulfill(body="<!doctype html>", content_type="text/html"))
    someone.page.goto(elsewhere)
    always = "method: 'POST', credentials: 'include'"
    send = f"([url, body, options]) => fetch(url, {{{always}, body, ...options}}).catch(() => 0)"
    for options in ({"mode": "no-cors"}, {"headers": {"content-type": "application/json"}}):
        someone.page.evaluate(send, [url, json.dumps(instruction), options])
    assert {status for status, where in someone.answers if where == url} <= {401, 403, 405, 415}
    cookies = {"_token": world.token_of("admin")}
    for origin in (elsewhere, "null"):
        answer = httpx.post(url, cookies=cookies, json=instruction, headers={"origin": origin})
        assert answer.status_code == 403, answer.text
    assert httpx.post(url, cookies=cookies, json=instruction).status_code == 403  # neither an origin nor a token
    state = world.airflow.task_instance(DAG_ID, run_id, "lost")["state"]
    assert (state, len(jobs_of(world, "lost")), len(jobs_of(world, "made"))) == ("failed", 1, 1)
    assert set(events(world, "lost")) == {"admin: magic_hour_recovery"}  # refused


def test_a_lost_response_is_recovered_in_the_tab(world, run_id, visit):
    """Two clicks and a paste: the job goes to its task, and what waits for it runs; one create in all."""
    (job,) = jobs_of(world, "lost")
    someone = visit(width=1320, height=900)
    tab = someone.open(DAG_ID, run_id, "lost", click=True)
    field = tab.get_by_label("Id of the job")
    field.wait_for()
    began = time.monotonic()
    assert job["name"].rpartition("#")[2] in tab.locator("#recovery").inner_text()
    assert not tab.get_by_text("Next step", exact=True).is_visible()  # the form is the next step
    assert tab.locator("#recovery").get_by_text("https://magichour.ai/my-library", exact=True).count() == 1
    someone.keep("recover")
    count_clicks(tab)
    field.click()
    someone.page.keyboard.insert_text(library_url("image", job["id"]))
    tab.get_by_role("button", name="Go on with this job").click()
    tab.locator(".badge.succeeded").wait_for()
    took = time.monotonic() - began
    assert tab.locator("html").get_attribute("data-clicks") == "2"
    assert world.airflow.wait_for_run(DAG_ID, run_id) == "success"
    assert world.airflow.task_instance(DAG_ID, run_id, "publish")["state"] == "success"
    assert world.airflow.xcom(DAG_ID, run_id, "lost")["id"] == job["id"]
    assert [one["id"] for one in jobs_of(world, "lost")] == [job["id"]]
    assert events(world, "lost").count("admin: magic_hour_adopt") == 1
    outcome = f"success after 2 clicks and a paste, {took:.0f} s from the page; what waited for it has run"
    note(TABLE, ("lost response", "adopted"), creates=1, credits=job["credits_charged"], outcome=outcome)


def test_a_new_one_is_made_behind_a_confirmation(world, run_id, visit):
    """The confirmation names the price of the last job and takes the focus; a cancel sends nothing; one create more."""
    (first,) = jobs_of(world, "made")
    someone = visit(theme="dark")
    tab = someone.open(DAG_ID, run_id, "made")
    again = tab.get_by_role("button", name="Make a new one")
    again.click()
    question = tab.get_by_role("group", name="A new job is paid for")
    assert f"The last one cost {first['credits_charged']} credits" in question.inner_text()
    assert question.evaluate("group => group === document.activeElement")
    someone.page.keyboard.press("Escape")
    question.wait_for(state="hidden")
    assert again.evaluate("button => button === document.activeElement")
    assert (len(jobs_of(world, "made")), events(world, "made")) == (1, [])
    again.click()
    someone.keep("regenerate-dark")
    question.get_by_role("button", name="Pay").click()
    until(lambda: len(jobs_of(world, "made")) == 2)
    assert world.airflow.wait_for_run(DAG_ID, run_id) == "success"
    second = next(job for job in jobs_of(world, "made") if job["id"] != first["id"])
    tab.locator("#panel").get_by_text(second["id"], exact=True).wait_for()
    assert world.airflow.xcom(DAG_ID, run_id, "made")["id"] == second["id"]
    assert events(world, "made") == ["admin: magic_hour_regenerate"]
    credits = first["credits_charged"] + second["credits_charged"]
    note(TABLE, ("job made", "regenerated"), creates=2, credits=credits, outcome="success: one job more")
