"""What the system tests share."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx

from local_airflow import LocalAirflow
from magic_hour_provider.simulator import Simulator

T = TypeVar("T")

LONG_S = 3600
"""How long a job takes that is to last until a test lets it end, in seconds: longer than any test waits."""


@dataclass
class World:
    """A running Airflow, its Magic Hour, and the folders that finished files and the storage ledger are in."""

    airflow: LocalAirflow
    sim: Simulator
    output: Path
    ledger: Path

    def made_by(self, tool: str) -> list[dict[str, Any]]:
        """Return the jobs that the simulator accepted for a tool."""
        return [job for job in self.sim.jobs() if job["tool"] == tool]

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
        answer = httpx.post(f"{self.airflow.url}/auth/token", json={"username": user, "password": password})
        return str(answer.raise_for_status().json()["access_token"])
