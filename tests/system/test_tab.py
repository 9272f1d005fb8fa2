"""The Media tab as people use it: Debian's chromium, Airflow's own UI, and jobs of the simulator."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_settings import HANG_S
from helpers.browser import Visit, needs_chromium
from helpers.waiting import until

ROOT = Path(__file__).parent.parent.parent

pytestmark = [pytest.mark.system, needs_chromium]


@pytest.fixture(scope="module")
def runs(world) -> dict[str, str]:
    """Put a large run beside the others, and start the DAG that most tests open."""
    path = os.pathsep.join(str(ROOT / folder) for folder in ("tests", "scripts"))
    environment = world.airflow.environment | {"PYTHONPATH": path}
    subprocess.run(
        [sys.executable, str(ROOT / "tests" / "helpers" / "many_media.py"), str(world.output / "many")],
        env=environment,
        check=True,
        timeout=HANG_S,
    )
    # Only now: SQLite has one writer at a time, and a task whose report has to wait too long for it fails.
    return {"tab": world.airflow.trigger("tab"), "tab_many": "many"}


def ended(world: Any, run_id: str, task_id: str, dag_id: str = "tab") -> None:
    """Wait until a task has ended."""
    world.airflow.wait_for_task(dag_id, run_id, task_id, ("success", "failed"))


def test_a_film_plays_and_seeks(world, runs, visit):
    """The tab opens; after play the film's time advances; seeking asks for a part of the file and gets it."""
    ended(world, runs["tab"], "film")
    someone = visit()
    tab = someone.open("tab", runs["tab"], "film", click=True)
    video = tab.locator("video")
    video.evaluate("film => new Promise(done => film.readyState ? done() : film.addEventListener('loadeddata', done))")
    video.evaluate("film => { film.muted = true; return film.play(); }")
    until(lambda: video.evaluate("film => film.currentTime") > 0.3)
    video.evaluate("film => { film.pause(); film.currentTime = film.duration - 0.2; }")
    until(lambda: video.evaluate("film => !film.seeking && film.currentTime > film.duration - 0.5"))
    files = [status for status, url in someone.answers if url.endswith("/files/0")]
    assert set(files) == {206}
    assert tab.locator("blockquote").inner_text() == "a lighthouse at dawn"
    assert tab.get_by_text("complete").count() == 1
    assert tab.get_by_text("https://magichour.ai/my-library?videoId=").count() == 1
    someone.keep("film")
    with someone.page.expect_download() as download:
        tab.get_by_role("link", name="Download").click()
    assert Path(download.value.path()).read_bytes()[4:8] == b"ftyp"


def test_four_pictures_and_a_hostile_prompt(world, runs, visit):
    """Each picture can be chosen by keyboard; markup in a prompt is shown as it was written."""
    ended(world, runs["tab"], "pictures")
    someone = visit(theme="dark")
    tab = someone.open("tab", runs["tab"], "pictures")
    shown = tab.locator(".shown img")
    first = shown.get_attribute("src")
    assert shown.get_attribute("alt").startswith("Image: a <b>bold</b> lighthouse <img")
    assert tab.locator("blockquote").inner_text() == "a <b>bold</b> lighthouse <img src=x onerror=alert(1)>"
    thumbs = tab.locator(".thumb")
    assert thumbs.count() == 4
    thumbs.nth(0).focus()
    thumbs.nth(0).press("ArrowRight")
    assert tab.locator(".shown img").get_attribute("src") == first.replace("/files/0", "/files/1")
    assert tab.locator("html").get_attribute("data-theme") == "dark"
    background = tab.locator("body").evaluate("body => getComputedStyle(body).backgroundColor")
    around = "getComputedStyle(document.documentElement).getPropertyValue('--chakra-colors-bg')"
    assert background == someone.page.evaluate(around)
    someone.keep("pictures-dark")


def test_the_theme_changes_with_airflows(world, runs, visit):
    """When Airflow's theme is changed, the tab follows at once."""
    someone = visit()
    tab = someone.open("tab", runs["tab"], "pictures")
    tab.locator("html[data-theme=light]").wait_for(state="attached")
    someone.page.evaluate("document.documentElement.classList.replace('light', 'dark')")
    tab.locator("html[data-theme=dark]").wait_for(state="attached")


