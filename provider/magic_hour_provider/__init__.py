"""Apache Airflow provider for Magic Hour: AI video, image and audio generation that never pays twice."""

from __future__ import annotations

__version__ = "0.1.0"

DEFAULT_CONN_ID = "magic_hour_default"
"""The connection that is used where none is named."""
