"""What this provider adds to Airflow's API server. Loaded through the ``airflow.plugins`` entry point."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import AirflowPlugin

from magic_hour_provider.links import MagicHourLink


class MagicHourPlugin(AirflowPlugin):
    """Registers the link from a task to its job in Magic Hour's library."""

    name = "magic_hour"
    operator_extra_links = [MagicHourLink()]
