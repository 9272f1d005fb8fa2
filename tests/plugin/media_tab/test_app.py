"""The application in Airflow's API server: who gets in, what the pages are made of, and how the tabs are registered."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity

from helpers.airflow_rows import RUN, token
from magic_hour_provider.plugin import MagicHourPlugin, tabs
from magic_hour_provider.plugin.media_tab import app as media_app
from magic_hour_provider.plugin.spend_tab import app as spend_app
from magic_hour_provider.plugin.web import app as web_app

STATIC = Path(media_app.__file__).parent / "static"
SHARED = Path(web_app.__file__).parent / "static"
SPEND = Path(spend_app.__file__).parent / "static"
SCRIPTS = [path for folder in (STATIC, SHARED, SPEND) for path in folder.glob("*.js")]


def addresses(tab) -> list[str]:
    """Return an address for each route of the application; the application itself says which there are."""
    tab.get(tab.path())  # loads it
    app = tabs.MEDIA_APP["app"]._app
    names = {"dag_id": "campaign", "run_id": RUN, "task_id": "make", "map_index": "-1", "index": "0"}
    names |= {"name": "style.css", "record": "x", "item": "x"}
    return [f"/magic-hour/media{route.path.format(**names)}" for route in app.routes]


def test_every_route_asks_who_it_is(tab, monkeypatch):
    """Nobody: 401; a user without a role: 403; one whom the auth manager refuses this DAG's XComs: 403. All routes."""
    tab.put("make", "success", return_value=tab.result("a-abc123-1.png"))
    asked = []
    for url in (urls := addresses(tab)):
        assert tab.api.get(url).status_code == 401, url
        assert tab.api.get(url, cookies={"_token": "nonsense"}).status_code in (401, 403), url
        nobody = {"authorization": f"Bearer {token('stranger', '')}"}
        assert tab.api.get(url, headers=nobody).status_code == 403, url
        assert tab.get(url).status_code == (404 if "/items/" in url or "/regenerate" in url else 200), (
            url
        )  # the task is no batch

    def refuse(*, method, access_entity=None, details=None, user):
        asked.append((method, access_entity, details.id, user.username))
        return False

    monkeypatch.setattr(get_auth_manager(), "is_authorized_dag", refuse)
    for url in urls:
        answer = tab.get(url)
        assert (answer.status_code, b"PNG" in answer.content) == (403, False), url
    assert len(urls) == 14
    assert asked == [("GET", DagAccessEntity.XCOM, "campaign", "admin")] * 14


def test_the_login_cookie_is_enough(tab):
    """A page in a frame has no other token: Airflow's own cookie is read, and nothing else."""
    assert tab.api.get(tab.path(), cookies={"_token": token()}).status_code == 200
    tab.api.cookies.clear()


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_nothing_can_be_changed(tab, method):
    """But for the recovery, the tab is read-only."""
    assert tab.api.request(method, f"{tab.path()}/details", headers=tab.headers).status_code == 405


def test_another_dags_run_is_not_reached_by_a_readable_dags_name(tab):
    """The DAG whose XComs one may read is the DAG whose rows are read."""
    assert tab.get(f"/magic-hour/media/dags/other/runs/{RUN}/tasks/make/-1/details").status_code == 404
    assert tab.get(f"/magic-hour/media/dags/~/runs/{RUN}/details").status_code == 404


@pytest.mark.parametrize(("map_index", "status"), [("-1", 200), ("{MAP_INDEX}", 200), ("3", 404), ("x", 404)])
def test_the_map_index(tab, map_index, status):
    """Airflow's UI leaves the placeholder where a task is not mapped; there is no other task instance."""
    assert tab.get(f"{tab.path('make', map_index)}/details").status_code == status
    assert tab.details("mapped", 3)["map_index"] == 3


