"""Whether a running task of this Airflow sends a request.

A task never sees the token with which Airflow knows it: its supervisor keeps that
(``airflow/sdk/execution_time/comms.py``). But what it pushes as XCom goes through its supervisor to the execution API,
which lets nobody else write. So a task first pushes a key that holds the hash of a random text and of the delivery, and
then sends that text with the delivery. Whoever reads the XComs does not learn the text, and who has recorded another
request has the text of another delivery. Neither an address nor a secret has to be set up for it.

Tested on Airflow 3.3.2 and 3.1.8, with SQLite and PostgreSQL.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from magic_hour_provider import clock
from magic_hour_provider.airflow_internals import MissingInternalError
from magic_hour_provider.plugin.webhooks.database import DATABASE_UNAVAILABLE

log = logging.getLogger(__name__)

PROOF_LIFE_S = 300.0
"""How long after it was announced a delivery is accepted from a task, in seconds."""

_PROOF = re.compile(r"[A-Za-z0-9_-]{43,128}")
_THREADS = 2
_MAX_WAITING = 64
_TIMEOUT_S = 5.0


class ProofsBusyError(Exception):
    """It cannot be said now whether a task sends a request: it has to come again."""


class TaskProofs:
    """Finds what tasks have announced, in threads, a few at a time.

    :param find: returns whether a running task has announced this digest in time; blocks.
    """

    def __init__(self, find: Callable[[str, float], bool] | None = None) -> None:
        self._find = find or is_announced
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="magic-hour-proofs")
        self._waiting = 0

    async def is_of_task(self, proof: str, digest: str) -> bool:
        """Whether a running task of this Airflow sends a delivery.

        :param proof: what the request says.
        :param digest: of it and of the delivery, by :func:`~magic_hour_provider.api.webhooks.digest_proof`.
        :raises ProofsBusyError: the database does not answer, or too many are asked for.
        """
        if not _PROOF.fullmatch(proof):
            return False
        if self._waiting >= _MAX_WAITING:
            raise ProofsBusyError
        self._waiting += 1
        search = asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: self._find(digest, clock.current().now())
        )
        search.add_done_callback(self._end)
        done, _ = await asyncio.wait([search], timeout=_TIMEOUT_S)
        if not done or isinstance(search.exception(), DATABASE_UNAVAILABLE):
            raise ProofsBusyError
        if (error := search.exception()) is not None:
            log.error("What tasks have announced cannot be read: an old delivery is not accepted.", exc_info=error)
            return False
        return search.result()

    def _end(self, search: asyncio.Future[bool]) -> None:
        self._waiting -= 1
        if not search.cancelled():
            search.exception()  # seen, also where nobody waits for it any more


def is_announced(digest: str, now: float) -> bool:
    """Whether a task that runs now has announced a delivery within the last :data:`PROOF_LIFE_S`. Blocks.

    :param digest: of the delivery and the proof.
    :param now: the time, in seconds since 1970.
    :raises DATABASE_UNAVAILABLE: the database does not answer.
    """
    from sqlalchemy import and_, select

    from magic_hour_provider.xcoms import forward_xcom

    try:
        from magic_hour_provider.plugin.airflow_internals import (
            TaskInstance,
            TaskInstanceState,
            XComModel,
            create_session,
        )
    except MissingInternalError:
        return False
    same_task = and_(
        TaskInstance.dag_id == XComModel.dag_id,
        TaskInstance.run_id == XComModel.run_id,
        TaskInstance.task_id == XComModel.task_id,
        TaskInstance.map_index == XComModel.map_index,
    )
    # By the key, which is indexed.
    announced = (
        select(XComModel.timestamp)
        .join(TaskInstance, same_task)
        .where(XComModel.key == forward_xcom(digest), TaskInstance.state == TaskInstanceState.RUNNING)
        .limit(1)
    )
    with create_session(scoped=False) as session:
        at = session.scalar(announced)
    return at is not None and abs(now - at.timestamp()) <= PROOF_LIFE_S
