"""Any answer of the API: it is read, or becomes an error of ours, and nothing is paid twice for its sake."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from hypothesis import strategies as st

from helpers.fuzz import anything, assert_linear, bodies, fuzz, nested, objects, texts
from magic_hour_provider.api import protocol
from magic_hour_provider.api.catalog import TOOLS
from magic_hour_provider.api.errors import (
    ConnectionFailedError,
    MagicHourError,
    SubmissionUnknownError,
    describe_credits,
)
from magic_hour_provider.api.models import ENDED, Job, Submission, is_id
from magic_hour_provider.api.responses import Response, job_error, json_object
from magic_hour_provider.polling.progress import Progress
from magic_hour_provider.polling.schedule import PollState, Schedule

NOW = 1_800_000_000.0
TOOL = "ai-image-generator"
KIND = st.sampled_from(["video", "image", "audio", "face-detection"])
STATUS = st.one_of(st.sampled_from([200, 201, 204, 302, 400, 401, 402, 404, 408, 409, 429, 500, 502]), st.integers())
DATES = (
    "Mon, 1 Jan 99999999999 00:00:00 GMT",
    "Mon, 1 Jan 2027 00:00:00 +99999999999999999999",
    "Mon, 1 Jan 2027 99:00:00 GMT",
    "Fri, 15 Jan 2027 08:00:30 GMT",
)
header = st.one_of(
    texts, st.sampled_from(DATES), st.from_regex(r"\A[A-Z][a-z]{2}, \d{1,9} [A-Z][a-z]{2} [\d:+ ]{1,30}\Z")
)
HEADERS = st.builds(
    httpx.Headers,
    st.fixed_dictionaries(
        {},
        optional={
            "content-type": st.one_of(st.just("application/json"), header),
            "retry-after": header,
            "date": header,
            "x-amz-apigw-id": header,
        },
    ).map(lambda given: {name: value.encode("utf-8", "surrogatepass") for name, value in given.items()}),
)
IDS = st.sampled_from(["cmabc123", "a" * 128, "a" * 129, " cmabc123 ", 12345])
NUMBER = st.integers(0, 5000)
ERROR = objects(code=texts, message=texts)
DOWNLOAD = objects(url=st.just("https://files.example/a.png?sig=abcdef"), expires_at=st.just("2027-01-15T08:00:00Z"))
CREATE = objects(id=IDS, credits_charged=NUMBER, message=texts, code=texts)
JOB = objects(
    id=IDS,
    name=texts,
    status=st.sampled_from(["queued", "rendering", "complete", "error", "canceled"]),
    enabled=st.booleans(),
    credits_charged=NUMBER,
    downloads=st.lists(st.one_of(DOWNLOAD, DOWNLOAD, anything), max_size=3),
    image_count=st.one_of(st.integers(0, 5), st.integers()),
    faces=st.lists(st.one_of(objects(path=texts), anything), max_size=3),
    error=ERROR,
    created_at=texts,
)
ACCOUNT = objects(
    id=texts,
    email=texts,
    tier=texts,
    credits=NUMBER,
    subscription=st.none(),
    capabilities=st.dictionaries(texts, st.one_of(st.booleans(), anything), max_size=3),
)
UPLOAD_LINK = objects(upload_url=st.just("https://files.example/put?sig=abcdef"), file_path=st.just("api-assets/a.png"))
PAGE = objects(items=st.lists(st.one_of(UPLOAD_LINK, UPLOAD_LINK, anything), max_size=3), next_cursor=texts)
LINE = 20_000  # characters of a message at the most, whatever was received


def read_words(error: MagicHourError) -> None:
    """Say an error as a person reads it."""
    for text in (str(error), error.without_charge, error.next_step or ""):
        text.encode()
        assert len(text) < LINE
    assert error.retry_after is None or 0 <= error.retry_after <= 3600


@fuzz(status=STATUS, headers=HEADERS, body=bodies(CREATE), tool=st.sampled_from(sorted(TOOLS)))
def test_any_answer_to_a_create(status: int, headers: httpx.Headers, body: bytes, tool: str) -> None:
    """It is a job that can be polled, a rejection by a status that says so, or unknown: never free to be sent again."""
    response = Response(status, headers, body)
    try:
        made = protocol.read_create(response, tool)
    except SubmissionUnknownError as error:
        assert not 300 <= status < 500 or status in (408, 409)
        assert not error.retryable
        read_words(error)
    except MagicHourError as error:
        assert 300 <= status < 500 and status not in (408, 409)
        assert error.charge is not None
        read_words(error)
    else:
        assert isinstance(made, Submission) and is_id(made.id) and response.ok
        describe_credits(made.credits_charged)
        json.dumps(vars(made)).encode()


@fuzz(status=STATUS, headers=HEADERS, body=bodies(JOB), kind=KIND, age=st.floats(0, 1e7))
def test_any_answer_to_a_poll(status: int, headers: httpx.Headers, body: bytes, kind: str, age: float) -> None:
    """It leads to another poll or to an end, with a line for the log; a failed job to an error."""
    state = PollState(Schedule(2.0, 30.0, 60.0), submitted_at=NOW - age, deadline=NOW + 3600)
    seen: Job | MagicHourError
    try:
        seen = protocol.read_job(Response(status, headers, body), kind, "cmabc123")
    except MagicHourError as error:
        read_words(error)
        seen = error
    decision = state.next_action(seen, NOW)
    (Progress("cmabc123", state, NOW).on_poll(seen, decision, NOW) or "").encode()
    assert (decision.outcome is None) == (NOW < decision.next_poll_at <= NOW + 3600)
    if isinstance(seen, Job):
        assert len(seen.downloads) <= max(1000, len(body))
        json.dumps(
            [seen.name, seen.status, seen.credits_charged, seen.error_code, seen.created_at, seen.faces]
        ).encode()
        if seen.status in ENDED - {"complete"} or seen.status == "odd":
            for paid_here in (True, False):
                read_words(job_error(seen, tool=TOOL, paid_here=paid_here))


READERS: dict[str, Any] = {
    "account": protocol.read_account,
    "saved items": protocol.read_saved_items,
    "upload links": lambda response: protocol.read_upload_links(response, 1),
    "deletion": lambda response: protocol.read_deleted(response, "image", "cmabc123"),
}


@fuzz(
    status=STATUS,
    headers=HEADERS,
    body=st.one_of(bodies(ACCOUNT), bodies(PAGE), bodies(anything)),
    what=st.sampled_from(sorted(READERS)),
)
def test_any_answer_to_a_free_request(status: int, headers: httpx.Headers, body: bytes, what: str) -> None:
    """The account, saved items, upload links, a deletion: read, or an error in words."""
    try:
        repr(READERS[what](Response(status, headers, body))).encode()
    except MagicHourError as error:
        read_words(error)


@fuzz(
    body=bodies(CREATE), error=st.sampled_from([httpx.ReadError, httpx.ConnectError, httpx.DecodingError]), words=texts
)
def test_any_broken_connection(body: bytes, error: type[httpx.RequestError], words: str) -> None:
    """Whatever httpx says of it: only what was never delivered may be sent again."""
    with pytest.raises(MagicHourError) as met:
        protocol.read_create(error(words), TOOL)
    assert isinstance(met.value, ConnectionFailedError) == (error is httpx.ConnectError)
    read_words(met.value)


def test_a_number_that_no_one_counts_hides_no_job():
    """A number of thousands of digits beside a job's id: the job was paid for, and is found."""
    response = Response(200, {}, b'{"id": "cmabc123", "credits_charged": ' + b"9" * 6000 + b"}")
    assert protocol.read_create(response, TOOL) == Submission("cmabc123", "image", None)


SIZES = {
    "jobs": lambda n: json.dumps(
        {"status": "complete", "downloads": [{"url": f"https://x.example/{i}"} for i in range(n)]}
    ),
    "width": lambda n: json.dumps({f"\0{i}": "\ud800" for i in range(n)}),
    "texts": lambda n: json.dumps({"id": "a", "message": "\ud800" * n}),
    "no JSON": lambda n: "<a>" * n,
    "depth": lambda n: json.dumps(nested(min(n, 300), "\0")),
}


@pytest.mark.parametrize("make", SIZES.values(), ids=SIZES)
def test_an_answer_of_any_size_is_linear_work(make):
    """Eight times as much of anything is about eight times the work, for each reader."""

    def read(response: Response) -> None:
        json_object(response)
        for reader in (lambda one: protocol.read_job(one, "image", "cmabc123"), *READERS.values()):
            try:
                reader(response)
            except MagicHourError as error:
                str(error)

    for status in (200, 400, 500):
        assert_linear(read, lambda n, status=status: Response(status, httpx.Headers(), make(n).encode()), 200)
