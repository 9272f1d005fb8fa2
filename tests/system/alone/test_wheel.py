"""The built wheel as users have it: installed beside Airflow, with nothing of this repository."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_settings import process_environment
from helpers.samples import KEY
from helpers.wheel import ROOT, install_with_airflow
from magic_hour_provider.simulator import Simulator

pytestmark = pytest.mark.system

FIRST_DAG = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)[0]

Airflow = Callable[..., str]


@pytest.fixture(scope="module")
def sim():
    """A Magic Hour whose jobs take no time worth mentioning."""
    with Simulator(speed=200, api_key=KEY) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def airflow(tmp_path_factory, sim) -> tuple[Airflow, Path]:
    """Airflow's command line, of an environment that has the wheel, and the home that the README's DAG stores in."""
    home = tmp_path_factory.mktemp("wheel")
    python = install_with_airflow(home)
    (home / "dags").mkdir()
    (home / "dags" / "readme.py").write_text(FIRST_DAG)
    connection = {"conn_type": "magic_hour", "host": sim.url, "password": KEY}
    environment = process_environment(
        home / "airflow", home / "dags", api_port=8080, connections={"magic_hour_default": connection}
    ) | {"HOME": str(home)}

    def run(*arguments: str) -> str:
        command = [python, "-m", "airflow", *arguments]
        done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("db", "migrate")
    return run, home


def test_airflow_lists_the_provider(airflow):
    """The provider is listed, and so is its plugin, from the wheel's entry points."""
    run, _ = airflow
    providers, plugins = (
        json.loads(run(*command, "-o", "json").splitlines()[-1]) for command in (("providers", "list"), ("plugins",))
    )
    assert "airflow-provider-magic-hour" in {one["package_name"] for one in providers}
    assert "magic_hour" in {one["name"] for one in plugins}


def test_the_readmes_first_dag_runs(airflow, sim):
    """On a plain install, without another provider: each of its tasks pays for one job and stores its file."""
    run, home = airflow
    (dag_id,) = re.findall(r'DAG\(\s*"(\w+)"', FIRST_DAG)
    run("dags", "test", dag_id)
    jobs = sim.jobs()
    assert len(jobs) == sim.stats()["creates"]["accepted"] == FIRST_DAG.count("task_id=")
    assert {job["status"] for job in jobs} == {"complete"}
    assert sorted(path.suffix for path in (home / "magic-hour").glob("*-1.*")) == [".mp4", ".png"]
