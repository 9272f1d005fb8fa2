"""The values of one attempt of a batch: what the user asked for, and what passes through a deferral."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

from magic_hour_provider.api.catalog import PollingClass, Tool
from magic_hour_provider.polling.schedule import Schedule

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger


@dataclass(frozen=True)
class BatchSpec:
    """What the user asked of the batch, rendered.

    :param requests: the rows, or where they are.
    :param request: what all of them have in common.
    :param extra_request: merged over each, and never checked.
    :param item_id: the column that holds a row's id; None: equal requests are one item.
    :param output_path: folder for files and records.
    :param max_active_jobs: at Magic Hour at the same time.
    :param max_credits: limit of what this task instance pays over all its tries; None: there is none.
    :param max_credits_per_run: limit of what all tasks of the run pay; None: what DAG or setting says.
    :param canary: items that must be complete before any other is paid for.
    :param item_retries: new jobs per item and attempt, after failures after which another job may succeed.
    :param max_failed_items: how many items may fail; below 1: which share of all.
    :param on_changed: ``new`` or ``keep``.
    :param on_unknown_submission: ``fail`` or ``resubmit``.
    :param deferrable: False: wait on the worker.
    :param timeout: seconds that a job is waited for; None: what fits the tool.
    :param execution_timeout: Airflow's limit of one attempt; None: there is none.
    :param pays_unknown_prices: whether, under a limit, a first job is paid for of which nobody knows what it costs.
    :param input_transfer: ``upload`` or ``presign``: how stored files reach Magic Hour; None: as the setting says.
    :param limit_note: where ``max_credits`` comes from, as a sentence, if the user has not given it.
    """

    tool: Tool
    requests: Any
    request: Mapping[str, Any]
    extra_request: Mapping[str, Any]
    item_id: str | None
    conn_id: str
    output_path: str
    max_active_jobs: int
    max_credits: int | None
    max_credits_per_run: int | None
    canary: int
    item_retries: int
    max_failed_items: float
    on_changed: str
    on_unknown_submission: str
    deferrable: bool
    timeout: float | None
    execution_timeout: timedelta | None = None
    input_transfer: str | None = None
    limit_note: str = ""
    pays_unknown_prices: bool = True

    @property
    def polling_class(self) -> PollingClass:
        """How the jobs are polled: all of them alike, as what they have in common says."""
        return self.tool.polling_class({**self.request, **self.extra_request})

    @property
    def schedule(self) -> Schedule:
        """When they are polled."""
        return Schedule.of(self.polling_class, self.tool)

    @property
    def timeout_s(self) -> float:
        """How long a job is waited for, in seconds."""
        return self.timeout if self.timeout is not None else self.polling_class.timeout_s


@dataclass(frozen=True)
class Passage:
    """What one worker of an attempt tells the next one, through a deferral.

    :param started_at: when the attempt began, in seconds since 1970.
    :param stop_reason: why nothing more is submitted in this attempt; None: nothing stops it.
    :param is_stop_retryable: whether a retry may help then.
    :param has_changes: whether rows that have changed are paid for again, so that each worker has to find them.
    :param waiting_since: since when intents of other workers are known that are waited for, in seconds since 1970;
        None: there are none.
    """

    started_at: float
    stop_reason: str | None = None
    is_stop_retryable: bool = False
    has_changes: bool = False
    waiting_since: float | None = None

    def to_kwargs(self) -> dict[str, Any]:
        """Return the arguments of ``execute_complete`` that bring it through."""
        stop = {"stop_reason": self.stop_reason, "is_stop_retryable": self.is_stop_retryable}
        changes: dict[str, Any] = {"has_changes": True} if self.has_changes else {}
        if self.waiting_since is not None:
            changes["waiting_since"] = self.waiting_since
        return {"started_at": self.started_at, **changes, **(stop if self.stop_reason is not None else {})}


@dataclass(frozen=True)
class BatchDeferral:
    """The end of a worker's part: jobs are under way, and the triggerer waits for them.

    :param jobs: ``[id, time of its submission in seconds since 1970]`` of each.
    :param deadline: when to give up, in seconds since 1970.
    :param wake_at: number of ended jobs that are worth a worker.
    :param wake_by: when a worker is needed at the latest, in seconds since 1970: what other workers were about to pay
        for is known by then; None: nothing but jobs is waited for.
    :param passage: for the next worker.
    """

    jobs: list[list[Any]]
    deadline: float
    wake_at: int
    passage: Passage
    wake_by: float | None = None


class StoppableBatch(Protocol):
    """An attempt, as the operator sees it."""

    def stop(self) -> None:
        """Send nothing more, and end soon."""


class BatchTask(Protocol):
    """The operator, as an attempt sees it."""

    outlets: list[Any]
    output_path: Any
    """Folder of the batch, rendered."""
    attempt: StoppableBatch | None

    @property
    def log(self) -> FilteringBoundLogger:
        """The task's log."""

    def batch_spec(self) -> BatchSpec:
        """Return what the user asked for.

        :raises InvalidInputError: an argument cannot work.
        """
