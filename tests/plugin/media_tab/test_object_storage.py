"""Files in a bucket: S3 as S3 behaves, on loopback."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

moto_server = pytest.importorskip("moto.server", reason="moto is not installed")
pytest.importorskip("s3fs", reason="s3fs is not installed")
pytest.importorskip("airflow.providers.amazon", reason="the Amazon provider is not installed")

FILM = b"\x00\x00\x00\x18ftypmp42" + bytes(range(256)) * 8000


@pytest.fixture
def bucket(tab, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A bucket ``media`` behind the connection ``good``; ``evil`` leads elsewhere, and must never be asked."""
    import boto3
    from airflow.sdk.io import store

    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        url = f"http://{host}:{port}"
        for name, endpoint in (("good", url), ("evil", "http://127.0.0.1:9")):
            extra = {"endpoint_url": endpoint, "region_name": "us-east-1"}
            extra["config_kwargs"] = {"retries": {"max_attempts": 1}, "connect_timeout": 1}
            connection = {"conn_type": "aws", "login": "key", "password": "very-secret-key", "extra": extra}
            monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(connection))
        monkeypatch.setattr(store, "_STORE_CACHE", {})
        monkeypatch.setenv("AIRFLOW__MAGIC_HOUR__MEDIA_ROOTS", "s3://good@media/campaigns")
        s3 = boto3.client(
            "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="key", aws_secret_access_key="x"
        )
        s3.create_bucket(Bucket="media")
        s3.put_object(Bucket="media", Key="campaigns/film-abc123-1.mp4", Body=FILM)
        s3.put_object(Bucket="media", Key="private/film-abc123-1.mp4", Body=FILM)
        yield
    finally:
        server.stop()


def test_a_file_in_a_bucket(tab, bucket):
    """It streams, whole and in ranges, with the root's connection, also where the XCom names another one."""
    for uri in ("s3://good@media/campaigns/film-abc123-1.mp4", "s3://evil@media/campaigns/film-abc123-1.mp4"):
        tab.put("make", "success", return_value=tab.result(uri))
        whole, part = tab.file(), tab.file(range="bytes=700000-1500000")
        assert (whole.status_code, whole.content == FILM) == (200, True)
        assert (part.status_code, part.content == FILM[700000:1500001]) == (206, True)
        assert whole.headers["content-type"] == "video/mp4"
        assert whole.headers["last-modified"].endswith("GMT")
        assert tab.file(**{"if-none-match": whole.headers["etag"]}).status_code == 304


@pytest.mark.parametrize(
    ("uri", "status", "words"),
    [
        ("s3://good@media/private/film-abc123-1.mp4", 403, "media_roots"),
        ("s3://good@media/campaigns/../private/film-abc123-1.mp4", 403, "media_roots"),
        ("s3://good@media/campaigns/gone-abc123-1.mp4", 404, "not in the storage any more"),
    ],
)
def test_what_a_bucket_does_not_give(tab, bucket, uri, status, words):
    """Outside the root, and what is not there: one sentence each."""
    tab.put("make", "success", return_value=tab.result(uri))
    answer = tab.file()
    assert (answer.status_code, words in answer.json()["detail"]) == (status, True)


def test_a_storage_that_does_not_answer(tab, bucket, monkeypatch):
    """The person reads which setting to check, and neither a key nor an address of the network."""
    monkeypatch.setenv("AIRFLOW__MAGIC_HOUR__MEDIA_ROOTS", "s3://evil@media/campaigns")
    tab.put("make", "success", return_value=tab.result("s3://good@media/campaigns/film-abc123-1.mp4"))
    answer = tab.file()
    assert (answer.status_code, "media_roots" in answer.json()["detail"]) == (502, True)
    assert "very-secret-key" not in answer.text
