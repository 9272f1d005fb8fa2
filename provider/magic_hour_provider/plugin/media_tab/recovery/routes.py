"""The routes with which a person recovers a task: what is possible, and the instruction itself.

They need the right that Airflow asks for clearing a task instance. The ids in the path alone say which one.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from airflow.api_fastapi.core_api.security import GetUserDep
from airflow.utils.session import create_session
from anyio import CapacityLimiter, to_thread
from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from magic_hour_provider.ledger.instruction import Instruction
from magic_hour_provider.plugin.media_tab.database.queries import NoSuchTaskError, load_task
from magic_hour_provider.plugin.media_tab.recovery.audit import AuditLine
from magic_hour_provider.plugin.media_tab.recovery.page import recovery_page
from magic_hour_provider.plugin.media_tab.recovery.same_origin import find_cross_site_refusal
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

_EVENTS = {"adopt": "magic_hour_adopt", "regenerate": "magic_hour_regenerate"}
_REFUSED_EVENT = "magic_hour_recovery"
_MAX_BODY = 8 * 1024  # bytes
_BODY_S = 10.0
_MAX_ID = 250  # characters, as Airflow's
_MAX_TEXT = 1000  # characters of one field
_THREADS = 2  # for each of the two routes
_MAX_WAITING = 20
_BODY = (
    'The body must be a JSON object such as {"action": "adopt", "job": "<id>", "replaces": "<as GET says>", '
    '"confirmed_tag": null}, or with the action "regenerate".'
)


@dataclass(frozen=True)
class _Asked:
    """The body of a request."""

    action: str
    job: str | None
    replaces: str
    confirmed_tag: str | None

    @classmethod
    def read(cls, data: bytes) -> _Asked:
        """Read it.

        :raises RecoveryError: it is another one than it should be.
        """
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            raise RecoveryError(f"The body is no JSON. {_BODY}", 400) from None
        if not isinstance(value, dict) or not value.keys() <= cls.__dataclass_fields__.keys():
            raise RecoveryError(_BODY, 422)
        texts: dict[str, Any] = {name: value.get(name) for name in cls.__dataclass_fields__}
        if not all(text is None or (isinstance(text, str) and _is_plain(text)) for text in texts.values()):
            raise RecoveryError(_BODY, 422)
        asked = cls(**texts)
        if asked.action not in _EVENTS or not asked.replaces:
            raise RecoveryError(_BODY, 422)
        if asked.action == "adopt" and not (asked.job or "").strip():
            raise RecoveryError("Paste the job's id, or its address in https://magichour.ai/my-library.", 400)
        return asked


def _is_plain(text: str) -> bool:
    return len(text) <= _MAX_TEXT and "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


class RecoveryRoutes:
    """The two routes, with few threads of their own.

    :param headers: of every response.
    """

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = {**headers, "cache-control": "no-store"}
        self._reading, self._writing = CapacityLimiter(_THREADS), CapacityLimiter(_THREADS)

    async def respond_with_situation(self, key: TaskKey) -> Response:
        """Return what can be recovered, and whether that is possible now."""
        try:
            return self._respond(await self._in_thread(self._reading, lambda: _load_page(key)))
        except RecoveryError as error:
            return self._refuse(error)

    async def follow(self, request: Request, key: TaskKey, user: GetUserDep) -> Response:
        """Check an instruction, write it, and clear the task instance."""
        refusal = find_cross_site_refusal(request.headers)
        if max(len(key.run_id), len(key.task_id)) > _MAX_ID:  # which the audit log could not name
            return self._refuse(RecoveryError("There is no such run or task instance.", 404))
        try:
            if refusal is not None:
                raise RecoveryError(refusal[1], refusal[0])
            asked = _Asked.read(await _read_body(request))
        except ClientDisconnect:
            return Response(status_code=499)  # to nobody
        except RecoveryError as error:
            return await self._record_refusal(error, key, user)
        try:
            message = await self._in_thread(self._writing, lambda: _follow(asked, key, user))
        except RecoveryError as error:
            return self._refuse(error)
        return self._respond({"message": message})

    async def _record_refusal(self, refusal: RecoveryError, key: TaskKey, user: Any) -> Response:
        def record() -> None:
            with translating_database_errors():
                AuditLine(_REFUSED_EVENT, user, key, {}).complete(refusal.status, str(refusal))

        try:
            await self._in_thread(self._writing, record)
        except RecoveryError as error:
            return self._refuse(error)
        return self._refuse(refusal)

    async def _in_thread(self, limiter: CapacityLimiter, function: Callable[[], _T]) -> _T:
        if limiter.statistics().tasks_waiting >= _MAX_WAITING:
            raise RecoveryError("Too many tasks are being recovered at the moment. Try again in a few seconds.", 503)
        return await to_thread.run_sync(function, limiter=limiter)

    def _respond(self, content: dict[str, Any], status: int = 200) -> Response:
        return JSONResponse(content, status, headers=self._headers)

    def _refuse(self, error: RecoveryError) -> Response:
        tag = error.tag if isinstance(error, NeedsConfirmationError) else None
        return self._respond({"detail": str(error), "confirm_tag": tag}, error.status)


async def _read_body(request: Request) -> bytes:
    data = bytearray()
    try:
        async with asyncio.timeout(_BODY_S):
            async for chunk in request.stream():
                data += chunk
                if len(data) > _MAX_BODY:
                    raise RecoveryError(f"The body is longer than {_MAX_BODY} bytes. {_BODY}", 400)
    except TimeoutError:
        raise RecoveryError("The body did not arrive in time.", 400) from None
    return bytes(data)


def _load_page(key: TaskKey) -> dict[str, Any]:
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


def _follow(asked: _Asked, key: TaskKey, user: Any) -> str:
    """Do what was asked, and return a sentence that says so."""
    with translating_database_errors():
        line = AuditLine(_EVENTS[asked.action], user, key, vars(asked))
    try:
        message = _give(asked, key)
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


def _give(asked: _Asked, key: TaskKey) -> str:
    situation = load_situation(key)
    check_situation(situation, asked.replaces)  # and once more when the task is locked
    if asked.action == "adopt":
        job = check_job(situation, asked.job or "", confirmed_tag=asked.confirmed_tag)
        instruction = Instruction("adopt", job=job.id, replaces=asked.replaces)
    else:
        instruction = Instruction("regenerate", replaces=asked.replaces)
    give_instruction(situation, instruction)
    paid = "It pays nothing." if asked.action == "adopt" else "It is paid for when the task runs."
    return f"The task is cleared, to {describe_instruction(instruction)}. {paid}"
