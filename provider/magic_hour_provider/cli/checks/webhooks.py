"""Checks of the webhooks: which connections accept them, and whether their deliveries can be verified."""

from __future__ import annotations

from collections.abc import Iterator

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

from magic_hour_provider import DEFAULT_CONN_ID
from magic_hour_provider.api.errors import MagicHourError
from magic_hour_provider.cli.checks.finding import Finding, explain
from magic_hour_provider.hooks.magic_hour import MagicHourHook
from magic_hour_provider.plugin.webhooks.secrets import get_webhook_conn_ids

_SUBJECT = "webhook secret"


def check_webhooks() -> Iterator[Finding]:
    """Check the connections of ``[magic_hour] webhook_conn_ids``."""
    conn_ids = get_webhook_conn_ids()
    if not conn_ids:
        yield Finding("ok", _SUBJECT, "Webhooks are off: [magic_hour] webhook_conn_ids is empty. Jobs are polled.")
    for conn_id in sorted(conn_ids):
        yield _check_secret(conn_id, is_default=conn_ids == {DEFAULT_CONN_ID})


def _check_secret(conn_id: str, *, is_default: bool) -> Finding:
    """Check one connection's secret; nobody has asked for that of the default one, where nothing else is set."""
    try:
        BaseHook.get_connection(conn_id)
        secrets = MagicHourHook(conn_id).settings().webhook_secrets
    except AirflowNotFoundException:
        secrets = None
    except MagicHourError as error:
        return Finding("problem", _SUBJECT, explain(error))
    if secrets:
        number = "A secret is set" if len(secrets) == 1 else f"{len(secrets)} secrets are set"
        return Finding("ok", _SUBJECT, f"{number} in {conn_id!r}.")
    missing = f"There is no connection {conn_id!r}" if secrets is None else f"None is set in {conn_id!r}"
    if is_default:
        return Finding("ok", _SUBJECT, f"{missing}: webhooks are off, and jobs are polled.")
    return Finding(
        "warning",
        _SUBJECT,
        f"{missing}, which [magic_hour] webhook_conn_ids names: its webhooks are refused, and its jobs are polled. Put "
        "the secret from Magic Hour's Developer Hub into the connection's extra webhook_secret, or take the connection "
        "out of the setting.",
    )
