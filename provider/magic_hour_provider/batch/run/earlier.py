"""What a batch has paid for before an attempt failed: what raised the error knows of its own step alone."""

from __future__ import annotations

from magic_hour_provider.api.errors import Charge, MagicHourError
from magic_hour_provider.batch.records.owner import Owner
from magic_hour_provider.batch.records.records import ItemRecords


def add_earlier_payments(error: MagicHourError, output_path: str, owner: Owner) -> None:
    """Add to the error of an attempt what its task instance has paid for, in all its tries.

    :param error: of an attempt that may not be the first one, or that has got as far as to pay.
    :param output_path: of the batch, rendered; empty: not known.
    :param owner: the attempt.
    """
    if error.charge not in (None, Charge.NONE):
        return
    try:
        records = ItemRecords.open(output_path, owner)
        states = records.load().values()
    except MagicHourError:
        error.append(
            "What this task has paid for before cannot be read now.",
            charge=Charge.UNKNOWN,
            next_step="Jobs that are recorded are resumed by the next attempt, and none of them is paid for twice.",
        )
        return
    spent = records.spent(owner)
    if spent.jobs:
        error.append(
            charge=Charge.KEPT if spent.credits or spent.unpriced else Charge.REFUNDED,
            charge_words=spent.describe(),
            next_step="The next attempt resumes these jobs, and pays for none of them twice.",
        )
        # Airflow's API in trouble may look like a mistake of the user's: jobs under way are worth a retry.
        error.retryable |= any(state.status == "job" and state.owner == owner.digest for state in states)
    elif any(state.status in ("intent", "unknown") for state in states):
        error.append(charge=Charge.UNKNOWN, next_step=None)
