"""Any body of a webhook: a delivery, or an error of ours; signed or not, with any headers."""

from __future__ import annotations

import json

import pytest
from hypothesis import strategies as st

from helpers.fuzz import anything, assert_linear, bodies, fuzz, objects, one_of_these, texts
from magic_hour_provider.api.errors import InvalidInputError, MagicHourError, SignatureError
from magic_hour_provider.api.models import is_id
from magic_hour_provider.api.webhooks import (
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    digest_proof,
    read_delivery,
    sign,
    split_secrets,
    verify,
)

NOW = 1_800_000_000
SECRET = "whsec"
JOB = objects(
    id=one_of_these(["cmabc123", "a" * 129, 7]),
    name=texts,
    status=texts,
    credits_charged=st.integers(0, 5000),
    error=objects(code=texts, message=texts),
    type=texts,
    created_at=texts,
)
TYPE = one_of_these(["video.completed", "IMAGE.started", "audio.errored", "video.completed.v2", "x" * 65 + ".y", "."])
DELIVERY = objects(type=TYPE, payload=JOB, object=JOB)
header = st.one_of(texts, one_of_these(["0" * 64, "f" * 64, str(NOW), "9" * 15, "9" * 16, "٣" * 10, "-1", "1e9"]))


@fuzz(body=bodies(st.one_of(DELIVERY, DELIVERY, anything)), conn_id=texts)
def test_any_signed_body(body: bytes, conn_id: str) -> None:
    """What is signed is a delivery with an id that can be polled and an event that a database takes, or none at all."""
    sent_at = verify(body, sign(body, SECRET, NOW), [SECRET], NOW)
    try:
        delivery = read_delivery(body, sent_at)
    except InvalidInputError as error:
        str(error).encode()
        return
    assert is_id(delivery.id) and delivery.type == f"{delivery.kind}.{delivery.event}" and delivery.type.isascii()
    assert delivery.credits_charged is None or isinstance(delivery.credits_charged, int)
    written = json.dumps(delivery.describe("magic_hour"), allow_nan=False)
    assert len(written) < 10_000 and "\\ud8" not in written and "\\u0000" not in written
    repr(delivery)


@fuzz(
    body=st.binary(max_size=40),
    headers=st.dictionaries(
        st.one_of(texts, one_of_these([SIGNATURE_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER.upper()])), header
    ),
    secrets=st.one_of(texts, st.lists(texts, max_size=3), anything),
    proof=texts,
)
def test_any_headers(body: bytes, headers: dict[str, str], secrets: object, proof: str) -> None:
    """Nothing is accepted that was not signed, whatever the headers and the connection's secrets are."""
    try:
        with pytest.raises((SignatureError, InvalidInputError)):
            verify(body, headers, split_secrets(secrets), NOW)
    except MagicHourError as error:  # of a secret that is none
        str(error).encode()
    assert len(digest_proof(proof, body, headers)) == 64


@pytest.mark.parametrize("text", ["video.", "a" * 64, ".", "\0", "\ud800", "  ", '{"type": "video.completed", '])
def test_a_body_of_any_size_is_linear_work(text):
    """Eight times as long a text, list or object is about eight times the work."""

    def read(body: bytes) -> None:
        with pytest.raises(InvalidInputError):
            read_delivery(body)

    for make in (
        lambda n: json.dumps({"type": text * n, "payload": {"id": text * n}}).encode(),
        lambda n: json.dumps({"payload": [text] * n}).encode(),
        lambda n: text.encode("utf-8", "surrogatepass") * n,
    ):
        assert_linear(read, make, 300)
