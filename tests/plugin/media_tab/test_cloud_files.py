"""The Media tab's own route reads files from Google Cloud Storage, Azure and S3 without conditional writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from helpers.places import CLOUDS, Place

FILM = b"\x00\x00\x00\x18ftypmp42" + bytes(range(256)) * 8000
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 5000
NAME = "film-abc123-1.mp4"


@pytest.fixture(params=[pytest.param(one, marks=[] if one == "gs" else pytest.mark.long) for one in CLOUDS])
def cloud(
    request: pytest.FixtureRequest,
    tab,
    cloud_place: Callable[[str], Iterator[Place]],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Place]:
    """Each cloud, with a folder that may be shown."""
    for place in cloud_place(request.param):
        monkeypatch.setenv("AIRFLOW__MAGIC_HOUR__MEDIA_ROOTS", place.uri)
        yield place


def put(tab, place: Place, data: bytes, name: str = NAME) -> None:
    """Store a file, and let the task say that it made it."""
    place.write(name, data)
    tab.put("make", "success", return_value=tab.result(f"{place.uri}/{name}"))


def test_a_film_as_browsers_read_it(tab, cloud):
    """Whole, its beginning, its middle, its end, and only its size; each with the size of all of it."""
    put(tab, cloud, FILM)
    whole = tab.file()
    assert (whole.status_code, whole.content == FILM) == (200, True)
    assert (whole.headers["content-type"], whole.headers["content-length"]) == ("video/mp4", str(len(FILM)))
    assert whole.headers["last-modified"].endswith("GMT")
    for asked, start, end in (
        ("bytes=0-", 0, len(FILM)),
        ("bytes=0-1", 0, 2),
        ("bytes=700000-1500000", 700000, 1500001),
        ("bytes=-1000", len(FILM) - 1000, len(FILM)),
        (f"bytes={len(FILM) - 1}-", len(FILM) - 1, len(FILM)),
    ):
        part = tab.file(range=asked)
        assert (part.status_code, part.content == FILM[start:end]) == (206, True), asked
        assert part.headers["content-range"] == f"bytes {start}-{end - 1}/{len(FILM)}"
    beyond = tab.file(range=f"bytes={len(FILM)}-")
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{len(FILM)}")


def test_a_browser_keeps_what_did_not_change(tab, cloud):
    """The same file is not sent twice; another one under its name is, also to one that asks for the rest of it."""
    put(tab, cloud, FILM)
    tag = tab.file(range="bytes=0-1").headers["etag"]
    assert tab.file(**{"if-none-match": tag}).status_code == 304
    assert tab.file(range="bytes=5-9", **{"if-range": tag}).content == FILM[5:10]
    put(tab, cloud, FILM[:-1] + b"x")
    assert tab.file(**{"if-none-match": tag}).status_code == 200
    other = tab.file(range="bytes=5-9", **{"if-range": tag})
    assert (other.status_code, len(other.content)) == (200, len(FILM))


def test_the_picture_of_a_tile(tab, cloud):
    """The page names its address and no problem, and it is shown in the page; an empty file is an empty answer."""
    put(tab, cloud, PICTURE, "a b/é #1%41-abc123-1.png")
    (file,) = tab.details()["files"]
    assert file["problem"] is None
    shown = tab.file()
    assert (shown.status_code, shown.content == PICTURE) == (200, True)
    assert (shown.headers["content-type"], "inline" in shown.headers["content-disposition"]) == ("image/png", True)
    put(tab, cloud, b"", "empty-abc123-1.png")
    empty = tab.file()
    assert (empty.status_code, empty.content, "attachment" in empty.headers["content-disposition"]) == (200, b"", True)


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [
        ("gone-abc123-1.mp4", 404, "not in the storage any more"),
        ("folder-abc123-1.mp4", 404, "not in the storage any more"),
        (f"../private/{NAME}", 403, "media_roots"),
    ],
)
def test_what_a_cloud_does_not_give(tab, cloud, name, status, words):
    """What is not there, a folder, and what lies outside the root: a sentence, and no byte."""
    put(tab, cloud, FILM, f"folder-abc123-1.mp4/{NAME}")
    tab.put("make", "success", return_value=tab.result(f"{cloud.uri}/{name}"))
    answer = tab.file()
    assert (answer.status_code, words in answer.json()["detail"]) == (status, True)
