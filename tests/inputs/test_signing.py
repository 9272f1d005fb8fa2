"""Presigned links of each storage: who signs, with what, for how long; and what is never signed."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import uuid
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import httpx
import pytest

from helpers import clouds, s3
from helpers.attempts import TaskInstance
from helpers.places import CLOUDS
from helpers.strict_s3 import StrictS3
from magic_hour_provider.inputs.signing import NotSignedError, sign_path
from magic_hour_provider.storage.paths import open_path

HOUR_S = 3600.0
NAME = "a b/é #1.png"


def parameters(link: str) -> dict[str, str]:
    """Return the query of a link, its names in small letters."""
    return {name.lower(): value for name, value in parse_qsl(urlsplit(link).query)}


def opens(link: str) -> int:
    """Return the status with which a link is answered."""
    return httpx.get(link, trust_env=False).status_code


def connect(monkeypatch: pytest.MonkeyPatch, connection: str) -> str:
    """Make a connection that no test has used before, and return its id."""
    conn_id = f"aws_{uuid.uuid4().hex[:8]}"
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", connection)
    return conn_id


# -- S3 ----------------------------------------------------------------------------------------------------------------


def test_a_link_of_s3_has_the_version_that_todays_buckets_take(monkeypatch):
    """Where s3fs's own for the older regions is refused; for 24 hours, by its name, and for reading alone."""
    with StrictS3("us-east-1") as server:
        uri = server.put(NAME, 5).replace(server.conn_id, connect(monkeypatch, server.connection()))
        path = open_path(uri)
        assert opens(path.fs.sign(path.path, expiration=60)) == 400
        link = sign_path(path, HOUR_S)
        assert opens(link) == 200
        assert (parameters(link)["x-amz-expires"], urlsplit(link).path) == ("86400", "/media/a%20b/%C3%A9%20%231.png")
        assert httpx.put(link, content=b"x", trust_env=False).status_code == 501
        assert opens(f"{link}0") == 403


def test_a_link_of_s3_is_for_the_region_of_its_bucket(monkeypatch):
    """Whatever the connection's is: S3's own redirect helps an SDK, and a link is refused."""
    with StrictS3("eu-west-1") as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.url)
        connection = json.loads(server.connection(region_name="us-east-1"))
        del connection["extra"]["endpoint_url"]
        path = open_path(server.put(NAME, 5).replace(server.conn_id, connect(monkeypatch, json.dumps(connection))))
        link = sign_path(path, HOUR_S)
        assert opens(link) == 200
        assert "/eu-west-1/s3/" in parameters(link)["x-amz-credential"]


def test_each_of_many_links_is_the_connections(monkeypatch):
    """An older s3fs would sign the second one with what the worker has (seen with 2026.4)."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAOFTHEWORKER")
    with StrictS3() as server:
        conn_id = connect(monkeypatch, server.connection())
        for number in range(3):
            path = open_path(server.put(f"{number}.png", 5).replace(server.conn_id, conn_id))
            link = sign_path(path, HOUR_S)
            assert parameters(link)["x-amz-credential"].startswith("AKIASTRICT/")
            assert opens(link) == 200


def test_a_signature_version_that_the_connection_names_is_kept(monkeypatch):
    """Some stores know version 2 alone."""
    with StrictS3() as server:
        connection = server.connection(config_kwargs={"signature_version": "s3"})
        path = open_path(server.put(NAME, 5).replace(server.conn_id, connect(monkeypatch, connection)))
        assert "awsaccesskeyid" in parameters(sign_path(path, HOUR_S))


def test_moto_opens_the_link_too(bucket):
    """A second S3, which was not made for these tests."""
    link = sign_path(open_path(bucket.write(NAME, b"content")), HOUR_S)
    assert httpx.get(link, trust_env=False).content == b"content"


def test_credentials_of_a_role_end_before_the_link(s3_server, bucket, monkeypatch):
    """A link ends with them: it is made only where they last for as long as the job is waited for."""
    bucket.write("a.png", b"content")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", s3_server)
    role = {"role_arn": "arn:aws:iam::123456789012:role/media"}
    uri = f"s3://{connect(monkeypatch, s3.connection(s3_server, **role))}@{bucket.name}/a.png"
    link = sign_path(open_path(uri), HOUR_S / 2)  # the role's session is one of an hour
    assert parameters(link)["x-amz-security-token"]
    assert opens(link) == 200
    with pytest.raises(NotSignedError, match="temporary and end within 120 minutes, and a link ends with"):
        sign_path(open_path(uri), 2 * HOUR_S)


def test_a_session_token_of_the_connection_has_no_known_end(s3_server, bucket, monkeypatch):
    """It is the user's to renew, as Airflow says; the link has it."""
    bucket.write("a.png", b"content")
    conn_id = connect(monkeypatch, s3.connection(s3_server, aws_session_token="token-0123"))
    link = sign_path(open_path(f"s3://{conn_id}@{bucket.name}/a.png"), 2 * HOUR_S)
    assert parameters(link)["x-amz-security-token"] == "token-0123"


