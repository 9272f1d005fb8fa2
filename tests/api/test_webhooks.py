"""Deliveries: the documented vectors, everything that must be refused, and everything that must be borne."""

from __future__ import annotations

import hashlib
import json
from itertools import product
from pathlib import Path

import httpx
import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as some
from starlette.datastructures import Headers

from magic_hour_provider.api.errors import InvalidInputError, MagicHourError
from magic_hour_provider.api.webhooks import (
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    Delivery,
    SignatureError,
    read_delivery,
    sign,
    split_secrets,
    verify,
)

CONTRACT = json.loads((Path(__file__).parent.parent / "data" / "webhook_events.json").read_text())
SECRET = CONTRACT["samples"]["secret"]
SAMPLES = {sample["event"]: sample for sample in CONTRACT["samples"]["deliveries"]}
EVENTS = tuple(CONTRACT["events"])
NOW = 1_767_225_600
BODY = b'{"type":"video.completed","payload":{"id":"abc"}}'


def sent(sample: dict) -> float:
    """When a sample was sent, in seconds since 1970."""
    return float(sample["headers"][TIMESTAMP_HEADER])


def envelope(kind_and_event: str = "video.completed", key: str = "payload", **job: object) -> bytes:
    """Return the body of a delivery about job ``abc``."""
    return json.dumps({"type": kind_and_event, key: {"id": "abc", **job}}).encode()


def refused(headers: object, body: bytes = BODY, secrets: object = (SECRET,), now: float = NOW) -> str:
    """Return the sentence with which a delivery is refused."""
    with pytest.raises(SignatureError) as refusal:
        verify(body, headers, secrets, now)  # type: ignore[arg-type]
    return str(refusal.value)


# --- signatures


@pytest.mark.parametrize("event", SAMPLES)
def test_the_documented_signatures_are_right(event):
    """Each documented delivery is verified, byte for byte, and our own signature of it is the same."""
    sample = SAMPLES[event]
    body = sample["raw_body"].encode()
    assert (len(body), hashlib.sha256(body).hexdigest()) == (sample["raw_body_utf8_bytes"], sample["raw_body_sha256"])
    verify(body, sample["headers"], [SECRET], sent(sample))
    assert sign(body, SECRET, int(sent(sample))) == sample["headers"]


@pytest.mark.parametrize("event", SAMPLES)
@pytest.mark.parametrize("altered", ["reserialised_with_spaces", "timestamp_plus_one"])
def test_the_documented_forgeries_are_refused(event, altered):
    """The signature of a body or a time that is not this one does not pass."""
    sample = SAMPLES[event]
    headers = sample["headers"] | {SIGNATURE_HEADER: sample["must_fail"][altered]}
    refused(headers, sample["raw_body"].encode(), now=sent(sample))


@pytest.mark.parametrize("event", SAMPLES)
def test_a_changed_body_or_time_is_refused(event):
    """The same signature under another body, another time or another secret does not pass."""
    sample = SAMPLES[event]
    body, headers, now = sample["raw_body"].encode(), sample["headers"], sent(sample)
    spaced = json.dumps(json.loads(body)).encode()
    for other in (spaced, body[:-1], body + b"\n", body.replace(b"clx", b"clX", 1), b""):
        assert other != body
        refused(headers, other, now=now)
    refused(headers | {TIMESTAMP_HEADER: str(int(now) + 1)}, body, now=now)
    refused(headers | {TIMESTAMP_HEADER: "0" + str(int(now))}, body, now=now)
    refused(headers, body, [SECRET + "x"], now)


@pytest.mark.parametrize(("age", "good"), [(0, True), (300, True), (-300, True), (300.5, False), (-301, False)])
def test_five_minutes_both_ways(age, good):
    """A delivery is good for 300 s after its time and before it, as a clock may be slow or fast."""
    headers = sign(BODY, SECRET, NOW)
    if good:
        verify(BODY, headers, [SECRET], NOW + age)
    else:
        refused(headers, now=NOW + age)


