"""Checks of the settings: those that cannot be read, and those that do not exist."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from typing import Any

from airflow.providers.common.compat.sdk import AirflowConfigException, conf

from magic_hour_provider.cli.checks.finding import Finding, explain
from magic_hour_provider.execution.payment.preflight import read_input_transfer, read_tag_job_names
from magic_hour_provider.get_provider_info import get_provider_info

_SECTION = "magic_hour"
_CHOICES: dict[str, tuple[Callable[[], str], str]] = {
    "tag_job_names": (read_tag_job_names, "one of all, generated and none"),
    "input_transfer": (read_input_transfer, "one of upload and presign"),
}
_READERS: dict[str, Callable[..., Any]] = {"boolean": conf.getboolean, "integer": conf.getint, "float": conf.getfloat}


def check_settings() -> Iterator[Finding]:
    """Read every setting as tasks read it."""
    options: dict[str, dict[str, Any]] = get_provider_info()["config"][_SECTION]["options"]
    found = [finding for name, option in options.items() if (finding := _check_setting(name, option))]
    found += [
        Finding(
            "warning",
            "settings",
            f"[{_SECTION}] {name} is not a setting, so it changes nothing. The settings are {', '.join(options)}.",
        )
        for name in sorted(_given_names() - options.keys())
    ]
    yield from found or [Finding("ok", "settings", f"All settings of [{_SECTION}] can be read.")]


def _given_names() -> set[str]:
    """Return the names of all settings that somebody has written, known or not."""
    prefix = f"AIRFLOW__{_SECTION.upper()}__"
    # Airflow 3.2 does not read a section of which only the environment has something.
    names = {name.removeprefix(prefix).lower() for name in os.environ if name.startswith(prefix)}
    names |= (conf.getsection(_SECTION) or {}).keys()
    return {re.sub(r"_(cmd|secret)$", "", name) for name in names}


def _check_setting(name: str, option: dict[str, Any]) -> Finding | None:
    try:
        if name in _CHOICES:
            _CHOICES[name][0]()
        elif option["default"]:
            _READERS.get(option["type"], conf.get)(_SECTION, name, fallback=option["default"])
    except (AirflowConfigException, ValueError) as error:
        return Finding(
            "problem",
            "settings",
            f"[{_SECTION}] {name} cannot be read, and tasks fail before they pay: {explain(error)} It takes "
            f"{_CHOICES[name][1] if name in _CHOICES else 'a ' + option['type']}.",
        )
    return None
