"""One poll of the job that a person names, before the task is made to resume it."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

from magic_hour_provider.airflow_internals import MissingInternalError
from magic_hour_provider.api.catalog import TOOLS
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.api.errors import InvalidInputError, MagicHourError
from magic_hour_provider.api.models import CANCELED, ERROR, GONE, Job, check_id, parse_library_url
from magic_hour_provider.hooks.magic_hour import MagicHourHook
from magic_hour_provider.hooks.settings import ConnectionSettings
from magic_hour_provider.ledger.tag import find_foreign_tag, generate_job_name
from magic_hour_provider.plugin.recovery.errors import NeedsConfirmationError, RecoveryError
from magic_hour_provider.plugin.recovery.situation import Situation
from magic_hour_provider.plugin.recovery.time_limit import BusyError, TimeLimit

log = logging.getLogger(__name__)

POLL = TimeLimit("magic-hour-recovery-poll", threads=4, seconds=10.0)
"""For the connection and the poll together."""
_REQUEST_S = 8.0  # without progress

_ENDED = {
    ERROR: "Job {id} failed{why}, and was refunded: there is nothing to resume. Make a new one.",
    CANCELED: "Job {id} was canceled: there is nothing to resume. Make a new one.",
}


def check_job(situation: Situation, job: str, *, confirmed_tag: str | None = None) -> Job:
    """Poll a job once, and make sure that this task can resume it. Blocks, for some seconds at the most.

    :param job: its id, its kind and id (``image/<id>``), or its address in the web library.
    :param confirmed_tag: the tag in the job's name that a person has confirmed although it is none of this task's.
    :returns: the job.
    :raises NeedsConfirmationError: its name carries the tag of something else, which is not confirmed.
    :raises RecoveryError: it cannot be resumed, or cannot be checked now.
    """
    kind, job_id = _parse(situation, job)
    found = _poll(situation.conn_id, kind, job_id)
    record = situation.record
    if found.status == GONE:
        if record is not None and (record.job_id, record.state) == (job_id, "delivered"):
            return found  # its files are stored: nothing is missing
        raise RecoveryError(
            f"Magic Hour finds no {kind} job {job_id} with the key of the connection {situation.conn_id!r}: the id is "
            "mistyped, or the job is deleted, of another kind, or of another account. Nothing has changed.",
            400,
        )
    if found.status in _ENDED:
        why = f" ({found.error_code})" if found.error_code else ""
        raise RecoveryError(_ENDED[found.status].format(id=job_id, why=why), 400)
    tag = find_foreign_tag(found.name, situation.tags, generate_job_name(situation.key))
    if tag is not None and tag != confirmed_tag:
        raise NeedsConfirmationError(
            f"Job {job_id} is named {found.name!r}, which carries the tag #{tag}: that is none of this task's, so it "
            "may be another task's job, which would then belong to both. If it is the right one, confirm it.",
            tag,
        )
    return found


def _parse(situation: Situation, job: str) -> tuple[str, str]:
    """Return the kind and the id of the job that a person names."""
    text = job.strip().strip("\"'").strip()
    try:
        named, slash, its_id = text.partition("/")
        is_pair = bool(slash) and named in {tool.kind for tool in TOOLS.values()}  # as the command `job` takes it
        pair = (named, check_id(its_id)) if is_pair else None
        kind, job_id = parse_library_url(text) or pair or (situation.kind, check_id(text))
    except InvalidInputError as error:
        raise RecoveryError(
            f"{error.message} Paste the job's id, or its address in https://magichour.ai/my-library.", 400
        ) from None
    if situation.kind is not None and kind != situation.kind:
        what = f" ({situation.tool})" if situation.tool else ""
        raise RecoveryError(
            f"That names a job of kind {kind}, and this task{what} makes jobs of kind {situation.kind}.",
            400,
        )
    if kind is None:
        raise RecoveryError(
            "It is not known of which kind this task's jobs are: paste the job's address in "
            "https://magichour.ai/my-library, which says so.",
            400,
        )
    return kind, job_id


def _poll(conn_id: str, kind: str, job_id: str) -> Job:
    def poll() -> Job:
        try:
            settings = load_settings(conn_id)
        except MagicHourError:
            raise
        except Exception as error:  # each secrets backend has errors of its own
            log.exception("The connection %r could not be read.", conn_id)
            raise RecoveryError(
                f"{unchecked} The connection cannot be read here ({type(error).__name__}).", 502
            ) from None
        with MagicHourClient.from_options(replace(settings, timeout=min(settings.timeout, _REQUEST_S))) as client:
            return client.find_job(kind, job_id)

    unchecked = f"Job {job_id} could not be checked with the connection {conn_id!r}, so nothing has changed:"
    try:
        return POLL.call(poll)
    except (TimeoutError, BusyError):
        raise RecoveryError(f"{unchecked} Magic Hour did not answer in time. Try again in a moment.", 502) from None
    except MagicHourError as error:
        raise RecoveryError(f"{unchecked} {error.message}", 502) from error


class _ServerHook(MagicHourHook):
    """The hook where the Task SDK's way to connections leads nowhere: in the API server, and in ``airflow``."""

    @classmethod
    def get_connection(cls, conn_id: str) -> Any:
        try:
            from magic_hour_provider.plugin.airflow_internals import Connection
        except MissingInternalError as error:
            raise InvalidInputError(str(error)) from error
        return Connection.get_connection_from_secrets(conn_id)


def load_settings(conn_id: str) -> ConnectionSettings:
    """Return what a connection says, as the API server reads it. Blocks.

    :raises InvalidInputError: there is none, or it cannot work.
    """
    return _ServerHook(conn_id).settings()