def test_the_tolerance_can_be_chosen():
    """Another tolerance holds both ways, and a clock that is no number verifies nothing."""
    headers = sign(BODY, SECRET, NOW)
    verify(BODY, headers, [SECRET], NOW + 10, tolerance_s=10)
    for now in (NOW + 11, NOW - 11, float("nan"), float("inf")):
        with pytest.raises(SignatureError):
            verify(BODY, headers, [SECRET], now, tolerance_s=10)


def test_any_of_several_secrets_fits():
    """While a secret is being replaced the old and the new one pass, in any order, and a third does not."""
    for order in (["old", "new"], ["new", "old"]):
        for secret in order:
            verify(BODY, sign(BODY, secret, NOW), order, NOW)
        refused(sign(BODY, "third", NOW), secrets=order)


@pytest.mark.parametrize("secrets", [[], [""], ["good", ""], "", "text"])
def test_without_a_secret_nothing_is_verified(secrets):
    """An empty secret would let everybody in, and a text would count as one secret per letter: both are our mistake."""
    for secret in ("", "t"):
        with pytest.raises(InvalidInputError, match="secret"):
            verify(BODY, sign(BODY, secret, NOW), secrets, NOW)


@pytest.mark.parametrize("kind", [dict, httpx.Headers, Headers], ids=lambda kind: kind.__module__)
def test_header_names_come_in_any_case(kind):
    """HTTP's header names have no case, whatever holds them; a signature in capitals is the same number."""
    headers = sign(BODY, SECRET, NOW)
    verify(BODY, kind({name.title(): value.upper() for name, value in headers.items()}), [SECRET], NOW)


def test_headers_given_twice_are_refused():
    """Of two signatures or two times it is unknown which one counts."""
    for name, value in sign(BODY, SECRET, NOW).items():
        twice = [(key.encode(), text.encode()) for key, text in sign(BODY, SECRET, NOW).items()]
        refused(Headers(raw=[*twice, (name.encode(), value.encode())]))
        refused(dict(sign(BODY, SECRET, NOW)) | {name.title(): value})


def test_garbage_in_the_headers():
    """Whatever stands in the headers, the answer is the same refusal, and no traceback."""
    good = sign(BODY, SECRET, NOW)
    signatures = ["", " ", "0", "g" * 64, "0" * 63, "0" * 65, "0" * 64 + "\n", "é" * 64, "\u0660" * 64, "\ud800"]
    signatures.append("sha256=" + "0" * 64)
    timestamps = ["", "now", "-1", "1e9", "1767225600.0", "\u0661", "9" * 5000, " 1767225600", "\x00"]
    answers = {refused(good | {SIGNATURE_HEADER: signature}) for signature in signatures}
    answers |= {refused(good | {TIMESTAMP_HEADER: timestamp}) for timestamp in timestamps}
    for signature, timestamp in product(signatures, timestamps):
        answers.add(refused({SIGNATURE_HEADER: signature, TIMESTAMP_HEADER: timestamp}))
    assert len(answers) == 1


def test_the_refusal_does_not_say_why():
    """A missing header, a wrong secret, a late delivery and a changed body are refused in the same words."""
    good = sign(BODY, SECRET, NOW)
    answers = {
        refused({}),
        refused({SIGNATURE_HEADER: good[SIGNATURE_HEADER]}),
        refused({TIMESTAMP_HEADER: good[TIMESTAMP_HEADER]}),
        refused(good, secrets=["other"]),
        refused(good, now=NOW + 1000),
        refused(good, body=b"{}"),
    }
    (sentence,) = answers
    assert issubclass(SignatureError, MagicHourError)
    assert SECRET not in sentence


@given(some.dictionaries(some.text(), some.text()), some.binary(), some.text(), some.text())
def test_no_request_makes_verification_fall_over(others, body, signature, timestamp):
    """Any headers and any body are refused, and nothing else is ever raised."""
    refused(others | {SIGNATURE_HEADER: signature, TIMESTAMP_HEADER: timestamp}, body)


