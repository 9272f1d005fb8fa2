"""Airflow's API server in this process, with its database, and files to be shown."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, task
from starlette.testclient import TestClient

from helpers.airflow_rows import RUN, forget_tasks, put_run, put_task, token
from helpers.attempts import Connected
from helpers.batch_sheet import Sheet
from helpers.campaigns import Campaign
from magic_hour_provider.api.models import is_id
from magic_hour_provider.operators.files import MagicHourDeleteOperator, MagicHourUploadOperator
from magic_hour_provider.operators.image import MagicHourAIImageGeneratorOperator
from magic_hour_provider.operators.magic_hour import MagicHourOperator
from magic_hour_provider.plugin.media_tab.batch_sheet import cache
from magic_hour_provider.plugin.media_tab.files import guard
from magic_hour_provider.plugin.web import load_cache
from magic_hour_provider.xcoms import submitted_xcom

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8
MP4 = b"\x00\x00\x00\x18ftypmp42" + bytes(range(256)) * 4000
PICTURE = {"image_count": 1, "style": {"prompt": "a lighthouse"}}


class TheirOperator(MagicHourAIImageGeneratorOperator):
    """An operator as users make them: in a module of their own."""


@task
def plain() -> None:
    """A task that has nothing to do with Magic Hour."""


def a_dag(dag_id: str = "campaign") -> DAG:
    """Return a DAG with every sort of task."""
    with DAG(dag_id, schedule=None) as dag:
        made = MagicHourOperator(task_id="make", tool="ai-image-generator", request=PICTURE)
        made >> TheirOperator(task_id="theirs", **PICTURE)
        MagicHourOperator.partial(task_id="mapped", tool="text-to-video").expand(
            request=[{"style": {"prompt": f"waves {n}"}, "end_seconds": 3} for n in range(4)]
        )
        MagicHourUploadOperator(task_id="upload", source="x.png")
        MagicHourDeleteOperator(task_id="delete", job={"kind": "image", "id": "x"})
        plain()
    return dag


@pytest.fixture(scope="session")
def api(api: TestClient) -> TestClient:
    """The API server, with a run of the DAG."""
    put_run(a_dag(), state="running")
    return api


class Tab:
    """The Media tab of one DAG's run, as the admin sees it."""

    def __init__(self, api: TestClient, dag_id: str, roots: Path) -> None:
        self.api, self.dag_id, self.files = api, dag_id, roots
        self.headers = {"authorization": f"Bearer {token()}"}

    def path(self, task_id: str | None = "make", map_index: Any = "{MAP_INDEX}") -> str:
        """Return the address of a page."""
        run = f"/magic-hour/media/dags/{self.dag_id}/runs/{RUN}"
        return run if task_id is None else f"{run}/tasks/{task_id}/{map_index}"

    def get(self, path: str, **headers: str) -> Any:
        """Ask as the admin."""
        return self.api.get(path, headers=self.headers | headers)

    def details(self, task_id: str | None = "make", map_index: Any = "{MAP_INDEX}", **query: Any) -> Any:
        """Return the details behind a page."""
        answer = self.api.get(f"{self.path(task_id, map_index)}/details", headers=self.headers, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def put(self, task_id: str, state: str | None, map_index: int = -1, **xcoms: Any) -> None:
        """Set a task's state and XComs; it has also reported each job that they name, as operators do."""
        named = (value.get("id") for value in xcoms.values() if isinstance(value, dict))
        xcoms |= {submitted_xcom(job_id): {} for job_id in named if is_id(job_id)}
        put_task(self.dag_id, task_id, state, xcoms, map_index=map_index)

    def result(self, *names: str, **more: Any) -> dict[str, Any]:
        """Return the result of a task with these files, each made below the root if it has no address of its own."""
        uris = [name if "/" in name else str(self.files / name) for name in names]
        media = [{"uri": uri, "index": n, "content_type": "image/png", "size": 9, "sha256": "0" * 64}
                 for n, uri in enumerate(uris)]  # fmt: skip
        base = {"id": "abc123", "kind": "image", "tool": "ai-image-generator", "name": "n", "status": "complete"}
        return base | {"credits_charged": 5, "files": uris, "file": uris[0] if uris else None, "media": media} | more

    def file(self, index: int = 0, task_id: str = "make", query: str = "", **headers: str) -> Any:
        """Ask for a file."""
        return self.get(f"{self.path(task_id)}/files/{index}{query}", **headers)


@pytest.fixture
def tab(api: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tab:
    """A run whose tasks have not started, and a folder that may be shown."""
    root = tmp_path / "media"
    root.mkdir()
    (root / "a-abc123-1.png").write_bytes(PNG)
    (root / "film-abc123-1.mp4").write_bytes(MP4)
    monkeypatch.setitem(os.environ, "AIRFLOW__MAGIC_HOUR__MEDIA_ROOTS", str(root))
    monkeypatch.setattr(load_cache, "_KEPT_S", 0)  # tests ask for what they have just written
    monkeypatch.setattr(load_cache, "_TIMES_LOADING", 0)
    forget_tasks("campaign")
    return Tab(api, "campaign", root)


@pytest.fixture
def sheet(api: TestClient, airflow: Connected, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sheet:
    """A campaign that has not begun, in a folder that may be shown."""
    monkeypatch.setenv("AIRFLOW__MAGIC_HOUR__MEDIA_ROOTS", str(tmp_path))
    monkeypatch.setattr(cache, "_KEPT_S", 0)  # tests ask for what they have just written
    monkeypatch.setattr(cache, "_TIMES_LISTING", 0)
    monkeypatch.setattr(guard, "READ_TIMEOUT_S", 600)  # a read that does not stall may be slow
    return Sheet(api, Campaign(airflow, str(tmp_path / "campaign")))
