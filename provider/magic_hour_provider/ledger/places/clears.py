"""What a clear does to Airflow's own task state store."""

from __future__ import annotations

from airflow.providers.common.compat.version_compat import get_base_airflow_version_tuple

DISCARDED_SINCE = (3, 4, 0)
"""From this Airflow on a clear discards the task state (apache/airflow#72100), unless "keep task state" is ticked."""


def clear_discards_state() -> bool:
    """Whether this Airflow's clear may discard what its task state store holds; files and XCom keys stay."""
    return get_base_airflow_version_tuple() >= DISCARDED_SINCE
