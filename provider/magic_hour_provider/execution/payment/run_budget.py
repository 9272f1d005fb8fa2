"""What a whole DAG run may pay: the limit, what its tasks have paid and reserved so far, and whether one more job fits.

Each task says in its XCom what it has ever paid in the run and what it has reserved: the estimate of a request that is
about to be sent. So the sum is exact for tasks that submit one after another. What submits in the same moment is not
seen: together such tasks can pass the limit by what they submit then. So it is for a task whose attempt has just begun,
as Airflow has removed its XComs; where ``[magic_hour] ledger_path`` is set its record is read instead.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from airflow.providers.common.compat.sdk import AirflowConfigException, conf

from magic_hour_provider.api.errors import CreditLimitError, InvalidInputError, MagicHourError, describe_credits
from magic_hour_provider.api.prices import Estimate
from magic_hour_provider.execution.payment.limits import HOW_TO_KNOW, describe_estimate, setting_error
from magic_hour_provider.execution.payment.run_activity import TaskInstanceKey, find_paying_tasks, read_states
from magic_hour_provider.execution.spec import JobSpec
from magic_hour_provider.ledger.file_store import open_configured_store
from magic_hour_provider.ledger.record import KEY, Record, RunCredits
from magic_hour_provider.xcoms import BATCH_XCOM, JOB_XCOM

log = logging.getLogger(__name__)

NAME = "max_credits_per_run"
_BEGUN = ("running", "restarting")  # its XComs are removed as an attempt begins
_ENDED = ("success", "failed", "up_for_retry", "up_for_reschedule", "deferred")
_MAX_RECORDS = 100  # read one by one; what is more is not known
_NAMED = 5


@dataclass(frozen=True)
class RunLimit:
    """The most that the tasks of a run may pay together.

    :param credits: the limit.
    :param where: where a person raises it.
    """

    credits: int
    where: str


@dataclass(frozen=True)
class RunSpending:
    """What tasks of a run have paid.

    :param credits: all that is known.
    :param unknown: names of the task instances of which not all is known.
    """

    credits: RunCredits
    unknown: tuple[str, ...] = ()


def find_run_limit(context: Mapping[str, Any], given: int | None) -> RunLimit | None:
    """Return the limit of the run: the task's own, else the DAG's param of this name, else the setting.

    :param context: Airflow's context of the running task.
    :param given: the operator's argument.
    :raises InvalidInputError: it is no number of credits.
    """
    if given is not None:
        return RunLimit(given, f"{NAME} of the task")
    value = (context.get("params") or {}).get(NAME)
    if value is not None:
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise InvalidInputError(f"The DAG's param {NAME} must be a whole number, 0 or more; it is {value!r}.")
        return RunLimit(value, f"the DAG's param {NAME}")
    try:
        setting = conf.getint("magic_hour", "max_credits_per_run", fallback=0)
    except (AirflowConfigException, ValueError) as error:
        raise setting_error(error) from None
    return RunLimit(setting, f"[magic_hour] {NAME}") if setting > 0 else None


def check_run_limit(spec: JobSpec, estimate: Estimate, own: RunCredits, context: Mapping[str, Any]) -> RunLimit | None:
    """Refuse a job that would probably let the run pay more than its limit; return that, or None: there is none.

    :param own: what this task itself has paid before.
    :param context: Airflow's context of the running task.
    :raises CreditLimitError: it is refused; nothing was paid.
    :raises InvalidInputError: the limit is no number of credits.
    """
    limit = find_run_limit(context, spec.max_credits_per_run)
    if limit is None:
        return None
    tool, allows_unknown = spec.tool.slug, spec.max_credits_unknown == "allow"
    others = read_other_tasks(context)
    total = others.credits + own
    unknown = (*others.unknown, *(() if own.is_known else ("this task itself",)))
    so_far = describe_spending(RunSpending(total, unknown))
    if estimate.credits is None and not allows_unknown:
        raise CreditLimitError(
            f"What this {tool} job costs is not known before it is paid for, and {limit.where} is {limit.credits}. "
            f"{so_far}",
            next_step=f"{HOW_TO_KNOW}; then clear the task.",
        )
    if unknown and not allows_unknown:
        raise CreditLimitError(
            f"{limit.where} is {limit.credits}, and what the run has paid is not known. {so_far}",
            next_step="See what these tasks have paid. Set [magic_hour] ledger_path, so that their records tell it, or "
            "max_credits_unknown='allow', which counts them as nothing; then clear the task.",
        )
    if unknown:
        log.warning("%s counts what is not known as nothing: %s", limit.where, so_far)
    if total.paid + total.reserved + (estimate.credits or 0) > limit.credits:
        raise CreditLimitError(
            f"This {tool} job is estimated at {describe_estimate(estimate)}, and {limit.where} is {limit.credits}. "
            f"{so_far}",
            next_step=f"Raise {limit.where}, and clear the task.",
        )
    return limit


def describe_spending(spending: RunSpending, *, who: str = "The tasks of this run") -> str:
    """Return what tasks of a run have paid, as whole sentences."""
    paid, reserved = spending.credits.paid, spending.credits.reserved
    text = f"{who} were charged {describe_credits(paid)} and have reserved {reserved}."
    if spending.unknown:
        names = ", ".join(spending.unknown[:_NAMED])
        more = f" and {len(spending.unknown) - _NAMED} more" if len(spending.unknown) > _NAMED else ""
        text += f" Not known is what was paid by {names}{more}."
    return text


def read_other_tasks(context: Mapping[str, Any]) -> RunSpending:
    """Return what the other task instances of the run have paid: one read of XComs for each task id.

    :param context: Airflow's context of the running task.
    """
    total, unknown = RunCredits(), list[str]()
    try:
        for name, credits in _read_each(context):
            total += credits
            if not credits.is_known:
                unknown.append(name)
    except Exception:  # no DAG, an API server that is away, an Airflow without one of the calls
        log.warning("What this run's other tasks have paid could not be read.", exc_info=True)
        unknown.append("other tasks of this run, which could not be read")
    return RunSpending(total, tuple(unknown))


def _read_each(context: Mapping[str, Any]) -> Iterator[tuple[str, RunCredits]]:
    ti = context["ti"]
    own = TaskInstanceKey.of(ti)
    records_left = _MAX_RECORDS
    for task in find_paying_tasks(context["task"]):
        is_batch = getattr(getattr(task, "operator_class", task), "is_batch", False)
        pulled = ti.xcom_pull(task_ids=task.task_id, key=BATCH_XCOM if is_batch else JOB_XCOM)
        seen = {own}
        for job in pulled if isinstance(pulled, list) else [pulled]:
            if isinstance(job, Mapping):
                key = TaskInstanceKey(task.task_id, (job.get("run_credits") or {}).get("map_index", -1))
                if key != own:
                    seen.add(key)
                    yield str(key), _read_xcom(job)
        for key, state in read_states(ti, task.task_id):
            if key not in seen and state in (*_BEGUN, *_ENDED):
                records_left -= 1
                yield str(key), _read_record(ti, key, state, is_readable=records_left >= 0 and not is_batch)


def _read_xcom(job: Mapping[str, Any]) -> RunCredits:
    credits = job.get("run_credits")
    if isinstance(credits, Mapping):
        paid, reserved = credits.get("paid"), credits.get("reserved")
        if not _is_count(paid) or not _is_count(reserved):
            return RunCredits(is_known=False)
        return RunCredits(paid, reserved, credits.get("is_known") is True)
    # Of an attempt that could not begin, or of an older version of this package.
    charged = job.get("credits_charged")
    if _is_count(charged):
        return RunCredits(charged)
    return RunCredits(is_known=job.get("charge") == "none" and job.get("id") is None)


def _is_count(value: object) -> TypeGuard[int]:
    """Whether a value of an XCom is a number of credits: anybody may have written it."""
    return type(value) is int and value >= 0


def _read_record(ti: Any, key: TaskInstanceKey, state: str, *, is_readable: bool) -> RunCredits:
    """Return what a task instance without XCom has paid, by its record under ``ledger_path``."""
    store = open_configured_store(ti.dag_id, ti.run_id, key.task_id, key.map_index) if is_readable else None
    if store is None:
        # One whose attempt has just begun is in flight; of another one the XCom is missing.
        return RunCredits(is_known=state in _BEGUN)
    try:
        value = store.get(KEY)
        return RunCredits() if value is None else Record.read(value).count_run_credits()
    except MagicHourError as error:
        log.warning("%s", error.message)
        return RunCredits(is_known=False)
