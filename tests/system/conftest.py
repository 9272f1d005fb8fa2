"""One real Airflow for the group: api-server, scheduler, dag-processor and triggerer, against one simulator."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from helpers.browser import Visit, running_chromium
from helpers.samples import KEY
from helpers.system import World
from local_airflow import LocalAirflow
from magic_hour_provider.simulator import Simulator
from magic_hour_provider.simulator.webhooks.registration import DEFAULT_SECRET

HERE = Path(__file__).parent
USERS = "admin:admin,viewer:viewer,stranger:"  # the last has no role


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Start everything once."""
    home = tmp_path_factory.mktemp("airflow")
    dags, output, ledger = home / "dags", home / "output", home / "ledger"
    shutil.copytree(HERE / "dags", dags)
    # Where the extra agents cannot be installed, its example cannot be loaded.
    left_out = () if find_spec("airflow.providers.common.ai") else ("agent_*.py",)
    shutil.copytree(HERE.parent.parent / "dags_examples", dags / "examples", ignore=shutil.ignore_patterns(*left_out))
    with Simulator(speed=20, api_key=KEY) as sim:
        connection = {"conn_type": "magic_hour", "host": sim.url}
        with LocalAirflow(
            home / "home",
            dags_folder=dags,
            connections={
                "magic_hour_default": connection | {"password": KEY, "extra": {"webhook_secret": DEFAULT_SECRET}},
                "magic_hour_wrong": connection | {"password": "mhk_live_wrong"},
            },
            environment={
                "AIRFLOW__MAGIC_HOUR__OUTPUT_PATH": str(output),
                "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": USERS,
                # A task whose supervisor is gone too is found by its missing heartbeats, by the scheduler that takes
                # over what a dead one had queued. Shorter, and a task outlives no restart of the API server.
                "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "45",
                "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
                "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "10",
                "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
                "AIRFLOW__MAGIC_HOUR__LEDGER_PATH": str(ledger),
            },
        ) as airflow:
            yield World(airflow, sim, output, ledger)


@pytest.fixture(scope="module")  # while its loop runs, no test can run one of its own
def chromium() -> Iterator[Any]:
    """The browser."""
    with running_chromium() as browser:
        yield browser


@pytest.fixture
def visit(world: World, chromium: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Visits, of the admin if nobody else is named; none may end with an error in a script or with a policy broken."""
    visits = []

    def come(user: str = "admin", **options: Any) -> Visit:
        visits.append(Visit(world, chromium, **options))
        visits[-1].log_in(user)
        return visits[-1]

    yield come
    troubles = [trouble for one in visits for trouble in one.troubles]
    for one in visits:
        one.keep(f"end-of-{request.node.name}")
        one.context.close()
    assert troubles == []
