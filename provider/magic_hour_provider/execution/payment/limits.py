"""The limit of credits that a user sets for one job: what is refused before it is paid for, and what is reported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from magic_hour_provider.api.errors import CreditLimitError, InvalidInputError, describe_credits
from magic_hour_provider.api.prices import Estimate
from magic_hour_provider.execution.spec import JobSpec
from magic_hour_provider.ledger.record import Record
from magic_hour_provider.metrics import CREDITS_OVER_LIMIT, count_credits

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

HOW_TO_KNOW = (
    "Name the model and the resolution, so that there is a price for them, or set max_credits_unknown='allow', which "
    "pays whatever it costs"
)


def setting_error(error: Exception) -> InvalidInputError:
    """Return the error of a setting that cannot be read: what it says is not guessed, as it may be a limit.

    :param error: Airflow's, which names the setting and its value.
    """
    return InvalidInputError(
        f"A setting of Airflow cannot be read: {error}",
        next_step="Correct it in airflow.cfg or in its environment variable, and clear the task.",
    )


def check_max_credits(spec: JobSpec, estimate: Estimate) -> None:
    """Refuse a job that probably costs more than the task's ``max_credits``, or of which nobody knows what it costs.

    :raises CreditLimitError: it is refused; nothing was paid.
    """
    limit = spec.max_credits
    if limit is None or (estimate.credits is None and spec.max_credits_unknown == "allow"):
        return
    if estimate.credits is None:
        raise CreditLimitError(
            f"What this {spec.tool.slug} job costs is not known before it is paid for, and max_credits is {limit}.",
            next_step=f"{HOW_TO_KNOW}; then clear the task.",
        )
    if estimate.credits > limit:
        raise CreditLimitError(
            f"This {spec.tool.slug} job is estimated at {describe_estimate(estimate)}, and max_credits is {limit}.",
            next_step="Ask for less, or raise max_credits of the task, and clear it.",
        )


def describe_estimate(estimate: Estimate) -> str:
    """Return an estimate in words, with what it is based on."""
    basis = {"published": "the published price", "observed": "what a job like it was charged"}.get(estimate.basis)
    return f"{describe_credits(estimate.credits)} ({basis})" if basis else describe_credits(None)


def report_overcharge(
    spec: JobSpec, record: Record, dag_id: str, log: FilteringBoundLogger, *, reported: int | None = None
) -> None:
    """Warn of a job that was charged more than ``max_credits``, and count it: it is paid for, and is kept.

    :param record: of the job, as it was just accepted or settled.
    :param reported: what it was charged when that was reported last, in credits; None: not yet, or not known.
    """
    charged, limit = record.credits_charged, spec.max_credits
    if charged is None or limit is None or charged <= max(limit, reported or 0):
        return
    estimate = Estimate(**record.estimate) if record.estimate else Estimate(None, "none")
    log.warning(
        "Job %s was charged %s, %s more than max_credits=%s: it was estimated at %s. It is paid for, so it is kept. "
        "Set the limit higher, or ask for less.",
        record.job_id,
        describe_credits(charged),
        charged - limit,
        limit,
        describe_estimate(estimate),
    )
    count_credits(charged - max(limit, reported or 0), spec.tool.slug, dag_id, metric=CREDITS_OVER_LIMIT)