# --- secrets


@pytest.mark.parametrize(
    ("value", "secrets"),
    [
        ("whsec_a", ["whsec_a"]),
        (" whsec_a\n", ["whsec_a"]),
        ("new old", ["new", "old"]),
        ("new,old", ["new", "old"]),
        ("new ,\r\n old,,", ["new", "old"]),
        ("same same", ["same"]),
        (["with, comma", " second "], ["with, comma", "second"]),
        (("one", ""), ["one"]),
        (None, []),
        ("", []),
        (" , ", []),
        ([], []),
        ([""], []),
    ],
)
def test_secrets_of_a_connection(value, secrets):
    """One secret, several in one text, or a list; blanks around them are slips of the clipboard."""
    assert split_secrets(value) == secrets


@pytest.mark.parametrize("value", [5, True, {"secret": "hidden"}, ["good", 5], [["hidden"]], b"hidden"])
def test_bad_secrets(value):
    """Anything else is a sentence that names the setting and does not show its value."""
    with pytest.raises(InvalidInputError, match="webhook_secret must be a text or a list") as bad:
        split_secrets(value)
    assert "hidden" not in str(bad.value)


def test_half_a_character_in_a_secret():
    """A secret that JSON can hold and UTF-8 cannot signs and verifies; no request ends in a traceback."""
    verify(BODY, sign(BODY, "\ud800", NOW), ["other", "\ud800"], NOW)


# --- what they say


@pytest.mark.parametrize("event", SAMPLES)
def test_the_documented_deliveries_are_read(event):
    """Every documented field that we keep is read, and no link is kept."""
    body = SAMPLES[event]["raw_body"]
    job = json.loads(body)["payload"]
    delivery = read_delivery(body.encode())
    assert delivery == Delivery(
        type=event,
        kind=event.partition(".")[0],
        event=event.partition(".")[2],
        id=job["id"],
        name=job["name"],
        status=job["status"],
        credits_charged=job["credits_charged"],
        error_code=job["error"] and job["error"]["code"],
        job_type=job["type"],
        created_at=job["created_at"],
    )
    assert delivery.key == f"{job['id']}:{event}"
    assert delivery.library_url == f"https://magichour.ai/my-library?{delivery.kind}Id={job['id']}"
    assert "sig=" not in repr(delivery)


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("key", ["payload", "object"])
def test_every_event_in_both_envelopes(event, key):
    """Each documented event is read from a body with nothing but a type and an id, under either key."""
    delivery = read_delivery(envelope(event, key))
    assert (delivery.kind, f"{delivery.kind}.{delivery.event}", delivery.id) == (
        CONTRACT["events"][event]["kind"],
        event,
        "abc",
    )
    assert delivery.status == CONTRACT["events"][event]["project_status"]
    assert (delivery.name, delivery.credits_charged, delivery.error_code, delivery.created_at) == (None,) * 4


def test_the_payload_counts_before_the_object():
    """Where a body has both, the published schema's key counts; where one of them holds no job, the other one."""
    both = {"type": "image.started", "payload": {"id": "new"}, "object": {"id": "old"}}
    assert read_delivery(json.dumps(both).encode()).id == "new"
    assert read_delivery(json.dumps(both | {"payload": "project"}).encode()).id == "old"


@pytest.mark.parametrize("spelling", ["AI_IMAGE", "AI_IMAGE_GENERATOR", None, 5])
def test_the_tool_is_spelled_in_several_ways(spelling):
    """The payload's own type decides nothing, so no spelling of it does any harm."""
    delivery = read_delivery(envelope("image.completed", type=spelling))
    assert (delivery.kind, delivery.job_type) == ("image", spelling if isinstance(spelling, str) else None)


