"""The end of one job of a batch: its files are stored, or its failure is written down."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.api.errors import Charge, MagicHourError
from magic_hour_provider.api.models import Job
from magic_hour_provider.api.responses import job_error
from magic_hour_provider.batch.records.records import ItemRecords
from magic_hour_provider.batch.spec import BatchSpec
from magic_hour_provider.execution.payment.preflight import add_link_advice
from magic_hour_provider.execution.report import redact_values
from magic_hour_provider.ledger.record import Record
from magic_hour_provider.metrics import count_credits
from magic_hour_provider.outputs.download import store_outputs


@dataclass(frozen=True)
class JobOfItem:
    """A job under way, or one that has just ended.

    :param number: of its intent.
    :param record: as far as it is known.
    :param is_own: whether this task instance has paid for it.
    """

    key: str
    number: int
    record: Record
    is_own: bool


class Collector:
    """Concludes jobs. Threads share it.

    :param dag_id: for the metrics.
    """

    def __init__(self, spec: BatchSpec, client: MagicHourClient, records: ItemRecords, dag_id: str) -> None:
        self._spec, self._client, self._records, self._dag_id = spec, client, records, dag_id

    def store(self, one: JobOfItem, job: Job, request: Any) -> None:
        """Store the files of a complete job, and write that down.

        :param request: of the item, for the sidecar.
        :raises MagicHourError: they could not be stored, or that not be written: the job stays collectable.
        """
        result = store_outputs(
            self._client,
            job,
            self._spec.tool.slug,
            self._spec.output_path,
            request=redact_values(request),
            tag=one.record.tag,
            stored=one.record.files,
        )
        charged = job.credits_charged if job.credits_charged is not None else one.record.credits_charged
        record = replace(one.record, state="delivered", files=result["media"], credits_charged=charged)
        self._records.deliver(one.key, one.number, record)
        if one.is_own:
            count_credits(charged, self._spec.tool.slug, self._dag_id)

    def fail(self, one: JobOfItem, job: Job) -> MagicHourError:
        """Write down that a job has ended without a result, and return its error.

        :raises RecordError: that cannot be written now; the next attempt polls the job again.
        """
        failure = job_error(job, tool=self._spec.tool.slug, how_to_resume="")
        add_link_advice(failure, self._spec.input_transfer)
        refunded = failure.charge is Charge.REFUNDED
        charged = job.credits_charged if job.credits_charged is not None else one.record.credits_charged
        record = replace(
            one.record,
            state="failed" if failure.retryable else "ended",
            reason=str(failure),
            credits_charged=charged,
        )
        self._records.fail(one.key, one.number, record, refunded=refunded)
        return failure
