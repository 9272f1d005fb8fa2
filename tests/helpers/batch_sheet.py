"""A campaign's contact sheet, as the admin sees it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from helpers.airflow_rows import token
from helpers.campaigns import TASK, Campaign
from magic_hour_provider.plugin import tabs

SHEET = f"/magic-hour/media/dags/{TASK[0]}/runs/{TASK[1]}/tasks/campaign/-1"


class Sheet:
    """A campaign, and its contact sheet as the admin sees it."""

    def __init__(self, api: Any, campaign: Campaign) -> None:
        self.api, self.campaign = api, campaign
        self.folder = Path(campaign.batches.folder)
        self.headers = {"authorization": f"Bearer {token()}"}

    def get(self, path: str, **query: Any) -> Any:
        """Ask as the admin."""
        return self.api.get(f"{SHEET}{path}", headers=self.headers, params=query)

    def page(self, **query: Any) -> Any:
        """Return a part of it."""
        answer = self.get("/items", **query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def tiles(self, **query: Any) -> dict[str, Any]:
        """Return the tiles by their items."""
        return {tile["item"]: tile for tile in self.page(**query)["items"]}

    def file(self, tile: Any, index: int = 0) -> Any:
        """Ask for a file of a tile."""
        return self.get(f"/items/{tile['record']}/files/{index}")

    @property
    def tab(self) -> Any:
        """What the routes share."""
        return tabs.MEDIA_APP["app"]._app.state.media_tab  # type: ignore[attr-defined]
