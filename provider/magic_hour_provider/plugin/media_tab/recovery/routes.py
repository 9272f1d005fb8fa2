"""The routes with which a person recovers a task: what is possible, and the instruction itself.

They need the right that Airflow asks for clearing a task instance. The ids in the path alone say which one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.batch.records.names import check_key
from magic_hour_provider.ledger.instruction import Instruction
from magic_hour_provider.plugin.airflow_internals import GetUserDep, create_session
from magic_hour_provider.plugin.media_tab.database.queries import NoSuchTaskError, load_task
from magic_hour_provider.plugin.media_tab.recovery.asked import Asked, AskedForItems
from magic_hour_provider.plugin.media_tab.recovery.audit import AuditLine
from magic_hour_provider.plugin.media_tab.recovery.page import items_page, recovery_page
from magic_hour_provider.plugin.media_tab.recovery.same_origin import find_cross_site_refusal
from magic_hour_provider.plugin.media_tab.snapshot import TaskSnapshot
from magic_hour_provider.plugin.recovery.batch.item import (
    OTHERS,
    ItemSituation,
    give_item_instruction,
    load_item_situation,
)
from magic_hour_provider.plugin.recovery.batch.items import (
    check_confirmation,
    give_items_instruction,
    load_items_to_regenerate,
)
from magic_hour_provider.plugin.recovery.errors import (
    BatchTaskError,
    NeedsConfirmationError,
    NoJobsError,
    RecoveryError,
    translating_database_errors,
)
from magic_hour_provider.plugin.recovery.instruct import check_situation, describe_instruction, give_instruction
from magic_hour_provider.plugin.recovery.job_check import check_job
from magic_hour_provider.plugin.recovery.situation import TaskKey, load_situation

log = logging.getLogger(__name__)

_T = TypeVar("_T")

_MANY = "regenerate_items"  # an action of a batch as a whole, and the end of its event's name
_REFUSED_EVENT = "magic_hour_recovery"
_MAX_BODY = 8 * 1024  # bytes
_BODY_S = 10.0
_MAX_ID = 250  # characters, as Airflow's
_THREADS = 2  # for each of the two routes
_MAX_WAITING = 20


@dataclass(frozen=True)
class BatchItem:
    """One item of a batch.

    :param key: of its records.
    :param output_path: of the batch, with the connection of a media root.
    """

    key: str
    output_path: str


class RecoveryRoutes:
    """The two routes, with few threads of their own.

    :param headers: of every response.
    """

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = {**headers, "cache-control": "no-store"}
        self._reading, self._writing = CapacityLimiter(_THREADS), CapacityLimiter(_THREADS)
        self._listing = CapacityLimiter(1)  # of all records of a batch, which takes long

    async def respond_with_situation(self, key: TaskKey, item: BatchItem | None = None) -> Response:
        """Return what can be recovered, and whether that is possible now.

        :param item: of a batch; None: the task's own job is meant.
        """
        try:
            return self._respond(await self._in_thread(self._reading, lambda: _load_page(key, item)))
        except RecoveryError as error:
            return self.refuse(error)

    async def follow(self, request: Request, key: TaskKey, user: GetUserDep, item: BatchItem | None = None) -> Response:
        """Check an instruction, write it, and clear the task instance.

        :param item: as of :meth:`respond_with_situation`.
        """
        refusal = find_cross_site_refusal(request.headers)
        if max(len(key.run_id), len(key.task_id)) > _MAX_ID:  # which the audit log could not name
            return self.refuse(RecoveryError("There is no such run or task instance.", 404))
        try:
            if refusal is not None:
                raise RecoveryError(refusal[1], refusal[0])
            asked = Asked.read(await _read_body(request))
        except ClientDisconnect:
            return Response(status_code=499)  # to nobody
        except RecoveryError as error:
            return await self._record_refusal(error, key, user)
        try:
            message = await self._in_thread(self._writing, lambda: _follow(asked, key, user, item))
        except RecoveryError as error:
            return self.refuse(error)
        return self._respond({"message": message})

    async def respond_with_items(self, key: TaskKey, output_path: str) -> Response:
        """Return of which items of a batch new jobs may be asked for, and at what price.

        :param output_path: of the batch, with the connection of a media root.
        """
        try:
            return self._respond(await self._in_thread(self._listing, lambda: _load_items(key, output_path)))
        except RecoveryError as error:
            return self.refuse(error)

    async def follow_for_items(self, request: Request, key: TaskKey, user: GetUserDep, output_path: str) -> Response:
        """Check what a person confirms, write that new jobs of a batch's items are wanted, and clear the task instance.

        :param output_path: as of :meth:`respond_with_items`.
        """
        try:
            if (refusal := find_cross_site_refusal(request.headers)) is not None:
                raise RecoveryError(refusal[1], refusal[0])
            asked = AskedForItems.read(await _read_body(request))
        except ClientDisconnect:
            return Response(status_code=499)  # to nobody
        except RecoveryError as error:
            return await self._record_refusal(error, key, user)
        try:
            message = await self._in_thread(
                self._listing,
                lambda: _record(_MANY, vars(asked), key, user, lambda: _give_items(asked, key, output_path)),
            )
        except RecoveryError as error:
            return self.refuse(error)
        return self._respond({"message": message})

    async def _record_refusal(self, refusal: RecoveryError, key: TaskKey, user: Any) -> Response:
        def record() -> None:
            with translating_database_errors():
                AuditLine(_REFUSED_EVENT, user, key, {}).complete(refusal.status, str(refusal))

        try:
            await self._in_thread(self._writing, record)
        except RecoveryError as error:
            return self.refuse(error)
        return self.refuse(refusal)

    async def _in_thread(self, limiter: CapacityLimiter, function: Callable[[], _T]) -> _T:
        if limiter.statistics().tasks_waiting >= _MAX_WAITING:
            raise RecoveryError("Too many tasks are being recovered at the moment. Try again in a few seconds.", 503)
        return await to_thread.run_sync(function, limiter=limiter)

    def _respond(self, content: dict[str, Any], status: int = 200) -> Response:
        return JSONResponse(content, status, headers=self._headers)

    def refuse(self, error: RecoveryError) -> Response:
        """Return the response that says why something is refused."""
        tag = error.tag if isinstance(error, NeedsConfirmationError) else None
        return self._respond({"detail": str(error), "confirm_tag": tag}, error.status)


async def _read_body(request: Request) -> bytes:
    data = bytearray()
    try:
        async with asyncio.timeout(_BODY_S):
            async for chunk in request.stream():
                data += chunk
                if len(data) > _MAX_BODY:
                    raise RecoveryError(f"The body is longer than {_MAX_BODY} bytes.", 400)
    except TimeoutError:
        raise RecoveryError("The body did not arrive in time.", 400) from None
    return bytes(data)


def _load_page(key: TaskKey, item: BatchItem | None) -> dict[str, Any]:
    if item is not None:
        situation = _load_item(key, item).situation
        own = TaskSnapshot(key.task_id, key.map_index, situation.state, record=situation.record)
        return recovery_page(situation, own, OTHERS)
    try:
        situation = load_situation(key)
        with create_session(scoped=False) as session:
            task, _ = load_task(session, key.dag_id, key.run_id, key.task_id, key.map_index)
    except (NoJobsError, BatchTaskError):
        return recovery_page(None, None)
    except NoSuchTaskError:
        raise RecoveryError("There is no such run or task instance.", 404) from None
    # Its record may be in a file, which the other pages do not read.
    return recovery_page(situation, replace(task, record=situation.record) if task is not None else None)


def _load_item(key: TaskKey, item: BatchItem) -> ItemSituation:
    try:
        return load_item_situation(key, item.key, [check_key(item.key)], item.output_path)
    except InvalidInputError as error:
        raise RecoveryError(error.message, 404) from None


def _follow(asked: Asked, key: TaskKey, user: Any, item: BatchItem | None) -> str:
    """Do what was asked, and return a sentence that says so."""
    named = vars(asked) | ({"item": item.key} if item else {})
    return _record(asked.action, named, key, user, lambda: _give(asked, key, item))


def _record(action: str, asked: dict[str, Any], key: TaskKey, user: Any, give: Callable[[], str]) -> str:
    """Do something, with a line in the audit log, and return the sentence that says what was done."""
    with translating_database_errors():
        line = AuditLine(f"magic_hour_{action}", user, key, asked)
    try:
        message = give()
    except RecoveryError as error:
        line.complete(error.status, str(error))
        raise
    except Exception as error:
        log.exception("The task %s could not be recovered.", key)
        message = f"The task could not be recovered ({type(error).__name__}). The API server's log says why."
        line.complete(500, message)
        raise RecoveryError(message, 500) from error
    line.complete(200, message)
    return message


def _load_items(key: TaskKey, output_path: str) -> dict[str, Any]:
    found = load_items_to_regenerate(key, output_path)
    refusal = found["all"].situation.refusal
    return {"refusal": refusal} | {which: items_page(items) for which, items in found.items()}


def _give_items(asked: AskedForItems, key: TaskKey, output_path: str) -> str:
    items = load_items_to_regenerate(key, output_path)[asked.which]
    check_confirmation(items, count=asked.count, price=asked.price, replaces=asked.replaces)
    give_items_instruction(items)
    return f"The task is cleared, to make new jobs of {items.count:,} items. They are paid for when the task runs."


def _give(asked: Asked, key: TaskKey, item: BatchItem | None) -> str:
    of_item = _load_item(key, item) if item is not None else None
    situation = of_item.situation if of_item is not None else load_situation(key)
    check_situation(situation, asked.replaces)  # and once more when the task is locked
    if asked.action == "adopt":
        job = check_job(situation, asked.job or "", confirmed_tag=asked.confirmed_tag)
        instruction = Instruction("adopt", job=job.id, replaces=asked.replaces)
    else:
        instruction = Instruction("regenerate", replaces=asked.replaces)
    paid = "It pays nothing." if asked.action == "adopt" else "It is paid for when the task runs."
    if of_item is None:
        give_instruction(situation, instruction)
        return f"The task is cleared, to {describe_instruction(instruction)}. {paid}"
    give_item_instruction(of_item, instruction)
    return f"The task is cleared, for this item to {describe_instruction(instruction)}. {paid} {OTHERS}"
