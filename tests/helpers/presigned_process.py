"""A worker that gives a file as a link, and is killed around its create.

``python -m helpers.presigned_process MOMENT LEDGER URI``. Its record is on the
disk. Settings and connections are in its environment, as Airflow has them.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from helpers.processes import ModuleProcess

BEFORE, AFTER = "before the intent", "after the response"


def start(moment: str, ledger: Path, uri: str) -> ModuleProcess:
    """Start one.

    :param moment: when it is killed: ``BEFORE`` the intent, or ``AFTER`` the response.
    :param ledger: the folder of records.
    :param uri: the file.
    """
    return ModuleProcess(__name__, moment, ledger, uri)


def instance(ledger: Path) -> Any:
    """Return the task instance, with its record on the disk."""
    from helpers.attempts import TaskInstance
    from helpers.stores import StoredFiles
    from magic_hour_provider.ledger.file_store import folder_name

    ti = TaskInstance()
    ti.store = StoredFiles(str(ledger / folder_name(ti.dag_id, ti.run_id, ti.task_id, ti.map_index)))
    return ti


def _main(moment: str, ledger: str, uri: str) -> None:
    from magic_hour_provider.ledger.intent import Intent
    from magic_hour_provider.operators.magic_hour import MagicHourOperator

    def killed(*_: Any, **__: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(Intent, "write" if moment == BEFORE else "complete", killed)
    ti = instance(Path(ledger))
    ti.next_attempt()
    operator = MagicHourOperator(
        task_id="make",
        tool="ai-image-upscaler",
        request={"assets": {"image_file_path": uri}, "scale_factor": 2},
        input_transfer="presign",
        output_path=str(Path(ledger).with_name("out")),
    )
    operator.execute(ti.context(operator))


if __name__ == "__main__":
    _main(*sys.argv[1:])