def test_an_anonymous_connection_signs_nothing(s3_server, bucket):
    """Its links would be bare addresses."""
    import s3fs

    fs = s3fs.S3FileSystem(anon=True, endpoint_url=s3_server)
    with pytest.raises(NotSignedError, match="its connection is anonymous"):
        sign_path(stored(fs, "s3", f"{bucket.name}/a.png"), HOUR_S)
    unsigned = s3fs.S3FileSystem(endpoint_url=s3_server, config_kwargs={"signature_version": unsigned_version()})
    with pytest.raises(NotSignedError, match="not signed for this object alone"):
        sign_path(stored(unsigned, "s3", f"{bucket.name}/a.png"), HOUR_S)


def unsigned_version() -> Any:
    """Return what stands for no signature: where another server signs for the connection, say."""
    from botocore import UNSIGNED

    return UNSIGNED


def stored(fs: Any, protocol: str, path: str) -> Any:
    """Return what signing asks of a path."""
    return SimpleNamespace(fs=fs, protocol=protocol, path=path)


def test_nothing_of_it_is_logged_at_any_level(bucket, caplog):
    """botocore logs what it signs, and the signature, to whoever wants to know everything."""
    path = open_path(bucket.write("a.png", b"content"))
    caplog.set_level(logging.DEBUG)
    link = sign_path(path, HOUR_S)
    texts = [one.getMessage() for one in caplog.records]
    assert texts  # it does log at this level
    assert not [text for text in texts if parameters(link)["x-amz-signature"] in text or "X-Amz-Date" in text]


# -- Google Cloud Storage ----------------------------------------------------------------------------------------------


def test_a_link_of_google_is_signed_with_the_service_accounts_key(monkeypatch):
    """Version 4, by its name, for 24 hours; the emulator opens it, and the public key verifies it."""
    with clouds.serving_google(monkeypatch) as address:
        fs = clouds.google_files(address)
        fs.mkdir("media")
        fs.pipe_file(f"media/{NAME}", b"content")
        link = sign_path(stored(fs, "gs", f"media/{NAME}"), HOUR_S)
        assert httpx.get(link, trust_env=False).content == b"content"
        assert (parameters(link)["x-goog-expires"], urlsplit(link).path) == ("86400", "/media/a%20b/%C3%A9%20%231.png")
        verify_google(link)


