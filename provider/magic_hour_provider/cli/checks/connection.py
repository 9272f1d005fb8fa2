"""Checks of the connection: is there one, can it work, and does Magic Hour accept its key."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from airflow.providers.common.compat.sdk import AirflowConfigException, AirflowNotFoundException, conf

from magic_hour_provider.api.catalog import BASE_URL, CONCURRENT_JOBS
from magic_hour_provider.api.errors import MagicHourError, describe_credits
from magic_hour_provider.api.models import Account
from magic_hour_provider.cli.checks.finding import Finding, explain
from magic_hour_provider.hooks.magic_hour import KEY_VARIABLE, MagicHourHook
from magic_hour_provider.hooks.settings import ConnectionSettings

_KEY_PREFIX = "mhk_"
_TIMEOUT_S = 15.0


def check_connection(conn_id: str) -> Iterator[Finding]:
    """Check a connection and ask for the account behind it."""
    hook = MagicHourHook(conn_id)
    try:
        settings = hook.settings()
    except MagicHourError as error:
        yield Finding("problem", "connection", explain(error))
        return
    source = f"{conn_id!r} was found" if _exists(conn_id) else f"the key is that of the environment's {KEY_VARIABLE}"
    yield Finding("ok", "connection", f"{source}; requests go to {settings.base_url}.")
    yield _check_key_shape(settings)
    if settings.verify is False:
        yield Finding(
            "warning",
            "connection",
            "Certificates are not checked (the extra 'verify' is false): anybody between here and Magic Hour can read "
            "the key. Give the path of your certificates instead.",
        )
    yield from _check_account(hook, settings)


def _exists(conn_id: str) -> bool:
    try:
        MagicHourHook.get_connection(conn_id)
    except AirflowNotFoundException:
        return False
    return True


def _check_key_shape(settings: ConnectionSettings) -> Finding:
    shape = f"an API key of {len(settings.api_key)} characters"
    if settings.api_key.startswith(_KEY_PREFIX):
        return Finding("ok", "API key", f"There is {shape} that begins with {_KEY_PREFIX}, as those of Magic Hour do.")
    message = f"There is {shape}, but it does not begin with {_KEY_PREFIX} as those of Magic Hour do"
    if settings.base_url != BASE_URL:
        return Finding("ok", "API key", f"{message}; at another address than Magic Hour's own it may.")
    return Finding("warning", "API key", f"{message}: copy it again from Magic Hour's Developer Hub.")


def _check_account(hook: MagicHourHook, settings: ConnectionSettings) -> Iterator[Finding]:
    try:
        with hook.get_conn(replace(settings, timeout=min(settings.timeout, _TIMEOUT_S))) as client:
            account = client.get_account()
    except MagicHourError as error:
        yield Finding("problem", "Magic Hour", explain(error))
        return
    yield Finding("ok", "Magic Hour", "It answers, and accepts the key.")
    credit = "usage-based, so the balance means little" if account.usage_based else describe_credits(account.credits)
    yield Finding("ok", "plan", f"Plan {account.tier or 'unknown'}, {credit}.")
    if account.tier is not None and account.tier in CONCURRENT_JOBS:
        yield Finding("ok", "plan", describe_concurrency(account.tier))
    yield from _check_minimum(account)


def describe_concurrency(tier: str) -> str:
    """Return how many jobs a plan runs at the same time, and what to set for that, as whole sentences."""
    limit = CONCURRENT_JOBS[tier]
    if not limit:
        return f"The plan {tier} runs any number of jobs at the same time."
    jobs = "1 job" if limit == 1 else f"{limit} jobs"
    return (
        f"The plan {tier} runs {jobs} at the same time, by Magic Hour's billing page; by its changelog those of the "
        f"API do not count. If yours wait in the queue or are refused with 429: max_active_jobs={limit} of a batch, "
        f"max_active_tis_per_dag={limit} of a mapped task, or a pool of {limit} that includes deferred tasks."
    )


def _check_minimum(account: Account) -> Iterator[Finding]:
    try:
        minimum = conf.getint("magic_hour", "min_credits_left", fallback=0)
    except (AirflowConfigException, ValueError):
        return  # the settings are checked elsewhere
    if account.credits is not None and not account.usage_based and account.credits < minimum:
        yield Finding(
            "problem",
            "plan",
            f"[magic_hour] min_credits_left keeps {minimum} credits and the account has fewer, so no task submits a "
            "job: top up at https://magichour.ai/pricing, or lower the setting.",
        )
