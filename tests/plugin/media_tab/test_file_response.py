"""Stored files through Airflow's API server: ranges, types, and everything that is refused."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

from magic_hour_provider.plugin.media_tab.files import reader
from magic_hour_provider.plugin.media_tab.files.media_types import sniff_served_type
from magic_hour_provider.plugin.media_tab.files.reader import MediaStorage
from magic_hour_provider.plugin.media_tab.files.response import READ_SIZE, RangeNotSatisfiableError, parse_range
from magic_hour_provider.plugin.media_tab.files.roots import (
    FileLocation,
    FileNotShownError,
    MediaRoot,
    get_media_folders,
    locate_file,
    parse_roots,
)


@pytest.fixture
def film(tab):
    """The tab, with a task that made a film; the film's bytes are ``film.body``."""
    tab.put("make", "success", return_value=tab.result("film-abc123-1.mp4"))
    tab.body = (tab.files / "film-abc123-1.mp4").read_bytes()
    return tab


def test_a_whole_file(film):
    """It comes with its size, its type, a name for saving it, and headers that forbid guessing and caching."""
    answer = film.file()
    assert (answer.status_code, answer.content == film.body) == (200, True)
    head = answer.headers
    assert (head["content-type"], head["content-length"]) == ("video/mp4", str(len(film.body)))
    assert head["content-disposition"] == "inline; filename*=utf-8''film-abc123-1.mp4"
    assert (head["accept-ranges"], head["x-content-type-options"]) == ("bytes", "nosniff")
    assert head["cache-control"] == "private, no-cache"
    assert "sandbox" in head["content-security-policy"]


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=1000-", 1000, None),
        ("bytes=-5", -5, None),
        ("bytes=0-99999999", 0, None),
        ("Bytes=3-4", 3, 5),
    ],
)
def test_a_range(film, asked, start, end):
    """Seeking asks for a part: 206 with those bytes and where they stand."""
    answer = film.file(range=asked)
    part = film.body[start:end]
    first = film.body.index(part[:1], start if start >= 0 else len(film.body) + start)
    assert (answer.status_code, answer.content == part) == (206, True)
    assert answer.headers["content-range"] == f"bytes {first}-{first + len(part) - 1}/{len(film.body)}"
    assert answer.headers["content-length"] == str(len(part))


@pytest.mark.parametrize("asked", ["bytes=0-1,5-6", "bytes=5-2", "bytes=-", "bytes=a-b", "lines=1-2", ""])
def test_what_is_no_single_range_gets_the_whole_file(film, asked):
    """Several ranges at once and nonsense are answered with 200, as RFC 9110 allows."""
    answer = film.file(range=asked)
    assert (answer.status_code, len(answer.content)) == (200, len(film.body))


@pytest.mark.parametrize("asked", ["bytes=1024025-", "bytes=9999999-99999999", "bytes=-0"])
def test_a_range_outside_the_file(film, asked):
    """416 names the file's size."""
    assert len(film.body) < 1024025
    answer = film.file(range=asked)
    assert (answer.status_code, answer.content) == (416, b"")
    assert answer.headers["content-range"] == f"bytes */{len(film.body)}"


def test_a_head_and_a_known_file(film):
    """HEAD sends no bytes; who has the file already gets 304; a range of an older file gets the new one whole."""
    url = f"{film.path()}/files/0"
    head = film.api.head(url, headers=film.headers | {"range": "bytes=0-9"})
    assert (head.status_code, head.content, head.headers["content-length"]) == (206, b"", "10")
    assert head.headers["content-type"] == "video/mp4"
    tag = film.file().headers["etag"]
    assert film.file(**{"if-none-match": tag}).status_code == 304
    assert film.file(range="bytes=0-1", **{"if-range": tag}).status_code == 206
    assert film.file(range="bytes=0-1", **{"if-range": '"older"'}).status_code == 200
    os.utime(film.files / "film-abc123-1.mp4", (1, 1))
    assert film.file(**{"if-none-match": tag}).status_code == 200


def test_reading_is_never_the_event_loops_work(film, monkeypatch):
    """Opening and reading a file happen in threads of the tab's own, a piece at a time."""
    seen = set()
    pieces = []

    class Watched:
        def __init__(self, file):
            self._file = file

        def __getattr__(self, name):
            return getattr(self._file, name)

        def read(self, size):
            seen.add(threading.current_thread().name.rpartition("_")[0])
            pieces.append(size)
            return self._file.read(size)

    open_file = reader._open_file

    def watched(location):
        seen.add(threading.current_thread().name.rpartition("_")[0])
        file, info = open_file(location)
        return Watched(file), info

    monkeypatch.setattr(reader, "_open_file", watched)
    assert film.file().content == film.body
    assert seen == {"magic-hour-disk"}
    assert len(pieces) == 2
    assert max(pieces) <= READ_SIZE


