"""Lets the faults on order strike the requests they fit."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence

from starlette.requests import Request
from starlette.responses import Response

from magic_hour_provider.simulator.errors import ApiError
from magic_hour_provider.simulator.faults.catalog import AFTER, DELAY, INSTEAD, Fault
from magic_hour_provider.simulator.faults.queue import Order
from magic_hour_provider.simulator.http.fault_responses import NoAnswer, Spoilt, faulty_answer, pause, refused_link
from magic_hour_provider.simulator.http.wire import json_answer
from magic_hour_provider.simulator.service import Service

Handler = Callable[[Request], Awaitable[Response]]


class Striker:
    """Stands between a request and its handler.

    :param service: has the faults on order, and the books.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    async def serve(
        self, endpoint: str, request: Request, handler: Handler, tool: str | None = None, words: str | None = None
    ) -> Response:
        """Let a handler answer, unless a fault on order wants it otherwise.

        :param endpoint: where the request goes, one of :data:`.faults.ENDPOINTS`.
        :param tool: slug of the tool that it is about, if there is one.
        :param words: the words of its job; None if there is none.
        """
        self._service.requested(endpoint)
        faults = self._service.faults
        order = faults.take((DELAY,), endpoint, tool, words)
        if order is not None:
            await pause(request.scope, order.fault.seconds or 0)
        order = faults.take((INSTEAD, AFTER), endpoint, tool, words)
        return await self.strike(order, endpoint, request, handler)

    async def strike(self, order: Order | None, endpoint: str, request: Request, handler: Handler) -> Response:
        """Answer a request as an order wants it; None for the handler's own answer."""
        if order is None:
            return await handler(request)
        if order.fault.stage == INSTEAD:
            return self._instead(order.fault, endpoint)
        try:
            answer = await handler(request)
        except ApiError:
            self._service.faults.put_back(order)
            raise
        if answer.status_code >= 400 or isinstance(answer, NoAnswer | Spoilt):  # refused, or spoilt by another fault
            self._service.faults.put_back(order)
            return answer
        return self._after(order.fault, answer)

    async def create(
        self,
        request: Request,
        tool: str,
        read: Callable[[], Awaitable[tuple[str, Sequence[Fault]]]],
        handler: Handler,
    ) -> Response:
        """Let a create through, unless a fault on order or a prompt directive wants it otherwise.

        :param tool: slug of its tool.
        :param read: reads the request and returns its words and the faults that they order. Faults that look for no
            words strike before that.
        :param handler: makes the job.
        """

        async def read_and_create(request: Request) -> Response:
            words, spells = await read()
            spelt = {fault.stage: fault for fault in reversed(spells) if fault.stage in (DELAY, INSTEAD, AFTER)}
            faults = self._service.faults
            order = faults.take((DELAY,), "create", tool, words, prompted=True)
            if order is not None:
                await pause(request.scope, order.fault.seconds or 0)
            if DELAY in spelt:
                await pause(request.scope, self._noted(spelt[DELAY]).seconds or 0)
            spell = spelt.get(INSTEAD)
            if spell is not None:
                return self._instead(self._noted(spell), "create")
            order = faults.take((INSTEAD, AFTER), "create", tool, words, prompted=True)
            answer = await self.strike(order, "create", request, handler)
            spell = spelt.get(AFTER)
            return answer if spell is None or order is not None else self._after(self._noted(spell), answer)

        return await self.serve("create", request, read_and_create, tool)

    def _noted(self, spell: Fault) -> Fault:
        self._service.faults.note(spell)
        return spell

    def _instead(self, fault: Fault, endpoint: str) -> Response:
        if endpoint == "create":
            self._service.refused()
        if fault.fault == "expired-link":
            return refused_link("ExpiredToken")
        if fault.fault == "status":
            return faulty_answer(fault, with_code=self._service.behavior.error_code == "included")
        return NoAnswer(fault.hold_s)

    def _after(self, fault: Fault, answer: Response) -> Response:
        if fault.fault == "close-after-accept":
            return NoAnswer(fault.hold_s)
        if fault.fault == "accept-then-status":
            return faulty_answer(fault, with_code=self._service.behavior.error_code == "included")
        if fault.fault == "no-id":
            content = json.loads(bytes(answer.body))
            return json_answer({name: value for name, value in content.items() if name != "id"})
        return Spoilt(answer, fault)
