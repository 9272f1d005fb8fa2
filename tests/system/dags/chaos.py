"""The DAGs of the chaos tests: tasks whose process dies at a chosen point, as it does when its machine is lost."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pendulum
from airflow.sdk import DAG, TaskGroup

from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.execution import attempt
from magic_hour_provider.execution.attempt import JobAttempt
from magic_hour_provider.ledger.intent import Intent
from magic_hour_provider.ledger.ledger import Ledger
from magic_hour_provider.operators.magic_hour import MagicHourOperator

RETRY = {"retries": 1, "retry_delay": timedelta(seconds=1)}
PATIENT = RETRY | {"retries": 9}  # the second attempt may be out of time too, before the others have been interrupted
PICTURE = {"image_count": 1, "style": {"prompt": "a lighthouse"}}
# Its job ends when the test lets it.
VIDEO = {"style": {"prompt": "waves [[seconds:3600]]"}, "end_seconds": 3}


def die(*_: Any, **__: Any) -> None:
    """Kill this process: nothing gets to clean up."""
    os.kill(os.getpid(), signal.SIGKILL)


class Dying:
    """A file that takes the first piece and is never heard of again."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def write(self, data: bytes) -> None:
        """Write half of what came, and die."""
        self._file.write(data[: len(data) // 2])
        die()


def half_a_download(client: MagicHourClient, link: Any, target: Any, **options: Any) -> Any:
    """Stand in for ``MagicHourClient.download``."""
    return DOWNLOAD(client, link, Dying(target), **options)


DOWNLOAD = MagicHourClient.download

# The method that the process does not come back from: what stands before it is the last thing it did.
POINTS: dict[str, tuple[Any, str, Callable[..., Any]]] = {
    "before_the_intent": (attempt, "run_preflight", die),
    "before_the_post": (MagicHourClient, "create", die),
    "before_the_record": (Intent, "complete", die),
    "after_the_record": (JobAttempt, "wait", die),
    "during_the_download": (MagicHourClient, "download", half_a_download),
    "after_the_download": (Ledger, "mark_delivered", die),
}


def dies(point: str) -> Callable[[Any], None]:
    """Return a hook that lets the first attempt die at a point."""

    def arm(context: Any) -> None:
        if context["ti"].try_number == 1:
            owner, method, instead = POINTS[point]
            setattr(owner, method, instead)

    return arm


def waits_for_the_api_server(context: Any) -> None:
    """Let the task stop between answer and record until a test has taken the API server away."""
    complete = Intent.complete

    def meet(*arguments: Any) -> Any:
        here = Path(os.environ["AIRFLOW_HOME"])
        (here / "answered").touch()
        while not (here / "api-server-is-down").exists():
            time.sleep(0.05)
        return complete(*arguments)

    Intent.complete = meet  # type: ignore[method-assign]


with DAG("workers_killed", schedule=None), TaskGroup("worker"):
    for name in POINTS:
        MagicHourOperator(task_id=name, tool="ai-image-generator", request=PICTURE, pre_execute=dies(name), **RETRY)

with DAG("services_killed", schedule=None):
    MagicHourOperator(task_id="deferred", tool="text-to-video", request=VIDEO, **RETRY)
    MagicHourOperator(task_id="on_the_worker", tool="text-to-video", request=VIDEO, deferrable=False, **RETRY)

with DAG("api_server_killed", schedule=None):
    MagicHourOperator(
        task_id="make", tool="ai-image-generator", request=PICTURE, pre_execute=waits_for_the_api_server, **RETRY
    )

with DAG("interrupted", schedule=None):
    MagicHourOperator(task_id="marked_failed", tool="text-to-video", request=VIDEO, **RETRY)
    MagicHourOperator(task_id="marked_success", tool="text-to-video", request=VIDEO, **RETRY)
    MagicHourOperator(
        task_id="out_of_time",
        tool="text-to-video",
        request=VIDEO,
        deferrable=False,
        execution_timeout=timedelta(seconds=18),
        **PATIENT,
    )
    MagicHourOperator(task_id="out_of_patience", tool="text-to-video", request=VIDEO, timeout=18, **PATIENT)

# The test moves the beginning of its run.
with DAG("run_out_of_time", schedule=None, dagrun_timeout=timedelta(hours=1)):
    MagicHourOperator(task_id="make", tool="text-to-video", request=VIDEO, **RETRY)

with DAG("bad_gateway", schedule=None):
    request = {"image_count": 1, "style": {"prompt": "behind a bad gateway"}}
    (
        MagicHourOperator(task_id="make", tool="ai-image-generator", request=request)
        >> MagicHourOperator.partial(task_id="later", tool="ai-image-generator").expand(request=[PICTURE])
    )

with DAG("mapped", schedule=None, max_active_runs=2):
    MagicHourOperator.partial(task_id="make", tool="ai-image-generator").expand(
        request=[PICTURE, PICTURE, {"image_count": 1, "style": {"prompt": "another"}}]
    )

with DAG(
    "daily", schedule="@daily", start_date=pendulum.datetime(2026, 1, 1), catchup=False, is_paused_upon_creation=False
):
    MagicHourOperator(task_id="make", tool="ai-image-generator", request=PICTURE, depends_on_past=True, output_path="")