@pytest.mark.parametrize(
    ("name", "head", "kind"),
    [
        ("a.png", b"\x89PNG\r\n\x1a\n", "image/png"),
        ("a.JPG", b"\xff\xd8\xff\xe0", "image/jpeg"),
        ("a.png", b"\xff\xd8\xff\xe0", "image/jpeg"),  # a service's slip, and still a picture
        ("a.gif", b"GIF89a", "image/gif"),
        ("a.webp", b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
        ("a.mp4", b"\0\0\0\x18ftypisom", "video/mp4"),
        ("a.m4a", b"\0\0\0\x18ftypM4A ", "audio/mp4"),
        ("a.webm", b"\x1a\x45\xdf\xa3", "video/webm"),
        ("a.wav", b"RIFF\0\0\0\0WAVEfmt ", "audio/wav"),
        ("a.mp3", b"ID3\x04", "audio/mpeg"),
        ("a.mp3", b"\xff\xfb\x90", "audio/mpeg"),
        ("a.png", b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'>", None),
        ("a.png", b"<!doctype html><script>alert(1)</script>", None),
        ("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg'>", None),
        ("a.html", b"<!doctype html>", None),
        ("a.svg", b"\x89PNG\r\n\x1a\n", None),
        ("a.png", b"\0\0\0\x18ftypisom", None),
        ("a.mp4", b"\x89PNG\r\n\x1a\n", None),
        ("png", b"\x89PNG\r\n\x1a\n", None),
        ("a.png", b"", None),
    ],
)
def test_the_type_is_from_a_fixed_list(tab, name, head, kind):
    """Name and first bytes have to agree; what is not on the list is a download of no particular type."""
    assert sniff_served_type(name, head) == kind
    stored = tab.files / f"x-abc123-1{name[1:] if '.' in name else ''}"
    stored.write_bytes(head)
    tab.put("make", "success", return_value=tab.result(str(stored)))
    answer = tab.file()
    how = answer.headers["content-disposition"].partition(";")[0]
    assert (answer.status_code, answer.content) == (200, head)
    expected = (kind, "inline") if kind else ("application/octet-stream", "attachment")
    assert (answer.headers["content-type"], how) == expected


def test_a_download_keeps_its_name(tab):
    """Asked for as a download any file is an attachment; a hostile name cannot break out of its header."""
    name = 'a "quoted"; filename=evil.html\r\n-abc123-1.png'
    (tab.files / name).write_bytes(b"\x89PNG\r\n\x1a\n")
    tab.put("make", "success", return_value=tab.result(str(tab.files / name)))
    header = tab.file(query="?download=true").headers["content-disposition"]
    assert header == "attachment; filename*=utf-8''a%20%22quoted%22%3B%20filename%3Devil.html%0D%0A-abc123-1.png"


# What is refused


def outside(tab) -> dict[str, str]:
    """Return addresses of a file that is there and must not be shown, as an attacker would write them."""
    secret = tab.files.parent / "secret.png"
    secret.write_bytes(b"\x89PNG\r\n\x1a\nsecret")
    (tab.files / "link.png").symlink_to(secret)
    (tab.files / "folder").symlink_to(tab.files.parent)
    (tab.files.parent / "media-too").mkdir()
    (tab.files.parent / "media-too" / "b.png").write_bytes(secret.read_bytes())
    inside = str(tab.files)
    return {
        "plainly": str(secret),
        "file://": f"file://{secret}",
        "dots": f"{inside}/../secret.png",
        "file and dots": f"file://{inside}/../secret.png",
        "encoded dots": f"{inside}/%2e%2e/secret.png",
        "link": f"{inside}/link.png",
        "folder that is a link": f"{inside}/folder/secret.png",
        "name that begins alike": f"{inside}-too/b.png",
        "host": f"file://localhost{inside}/a-abc123-1.png",
        "connection": f"file://evil@{inside}/../secret.png",
        "other scheme": f"http://127.0.0.1:9{inside}/a-abc123-1.png",
        "chain": f"simplecache::file://{secret}",
        "relative": "secret.png/../secret.png",
        "nothing": "/",
        "the root itself": inside,
        "null": f"{inside}/a-abc123-1.png\0",
        "bucket": "s3://media/a-abc123-1.png",
        "/etc/passwd": "/etc/passwd",
        "process": "/proc/self/environ",
    }


def test_what_lies_outside_the_roots(tab):
    """Whatever an XCom names, nothing outside the roots is served; the sentence names the setting and no file."""
    for how, uri in outside(tab).items():
        tab.put("make", "success", return_value=tab.result() | {"media": [{"uri": uri}]})
        answer = tab.file()
        assert answer.status_code in (403, 404), how
        assert b"secret" not in answer.content, how
        assert "media_roots" in answer.json()["detail"] or how == "encoded dots", how
        (file,) = tab.details()["files"]
        assert file["problem"], how


def test_an_xcom_that_was_forged_by_hand(tab):
    """Airflow's REST API writes XComs as texts: those are read as what they are, and refused as any other."""
    tab.put("make", "success", magic_hour_job={"id": "abc123"})
    secret = outside(tab)["plainly"]
    path = f"/api/v2/dags/campaign/dagRuns/{tab.path(None).rpartition('/')[2]}/taskInstances/make/xcomEntries"
    body = {"key": "return_value", "value": tab.result() | {"media": [{"uri": secret}]}}
    assert tab.api.post(path, json=body, headers=tab.headers).status_code == 201
    assert tab.file().status_code == 403
    corrected = {"value": tab.result("a-abc123-1.png")}
    assert tab.api.patch(f"{path}/return_value", json=corrected, headers=tab.headers).status_code == 200
    assert tab.file().status_code == 200


def test_a_task_that_is_not_ours(tab):
    """A file below a root is not served for a task of another operator, whatever its XComs say."""
    tab.put("plain", "success", return_value=tab.result("a-abc123-1.png"), magic_hour_job={"tool": "x", "request": {}})
    assert tab.file(task_id="plain").status_code == 404
    details = tab.details("plain")
    assert (details["files"], details["job"]) == ([], None)
    assert details["empty_reason"].startswith("This task runs no Magic Hour operator")


def test_a_users_own_class_is_ours(tab):
    """A class that inherits from one of our operators is known by its links, not by its module."""
    tab.put("theirs", "success", return_value=tab.result("a-abc123-1.png"))
    assert tab.file(task_id="theirs").status_code == 200


@pytest.mark.parametrize("index", ["1", "-1", "99999999999999999999", "a-abc123-1.png", "..%2f..%2fsecret.png", "0%00"])
def test_the_path_holds_an_index_and_nothing_else(tab, index):
    """There is no file of another number, and no way to name one."""
    tab.put("make", "success", return_value=tab.result("a-abc123-1.png"))
    assert tab.get(f"{tab.path()}/files/{index}").status_code in (404, 422)


def test_a_file_that_the_api_server_cannot_see(tab):
    """A worker's own disk: one sentence, on the page and for the file."""
    tab.put("make", "success", return_value=tab.result("only-on-the-worker-abc123-1.png"))
    (file,) = tab.details()["files"]
    assert file["problem"].startswith("The API server cannot see this file")
    answer = tab.file()
    assert (answer.status_code, answer.json()["detail"]) == (404, file["problem"])


def test_what_is_no_plain_file(tab):
    """Folders, pipes and devices are not opened."""
    (tab.files / "folder-abc123-1.png").mkdir()
    os.mkfifo(tab.files / "pipe-abc123-1.png")
    for name in ("folder-abc123-1.png", "pipe-abc123-1.png"):
        tab.put("make", "success", return_value=tab.result(name))
        assert tab.file().status_code == 404


def test_a_link_put_in_place_while_a_file_is_opened(tab):
    """The open file is compared with what its path names: one that came through a link is closed unread."""
    root = MediaRoot(str(tab.files), "", "", tab.files.parts[1:])
    secret = tab.files.parent / "secret.png"
    secret.write_bytes(b"secret")
    place = locate_file(str(tab.files / "new" / "secret.png"), (root,))
    (tab.files / "new").symlink_to(tab.files.parent)
    with pytest.raises(FileNotShownError):
        asyncio.run(MediaStorage().open(place))


# The setting


def roots(monkeypatch, **settings) -> list[str]:
    """Return the roots that these settings give."""
    monkeypatch.delenv("AIRFLOW__MAGIC_HOUR__MEDIA_ROOTS", raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(f"AIRFLOW__MAGIC_HOUR__{name.upper()}", value)
    return [root.uri for root in parse_roots(get_media_folders())]


def test_the_roots_by_default(monkeypatch):
    """The configured output_path is one if it is no template; else, and without one, there is none."""
    assert roots(monkeypatch) == []
    assert roots(monkeypatch, output_path="/mnt/media") == ["/mnt/media"]
    assert roots(monkeypatch, output_path="s3://c@b/x") == ["s3://c@b/x"]
    assert roots(monkeypatch, output_path="/mnt/{{ dag.dag_id }}") == []
    assert roots(monkeypatch, output_path="/mnt/{% if x %}a{% endif %}") == []


def test_the_roots_by_setting(monkeypatch):
    """Commas and new lines separate them; what names no folder, and would open everything, is left out."""
    given = "s3://c@media/x, /mnt/a\n\n/mnt/b/ ,s3://bucket, s3://, s3://c@, /, file:///, relative/x, s3://b/../c"
    assert roots(monkeypatch, media_roots=given, output_path="/other") == [
        "s3://c@media/x", "/mnt/a", "/mnt/b/", "s3://bucket",
    ]  # fmt: skip


def test_without_roots_nothing_is_shown(tab, monkeypatch):
    """The page says what an administrator can do."""
    monkeypatch.delenv("AIRFLOW__MAGIC_HOUR__MEDIA_ROOTS")
    tab.put("make", "success", return_value=tab.result("a-abc123-1.png"))
    (file,) = tab.details()["files"]
    assert "[magic_hour] media_roots" in file["problem"]
    assert tab.file().status_code == 403


def test_a_root_that_is_a_link(tab, monkeypatch):
    """A root is what the administrator's own link leads to."""
    link = tab.files.parent / "current"
    link.symlink_to(tab.files)
    monkeypatch.setenv("AIRFLOW__MAGIC_HOUR__MEDIA_ROOTS", str(link))
    for folder in (link, tab.files):
        tab.put("make", "success", return_value=tab.result(str(folder / "a-abc123-1.png")))
        assert tab.file().status_code == 200


S3 = MediaRoot("s3://good@media/campaigns", "s3", "media", ("campaigns",))


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("s3://good@media/campaigns/a-abc123-1.png", "media/campaigns/a-abc123-1.png"),
        ("s3://evil@media/campaigns/x/a-abc123-1.png", "media/campaigns/x/a-abc123-1.png"),
        ("s3://media/campaigns/a%20b?c#d.png", "media/campaigns/a%20b?c#d.png"),
        ("s3://media/campaigns", None),
        ("s3://media/campaigns-too/a-abc123-1.png", None),
        ("s3://media/a-abc123-1.png", None),
        ("s3://other/campaigns/a-abc123-1.png", None),
        ("s3://media/campaigns/../a-abc123-1.png", None),
        ("s3://media/campaigns/./a-abc123-1.png", None),
        ("s3://media//campaigns/a-abc123-1.png", None),
        ("gs://media/campaigns/a-abc123-1.png", None),
        ("S3://media/campaigns/a-abc123-1.png", None),
        ("/media/campaigns/a-abc123-1.png", None),
    ],
)
def test_a_bucket_as_root(uri, path):
    """Bucket and folder have to be the root's, name by name; only the root's own connection is ever used."""
    if path is None:
        with pytest.raises(FileNotShownError):
            locate_file(uri, (S3,))
    else:
        assert locate_file(uri, (S3,)) == FileLocation(S3, path, Path(uri).name)


@pytest.mark.parametrize(
    ("uri", "conn_id"),
    [
        ("s3://first@media/a/x.png", "first@"),
        ("s3://second@media/a/x.png", "second@"),
        ("s3://media/a/x.png", ""),
        ("s3://unknown@media/a/x.png", "first@"),
        ("s3://second@media/b/x.png", "first@"),
    ],
)
def test_roots_of_several_accounts(uri, conn_id):
    """Of roots with one bucket and folder, that with the file's own connection is taken, else the first that fits."""
    roots = parse_roots(["s3://first@media", "s3://second@media/a", "s3://media/a"])
    assert locate_file(uri, roots).uri == f"s3://{conn_id}{uri.partition('://')[2].rpartition('@')[2]}"


def test_ranges_of_an_empty_file():
    """It has no byte to ask for."""
    assert parse_range(None, 0) is None
    with pytest.raises(RangeNotSatisfiableError):
        parse_range("bytes=0-", 0)
