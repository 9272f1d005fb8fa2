"""The connection of a job that is paid for already: a template may name another one by now, and so may the DAG file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import AirflowNotFoundException

from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.hooks.magic_hour import MagicHourHook
from magic_hour_provider.ledger.record import Record

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger


def open_connection_of(record: Record, conn_id: str, log: FilteringBoundLogger) -> MagicHourClient | None:
    """Open a client with the connection that a job was paid for with: the key of another one may not find it.

    :param record: of the job.
    :param conn_id: the connection that the task names now.
    :returns: the client, to be closed after use; None: the task's own is the one to use.
    :raises InvalidInputError: the connection is there and cannot work.
    """
    if record.conn_id is None or record.conn_id == conn_id:
        return None
    hook = MagicHourHook(record.conn_id)
    try:
        settings = hook.settings()
    except InvalidInputError as error:
        if not isinstance(error.__cause__, AirflowNotFoundException):
            raise
        log.warning(
            "Job %s was paid for with the connection %r, which is not there any more: %r is used.",
            record.job_id,
            record.conn_id,
            conn_id,
        )
        return None
    return hook.get_conn(settings)
