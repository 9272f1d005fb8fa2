"""The tabs in Airflow's UI, and the applications behind them, each of which is loaded by its first request.

Workers and DAG processors load plugins too: nothing here imports what only the API server needs.
"""

from __future__ import annotations

from urllib.parse import quote

from magic_hour_provider.plugin.lazy_app import LazyApp

_MEDIA, _SPEND = "/magic-hour/media", "/magic-hour/spend"
_ICON = (
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 24 24' fill='none' stroke='{}' stroke-width='2' "
    "stroke-linejoin='round'>{}</svg>"
)
_FILM = "<rect x='3' y='4' width='18' height='16' rx='3'/><path d='M10 9v6l5-3z'/>"
_BARS = "<path d='M4 20h16M6 16v-4M12 16V5M18 16V9' stroke-linecap='round'/>"


def _view(name: str, drawing: str, destination: str, route: str, href: str) -> dict[str, str]:
    # The address is relative to Airflow's own: the UI's pages have a <base>.
    colours = {"icon": "#2c2c3a", "icon_dark_mode": "#e8e8f0"}
    icons = {theme: f"data:image/svg+xml,{quote(_ICON.format(colour, drawing))}" for theme, colour in colours.items()}
    return {"name": name, "destination": destination, "url_route": route, "href": href.removeprefix("/"), **icons}


TAB_VIEWS = [
    _view(
        "Media",
        _FILM,
        "task_instance",
        "magic-hour-media",
        f"{_MEDIA}/dags/{{DAG_ID}}/runs/{{RUN_ID}}/tasks/{{TASK_ID}}/{{MAP_INDEX}}",
    ),
    _view("Media", _FILM, "dag_run", "magic-hour-run-media", f"{_MEDIA}/dags/{{DAG_ID}}/runs/{{RUN_ID}}"),
    _view("Spend", _BARS, "dag", "magic-hour-spend", f"{_SPEND}/dags/{{DAG_ID}}/runs"),
]

MEDIA_APP = {
    "app": LazyApp("magic_hour_provider.plugin.media_tab.app:make_media_app"),
    "url_prefix": _MEDIA,
    "name": "Magic Hour media",
}
SPEND_APP = {
    "app": LazyApp("magic_hour_provider.plugin.spend_tab.app:make_spend_app"),
    "url_prefix": _SPEND,
    "name": "Magic Hour spend",
}
