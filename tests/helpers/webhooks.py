"""The receiver of webhooks on a real HTTP server."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import uvicorn

from helpers.clocks import HeldClock
from helpers.waiting import HANG_S, until
from magic_hour_provider.api.webhooks import sign

SECRET, OTHER_SECRET = "whsec_testsonly", "whsec_anotheraccount"


class Webhooks:
    """A receiver on a server of its own.

    :param url: of the server.
    :param inbox: of the receiver.
    :param triggerer: on the same database.
    :param receiver: what verifies its requests.
    """

    def __init__(
        self, url: str, clock: HeldClock, inbox: Any = None, triggerer: Any = None, receiver: Any = None
    ) -> None:
        self.clock, self.inbox, self.receiver, self._triggerer = clock, inbox, receiver, triggerer
        self.http = httpx.Client(base_url=url, timeout=HANG_S, trust_env=False, verify=False)

    def send(
        self,
        type_: str = "video.completed",
        job_id: str = "job1",
        path: str = "/magic-hour/webhook",
        secret: str = SECRET,
        **payload: Any,
    ) -> httpx.Response:
        """Send a delivery as Magic Hour does."""
        body = self.body(type_, job_id, **payload)
        return self.post(body, sign(body, secret, int(self.clock.now())), path)

    def deliver(self, *args: Any, **payload: Any) -> None:
        """Send a delivery that is accepted, and wait until its work is done: a busy machine answers before that."""
        answer = self.send(*args, **payload)
        assert answer.status_code in (200, 202), answer.text
        until(lambda: not self.inbox._in_progress)

    def let_time_pass(self) -> None:
        """Move the clock until no delivery is held any more; a triggerer goes round in less than each of its steps."""

        def over() -> bool:
            if self.inbox._scheduled:
                self._triggerer.go_round()
                self.clock.advance(5)
            return not self.inbox._scheduled

        until(over)

    def body(self, type_: str, job_id: str, **payload: Any) -> bytes:
        """Return the body of a delivery, signed links and all."""
        link = {"url": f"https://videos.example.com/{uuid.uuid4()}?signature=secret", "expires_at": None}
        job = {"id": job_id, "name": "waves", "credits_charged": 30, "downloads": [link], "error": None}
        return json.dumps({"type": type_, "payload": job | payload}).encode()

    def post(self, body: Any, headers: dict[str, str], path: str = "/magic-hour/webhook") -> httpx.Response:
        """Send anything."""
        return self.http.post(path, content=body, headers={"content-type": "application/json"} | headers)


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """Serve an app for the length of a ``with`` block; give its address."""
    # A busy machine may be longer between two requests of a test than uvicorn keeps a connection.
    options: dict[str, Any] = {"log_config": None, "access_log": False, "timeout_keep_alive": 60}
    server = uvicorn.Server(uvicorn.Config(app, port=0, lifespan="off", **options))
    thread = threading.Thread(target=server.run, name="webhooks", daemon=True)
    thread.start()
    until(lambda: server.started or not thread.is_alive())
    assert server.started
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(HANG_S)
        assert not thread.is_alive()
