"""The Media tabs in Airflow's UI, and the application behind them, which is loaded by its first request.

Workers and DAG processors load plugins too: nothing here imports what only the API server needs.
"""

from __future__ import annotations

from urllib.parse import quote

from magic_hour_provider.plugin.lazy_app import LazyApp

_PREFIX = "/magic-hour/media"
_ICON = (
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 24 24' fill='none' stroke='{}' stroke-width='2' "
    "stroke-linejoin='round'><rect x='3' y='4' width='18' height='16' rx='3'/><path d='M10 9v6l5-3z'/></svg>"
)


def _view(destination: str, route: str, path: str) -> dict[str, str]:
    # The address is relative to Airflow's own: the UI's pages have a <base>.
    colours = {"icon": "#2c2c3a", "icon_dark_mode": "#e8e8f0"}
    icons = {name: f"data:image/svg+xml,{quote(_ICON.format(colour))}" for name, colour in colours.items()}
    return {"name": "Media", "destination": destination, "url_route": route, "href": f"{_PREFIX[1:]}{path}", **icons}


MEDIA_VIEWS = [
    _view("task_instance", "magic-hour-media", "/dags/{DAG_ID}/runs/{RUN_ID}/tasks/{TASK_ID}/{MAP_INDEX}"),
    _view("dag_run", "magic-hour-run-media", "/dags/{DAG_ID}/runs/{RUN_ID}"),
]

MEDIA_APP = {
    "app": LazyApp("magic_hour_provider.plugin.media_tab.app:make_media_app"),
    "url_prefix": _PREFIX,
    "name": "Magic Hour media",
}
