"""What a person does after a soak: tasks and items of which it is unknown whether a job was made are recovered."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from soak_parts.state import Instance, SoakState
from soak_parts.work import BATCH_DAG, BATCH_RUN, BATCH_TASK, JOBS_DAG

_COMMAND_S = 180


class Recovery:
    """Recovers on the command line, as the guide on paying once says: by the tag, in the library.

    :param environment: of the Airflow.
    :param state: reads it.
    :param say: is told what is done.
    """

    def __init__(self, environment: Mapping[str, str], state: SoakState, say: Callable[[str], None]) -> None:
        self._environment, self._state, self._say = environment, state, say
        self.adopted = self.regenerated = 0
        """How often a job was found by its tag, and how often there was none."""

    def recover_jobs(self, instances: Sequence[Instance]) -> None:
        """Recover the failed tasks whose submission is unknown, all at once."""
        for one in instances:
            if one.dag_id == JOBS_DAG and one.state == "failed":
                record = self._state.record_of(one)
                if record.get("status") == "unknown":
                    where = [JOBS_DAG, one.run_id, one.task_id, "--map-index", str(one.map_index)]
                    self._recover(where, str(record.get("name") or ""))

    def recover_item(self) -> bool:
        """Recover one unknown item of the batch, and return whether there was one: the task is then cleared."""
        unknown = [item for item in self._state.batch_items() if item["status"] == "unknown"]
        if unknown:
            where = [BATCH_DAG, BATCH_RUN, BATCH_TASK, "--item", unknown[0]["item_id"]]
            self._recover(where, unknown[0]["name"])
        return bool(unknown)

    def _recover(self, where: list[str], name: str) -> None:
        tag = name.rpartition("#")[2]
        found = [row["id"] for row in self._state.job_rows() if tag and row["name"].endswith(f"#{tag}")]
        if found:
            self.adopted += 1
            words = [where[0], where[1], where[2], found[0], *where[3:]]
            self._command("adopt", *words)
        else:
            self.regenerated += 1
            self._command("regenerate", *where)

    def _command(self, *words: str) -> Any:
        command = [sys.executable, "-m", "airflow", "magic-hour", *words, "--yes"]
        done = subprocess.run(
            command, env=dict(self._environment), capture_output=True, text=True, timeout=_COMMAND_S, check=False
        )
        said = (done.stdout.strip() or done.stderr.strip()).splitlines()[-1:]
        self._say(f"airflow magic-hour {' '.join(words)}: {' '.join(said)}")
