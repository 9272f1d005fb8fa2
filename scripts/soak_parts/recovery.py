"""What a person does after a soak: tasks and items of which it is unknown whether a job was made are recovered."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from soak_parts.state import Instance, SoakState
from soak_parts.work import BATCH_DAG, BATCH_RUN, BATCH_TASK, JOBS_DAG

_COMMAND_S = 300
_AT_ONCE = 3
_TAG = re.compile(r"#[A-Z0-9]{8}\b")


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
        """Recover the failed tasks whose submission is unknown, some at a time."""
        records = {
            one: self._state.record_of(one) for one in instances if one.dag_id == JOBS_DAG and one.state == "failed"
        }
        unknown = [
            ([JOBS_DAG, one.run_id, one.task_id, "--map-index", str(one.map_index)], str(record.get("error")))
            for one, record in records.items()
            if record.get("status") == "unknown"
        ]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(lambda pair: self._recover(*pair), unknown))

    def recover_item(self) -> bool:
        """Recover one unknown item of the batch, and return whether there was one: the task is then cleared."""
        unknown = [item for item in self._state.batch_items() if item["status"] == "unknown"]
        if unknown:
            where = [BATCH_DAG, BATCH_RUN, BATCH_TASK, "--item", unknown[0]["item_id"]]
            return self._recover(where, unknown[0]["name"])
        return False

    def _recover(self, where: list[str], text: str) -> bool:
        """Recover one, and return whether that could be done.

        :param where: of the command line.
        :param text: says the tag, as a person reads it.
        """
        found = _TAG.search(text)
        if found is None:
            self._say(f"{' '.join(where)} is unknown, and no tag is named: {text[:200]}")
            return False
        jobs = [row["id"] for row in self._state.job_rows() if row["name"].endswith(found.group())]
        if jobs:
            self.adopted += 1
            self._command("adopt", *where[:3], jobs[0], *where[3:])
        else:
            self.regenerated += 1
            self._command("regenerate", *where)
        return True

    def _command(self, *words: str) -> None:
        command = [sys.executable, "-m", "airflow", "magic-hour", *words, "--yes"]
        done = subprocess.run(
            command, env=dict(self._environment), capture_output=True, text=True, timeout=_COMMAND_S, check=False
        )
        said = (done.stdout.strip() or done.stderr.strip()).splitlines()[-1:]
        self._say(f"airflow magic-hour {' '.join(words)}: {' '.join(said)}")
