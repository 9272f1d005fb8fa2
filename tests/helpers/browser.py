"""People at browser windows: Debian's chromium, with Airflow's own UI."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from airflow_settings import ANSWER_S
from helpers.system import World

SCREENSHOTS = Path(__file__).parent.parent.parent / ".screenshots"
CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
WAIT = 1000 * ANSWER_S  # milliseconds

needs_chromium = pytest.mark.skipif(
    not Path(CHROMIUM).exists(), reason="there is no chromium; Debian has it in its package chromium"
)


@contextmanager
def running_chromium() -> Iterator[Any]:
    """Run the browser for the length of a ``with`` block."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        )
        yield browser
        browser.close()


class Visit:
    """One person at one browser window, and what went wrong in it."""

    def __init__(
        self, world: World, browser: Any, *, width: int = 1600, height: int = 1000, theme: str = "light"
    ) -> None:
        self.world, self.troubles = world, []
        self.context = browser.new_context(viewport={"width": width, "height": height}, accept_downloads=True)
        self.context.add_init_script(f"localStorage.setItem('theme', '{theme}')")
        self.context.set_default_timeout(WAIT)
        self.page = self.context.new_page()
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.troubles.append(dialog.message), dialog.dismiss()))
        self.page.on("console", self._said)
        self.answers: list[tuple[int, str]] = []
        self.page.on("response", lambda answer: self.answers.append((answer.status, answer.url)))

    def _said(self, message: Any) -> None:
        # The policy's own reports, and scripts of ours that fail; Airflow's UI has its own warnings, and the browser
        # reports each refusal of a recovery, which are part of the tab.
        where = str(message.location.get("url"))
        ours = "/magic-hour/" in where and not where.endswith("/recovery")
        if message.type == "error" and ("Content Security Policy" in message.text or ours):
            self.troubles.append(message.text)

    def log_in(self, user: str) -> None:
        """Take the login cookie of one of Airflow's users."""
        self.context.add_cookies(
            [{"name": "_token", "value": self.world.token_of(user), "url": self.world.airflow.url}]
        )

    def open(self, dag_id: str, run_id: str, task_id: str | None = None, *, click: bool = False) -> Any:
        """Open the tab of a run or of a task instance in Airflow's UI, and return what is in its frame.

        :param click: come from the page that has the tab, as people do, not by the tab's own address.
        """
        address = f"{self.world.airflow.url}/dags/{dag_id}/runs/{run_id}" + (f"/tasks/{task_id}" if task_id else "")
        if click:
            self.page.goto(address)
            self.page.get_by_role("link", name="Media", exact=True).click()
        else:
            self.page.goto(f"{address}/plugin/{'magic-hour-media' if task_id else 'magic-hour-run-media'}")
        return self.page.frame_locator("iframe[title='Media']")

    def keep(self, name: str) -> None:
        """Take a screenshot, for people to see."""
        SCREENSHOTS.mkdir(exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png")