def test_a_failed_job(world, runs, visit):
    """The message, what it means for the charge, and the next step."""
    ended(world, runs["tab"], "fails")
    someone = visit()
    tab = someone.open("tab", runs["tab"], "fails")
    alert = tab.locator(".alert")
    assert "failed with content_policy_violation" in alert.inner_text()
    assert re.search(r"Charge\s+Magic Hour refunds the job", alert.inner_text())
    assert re.search(r"Next step\s+The same request would fail again", alert.inner_text())
    someone.keep("failed")


def test_a_task_that_is_not_ours(world, runs, visit):
    """One quiet line, whatever the task says of itself; a forged XCom serves nothing."""
    ended(world, runs["tab"], "not_ours")
    someone = visit()
    tab = someone.open("tab", runs["tab"], "not_ours")
    assert tab.locator(".empty").inner_text().startswith("This task runs no Magic Hour operator")
    assert tab.locator("img, video, audio").count() == 0


def test_a_job_that_ends_while_somebody_watches(world, visit):
    """State, age and expected end; then the film stands there, without anybody reloading the page."""
    someone = visit()
    run_id = world.airflow.trigger("tab_slow")
    tab = someone.open("tab_slow", run_id, "slow")
    tab.get_by_text(re.compile("Expected at|It is late")).wait_for()
    assert re.match(r"For \d+ s", tab.locator("[data-age]").inner_text())
    someone.keep("under-way")
    tab.locator("html").evaluate("page => { page.dataset.sameDocument = 'yes'; }")
    tab.locator("video").wait_for(timeout=1000 * HANG_S)
    # The film can be there a look before Airflow knows that its task has ended.
    until(lambda: tab.locator("#announcer").inner_text() == "Succeeded: 1 file.")
    assert tab.locator("html").get_attribute("data-same-document") == "yes"
    asked = [job["polls"] for job in world.sim.jobs() if "a slow river" in json.dumps(job)]
    report = world.airflow.xcom("tab_slow", run_id, "slow", "magic_hour_job")
    assert asked == [] or asked[0] <= report["polls"] + 10  # the trigger's polls; a viewer makes none


def test_a_run_with_two_hundred_media(world, runs, visit):
    """The contact sheet: totals, pictures that load when they come near, filters, and a lightbox with keyboard."""
    someone = visit(theme="dark")
    tab = someone.open("tab_many", "many")
    tab.locator(".tile").first.wait_for()
    assert re.findall(r"\d[\d,]*|\w+", tab.locator("#totals").inner_text()) == ["files", "200", "credits", "1,000"]
    tab.locator(".tile img").nth(8).evaluate("image => image.decode()")
    loaded = {url for _, url in someone.answers if "/files/" in url}
    assert 0 < len(loaded) < 120
    someone.keep("run-dark")
    tab.locator("#more").scroll_into_view_if_needed()
    until(lambda: tab.locator(".tile").count() == 200)
    tab.get_by_role("button", name=re.compile("Videos 20")).click()
    until(lambda: tab.locator(".tile").count() == 20)
    tab.locator("button.tile").first.click()
    box = tab.locator("dialog[open]")
    assert box.locator("h2").inner_text() == "make [9]"
    until(lambda: box.locator("video").evaluate("film => film.currentTime") > 0.1)
    someone.page.keyboard.press("ArrowRight")
    assert box.locator("h2").inner_text() == "make [19]"
    someone.keep("lightbox")
    someone.page.keyboard.press("End")
    assert box.locator("h2").inner_text() == "make [199]"
    assert box.get_by_role("button", name="Next").count() == 0
    someone.page.keyboard.press("Escape")
    box.wait_for(state="detached")


