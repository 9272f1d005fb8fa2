"""A worker of a batch in a process of its own: ``python -m helpers.batch_process FOLDER ROWS RUN SETTLES``.

It waits until the folder has a file ``go``, so that several begin at the same moment, and prints the XCom that says
what the batch has come to. The connection is in its environment, as Airflow has it.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path


def start(
    folder: Path, rows: int, run: int, environment: dict[str, str], *, settles_s: float = 0
) -> subprocess.Popen[str]:
    """Start one.

    :param run: number of the run that it works for.
    :param settles_s: after so many seconds an intent of another worker counts as unknown; 0: as ever.
    :param environment: beside this process's own.
    """
    here = Path(__file__).parent.parent
    command = [sys.executable, "-m", "helpers.batch_process", str(folder), str(rows), str(run), str(settles_s)]
    paths = os.pathsep.join(path for path in sys.path if path)
    return subprocess.Popen(
        command,
        cwd=here,
        env=os.environ | {"PYTHONPATH": paths} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _main(folder: str, count: str, run: str, settles_s: str) -> None:
    from airflow.providers.common.compat.sdk import AirflowException

    from helpers.attempts import TaskInstance
    from helpers.batches import PROMPT, rows
    from magic_hour_provider.batch.records import records
    from magic_hour_provider.operators.batch import MagicHourBatchOperator
    from magic_hour_provider.xcoms import BATCH_XCOM

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
        output_path=f"{folder}/out",
        deferrable=False,
    )
    while not Path(folder, "go").exists():
        time.sleep(0.01)
    with contextlib.suppress(AirflowException):  # items are missing
        operator.execute(ti.context(operator))
    sys.stdout.write(f"{json.dumps(ti.xcoms[BATCH_XCOM])}\n")


if __name__ == "__main__":
    _main(*sys.argv[1:])
