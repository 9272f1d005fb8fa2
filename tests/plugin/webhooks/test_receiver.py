"""What the receiver answers to Magic Hour and to everybody else, over real HTTP."""

from __future__ import annotations

import contextlib
import gc
import http.client
import logging
import socket
import sys
from urllib.parse import urlsplit

import httpx
import pytest

from helpers.webhooks import SECRET, until
from magic_hour_provider.api.webhooks import SIGNATURE_HEADER, TIMESTAMP_HEADER, sign
from magic_hour_provider.plugin.webhooks.requests import bodies as module

# None of this differs between databases.
pytestmark = pytest.mark.parametrize("airflow_database", ["sqlite"], indirect=True)

MIB = 1024 * 1024
REFUSED = {"detail": "The signature or its timestamp is not valid."}


@pytest.fixture
def unchanged(airflow_rows):
    """Whatever a test sends, nothing is written: not a waiting task, an intent or an asset event."""
    airflow_rows.task()
    airflow_rows.asset("magic-hour://video/completed")
    if airflow_rows.records is not None:
        airflow_rows.intent("ABCDEFGH")
    before = airflow_rows.contents()
    yield
    assert airflow_rows.contents() == before


def forged(webhooks, how):
    """Return the headers of a delivery that nobody with the secret has sent just now."""
    body, now = webhooks.body("video.completed", "job1", name="x #ABCDEFGH"), int(webhooks.clock.now())
    right = sign(body, SECRET, now)
    return body, {
        "another secret": sign(body, "whsec_guessed", now),
        "replayed": sign(body, SECRET, now - 301),
        "from the future": sign(body, SECRET, now + 310),
        "a newer timestamp": right | {TIMESTAMP_HEADER: str(now + 1)},
        "another body": sign(body + b" ", SECRET, now),
        "no signature": {TIMESTAMP_HEADER: str(now)},
        "no timestamp": {SIGNATURE_HEADER: right[SIGNATURE_HEADER]},
        "no number": right | {TIMESTAMP_HEADER: "now"},
        "no hex": right | {SIGNATURE_HEADER: "x" * 64},
        "nothing": {},
    }[how]


@pytest.mark.parametrize(
    "how",
    [
        "another secret",
        "replayed",
        "from the future",
        "a newer timestamp",
        "another body",
        "no signature",
        "no timestamp",
        "no number",
        "no hex",
        "nothing",
    ],
)
def test_a_forged_or_replayed_delivery(webhooks, unchanged, how):
    """401, in the same words whatever is wrong with it."""
    body, headers = forged(webhooks, how)
    answer = webhooks.post(body, headers)
    assert (answer.status_code, answer.json()) == (401, REFUSED)


def test_a_truncated_delivery(webhooks, unchanged):
    """401 where the rest is cut off; where the connection breaks there is nobody to answer."""
    body = webhooks.body("video.completed", "job1")
    headers = sign(body, SECRET, int(webhooks.clock.now()))
    assert webhooks.post(body[:-9], headers).status_code == 401
    address = urlsplit(str(webhooks.http.base_url))
    with socket.create_connection((address.hostname, address.port)) as broken:
        head = {"host": "x", "content-type": "application/json", "content-length": str(len(body))} | headers
        lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
        broken.sendall(f"POST /magic-hour/webhook HTTP/1.1\r\n{lines}\r\n".encode() + body[:-9])
    webhooks.deliver("video.started", "job9")


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "in pieces"])
def test_an_oversized_delivery(webhooks, unchanged, declared):
    """413, also where its length is not declared: no more than 1 MiB is kept of it."""
    body = webhooks.body("video.completed", "job1", prompt="x" * MIB)
    headers = sign(body, SECRET, int(webhooks.clock.now()))
    pieces = (body[start : start + 65536] for start in range(0, len(body), 65536))
    assert webhooks.post(body if declared else pieces, headers).status_code == 413