def verify_google(link: str) -> None:
    """Check a signature as Google describes it (https://cloud.google.com/storage/docs/authentication/signatures)."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    parts = urlsplit(link)
    query, _, signature = parts.query.partition("&X-Goog-Signature=")
    canonical = f"GET\n{parts.path}\n{query}\nhost:{parts.netloc}\n\nhost\nUNSIGNED-PAYLOAD"
    given = parse_qs(query)
    scope = given["X-Goog-Credential"][0].partition("/")[2]
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = f"GOOG4-RSA-SHA256\n{given['X-Goog-Date'][0]}\n{scope}\n{digest}"
    public = clouds.private_key().public_key()
    public.verify(bytes.fromhex(signature), text.encode(), padding.PKCS1v15(), hashes.SHA256())


def test_google_signs_only_with_a_key():
    """A token alone, or no credentials at all, cannot: nor is anything else of this machine used for it."""
    pytest.importorskip("gcsfs")
    from google.oauth2.credentials import Credentials

    for credentials, words in ((Credentials("token"), "no service account's key"), ("anon", "connection is anonymous")):
        fs = clouds.google_files("http://127.0.0.1:9", credentials)
        with pytest.raises(NotSignedError, match=words):
            sign_path(stored(fs, "gcs", "media/a.png"), HOUR_S)


def test_a_key_that_google_keeps_signs_for_half_a_day(monkeypatch):
    """As of an impersonated service account: it is replaced, and its links end."""
    signing = pytest.importorskip("google.auth.credentials").Signing
    asked: dict[str, Any] = {}
    credentials = type("Impersonated", (signing,), dict.fromkeys(signing.__abstractmethods__))()

    def sign(path: str, **options: Any) -> str:
        asked.update(options)
        return "https://storage.googleapis.com/media/a.png?X-Goog-Signature=a"

    fs = SimpleNamespace(credentials=SimpleNamespace(credentials=credentials), sign=sign)
    sign_path(stored(fs, "gs", "media/a.png"), HOUR_S)
    assert asked == {"expiration": 12 * 3600, "version": "v4"}


# -- Azure -------------------------------------------------------------------------------------------------------------


def test_a_link_of_azure_is_signed_with_the_accounts_key():
    """For reading this blob alone, for 24 hours; Azurite checks the signature."""
    with clouds.serving_azure() as fs:
        fs.mkdir("media")
        fs.pipe_file(f"media/{NAME}", b"content")
        link = sign_path(stored(fs, "abfs", f"media/{NAME}"), HOUR_S)
        assert httpx.get(link, trust_env=False).content == b"content"
        assert httpx.delete(link, trust_env=False).status_code == 403
        assert opens(link.replace("%231.png", "%232.png")) in (403, 404)
        assert opens(link.replace("sp=r&", "sp=rw&")) == 403


def test_what_a_link_of_azure_opens():
    """One blob, for reading, by its name: the library signs without asking anybody."""
    adlfs = pytest.importorskip("adlfs")
    key = base64.b64encode(b"0123456789abcdef").decode()
    for fs in (
        adlfs.AzureBlobFileSystem(account_name="account", account_key=key),
        adlfs.AzureBlobFileSystem(connection_string=f"AccountName=account;AccountKey={key}"),
    ):
        link = sign_path(stored(fs, "abfs", f"media/{NAME}"), HOUR_S)
        given = parameters(link)
        assert (given["sp"], given["sr"]) == ("r", "b")
        left = datetime.strptime(given["se"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC) - datetime.now(UTC)
        assert timedelta(hours=23) < left <= timedelta(hours=24)
        assert link.startswith("https://account.blob.core.windows.net/media/a%20b/%C3%A9%20%231.png?")


def test_azure_signs_only_with_the_accounts_key(monkeypatch):
    """A shared access signature of the connection opens more than one blob, and is given to nobody."""
    adlfs = pytest.importorskip("adlfs")
    key = base64.b64encode(b"0123456789abcdef").decode()
    sas = "sv=2024-11-04&ss=b&srt=sco&sp=rwdl&sig=theConnectionsOwn"
    for options in ({"sas_token": sas}, {"anon": True}):
        fs = adlfs.AzureBlobFileSystem(account_name="account", **options)
        with pytest.raises(NotSignedError, match="no account key, and adlfs signs with nothing else"):
            sign_path(stored(fs, "abfss", "media/a.png"), HOUR_S)
    both = adlfs.AzureBlobFileSystem(account_name="account", account_key=key, sas_token=sas)
    try:
        link = sign_path(stored(both, "az", "media/a.png"), HOUR_S)
    except NotSignedError as error:
        link = str(error)
    assert "theConnectionsOwn" not in link


# -- other storages, and whole tasks -----------------------------------------------------------------------------------


def test_a_library_that_fails_says_why_without_a_secret():
    """The file is uploaded then."""

    def sign(path: str, **options: Any) -> str:
        raise RuntimeError("no signature for https://host.example/a.png?sig=secret0123456789")

    fs = SimpleNamespace(account_key="key", connection_string=None, sign=sign)
    with pytest.raises(NotSignedError, match=r"library cannot sign it \(RuntimeError: no signature") as caught:
        sign_path(stored(fs, "abfs", "media/a.png"), HOUR_S)
    assert "secret0123456789" not in str(caught.value)
    with pytest.raises(NotSignedError, match="a file of sftp:// has no such link"):
        sign_path(stored(None, "sftp", "a.png"), HOUR_S)


@pytest.mark.behavior(input_links="fetched")
@pytest.mark.parametrize(
    "cloud", ["gs", "abfs", *(pytest.param(one, marks=pytest.mark.long) for one in CLOUDS if one.startswith("s3"))]
)
def test_a_task_gives_a_file_of_another_cloud_as_a_link(airflow, cloud_place, cloud):
    """One create, no upload: Magic Hour fetches it from the emulator."""
    for place in cloud_place(cloud):
        place.write(NAME, b"content")
        request = {"assets": {"image_file_path": f"{place.uri}/{NAME}"}, "scale_factor": 2}
        task = airflow.operator("ai-image-upscaler", request, input_transfer="presign")
        assert airflow.attempt(task, TaskInstance())["status"] == "complete"
        stats = airflow.sim.stats()
        assert (airflow.creates(), stats["uploads"]) == (1, 0)
        assert stats["input_links"] == {"fetched": 1, "failed": 0, "bytes": 7}
