"""The limit of a whole DAG run, as a batch has it: what the other tasks of the run leave is what it may spend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from magic_hour_provider.api.errors import CreditLimitError, InvalidInputError, MagicHourError, describe_credits
from magic_hour_provider.batch.spec import BatchSpec
from magic_hour_provider.execution.payment.run_budget import describe_spending, find_run_limit, read_other_tasks

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger


def limit_by_run(
    spec: BatchSpec, context: Mapping[str, Any], log: FilteringBoundLogger
) -> tuple[BatchSpec, MagicHourError | None]:
    """Return what the user asked for with the limit that the run leaves, and why nothing may be paid; None: it may.

    :param context: Airflow's context of the running task.
    """
    try:
        limit = find_run_limit(context, spec.max_credits_per_run)
    except InvalidInputError as error:  # what is under way is paid for, and is waited for
        return spec, error
    if limit is None:
        return spec, None
    spec, others = replace(spec, max_credits_per_run=limit.credits), read_other_tasks(context)
    so_far = describe_spending(others, who="The other tasks of this run")
    others_credits = others.credits.paid + others.credits.reserved
    left = max(0, limit.credits - others_credits)
    if spec.max_credits is None or left < spec.max_credits:
        note = (
            f"max_credits is here what {limit.where}, {limit.credits}, leaves. {so_far} Raise {limit.where} to what is "
            f"enough here and {others_credits} more."
        )
        spec = replace(spec, max_credits=left, limit_note=note)
        log.info("%s is %s. %s This batch may spend %s.", limit.where, limit.credits, so_far, describe_credits(left))
    refusal = None
    if others.unknown:
        refusal = CreditLimitError(
            f"{limit.where} is {limit.credits}, and what the run has paid is not known. {so_far}",
            next_step="See what these tasks have paid; with [magic_hour] ledger_path set, their records tell it.",
        )
    return spec, refusal
