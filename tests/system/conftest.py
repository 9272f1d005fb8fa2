"""One real Airflow for the group: api-server, scheduler, dag-processor and triggerer, against one simulator."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Generator, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from helpers.browser import Visit, running_chromium
from helpers.samples import KEY
from helpers.system import World, running_world
from helpers.waiting import until
from magic_hour_provider.simulator import Simulator

HERE = Path(__file__).parent
USERS = "admin:admin,viewer:viewer,stranger:"  # the last has no role


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Start everything once."""
    home = tmp_path_factory.mktemp("airflow")
    shutil.copytree(HERE / "dags", home / "dags")
    # Where the extra agents cannot be installed, its example cannot be loaded.
    left_out = () if find_spec("airflow.providers.common.ai") else ("agent_*.py",)
    examples, ignored = HERE.parent.parent / "dags_examples", shutil.ignore_patterns(*left_out)
    shutil.copytree(examples, home / "dags" / "examples", ignore=ignored)
    with Simulator(speed=20, api_key=KEY) as sim:
        wrong = {"conn_type": "magic_hour", "host": sim.url, "password": "mhk_live_wrong"}
        environment = {
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": USERS,
            # A task whose supervisor is gone too is found by its missing heartbeats, by the scheduler that takes over
            # what a dead one had queued. Both are taken for dead after more than a machine may stand still for.
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "75",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "60",
            "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
        }
        with running_world(home, sim, connections={"magic_hour_wrong": wrong}, environment=environment) as world:
            yield world


@pytest.fixture(scope="session")
def services_killed(world: World) -> tuple[str, Any]:
    """Kill one of two triggerers, then the scheduler with its workers; return the run, and who had its deferred task.

    Only when the supervisor of a worker's task has been silent for long is the task tried again: other tests run
    meanwhile, and what became of it is a later module's.
    """
    airflow, dag_id = world.airflow, "services_killed"
    run_id = airflow.trigger(dag_id)
    deferred = airflow.wait_for_task(dag_id, run_id, "deferred", ("deferred",))
    until(lambda: (airflow.xcom(dag_id, run_id, "on_the_worker", "magic_hour_job") or {}).get("id"))
    airflow.start("triggerer", "triggerer-2")
    airflow.kill("triggerer")
    airflow.restart("scheduler", signal.SIGKILL)
    return run_id, deferred["triggerer_job"]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Say beside what failed what Airflow was doing: all that is left of it is what pytest writes."""
    outcome = yield
    if outcome.failed:
        for name, fixture in getattr(item, "funcargs", {}).items():
            if isinstance(fixture, World):
                outcome.sections.append((f"Airflow of {name}", fixture.airflow.report()))
    return outcome


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
