"""What the system tests share."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from airflow_settings import ANSWER_S
from helpers.money_report import note
from helpers.postgres import is_installed, postgresql
from helpers.samples import KEY
from local_airflow import LocalAirflow
from magic_hour_provider.simulator import Simulator
from magic_hour_provider.simulator.webhooks.registration import DEFAULT_SECRET

LONG_S = 3600
"""How long a job takes that is to last until a test lets it end, in seconds: longer than any test waits."""


DATABASE = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"


@dataclass
class World:
    """A running Airflow, its Magic Hour, and the folders that finished files and the storage ledger are in."""

    airflow: LocalAirflow
    sim: Simulator
    output: Path
    ledger: Path

    @property
    def database(self) -> str:
        """The URL of Airflow's metadata database."""
        return self.airflow.environment[DATABASE]

    def made_by(self, tool: str) -> list[dict[str, Any]]:
        """Return the jobs that the simulator accepted for a tool."""
        return [job for job in self.sim.jobs() if job["tool"] == tool]

    def jobs_of(self, dag_id: str, task_id: str = "") -> list[dict[str, Any]]:
        """Return the jobs that the simulator accepted of a DAG or a task, by the names that they were given."""
        return [job for job in self.sim.jobs() if (job["name"] or "").startswith(f"{dag_id}.{task_id}")]

    def end_jobs(self, names: str, *, deliver: bool = False) -> None:
        """Let the jobs whose names begin so end now; neither the clock, which signs webhooks, nor other jobs change.

        :param deliver: send the webhooks of their ends too, which are otherwise sent when they would have ended.
        """
        service = self.sim._service
        with service._lock:
            for job in service._jobs.values():
                if job.name.startswith(names):
                    job.duration = min(job.duration, service.now() - job.created)
                    if deliver:
                        service.webhooks.schedule_events(job)

    def token_of(self, user: str) -> str:
        """Return the token that a login as one of Airflow's users gives."""
        password = json.loads((self.airflow.home / "passwords.json").read_text())[user]
        address, login = f"{self.airflow.url}/auth/token", {"username": user, "password": password}
        answer = httpx.post(address, json=login, timeout=ANSWER_S, trust_env=False)
        return str(answer.raise_for_status().json()["access_token"])


def note_killed(jobs: list[dict[str, Any]], cell: str, outcome: str) -> None:
    """Put what was paid for in spite of a kill -9 into the report."""
    credits = sum(job["credits_charged"] for job in jobs)
    note("kill -9 on real Airflow", (cell, "one retry"), creates=len(jobs), credits=credits, outcome=outcome)


@contextmanager
def running_world(
    home: Path,
    sim: Simulator,
    *,
    on_sqlite: bool = False,
    connections: Mapping[str, Mapping[str, Any]] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[World]:
    """Run an Airflow for the length of a ``with`` block, for the DAGs that are in ``home / "dags"``.

    Its metadata is in PostgreSQL where that is installed: SQLite has one writer at a time, and on a busy machine a
    task or a request may wait for its turn for longer than it is waited for itself.

    :param home: a folder for all that belongs to it.
    :param sim: its Magic Hour.
    :param on_sqlite: its metadata is in SQLite whatever is installed.
    :param connections: beside ``magic_hour_default``.
    :param environment: beside the folders and the database.
    """
    output, ledger = home / "output", home / "ledger"
    settings = {"AIRFLOW__MAGIC_HOUR__OUTPUT_PATH": str(output), "AIRFLOW__MAGIC_HOUR__LEDGER_PATH": str(ledger)}
    extra = {"webhook_secret": DEFAULT_SECRET, "timeout": ANSWER_S}
    magic_hour = {"conn_type": "magic_hour", "host": sim.url, "password": KEY, "extra": extra}
    with ExitStack() as stack:
        if is_installed() and not on_sqlite:
            settings[DATABASE] = stack.enter_context(postgresql())
        airflow = LocalAirflow(
            home / "home",
            dags_folder=home / "dags",
            connections={"magic_hour_default": magic_hour, **(connections or {})},
            environment={**settings, **(environment or {})},
        )
        yield World(stack.enter_context(airflow), sim, output, ledger)
