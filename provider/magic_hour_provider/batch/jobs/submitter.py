"""The submission of one item: uploads, intent and paid request, in a thread of its own."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from magic_hour_provider import clock
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.api.errors import MagicHourError, SubmissionUnknownError
from magic_hour_provider.api.transport.uploads import UploadSource
from magic_hour_provider.batch.jobs.gate import Gate, GatedIntent
from magic_hour_provider.batch.jobs.uploads import SharedUploads
from magic_hour_provider.batch.records.declaration.claims import TakenError
from magic_hour_provider.batch.records.intent import ItemIntent
from magic_hour_provider.batch.records.records import ItemRecords
from magic_hour_provider.batch.records.state import ItemState
from magic_hour_provider.batch.rows.items import Item
from magic_hour_provider.batch.spec import BatchSpec
from magic_hour_provider.execution.payment.submission import submit_once
from magic_hour_provider.execution.spec import PreparedRequest
from magic_hour_provider.inputs.fields import FieldPath
from magic_hour_provider.inputs.saved_items import SavedItems
from magic_hour_provider.inputs.sources import StoredSource
from magic_hour_provider.inputs.upload import resolve_inputs
from magic_hour_provider.ledger.decision import RetryState
from magic_hour_provider.ledger.record import Record
from magic_hour_provider.ledger.tag import generate_job_name, make_job_name, new_tag

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ItemToPay:
    """An item that is to be paid for, with all that Airflow's own thread has to find out.

    :param state: that this was decided on.
    :param sources: the files to hand over, found and readable.
    :param fingerprint: of the request.
    :param note: why, for a person.
    """

    item: Item
    state: ItemState
    prepared: PreparedRequest
    sources: Mapping[FieldPath, StoredSource]
    fingerprint: dict[str, str]
    note: str


class NotSubmittedError(Exception):
    """An item was not paid for.

    :param error: why.
    :param number: of the intent, which was withdrawn; None: none was written.
    """

    def __init__(self, error: MagicHourError, number: int | None = None) -> None:
        super().__init__(str(error))
        self.error, self.number = error, number


class Submitter:
    """Submits items. Threads share it.

    :param gate: that each request passes.
    :param ti: Airflow's task instance, whose name is that of jobs that have none of their own.
    :param tier: the account's plan; None: not known.
    :param saved_items: of the account.
    :param tag_job_names: the setting of this name.
    """

    def __init__(
        self,
        spec: BatchSpec,
        client: MagicHourClient,
        records: ItemRecords,
        retry_state: RetryState,
        gate: Gate,
        ti: Any,
        tier: str | None,
        saved_items: SavedItems,
        tag_job_names: str,
    ) -> None:
        self.gate = gate
        self._spec, self._client, self._records = spec, client, records
        self._retry_state, self._generated_name, self._tier = retry_state, generate_job_name(ti), tier
        self._tag_job_names = tag_job_names
        self._uploads = SharedUploads()
        self._saved_items = saved_items

    def submit(self, one: ItemToPay) -> tuple[Record, int]:
        """Upload an item's files and submit its job; return the record, already written, and its number.

        Magic Hour's own 502, after which a single job is sent again while the balance is unchanged, leaves an item
        unknown. Other requests, settlements and refunds of the batch change the balance all the time, and one of them
        may hide a charge; only a task's very first request is free of them, and proof for that one alone is not worth
        a second way to pay.

        :raises SubmissionUnknownError: it is unknown whether a job was made: that is written down too.
        :raises TakenError: another worker is about to pay for the item, or has.
        :raises NotSubmittedError: nothing was paid for.
        """
        try:
            intent, body = self._prepare(one)
        except MagicHourError as error:
            raise NotSubmittedError(error) from error
        try:
            record = submit_once(
                intent,
                self._client,
                self._spec.tool,
                body,
                # Other items change the balance too, so that it never shows that a request made no job.
                account=None,
                account_at=clock.current().now(),
                activity=None,
                resubmits=self._spec.on_unknown_submission == "resubmit",
            )
        except SubmissionUnknownError as error:
            self._give_up(one, intent, str(error))
            raise
        except TakenError:
            raise
        except MagicHourError as error:
            raise NotSubmittedError(error, intent.withdrawn) from error
        finally:
            self.gate.leave(one.item.key)
        return record, intent.number

    def _give_up(self, one: ItemToPay, intent: ItemIntent, note: str) -> None:
        try:
            self._records.give_up(one.item.key, intent.number, intent.record, note)
        except MagicHourError as error:  # the intent says it too, a while later
            log.warning("%s", error.message)

    def _prepare(self, one: ItemToPay) -> tuple[ItemIntent, Mapping[str, Any]]:
        spec, item = self._spec, one.item
        uris: dict[UploadSource, str] = {
            one.sources[given.path]: given.uri or "" for given in one.prepared.inputs if given.path in one.sources
        }
        body = resolve_inputs(
            self._client,
            one.prepared.body,
            one.prepared.inputs,
            one.sources,
            tier=self._tier,
            upload=lambda client, sources: [self._uploads.upload(client, source, uris[source]) for source in sources],
            saved_items=self._saved_items,
        )
        tag, name = new_tag(), body.get("name")
        if spec.tool.accepts_name:
            generated = f"{item.item_id or item.key} {self._generated_name}"
            name = make_job_name(name, generated, tag, self._tag_job_names)
            body = {**body, "name": name} if name else body
        record = Record(
            state="intent",
            tool=spec.tool.slug,
            kind=spec.tool.kind,
            tag=tag,
            fingerprint=one.fingerprint,
            name=name,
            conn_id=spec.conn_id,
            **asdict(self._retry_state),
        )
        intent = GatedIntent(
            self.gate, self._records, item.key, one.state, record, item=item.item_id or item.key, note=one.note
        )
        return intent, body
