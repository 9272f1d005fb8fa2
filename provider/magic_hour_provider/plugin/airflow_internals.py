"""What the API server's side uses of Airflow that is no public interface, imported here alone, and when it is needed.

An Airflow that has moved or removed a name still starts, and what does not need the name still works: see
:mod:`magic_hour_provider.airflow_internals`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from magic_hour_provider.airflow_internals import InternalPlace, import_internal

_TABS, _RECOVERY = "the Media and Spend tabs and recovery", "recovery from the Media tab and the command line"
_RESUME, _ASSETS = "resuming tasks on webhooks: polling finds the end of their jobs", "asset events of webhooks"

PLACES: Mapping[str, InternalPlace] = {
    "AssetEvent": ("airflow.models.asset", _ASSETS),
    "AssetModel": ("airflow.models.asset", _ASSETS),
    "Connection": ("airflow.models.connection", "webhooks, and checks of jobs before a recovery"),
    "DBDagBag": ("airflow.models.dagbag", _RECOVERY),
    "DagAccessEntity": ("airflow.api_fastapi.auth.managers.models.resource_details", _TABS),
    "DagRun": ("airflow.models.dagrun", _TABS),
    "DagRunState": ("airflow.utils.state", _RECOVERY),
    "GetUserDep": ("airflow.api_fastapi.core_api.security", "the Media tab"),
    "Log": ("airflow.models.log", _RECOVERY),
    "MetastoreBackend": ("airflow.state.metastore", None),
    "SerializedDagModel": ("airflow.models.serialized_dag", _TABS),
    "TaskInstance": ("airflow.models.taskinstance", "the Media tab, recovery, and " + _RESUME),
    "TaskInstanceState": ("airflow.utils.state", "recovery, and " + _RESUME),
    "TaskScope": ("airflow.state", None),
    "TaskStateStoreModel": ("airflow.models.task_state_store", None),
    "Trigger": ("airflow.models.trigger", _RESUME),
    "TriggerEvent": ("airflow.triggers.base", _RESUME),
    "XComModel": ("airflow.models.xcom", "the tabs, recovery, and " + _RESUME),
    "asset_manager": ("airflow.assets.manager", _ASSETS),
    "clear_task_instances": ("airflow.models.taskinstance", _RECOVERY),
    "create_session": ("airflow.utils.session", "the tabs, recovery, and " + _RESUME),
    "handle_event_submit": ("airflow.models.trigger", _RESUME),
    "resolve_run_on_latest_version": ("airflow.api_fastapi.common.dagbag", None),
    "resolve_state_backend": ("airflow.state", None),
    "requires_access_dag": ("airflow.api_fastapi.core_api.security", _TABS),
}
"""Each name of the API server's side."""


if TYPE_CHECKING:
    from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity as DagAccessEntity
    from airflow.api_fastapi.common.dagbag import resolve_run_on_latest_version as resolve_run_on_latest_version
    from airflow.api_fastapi.core_api.security import GetUserDep as GetUserDep
    from airflow.api_fastapi.core_api.security import requires_access_dag as requires_access_dag
    from airflow.assets.manager import asset_manager as asset_manager
    from airflow.models.asset import AssetEvent as AssetEvent
    from airflow.models.asset import AssetModel as AssetModel
    from airflow.models.connection import Connection as Connection
    from airflow.models.dagbag import DBDagBag as DBDagBag
    from airflow.models.dagrun import DagRun as DagRun
    from airflow.models.log import Log as Log
    from airflow.models.serialized_dag import SerializedDagModel as SerializedDagModel
    from airflow.models.task_state_store import TaskStateStoreModel as TaskStateStoreModel
    from airflow.models.taskinstance import TaskInstance as TaskInstance
    from airflow.models.taskinstance import clear_task_instances as clear_task_instances
    from airflow.models.trigger import Trigger as Trigger
    from airflow.models.trigger import handle_event_submit as handle_event_submit
    from airflow.models.xcom import XComModel as XComModel
    from airflow.state import TaskScope as TaskScope
    from airflow.state import resolve_state_backend as resolve_state_backend
    from airflow.state.metastore import MetastoreBackend as MetastoreBackend
    from airflow.triggers.base import TriggerEvent as TriggerEvent
    from airflow.utils.session import create_session as create_session
    from airflow.utils.state import DagRunState as DagRunState
    from airflow.utils.state import TaskInstanceState as TaskInstanceState
else:

    def __getattr__(name: str) -> Any:
        """Import a name of the API server's side."""
        return import_internal(PLACES, name)
