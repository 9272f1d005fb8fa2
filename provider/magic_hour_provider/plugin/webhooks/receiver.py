"""Receiver of Magic Hour's webhooks on Airflow's API server: ``POST /magic-hour/webhook/{conn_id}``.

The only route of ours without a login: what it accepts is signed with the connection's ``webhook_secret``, just now, or
else sent by a running task of this Airflow. A delivery changes when something happens, never what: the worker polls the
job itself.
"""

from __future__ import annotations

import logging

from fastapi import FastAPI, Request
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from magic_hour_provider import DEFAULT_CONN_ID, clock
from magic_hour_provider.api.errors import InvalidInputError, SignatureError
from magic_hour_provider.api.webhooks import MAX_AGE_S, PROOF_HEADER, digest_proof, read_delivery, verify
from magic_hour_provider.plugin.webhooks.database import DATABASE_UNAVAILABLE
from magic_hour_provider.plugin.webhooks.inbox import Inbox, InboxFullError
from magic_hour_provider.plugin.webhooks.requests.bodies import (
    MAX_BODY,
    ArrivingBodies,
    ArrivingBody,
    DroppedBodyError,
)
from magic_hour_provider.plugin.webhooks.requests.proofs import ProofsBusyError, TaskProofs
from magic_hour_provider.plugin.webhooks.secrets import WebhookSecrets

log = logging.getLogger(__name__)


class RejectedRequestError(Exception):
    """A request that is not accepted.

    :param status: HTTP status of the response.
    :param detail: for the sender.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the response: where the body was not read to its end, nobody waits for the rest of it."""
        headers = {} if self.status == 401 else {"connection": "close"}
        return headers | ({"retry-after": "10"} if self.status == 503 else {})


class Receiver:
    """Verifies requests, and puts Magic Hour's deliveries into the inbox."""

    def __init__(self, secrets: WebhookSecrets, inbox: Inbox) -> None:
        self._secrets = secrets
        self._inbox = inbox
        self._rejected, self._logged_at = 0, 0.0
        self._bodies = ArrivingBodies()
        self._proofs = TaskProofs()

    async def respond(self, request: Request, conn_id: str) -> Response:
        """Respond to one delivery: 2xx within a second if it is Magic Hour's, whether or not a task waits for it."""
        try:
            body, sent_at = await self._read_verified(request, conn_id)
        except RejectedRequestError as error:
            return JSONResponse({"detail": error.detail}, error.status, headers=error.headers)
        try:
            done = await self._inbox.accept(read_delivery(body, sent_at), conn_id)
        except InvalidInputError as error:
            # Signed, so it is theirs: something that a later Magic Hour sends. A repeat would be the same.
            log.warning("From Magic Hour, for the connection %r: %s", conn_id, error)
            return JSONResponse({"detail": "Nothing to do."})
        except (InboxFullError, *DATABASE_UNAVAILABLE) as error:
            log.warning("A delivery for the connection %r must come again: %s.", conn_id, type(error).__name__)
            return JSONResponse({"detail": "Busy: send it again."}, 503, headers={"retry-after": "10"})
        return JSONResponse({"detail": "Done." if done else "Accepted."}, 200 if done else 202)

    async def _read_verified(self, request: Request, conn_id: str) -> tuple[bytes, int]:
        content_type = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
        if content_type != "application/json":
            raise RejectedRequestError(415, "A delivery is application/json.")
        try:
            async with self._bodies.arriving() as body:
                secrets = await self._secrets.get(conn_id)
                if not secrets:
                    raise RejectedRequestError(503, "No webhook secret is configured for this address.")
                data = await _read(request, body)
        except DroppedBodyError:
            raise RejectedRequestError(503, "Busy: send it again.") from None
        except TimeoutError:
            raise RejectedRequestError(408, "The body did not arrive.") from None
        except ClientDisconnect:
            raise RejectedRequestError(400, "The body did not arrive whole.") from None
        try:
            return data, await self._verify(request, data, secrets)
        except SignatureError:
            self._log_rejected(conn_id)
            raise RejectedRequestError(401, "The signature or its timestamp is not valid.") from None
        except ProofsBusyError:
            raise RejectedRequestError(503, "Busy: send it again.") from None

    async def _verify(self, request: Request, data: bytes, secrets: tuple[str, ...]) -> int:
        """Return when a delivery was signed: just now, or longer ago if a task of this Airflow sends it."""
        now, proof = clock.current().now(), request.headers.get(PROOF_HEADER)
        try:
            return verify(data, request.headers, secrets, now)
        except SignatureError:
            if proof is None:
                raise
        # The signature first: only who has a delivery of Magic Hour's lets us ask the database.
        sent_at = verify(data, request.headers, secrets, now, max_age_s=MAX_AGE_S)
        if not await self._proofs.is_of_task(proof, digest_proof(proof, data, request.headers)):
            raise SignatureError
        return sent_at

    def _log_rejected(self, conn_id: str) -> None:
        """Log rejected requests, at most once a minute: anybody can send them."""
        self._rejected += 1
        now = clock.current().now()
        if abs(now - self._logged_at) >= 60:
            log.warning(
                "Refused %d webhook requests, the last one for the connection %r: their signature does not fit "
                "webhook_secret, or their timestamp is more than 5 minutes from this machine's clock.",
                self._rejected,
                conn_id,
            )
            self._rejected, self._logged_at = 0, now


async def _read(request: Request, body: ArrivingBody) -> bytes:
    """Return the raw body, and stop where it gets too large, whatever its declared length."""
    too_large = RejectedRequestError(413, "A delivery is at most 1 MiB.")
    declared = request.headers.get("content-length", "0")
    if not declared.isdecimal() or int(declared[:20]) > MAX_BODY:
        raise too_large
    async for piece in request.stream():
        if len(body.data) + len(piece) > MAX_BODY:
            raise too_large
        body.add(piece)
    return bytes(body.data)


def make_webhook_app(secrets: WebhookSecrets | None = None, inbox: Inbox | None = None) -> FastAPI:
    """Return the application, to be mounted at ``/magic-hour``."""
    receiver = Receiver(secrets or WebhookSecrets(), inbox or Inbox())
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.state.receiver = receiver

    @app.post("/webhook")
    @app.post("/webhook/")
    async def receive_for_default_connection(request: Request) -> Response:
        return await receiver.respond(request, DEFAULT_CONN_ID)

    @app.post("/webhook/{conn_id}")
    @app.post("/webhook/{conn_id}/")
    async def receive_for_connection(request: Request, conn_id: str) -> Response:
        return await receiver.respond(request, conn_id)

    return app