def test_a_delivery_of_exactly_the_limit(airflow_rows, webhooks):
    """1 MiB is accepted."""
    short = len(webhooks.body("video.started", "job1", prompt=""))
    body = webhooks.body("video.started", "job1", prompt="x" * (MIB - short))
    assert len(body) == MIB
    assert webhooks.post(body, sign(body, SECRET, int(webhooks.clock.now()))).status_code == 200


@pytest.mark.parametrize("content_type", ["text/html", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_a_wrong_content_type(webhooks, unchanged, content_type):
    """415: a browser's form is no delivery, even if it is signed."""
    body = webhooks.body("video.completed", "job1")
    headers = sign(body, SECRET, int(webhooks.clock.now())) | {"content-type": content_type}
    assert webhooks.post(body, headers).status_code == 415


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON"])
def test_a_right_content_type(airflow_rows, webhooks, content_type):
    """However it is written."""
    body = webhooks.body("video.started", "job1")
    headers = sign(body, SECRET, int(webhooks.clock.now())) | {"content-type": content_type}
    assert webhooks.post(body, headers).status_code == 200


@pytest.mark.parametrize(
    "conn_id",
    [
        "magic_hour_none",
        "magic_hour_unlisted",
        "no_such_connection",
        "x" * 300,
        "%2e%2e",
        "a b",
        "%00",
        "%ed%a0%80",
        "9" * 5000,
    ],
)
def test_no_secret_is_configured(webhooks, unchanged, conn_id):
    """503, which Magic Hour repeats: for a connection without a secret, and for any that the setting does not list."""
    answer = webhooks.send(path=f"/magic-hour/webhook/{conn_id}")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
    assert answer.json() == {"detail": "No webhook secret is configured for this address."}


def test_a_secret_is_replaced_without_a_gap(airflow_rows, webhooks):
    """A connection with two secrets takes deliveries signed with either, and with no other."""
    body, now = webhooks.body("video.started", "job1"), int(webhooks.clock.now())
    sent = [sign(body, secret, now) for secret in (SECRET, "whsec_next", f"whsec_next {SECRET}")]
    path = "/magic-hour/webhook/magic_hour_rotated"
    assert [webhooks.post(body, headers, path).status_code for headers in sent] == [200, 200, 401]
    assert webhooks.post(body, sent[1]).status_code == 401, "the default connection has only one"


def test_a_job_that_no_task_knows(webhooks, unchanged):
    """2xx: somebody in the account made it by hand."""
    webhooks.deliver("image.completed", "by-hand")


@pytest.mark.parametrize("body", [b"no json", b"[]", b'{"type": "video.completed"}', b'{"type": 1, "payload": {}}'])
def test_something_else_that_magic_hour_signs(webhooks, unchanged, body):
    """2xx: it would be the same if it came again."""
    assert webhooks.post(body, sign(body, SECRET, int(webhooks.clock.now()))).status_code == 200


@pytest.mark.parametrize(
    "path", ["/webhook", "/webhook/", "/webhook/magic_hour_default", "/webhook/magic_hour_default/"]
)
def test_a_slash_at_the_end(airflow_rows, webhooks, path):
    """An address is the same with and without it: a delivery is never redirected."""
    assert webhooks.send("video.started", path=f"/magic-hour{path}").status_code in (200, 202)


def test_there_is_no_other_route(webhooks):
    """No documentation, no other method and no other address."""
    for path in ("/", "/docs", "/openapi.json", "/redoc", "/webhook/a/b", "/webhook//", "/media"):
        assert webhooks.http.post(f"/magic-hour{path}").status_code == 404, path
    for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS"):
        assert webhooks.http.request(method, "/magic-hour/webhook").status_code == 405


@pytest.mark.parametrize(("strangers", "size"), [(600, 0), (600, 60_000), (40, MIB - 10)])
def test_bodies_that_do_not_end(webhooks, strangers, size):
    """Strangers that stop after any number of bytes take little together, are closed, and keep no delivery out."""
    webhooks.deliver("video.started")
    bodies = webhooks.receiver._bodies
    most = [0, 0]
    make_room = bodies._make_room

    def counted(body, more):
        make_room(body, more)
        most[:] = max(most[0], len(bodies._bodies)), max(most[1], sum(len(one.data) for one in bodies._bodies.values()))

    bodies._make_room = counted
    address = (webhooks.http.base_url.host, webhooks.http.base_url.port)
    head = b"POST /magic-hour/webhook HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    begun = head + b"Content-Length: %d\r\n\r\n" % MIB + b"x" * size
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(socket.create_connection(address)) for _ in range(strangers)]
        for one in connections:
            one.settimeout(20)
            with contextlib.suppress(OSError):  # dropped already, and closed
                one.sendall(begun)
            one.setblocking(False)
        webhooks.deliver("video.started", "job2")
        until(lambda: len(bodies._bodies) + len(closed(connections)) >= strangers)
        assert most[0] <= module._MAX_BODIES
        assert most[1] <= module._MAX_BYTES
        assert bodies._bytes == sum(len(one.data) for one in bodies._bodies.values())
        if strangers > module._MAX_BODIES:
            assert b"HTTP/1.1 503" in closed(connections)[0]
    until(lambda: not bodies._bodies)
    assert bodies._bytes == 0


def closed(connections):
    """Return what was sent to those whose connections the server has closed."""
    found = []
    for one in connections:
        with contextlib.suppress(BlockingIOError):
            sent = one.recv(65536, socket.MSG_PEEK)
            if sent:
                found.append(sent)
    return found


def test_a_body_that_arrives_too_slowly(webhooks, monkeypatch):
    """408, and its place is free."""
    monkeypatch.setattr(module, "_TIMEOUT_S", 0.05)
    arrived = []
    make_room = webhooks.receiver._bodies._make_room
    webhooks.receiver._bodies._make_room = lambda body, more: arrived.append(more) or make_room(body, more)

    def pieces():
        yield b"{"
        until(lambda: arrived)
        until(lambda: not webhooks.receiver._bodies._bodies)
        yield b"}"

    with contextlib.suppress(httpx.WriteError, httpx.ReadError):  # closed while it was still being sent
        assert webhooks.post(pieces(), {}).status_code == 408
    assert webhooks.receiver._bodies._bytes == 0


def test_ten_thousand_junk_requests(webhooks, unchanged, caplog):
    """4xx and 503, flat memory, a handful of log lines, nothing written; and a real delivery is still answered."""
    webhooks.send("video.started")
    ends = [
        {"content-type": "application/json"},
        {TIMESTAMP_HEADER: str(int(webhooks.clock.now())), SIGNATURE_HEADER: "0" * 64},
        {"content-type": "text/plain"},
    ]
    statuses: dict[int, int] = {}
    connection = http.client.HTTPConnection(webhooks.http.base_url.host, webhooks.http.base_url.port)

    def storm(times):
        for number in range(times):
            conn_id = f"/made_up_{number}" if number % 4 == 3 else ""
            connection.request("POST", f"/magic-hour/webhook{conn_id}", b"x" * 200, ends[number % 3])
            answer = connection.getresponse()
            answer.read()
            statuses[answer.status] = statuses.get(answer.status, 0) + 1

    def kept():
        gc.collect()
        return sys.getallocatedblocks()

    logging.disable(logging.INFO)  # pytest would keep the server's line for each request
    try:
        storm(2_000)
        before = kept()
        storm(8_000)
        after = kept()
    finally:
        logging.disable(logging.NOTSET)
        connection.close()
    assert statuses.keys() == {401, 415, 503}
    assert after - before < 4_000, "pieces of memory kept of 8,000 requests"
    assert len([line for line in caplog.messages if "Refused" in line]) <= 5
    webhooks.deliver("video.started", "job2")
