"""The soak's Airflow: two schedulers, two triggerers, three Celery workers, and who starts again what has ended."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from local_airflow import LocalAirflow

SCRIPTS = Path(__file__).resolve().parent.parent
SCHEDULERS, TRIGGERERS, WORKERS = (
    tuple(f"{kind}-{number}" for number in range(1, count + 1))
    for kind, count in (("scheduler", 2), ("triggerer", 2), ("worker", 3))
)
TASKS_PER_WORKER = 3
_RESTART_S = 3.0


def components() -> dict[str, list[str]]:
    """Return the command of each component, by its name."""
    worker = ["celery", "worker", "--concurrency", str(TASKS_PER_WORKER), "--skip-serve-logs", "--celery-hostname"]
    return {
        "api-server": ["api-server"],
        "dag-processor": ["dag-processor"],
        **{name: ["scheduler", "--skip-serve-logs"] for name in SCHEDULERS},
        **{name: ["triggerer", "--skip-serve-logs"] for name in TRIGGERERS},
        **{name: [*worker, f"{name}@%h"] for name in WORKERS},
    }


def settings(database: str, broker: str, media: Path, ledger: Path) -> dict[str, str]:
    """Return what the soak's Airflow is told, as environment.

    Airflow's own defaults count where the demo's Airflow is quicker than they are, except that what is dead or stuck is
    noticed within one to four minutes instead of five or ten: the soak is to end before that.
    """
    airflow: dict[str, object] = {
        "core__executor": "CeleryExecutor",
        "core__parallelism": 32,
        "database__sql_alchemy_conn": database,
        "celery__broker_url": broker,
        "celery__result_backend": f"db+{database}",
        "celery__operation_timeout": 10,  # to put a task into the queue: a second is little on a busy machine
        "celery_broker_transport_options__visibility_timeout": 3600,
        "scheduler__scheduler_heartbeat_sec": 5,
        "scheduler__job_heartbeat_sec": 5,
        "scheduler__scheduler_idle_sleep_time": 1,
        "scheduler__orphaned_tasks_check_interval": 60,
        # Longer than the API server is away: a task that cannot tell that it lives would be taken for dead.
        "scheduler__task_instance_heartbeat_timeout": 120,
        "scheduler__task_queued_timeout": 240,
        "scheduler__task_queued_timeout_check_interval": 30,
        "triggerer__job_heartbeat_sec": 5,
        "triggerer__triggerer_health_check_threshold": 30,
        "dag_processor__refresh_interval": 60,
        "dag_processor__bundle_refresh_check_interval": 5,
        "magic_hour__output_path": media,
        "magic_hour__ledger_path": ledger,
    }
    return {f"AIRFLOW__{name.upper()}": str(value) for name, value in airflow.items()} | {"PYTHONPATH": str(SCRIPTS)}


class Keeper:
    """Starts again what has ended, as Kubernetes or systemd does.

    :param airflow: whose components.
    """

    def __init__(self, airflow: LocalAirflow) -> None:
        self._airflow = airflow
        self._due: dict[str, float] = {}
        self.held: set[str] = set()
        """What is to stay away."""
        self.ended: Counter[str] = Counter()
        """How often each has ended without being killed by us."""

    @property
    def is_any_down(self) -> bool:
        """Whether something is away, and has not been started again."""
        return bool(self._due)

    def kill(self, name: str) -> None:
        """Kill all processes of a component at once, with SIGKILL; it comes back after some seconds."""
        self._airflow.kill(name)
        self._due[name] = time.monotonic() + _RESTART_S

    def tend(self) -> Mapping[str, int]:
        """Start again what is due, and return the exit codes of those that have ended by themselves since."""
        ended = self._airflow.ended()
        for name in ended:
            self.ended[name] += 1
            self.kill(name)  # what it left behind
        for name, due in list(self._due.items()):
            if name not in self.held and time.monotonic() >= due:
                del self._due[name]
                self._airflow.start(name)
        return ended
