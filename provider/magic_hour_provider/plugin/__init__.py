"""What this provider adds to Airflow's API server. Loaded through the ``airflow.plugins`` entry point.

Every component of Airflow imports this module, also a worker without airflow-core: so it imports neither airflow-core
nor FastAPI, and the apps are made where they are first asked for something.
"""

from __future__ import annotations

from airflow.providers.common.compat.sdk import AirflowPlugin

from magic_hour_provider.links import MagicHourLink
from magic_hour_provider.plugin.lazy_app import LazyApp
from magic_hour_provider.plugin.tabs import MEDIA_APP, MEDIA_VIEWS


class MagicHourPlugin(AirflowPlugin):
    """Registers the link from a task to its job in the library, the Media tab, and the receiver of webhooks."""

    name = "magic_hour"
    operator_extra_links = [MagicHourLink()]
    external_views = MEDIA_VIEWS
    fastapi_apps = [
        # The first prefix that fits counts: longer ones come before shorter ones.
        MEDIA_APP,
        {
            "name": "Magic Hour webhooks",
            "app": LazyApp("magic_hour_provider.plugin.webhooks.receiver:make_app"),
            "url_prefix": "/magic-hour",
        },
    ]