@pytest.mark.parametrize(("dag_id", "task_id"), [("tab_many", None), ("tab", "film"), ("tab", "fails")])
def test_at_360_pixels(world, runs, visit, dag_id, task_id):
    """Nothing is wider than a phone, neither the run nor a task with a film or a failure."""
    if task_id:
        ended(world, runs["tab"], task_id)
    someone = visit(width=360, height=740)
    task = f"/tasks/{task_id}/-1" if task_id else ""
    someone.page.goto(f"{world.airflow.url}/magic-hour/media/dags/{dag_id}/runs/{runs[dag_id]}{task}")
    someone.page.locator(".tile, .shown, .alert").first.wait_for()
    wide = someone.page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 360
    someone.keep(f"narrow-{task_id or 'run'}")


def test_a_stranger_is_refused(world, runs, chromium):
    """Without a login 401, with one of a user without a role 403: for the page, its details and the file."""
    ended(world, runs["tab"], "film")
    page = f"{world.airflow.url}/magic-hour/media/dags/tab/runs/{runs['tab']}/tasks/film/-1"
    for user, status in ((None, 401), ("stranger", 403)):
        someone = Visit(world, chromium)
        if user:
            someone.log_in(user)
        for address in (page, f"{page}/details", f"{page}/files/0"):
            assert someone.page.goto(address).status == status
        someone.context.close()


def test_a_forged_xcom_is_refused(world, runs, visit):
    """Somebody who may write XComs names a file outside the roots: the page says no, and no byte of it is sent."""
    ended(world, runs["tab"], "pictures")
    secret = world.airflow.home / "secret.png"
    secret.write_bytes(b"\x89PNG\r\n\x1a\nvery secret")
    link = world.output / "link.png"
    link.symlink_to(secret)
    xcom = f"/dags/tab/dagRuns/{runs['tab']}/taskInstances/pictures/xcomEntries/return_value"
    before = world.airflow.api("GET", xcom)["value"]
    someone = visit()
    try:
        for uri in (str(secret), f"file://{secret}", f"{world.output}/../{secret.parent.name}/secret.png", str(link)):
            world.airflow.api("PATCH", xcom, json={"value": {"tool": "x", "media": [{"uri": uri}]}})
            tab = someone.open("tab", runs["tab"], "pictures")
            assert "media_roots" in tab.locator(".frame .note").inner_text()
            page = f"{world.airflow.url}/magic-hour/media/dags/tab/runs/{runs['tab']}/tasks/pictures/-1/files/0"
            answer = someone.context.request.get(page)
            assert (answer.status, b"very secret" in answer.body()) == (403, False)
    finally:
        value = json.loads(before) if isinstance(before, str) else before
        world.airflow.api("PATCH", xcom, json={"value": value})


def test_a_person_picks_one_of_four(world, visit):
    """The example DAG: the question leads to the tab; only the picked picture is animated and published."""
    airflow, dag_id = world.airflow, "pick_by_eye"
    run_id = airflow.trigger(dag_id)
    waits = ("awaiting_input", "deferred")
    assert airflow.wait_for_task(dag_id, run_id, "pick", (*waits, "failed", "up_for_retry"))["state"] in waits
    asked = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/pick/-1/hitlDetails"
    link = re.search(r"\((http[^)]+)\)", until(lambda: airflow.api("GET", asked)["body"])).group(1)
    someone = visit()
    someone.page.goto(link)
    tab = someone.page.frame_locator("iframe[title='Media']")
    tab.locator(".thumb").nth(3).wait_for()
    assert tab.locator(".thumb").count() == 4
    someone.keep("pick-by-eye")
    airflow.wait_until_left(dag_id, run_id, "pick")
    airflow.api("PATCH", asked, json={"chosen_options": ["3"], "params_input": {}})
    assert airflow.wait_for_run(dag_id, run_id) == "success"

    def address(task_id: str) -> str:
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
        return str(airflow.api("GET", path)["value"]).strip('"')

    assert address("picked") == airflow.xcom(dag_id, run_id, "variants")["files"][2]
    jobs = [job["tool"] for job in world.sim.jobs() if job["name"].startswith(f"{dag_id}.")]
    assert sorted(jobs) == ["ai-image-generator", "image-to-video"]
    published = Path(address("publish"))
    assert (published.parent.name, published.read_bytes()[4:8]) == ("published", b"ftyp")
