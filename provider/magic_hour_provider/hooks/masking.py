"""Keeps what opens the user's own signed links out of Airflow's logs and of the rendered fields in its UI."""

from __future__ import annotations

from typing import Any


def mask_link_secrets(*values: Any) -> None:
    """Let Airflow show ``***`` in this process for every signature, token and password in the values' links."""
    # Its patterns take long to compile, and whoever parses a DAG file needs none.
    from magic_hour_provider.api.redaction import find_link_secrets

    for value in values:
        for secret in find_link_secrets(value):
            from airflow.sdk.log import mask_secret

            mask_secret(secret)
