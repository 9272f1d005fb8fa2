"""A worker of a batch in a process of its own: ``python -m helpers.batch_process FOLDER OUTPUT ROWS RUN SETTLES``.

It waits until the folder has a file ``go``, so that several begin at the same moment, and prints the XCom that says
what the batch has come to. Its connections are in its environment, as Airflow has them.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from pathlib import Path

from helpers.processes import ModuleProcess


def start(
    folder: Path, rows: int, run: int, environment: dict[str, str], *, output: str = "", settles_s: float = 0
) -> ModuleProcess:
    """Start one.

    :param run: number of the run that it works for.
    :param environment: beside this process's own.
    :param output: where its files go; by default ``out`` in the folder.
    :param settles_s: after so many seconds an intent of another worker counts as unknown; 0: as ever.
    """
    return ModuleProcess(__name__, folder, output or f"{folder}/out", rows, run, settles_s, environment=environment)


def _main(folder: str, output: str, count: str, run: str, settles_s: str) -> None:
    from airflow.providers.common.compat.sdk import AirflowException

    from helpers.attempts import TaskInstance
    from helpers.batches import PROMPT, rows
    from helpers.clouds import attach_from_environment
    from magic_hour_provider.batch.records import records
    from magic_hour_provider.operators.batch import MagicHourBatchOperator
    from magic_hour_provider.xcoms import BATCH_XCOM

    attach_from_environment()
    if float(settles_s):
        records.settles_after = lambda *_: float(settles_s)
    ti = TaskInstance("campaign")
    ti.run_id = f"manual__{run}"
    ti.next_attempt()
    operator = MagicHourBatchOperator(
        task_id="campaign",
        tool="ai-image-generator",
        request=PROMPT,
        requests=rows(int(count)),
        item_id="sku",
        output_path=output,
        deferrable=False,
    )
    while not Path(folder, "go").exists():
        time.sleep(0.01)
    with contextlib.suppress(AirflowException):  # items are missing
        operator.execute(ti.context(operator))
    sys.stdout.write(f"{json.dumps(ti.xcoms[BATCH_XCOM])}\n")


if __name__ == "__main__":
    _main(*sys.argv[1:])
