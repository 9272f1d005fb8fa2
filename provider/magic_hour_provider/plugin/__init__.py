"""The Airflow plugin: the link to a job's page, the Media and Spend tabs, and the webhook receiver.

Loaded through the ``airflow.plugins`` entry point by every component of Airflow, also by a worker without airflow-core.
So it imports neither airflow-core nor FastAPI, and each app is created by its first request.
"""

from __future__ import annotations

from airflow.providers.common.compat.sdk import AirflowPlugin

from magic_hour_provider.links import MagicHourLink
from magic_hour_provider.plugin.lazy_app import LazyApp
from magic_hour_provider.plugin.tabs import MEDIA_APP, SPEND_APP, TAB_VIEWS


class MagicHourPlugin(AirflowPlugin):
    """Registers the link, the tabs and the web applications with Airflow."""

    name = "magic_hour"
    operator_extra_links = [MagicHourLink()]
    external_views = TAB_VIEWS
    fastapi_apps = [
        # The first prefix that matches is used: longer ones come before shorter ones.
        MEDIA_APP,
        SPEND_APP,
        {
            "name": "Magic Hour webhooks",
            "app": LazyApp("magic_hour_provider.plugin.webhooks.receiver:make_webhook_app"),
            "url_prefix": "/magic-hour",
        },
    ]
