"""Checks of the versions."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from magic_hour_provider import __version__
from magic_hour_provider.cli.checks.finding import Finding

_OLDEST = (3, 1)
_PROVIDERS = ("common-compat", "common-io", "amazon", "google", "microsoft-azure")  # what we use, and storages


def check_versions() -> Iterator[Finding]:
    """Name the versions that a report of a fault needs."""
    from airflow import __version__ as airflow_version

    numbers = tuple(int(number) for number in airflow_version.split(".")[:2])
    yield Finding(
        "ok" if numbers >= _OLDEST else "problem",
        "versions",
        f"airflow-provider-magic-hour {__version__}, Airflow {airflow_version}, Python {platform.python_version()}."
        + ("" if numbers >= _OLDEST else " Airflow 3.1 or later is needed: upgrade it."),
    )
    names = [f"apache-airflow-providers-{name}" for name in _PROVIDERS]
    found = [f"{name} {number}" for name in names if (number := _version(name))]
    yield Finding("ok", "providers", f"{', '.join(found)}.")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
