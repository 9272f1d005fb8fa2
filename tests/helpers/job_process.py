"""A worker of one task in a process of its own: ``python -m helpers.job_process OUTPUT ATTEMPT``.

It runs one attempt to its end without deferring, and prints the result. Its record is in ``[magic_hour] ledger_path``,
as on an Airflow without task state store. Settings and connections are in its environment, as Airflow has them.
"""

from __future__ import annotations

import json
import sys

from helpers.processes import ModuleProcess

IMAGES = 4


def start(attempt: int, environment: dict[str, str], *, output: str) -> ModuleProcess:
    """Start one.

    :param output: where its files go.
    :param attempt: its number, from 1.
    :param environment: beside this process's own.
    """
    return ModuleProcess(__name__, output, attempt, environment=environment)


def _main(output: str, attempt: str) -> None:
    from helpers.attempts import TaskInstance
    from helpers.clouds import attach_from_environment
    from magic_hour_provider.operators.magic_hour import MagicHourOperator

    attach_from_environment()
    ti = TaskInstance()
    ti.store = None
    for _ in range(int(attempt)):
        ti.next_attempt()
    operator = MagicHourOperator(
        task_id="make",
        tool="ai-image-generator",
        request={"image_count": IMAGES, "style": {"prompt": "a lighthouse"}},
        output_path=output,
        deferrable=False,
    )
    sys.stdout.write(f"{json.dumps(operator.execute(ti.context(operator)))}\n")


if __name__ == "__main__":
    _main(*sys.argv[1:])
