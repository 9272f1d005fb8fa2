"""The items of a batch as people see them: Debian's chromium, and the API server's application in this process."""

from __future__ import annotations

import pytest

from helpers.airflow_rows import make_app
from helpers.batch_sheet import SHEET
from helpers.browser import needs_chromium, running_chromium
from helpers.webhooks import serving
from magic_hour_provider.plugin import tabs

pytestmark = needs_chromium


@pytest.fixture
def page(sheet, monkeypatch):
    """A phone's narrow window on a campaign of four items of which one failed and one was lost, in the dark."""
    given = [{"sku": sku, "style": {"prompt": sku}} for sku in ("Red shoe", "boot")]
    given += [{"sku": "bad", "style": {"prompt": "b [[error:no_source_face]]"}}]
    given += [{"sku": "lost", "style": {"prompt": "c [[lost-response]]"}}]
    sheet.campaign.attempt(given)
    monkeypatch.setattr(tabs.MEDIA_APP["app"], "_app", None)  # one of this server's own event loop
    with serving(make_app()) as url, running_chromium() as browser:
        context = browser.new_context(
            viewport={"width": 360, "height": 740}, color_scheme="dark", extra_http_headers=sheet.headers
        )
        context.set_default_timeout(30_000)
        page, troubles = context.new_page(), []
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
        page.goto(f"{url}{SHEET}")
        page.locator(".items .tile").nth(3).wait_for()
        yield page
        context.close()
    assert troubles == []


def test_from_the_sheet_to_a_new_job(sheet, page):
    """Failures come first on request; by keyboard the viewer goes through the items, and one of them is made again."""
    tiles = page.locator(".items .tile")
    assert [tile.get_attribute("aria-label").partition(".")[0] for tile in tiles.all()] == [
        "bad",
        "boot",
        "lost",
        "Red shoe",
    ]
    tiles.nth(1).locator("img").evaluate("image => image.decode()")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.get_by_role("button", name="Failures first").click()
    page.locator(".items .tile >> nth=0").filter(has_text="lost").wait_for()
    assert page.locator("#announcer").inner_text() == "4 items."
    tiles.first.press("Enter")
    box = page.locator("dialog[open]")
    assert box.locator("header h2").inner_text() == "lost"
    box.get_by_role("button", name="Go on with this job").wait_for()
    assert box.get_by_text("#").first.inner_text().startswith("#")
    page.keyboard.press("ArrowRight")
    assert box.locator("header h2").inner_text() == "bad"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert box.locator("header h2").inner_text() == "Red shoe"
    box.locator(".frame img").evaluate("image => image.decode()")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Make items again").click()
    page.get_by_role("button", name="All 4 items").click()
    page.get_by_role("button", name="Pay about 30 credits and what is not known").click()
    page.get_by_text("Type 4, the number of items.").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.keyboard.press("Escape")
    assert sheet.campaign.instructions() == {}
    tiles.nth(3).click()
    box.get_by_role("button", name="Make a new one").click()
    page.keyboard.press("Escape")
    assert box.locator(".question").is_hidden()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    box.get_by_role("button", name="Make a new one").click()
    box.get_by_role("button", name="Pay about 10 credits").click()
    box.get_by_text("The task is cleared, for this item to make a new job.").wait_for()
    assert sheet.campaign.is_cleared
    assert [[one.action for one in ones] for ones in sheet.campaign.instructions().values()] == [["regenerate"]]
    assert sheet.campaign.creates() == 4