@pytest.mark.parametrize("page", ["run.html", "task.html"])
def test_the_pages_have_no_script_and_no_style_of_their_own(tab, page):
    """The policy forbids them, and the pages do without; every file that they name is served."""
    text = (STATIC / page).read_text()
    assert re.findall(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=|javascript:", text) == []
    base = tab.path(None if page == "run.html" else "make", -1)
    answer = tab.get(base)
    assert answer.text == text
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    for name in re.findall(r'(?:src|href)="([^"]+)"', text):
        got = tab.api.get(tab.api.base_url.join(base).join(name), headers=tab.headers)
        assert (got.status_code, got.headers["x-content-type-options"]) == (200, "nosniff"), name


def test_the_pages_work_in_airflows_sandbox():
    """Airflow 3.1 allows a tab no forms, and no version dialogs or new windows: nothing asks for one."""
    for path in (*SCRIPTS, *STATIC.glob("*.html"), *SPEND.glob("*.html")):
        forbidden = r"<form|\"form\"|\.submit\(|type: \"submit\"|\b(?:alert|confirm|prompt|open)\((?=[\"'`])|_blank"
        assert not re.search(forbidden, path.read_text()), path
    buttons = re.findall(r"\"button\",\s*\{([^}]*)\}", "".join(path.read_text() for path in SCRIPTS))
    assert len(buttons) > 5
    assert [one for one in buttons if 'type: "button"' not in one] == []


def test_every_module_is_served(tab):
    """What a script of the pages imports is there."""
    for path in (*STATIC.glob("*.js"), *SHARED.glob("*.js")):
        for name in re.findall(r'from "\./([^"]+)"', path.read_text()):
            assert tab.get(f"/magic-hour/media/dags/campaign/static/{name}").status_code == 200, name


def test_no_text_is_ever_parsed_as_html():
    """The scripts know no way from a text to markup, and reach no other server."""
    for path in SCRIPTS:
        text = path.read_text()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|DOMParser|eval\(|Function\(", text), (
            path
        )
        assert set(re.findall(r"https?://[\w.]+", text)) <= {"http://www.w3.org"}, path


@pytest.mark.parametrize("name", ["nothing.css", "..%2fviews.py", "%2e%2e/views.py", "views.py", ""])
def test_other_files_of_the_package_are_not_served(tab, name):
    """Only what is in the static folder, by its plain name."""
    assert tab.get(f"/magic-hour/media/dags/campaign/static/{name}").status_code == 404


def test_the_tabs():
    """Of task instances, of runs and of DAGs, below Airflow's own address, each with a route of its own."""
    shown = {view["destination"]: view["href"] for view in MagicHourPlugin.external_views}
    assert shown == {
        "task_instance": "magic-hour/media/dags/{DAG_ID}/runs/{RUN_ID}/tasks/{TASK_ID}/{MAP_INDEX}",
        "dag_run": "magic-hour/media/dags/{DAG_ID}/runs/{RUN_ID}",
        "dag": "magic-hour/spend/dags/{DAG_ID}/runs",
    }
    assert len({view["url_route"] for view in MagicHourPlugin.external_views}) == 3


def test_airflow_lists_the_plugin(tab):
    """Its own page of plugins shows the tabs and their applications."""
    listed = tab.get("/api/v2/plugins").json()["plugins"]
    (ours,) = [plugin for plugin in listed if plugin["name"] == "magic_hour"]
    assert {view["name"] for view in ours["external_views"]} == {"Media", "Spend"}
    assert {"/magic-hour/media", "/magic-hour/spend"} <= {app["url_prefix"] for app in ours["fastapi_apps"]}


def test_workers_load_the_plugin_without_the_api_server():
    """Where only the Task SDK is, importing the plugin succeeds and brings no web framework and no core."""
    script = """
import sys
class NoCore:
    def find_spec(self, name, path=None, target=None):
        if name.startswith(("fastapi", "starlette", "uvicorn", "sqlalchemy", "airflow.api_fastapi", "airflow.models")):
            raise ImportError(f"{name} is not there")
import airflow.sdk
from airflow.providers.common.compat.sdk import AirflowPlugin
before = set(sys.modules)
sys.meta_path.insert(0, NoCore())
import magic_hour_provider.plugin
print(*sorted(set(sys.modules) - before))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    new = {name.split(".")[0] for name in done.stdout.split()}
    assert new - sys.stdlib_module_names <= {"magic_hour_provider", "airflow"}
