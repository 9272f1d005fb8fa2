"""What this provider adds to Airflow's API server. Loaded through the ``airflow.plugins`` entry point."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import AirflowPlugin

from magic_hour_provider.links import MagicHourLink
from magic_hour_provider.plugin.views import MEDIA_APP, MEDIA_VIEWS


class MagicHourPlugin(AirflowPlugin):
    """Registers the link from a task to its job in Magic Hour's library, and the Media tab."""

    name = "magic_hour"
    operator_extra_links = [MagicHourLink()]
    external_views = MEDIA_VIEWS
    fastapi_apps = [MEDIA_APP]