def test_events_of_tomorrow():
    """An event or a kind that we do not know is read as it is, and unknown fields are left alone."""
    body = json.dumps(
        {"type": "hologram.paused", "id": "evt_1", "v": 2, "payload": {"id": "abc", "depth": [1]}}
    ).encode()
    delivery = read_delivery(body)
    assert (delivery.kind, delivery.event, delivery.status, delivery.library_url) == ("hologram", "paused", "", None)
    assert read_delivery(envelope("video.frames.ready")).event == "frames.ready"
    assert read_delivery(envelope("Video.Completed")).type == "video.completed"
    assert read_delivery(envelope(status="thinking")).status == "thinking"


@pytest.mark.parametrize("value", [None, 5, [], {}, True, ""])
def test_fields_of_the_wrong_kind_count_as_missing(value):
    """A field that is not what the description says is left out instead of refused: the job itself is polled."""
    job = dict.fromkeys(("name", "status", "type", "created_at", "error", "downloads", "enabled"), value)
    delivery = read_delivery(envelope(**job, credits_charged="5"))
    assert delivery == Delivery("video.completed", "video", "completed", "abc", status="complete")
    assert read_delivery(envelope(error={"code": value, "message": value})).error_code is None


@pytest.mark.parametrize(
    ("written", "read"), [("5", 5), ("5.0", 5), ("-5", -5), ("1e999", None), ("NaN", None), ("true", None)]
)
def test_credits(written, read):
    """Credits are whole numbers; what cannot be one is left out."""
    body = b'{"type":"video.errored","payload":{"id":"abc","credits_charged":%s}}' % written.encode()
    assert read_delivery(body).credits_charged == read


def test_texts_can_be_stored():
    """Half a character pair or a NUL in a job's name, which no database takes, is replaced."""
    body = b'{"type":"video.errored","payload":{"id":"abc","name":"a\\ud800b\\u0000c","error":{"code":"x\\u0000"}}}'
    delivery = read_delivery(body)
    assert (delivery.name, delivery.error_code) == ("a\ufffdb\ufffdc", "x\ufffd")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"video.completed"',
        b"{}",
        b"<html>",
        b"\xff\xfe\x00",
        b'{"type":"video.completed"',
        b"[" * 200_000,
        b"1" * 10_000,
        b'{"payload":{"id":"abc"}}',
        b'{"type":5,"payload":{"id":"abc"}}',
        b'{"type":"completed","payload":{"id":"abc"}}',
        b'{"type":".completed","payload":{"id":"abc"}}',
        b'{"type":"video.","payload":{"id":"abc"}}',
        b'{"type":"video/../x.completed","payload":{"id":"abc"}}',
        b'{"type":"video.completed"}',
        b'{"type":"video.completed","payload":null}',
        b'{"type":"video.completed","payload":{"id":null}}',
        b'{"type":"video.completed","payload":{"id":5.5}}',
        b'{"type":"video.completed","payload":{"id":"../account"}}',
        b'{"type":"video.completed","payload":{"id":"%s"}}' % (b"a" * 200),
        b'{"type":"video.completed","project":{"id":"abc"}}',
    ],
    ids=lambda body: body[:40].decode("latin-1") or "empty",
)
def test_what_is_no_delivery(body):
    """A body without a type or a job's id is one sentence, whatever else it is."""
    with pytest.raises(InvalidInputError, match="no delivery of Magic Hour"):
        read_delivery(body)


@given(some.binary() | some.text().map(str.encode))
def test_no_body_makes_reading_fall_over(body):
    """Any bytes are read or refused, and nothing else is ever raised."""
    with pytest.raises(InvalidInputError):
        read_delivery(body)


@pytest.mark.parametrize("event", SAMPLES)
def test_the_samples_follow_their_schemas(event):
    """The documented samples, which these tests rest on, are what the published description says."""
    jsonschema.validate(json.loads(SAMPLES[event]["raw_body"]), CONTRACT["events"][event]["schema"])


def test_a_numeric_id_and_an_odd_byte():
    """What the clients read of a job's id, a delivery's reader reads too."""
    body = b'\xef\xbb\xbf{"type": "video.completed", "payload": {"id": 123, "name": "caf\xe9"}}'
    assert read_delivery(body).id == "123"
