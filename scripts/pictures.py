"""Take the documentation's pictures from a real run, in a real browser, for no credits (``make pictures``)."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from local_airflow import LocalAirflow
from magic_hour_provider.simulator import Simulator
from process_tree import stoppable

ROOT = Path(__file__).resolve().parent.parent
DAG_ID = "autumn_campaign"
RUN_LIMIT_S = 240
PAGE_LIMIT_MS = 60_000
# Found by a prompt, so that nothing in the pictures speaks of faults.
FAULTS: tuple[Mapping[str, Any], ...] = (
    {"fault": "close-after-accept", "prompt": "^.*poster of a lighthouse"},
    {
        "fault": "job-outcome",
        "prompt": "famous person",
        "status": "error",
        "code": "content_policy_violation",
        "message": "The prompt names a real person.",
    },
    {"fault": "job-duration", "prompt": "quiet street", "seconds": 36_000},
    {
        "fault": "job-outcome",
        "prompt": "umbrella",
        "count": 2,
        "status": "error",
        "code": "unknown_error",
        "message": "Please try again.",
    },
)
# Those below the window's edge are loaded when somebody scrolls there.
_LOADED = """nodes => nodes.every(
    one => one.getBoundingClientRect().top > innerHeight || (one.complete && one.naturalWidth > 0))"""
ENDED = {"key_visuals": 1, "variants": 12, "clip": 1, "portrait": 1, "poster": 1, "catalogue": 1}


def wait(ready: Callable[[], bool], seconds: float, otherwise: str) -> None:
    """Wait until something is so.

    :raises TimeoutError: it is not, for so many seconds
    """
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            raise TimeoutError(f"After {seconds:g} s, {otherwise}.")
        time.sleep(0.5)


def run_campaign(airflow: LocalAirflow) -> str:
    """Start a run, and wait until all but the teaser, which goes on rendering, have ended."""
    run_id = airflow.trigger(DAG_ID)

    def ready() -> bool:
        tasks = [ti for ti in airflow.task_instances(DAG_ID, run_id) if ti["state"] in ("success", "failed")]
        return all(sum(ti["task_id"] == name for ti in tasks) == count for name, count in ENDED.items())

    wait(ready, RUN_LIMIT_S, "not all tasks have ended")
    return run_id


class Photographer:
    """A browser at Airflow's UI, which writes what it sees into a folder."""

    def __init__(self, browser: Any, airflow: LocalAirflow, folder: Path) -> None:
        self._browser, self._airflow, self._folder = browser, airflow, folder
        self._token = airflow.log_in()

    def take(self, name: str, address: str, ready: str, *, theme: str = "light", height: int = 760) -> None:
        """Open a page, wait until what it is about is there with its pictures, and write a PNG.

        :param address: below ``/dags/``
        :param ready: a selector in the tab's frame, of what is to be seen
        :param height: of the window, in pixels; it is 1320 wide
        """
        context = self._browser.new_context(viewport={"width": 1320, "height": height})
        context.set_default_timeout(PAGE_LIMIT_MS)
        context.add_init_script(f"localStorage.setItem('theme', '{theme}')")
        context.add_cookies([{"name": "_token", "value": self._token, "url": self._airflow.url}])
        page = context.new_page()
        page.goto(f"{self._airflow.url}/dags/{address}")
        tab = page.frame_locator("iframe")
        tab.locator(ready).first.wait_for()
        wait(lambda: tab.locator("img").evaluate_all(_LOADED), PAGE_LIMIT_MS / 1000, "a picture is missing")
        page.wait_for_timeout(1_500)  # what fades in
        page.screenshot(path=self._folder / f"{name}.png")
        context.close()
        print(f"{name}.png", flush=True)


def main() -> int:
    """Run Airflow and the simulator, take the pictures, and stop both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=ROOT / "docs" / "images", help="where the pictures go")
    parser.add_argument("--chromium", default="/usr/bin/chromium", help="the browser")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)

    from playwright.sync_api import sync_playwright

    with (
        tempfile.TemporaryDirectory(prefix="media-") as work,
        stoppable(),
        Simulator(speed=20) as simulator,
        LocalAirflow(
            Path(work) / "home",
            dags_folder=ROOT / "scripts" / "dags",
            connections={
                "magic_hour_default": {
                    "conn_type": "magic_hour",
                    "host": simulator.url,
                    "password": "mhk_live_simulator",
                }
            },
            environment={"AIRFLOW__MAGIC_HOUR__OUTPUT_PATH": str(Path(work) / "output")},
        ) as airflow,
        sync_playwright() as driver,
    ):
        for fault in FAULTS:
            simulator.inject_fault(**fault)
        run_id = run_campaign(airflow)
        browser = driver.chromium.launch(executable_path=arguments.chromium, args=["--no-sandbox"])
        photographer = Photographer(browser, airflow, arguments.folder)
        run = f"{DAG_ID}/runs/{run_id}"
        photographer.take("media-run", f"{run}/plugin/magic-hour-run-media", "img", theme="dark")
        photographer.take("media-task", f"{run}/tasks/clip/plugin/magic-hour-media", "video", height=900)
        photographer.take("media-pick", f"{run}/tasks/key_visuals/plugin/magic-hour-media", ".shown img", height=900)
        photographer.take("media-failed", f"{run}/tasks/portrait/plugin/magic-hour-media", ".alert")
        photographer.take(
            "media-recover", f"{run}/tasks/poster/plugin/magic-hour-media", "#recovery button", height=900
        )
        photographer.take("media-batch", f"{run}/tasks/catalogue/plugin/magic-hour-media", "img", height=1000)
        photographer.take("spend", f"{DAG_ID}/plugin/magic-hour-spend", "table")
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
