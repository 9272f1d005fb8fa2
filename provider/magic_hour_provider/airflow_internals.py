"""What DAG files, workers and triggerers use of Airflow that is no public interface, imported here alone, when needed.

An Airflow that has moved or removed a name still parses every DAG and runs every task: importing the name raises
:class:`MissingInternalError`, one line of the log says what is switched off, and whoever needs it does without. The API
server's side has a module of its own, :mod:`magic_hour_provider.plugin.airflow_internals`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

log = logging.getLogger(__name__)

InternalPlace = tuple[str, str | None]
"""The module that has a name, and what is switched off without it; None: older versions of Airflow lack it."""

_MAPPED = "the check of mapped tasks while a DAG is parsed; they are checked when they run"
_METRICS = "the metrics of polling"
_ENDING = "ending tasks from the triggerer; a worker ends them"

TASK_PLACES: Mapping[str, InternalPlace] = {
    "AssetRef": ("airflow.sdk.definitions.asset", "the results in events of outlets that refer to an asset by name"),
    "MappedOperator": ("airflow.sdk.definitions.mappedoperator", _MAPPED),
    "OperatorPartial": ("airflow.sdk.definitions.mappedoperator", _MAPPED),
    "SetXCom": ("airflow.sdk.execution_time.comms", _ENDING),
    "Stats": ("airflow.stats", _METRICS),
    "get_merged_defaults": ("airflow.sdk.bases.operator", _MAPPED),
    "stats": ("airflow.observability", None),
    "get_listener_manager": ("airflow.sdk.execution_time.task_runner", _ENDING),
    "task_runner": ("airflow.sdk.execution_time", f"the warning of a test command that it pays, and {_ENDING}"),
}
"""Each name of the task side."""

_logged: set[str] = set()


class MissingInternalError(ImportError):
    """This Airflow has not a name that is no public interface; the message says what is switched off."""


def import_internal(places: Mapping[str, InternalPlace], name: str) -> Any:
    """Import a name now.

    :param places: of one side.
    :raises AttributeError: it is none of them.
    :raises MissingInternalError: this Airflow has not got it; the log says so once.
    """
    if name not in places:
        raise AttributeError(name)
    module, purpose = places[name]
    try:
        try:
            return getattr(import_module(module), name)
        except AttributeError:
            return import_module(f"{module}.{name}")
    except ImportError as error:
        message = f"This Airflow has no {module}.{name}, so this is switched off: {purpose}."
        if purpose is not None and name not in _logged:
            _logged.add(name)
            log.warning(message)
        raise MissingInternalError(message) from error


if TYPE_CHECKING:
    from airflow.observability import stats as stats
    from airflow.sdk.bases.operator import get_merged_defaults as get_merged_defaults
    from airflow.sdk.definitions.asset import AssetRef as AssetRef
    from airflow.sdk.definitions.mappedoperator import MappedOperator as MappedOperator
    from airflow.sdk.definitions.mappedoperator import OperatorPartial as OperatorPartial
    from airflow.sdk.execution_time import task_runner as task_runner
    from airflow.sdk.execution_time.comms import SetXCom as SetXCom
    from airflow.sdk.listener import get_listener_manager as get_listener_manager
    from airflow.stats import Stats as Stats
else:

    def __getattr__(name: str) -> Any:
        """Import a name of the task side."""
        return import_internal(TASK_PLACES, name)
