"""The configuration of a throw-away Airflow: small, quick to notice changes, and deaf to the user's own Airflow."""

from __future__ import annotations

import base64
import json
import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from process_tree import free_ports

USER = "admin"

ANSWER_S = 120
"""How long an answer of Airflow's may take, in seconds: a machine may stand still for the better part of a minute."""

HANG_S = 300
"""When what has not happened never will, in seconds: a bound for what hangs, not for what is slow."""


def api_url(port: int) -> str:
    """Where the api-server listens."""
    return f"http://127.0.0.1:{port}"


def process_environment(
    home: Path, dags_folder: Path, *, api_port: int, connections: Mapping[str, Mapping[str, Any]]
) -> dict[str, str]:
    """The environment that all processes of one Airflow share.

    :param home: AIRFLOW_HOME; the passwords file is ``passwords.json`` in it
    :param connections: by connection id, a connection as the JSON object that Airflow reads
    """
    settings = _settings(home, dags_folder, api_port)
    return {
        **_inherited(),
        "AIRFLOW_HOME": str(home),
        **{f"AIRFLOW__{key.upper()}": str(value) for key, value in settings.items()},
        **{f"AIRFLOW_CONN_{name.upper()}": json.dumps(dict(value)) for name, value in connections.items()},
    }


def _inherited() -> dict[str, str]:
    """What may pass from our own environment: nothing of another Airflow, and no proxy for this machine."""
    ours = {key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW_")}
    here = ",".join(filter(None, [ours.get("NO_PROXY") or ours.get("no_proxy"), "127.0.0.1", "localhost"]))
    # Tasks may start programs of the virtual environment that we run in, activated or not.
    path = os.pathsep.join([str(Path(sys.executable).parent), ours.get("PATH", os.defpath)])
    return {**ours, "PATH": path, "NO_PROXY": here, "no_proxy": here, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}


def _settings(home: Path, dags_folder: Path, api_port: int) -> dict[str, object]:
    worker_logs, trigger_logs = free_ports(2)
    return {
        "core__dags_folder": dags_folder,
        "core__load_examples": False,
        "core__dags_are_paused_at_creation": False,
        "core__executor": "LocalExecutor",
        "core__parallelism": 8,  # LocalExecutor forks all of its workers at once
        "core__fernet_key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "core__execution_api_server_url": f"{api_url(api_port)}/execution/",
        "core__simple_auth_manager_users": f"{USER}:admin",
        "core__simple_auth_manager_passwords_file": home / "passwords.json",
        "core__min_serialized_dag_update_interval": 0,  # an edited DAG file counts at once, not after half a minute
        "core__default_task_retry_delay": 5,  # and not five minutes, whatever an attempt has failed for
        # One process writes at a time, and on a slow machine the others wait longer than the five seconds after which
        # the scheduler and the DAG processor end.
        "database__sql_alchemy_conn": f"sqlite:///{home / 'airflow.db'}?timeout=60",
        "api__host": "127.0.0.1",
        "api__port": api_port,
        "api__base_url": api_url(api_port),
        "api__workers": 1,
        "api__secret_key": secrets.token_hex(32),
        "api_auth__jwt_secret": secrets.token_hex(32),
        # A task fails that is not answered in time when it starts; eight that start at once are not on a slow machine.
        "workers__execution_api_timeout": ANSWER_S,
        "logging__base_log_folder": home / "logs",
        "logging__colored_console_log": False,
        "logging__worker_log_server_port": worker_logs,
        "logging__trigger_log_server_port": trigger_logs,
        "dag_processor__refresh_interval": 3,
        "dag_processor__bundle_refresh_check_interval": 1,
        # A new or an edited file is read at once all the same. Reading all of them again and again is most of the work.
        "dag_processor__min_file_process_interval": 300,
        "dag_processor__parsing_processes": 1,
        # A file that took too long would be a broken one until it is read again.
        "core__dagbag_import_timeout": HANG_S,
        "dag_processor__dag_file_processor_timeout": HANG_S,
        "scheduler__scheduler_heartbeat_sec": 1,
        "scheduler__job_heartbeat_sec": 1,
        "scheduler__scheduler_idle_sleep_time": 0.5,
        # A triggerer keeps its triggers until its last heartbeat is older than the threshold: a killed one's move
        # to the next in about the time that the next one takes to start.
        "triggerer__job_heartbeat_sec": 1,
        "triggerer__triggerer_health_check_threshold": 5,
    }
