"""Uploads, references, rendered files and their links."""

from __future__ import annotations

import io
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import httpx
import pytest
from PIL import Image

from helpers.simulator import LONG_SIDE
from magic_hour_provider.simulator import Simulator
from magic_hour_provider.simulator.jobs import dimensions

Create = Callable[..., str]
Poll = Callable[..., dict[str, Any]]
Upload = Callable[..., str]


@pytest.fixture(autouse=True)
def _sizes_of_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pictures are as large as users get them."""
    monkeypatch.setattr(dimensions, "LONG_SIDE", LONG_SIDE)


def _png(colour: str, size: tuple[int, int] = (320, 180)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def _file(client: httpx.Client, details: dict[str, Any], number: int = 0) -> httpx.Response:
    assert details["status"] == "complete", details
    # Without the key: a signed link is enough.
    answer = httpx.get(details["downloads"][number]["url"])
    assert answer.status_code == 200
    assert int(answer.headers["content-length"]) == len(answer.content)
    return answer


def test_a_chain_looks_like_a_pipeline(
    sim: Simulator, client: httpx.Client, create: Create, poll: Poll, upload: Upload
) -> None:
    """An uploaded red picture is still there after two images and a video with sound were made from it."""
    reference = upload(_png("red"), "image", "png")
    photo = create("photo-colorizer", {"assets": {"image_file_path": reference}})
    voice = create("ai-voice-generator", {"style": {"prompt": "Good morning. " * 5, "voice_name": "Elon Musk"}})
    sim.advance(1000)

    answer = _file(client, poll(photo))
    assert answer.headers["content-type"] == "image/png"
    picture = Image.open(io.BytesIO(answer.content)).convert("RGB")
    red, green, blue = picture.getpixel((picture.width // 2, 20))  # type: ignore[misc]
    assert red > 180 > 100 > max(green, blue)

    sound = _file(client, poll(voice, "audio"))
    assert sound.headers["content-type"] == "audio/wav"
    with wave.open(io.BytesIO(sound.content)) as file:
        assert file.getnframes() / file.getframerate() == pytest.approx(69 * 0.06, abs=0.01)

    link = poll(photo)["downloads"][0]["url"]
    again = create("image-background-remover", {"assets": {"image_file_path": link}})
    sim.advance(1000)
    video = create(
        "ai-talking-photo",
        {
            "assets": {
                "image_file_path": f"https://magichour.ai/my-library?imageId={again}",
                "audio_file_path": f"https://magichour.ai/my-library?audioId={voice}",
            },
            "start_seconds": 1,
            "end_seconds": 3,
        },
    )
    sim.advance(1000)
    details = poll(video, "video")
    answer = _file(client, details)
    assert answer.headers["content-type"] == "video/mp4"
    assert details["download"] == details["downloads"][0]
    with av.open(io.BytesIO(answer.content)) as film:
        assert [stream.type for stream in film.streams] == ["video", "audio"]
        assert film.duration == pytest.approx(2_000_000, rel=0.05)
        frames = [frame.to_image() for frame in film.decode(video=0)]
    assert len(frames) == 48
    assert frames[0].size == (details["width"], details["height"]) == (640, 360)
    red, green, blue = frames[0].getpixel((320, 40))
    assert red > 150 > 120 > max(green, blue)
    assert [job["downloads"] for job in sim.jobs()] == [1, 1, 0, 1]
    stats = sim.stats()
    assert (stats["creates"]["accepted"], stats["uploads"], stats["downloads"]) == (4, 1, 3)


def test_an_uploaded_video_is_read(
    sim: Simulator, client: httpx.Client, create: Create, poll: Poll, upload: Upload
) -> None:
    """A video made from an uploaded video shows its first frame and has sound, as the upload has."""
    source = create("audio-to-video", {"assets": {"audio_file_path": "https://example.com/a.mp3"}, "end_seconds": 1})
    sim.advance(1000)
    film = _file(client, poll(source, "video")).content
    reference = upload(film, "video", "mp4")
    job = create(
        "ai-video-editor",
        {"assets": {"video_file_path": reference}, "end_seconds": 1, "style": {"prompt": "Make it blue"}},
    )
    sim.advance(1000)
    with av.open(io.BytesIO(_file(client, poll(job, "video")).content)) as film_again:
        assert len(film_again.streams.audio) == 1
    assert sim.stats()["creates"]["accepted"] == 2


@pytest.mark.parametrize(("form", "media"), [(None, "image/gif"), ("mp4", "video/mp4"), ("webm", "video/webm")])
def test_gif_generator(
    sim: Simulator, client: httpx.Client, create: Create, poll: Poll, form: str | None, media: str
) -> None:
    """The GIF tool makes an animation in the form asked for."""
    request: dict[str, Any] = {"style": {"prompt": "Dancing cat, 日本語, \U0001f600"}}
    job = create("ai-gif-generator", request | ({"output_format": form} if form else {}))
    sim.advance(1000)
    answer = _file(client, poll(job))
    assert answer.headers["content-type"] == media
    if form:
        with av.open(io.BytesIO(answer.content)) as film:
            assert next(film.decode(video=0)).width
    else:
        assert Image.open(io.BytesIO(answer.content)).n_frames > 10  # type: ignore[attr-defined]
    assert sim.stats()["creates"]["accepted"] == 1


def test_proportions_follow_the_request(sim: Simulator, create: Create, poll: Poll) -> None:
    """An upright video is announced upright."""
    job = create("text-to-video", {"end_seconds": 2, "style": {"prompt": "x"}, "aspect_ratio": "9:16"})
    details = poll(job, "video")
    assert (details["width"], details["height"], details["end_seconds"]) == (360, 640, 2)
    assert sim.stats()["creates"]["accepted"] == 1


def test_an_unreadable_upload_is_no_obstacle(
    sim: Simulator, client: httpx.Client, create: Create, poll: Poll, upload: Upload
) -> None:
    """A job whose picture cannot be decoded draws one of its own."""
    job = create("photo-colorizer", {"assets": {"image_file_path": upload(b"not a picture", "image", "png")}})
    sim.advance(1000)
    assert _file(client, poll(job)).content.startswith(b"\x89PNG")
    assert sim.stats()["creates"]["accepted"] == 1


def test_links_expire_and_are_renewed(sim: Simulator, create: Create, poll: Poll) -> None:
    """A link works for 24 hours, a tampered one never, and a poll gives a fresh one."""
    job = create()
    sim.advance(1000)
    link = poll(job)["downloads"][0]["url"]
    sim.advance(24 * 3600 - 1)
    assert httpx.get(link).status_code == 200
    sim.advance(1)
    expired = httpx.get(link)
    assert (expired.status_code, "ExpiredToken" in expired.text) == (403, True)
    fresh = poll(job)["downloads"][0]["url"]
    assert fresh != link
    assert httpx.get(fresh).status_code == 200
    for broken in (fresh[:-1], fresh + "0", fresh.replace("/1/", "/2/"), fresh.split("?")[0], fresh + "&expires=1"):
        answer = httpx.get(broken)
        assert (answer.status_code, "SignatureDoesNotMatch" in answer.text) == (403, True)
    assert sim.stats()["creates"]["accepted"] == 1


def test_range_and_head(sim: Simulator, create: Create, poll: Poll) -> None:
    """A part of a file can be had, and its size without the file."""
    job = create()
    sim.advance(1000)
    link = poll(job)["downloads"][0]["url"]
    whole = httpx.get(link).content
    part = httpx.get(link, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, whole[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(whole)}"
    assert httpx.get(link, headers={"Range": f"bytes={len(whole)}-"}).status_code == 416
    assert int(httpx.head(link).headers["content-length"]) == len(whole)
    assert sim.stats()["creates"]["accepted"] == 1


def test_links_follow_the_clients_address(sim: Simulator, client: httpx.Client, create: Create) -> None:
    """Links have the host by which the client reached the simulator."""
    job = create()
    sim.advance(1000)
    details = client.get(f"/v1/image-projects/{job}", headers={"Host": "simulator.test:81"}).json()
    assert details["downloads"][0]["url"].startswith("http://simulator.test:81/_files/")
    assert sim.stats()["creates"]["accepted"] == 1


def _library(kind: str, job: str) -> str:
    return f"https://magichour.ai/my-library?{kind}Id={job}"


@pytest.mark.parametrize(
    ("tool", "field", "value", "code"),
    [
        ("photo-colorizer", "image_file_path", "/home/me/a.png", "invalid_image_path"),
        ("photo-colorizer", "image_file_path", "api-assets/nobody/0.png", "invalid_image_path"),
        ("photo-colorizer", "image_file_path", _library("image", "nobody"), "invalid_image_path"),
        ("photo-colorizer", "image_file_path", "https://magichour.ai/my-library", "invalid_image_path"),
        ("ai-video-editor", "video_file_path", "file:///a.mp4", "invalid_video_path"),
        ("audio-to-video", "audio_file_path", "s3://bucket/a.mp3", "invalid_audio_path"),
    ],
)
def test_a_file_that_cannot_be_found(
    sim: Simulator, create: Create, poll: Poll, tool: str, field: str, value: object, code: str
) -> None:
    """The create is accepted; the job fails at its end and its credits come back."""
    kind = "image" if tool == "photo-colorizer" else "video"
    job = create(tool, {"assets": {field: value}, "end_seconds": 2, "style": {"prompt": "x"}})
    assert poll(job, kind)["status"] == "queued"
    assert sim.stats()["credits"]["refunded"] == 0
    sim.advance(4000)
    details = poll(job, kind)
    assert (details["status"], details["error"]["code"], details["credits_charged"]) == ("error", code, 0)
    assert details["downloads"] == []
    credits_now = sim.stats()["credits"]
    assert credits_now["refunded"] == credits_now["charged"] > 0
    assert credits_now["balance"] == 100_000
    assert sim.stats()["creates"]["accepted"] == 1


def test_library_urls_need_a_finished_job_of_their_kind(sim: Simulator, create: Create, poll: Poll) -> None:
    """A library URL of a job that still runs, was deleted or is of another kind names nothing."""
    early = create()
    outcomes = {"early": create("photo-colorizer", {"assets": {"image_file_path": _library("image", early)}})}
    sim.advance(1000)
    outcomes["kind"] = create("photo-colorizer", {"assets": {"image_file_path": _library("video", early)}})
    outcomes["fine"] = create("photo-colorizer", {"assets": {"image_file_path": _library("image", early)}})
    link = poll(early)["downloads"][0]["url"]
    outcomes["link"] = create("photo-colorizer", {"assets": {"image_file_path": link}})
    outcomes["broken"] = create("photo-colorizer", {"assets": {"image_file_path": link[:-1]}})
    outcomes["foreign"] = create("photo-colorizer", {"assets": {"image_file_path": "https://example.com/_files/a/b"}})
    outcomes["voice"] = create("photo-colorizer", {"assets": {"image_file_path": "saved-items/saved-2/output.wav"}})
    outcomes["saved"] = create("photo-colorizer", {"assets": {"image_file_path": "saved-items/saved-1/output.png"}})
    sim.advance(1000)
    assert {case: poll(job)["status"] for case, job in outcomes.items()} == {
        "early": "error",
        "kind": "error",
        "fine": "complete",
        "link": "complete",
        "broken": "error",
        "foreign": "complete",
        "voice": "error",
        "saved": "complete",
    }
    assert sim.stats()["creates"]["accepted"] == 9


def test_upload_links(sim: Simulator, client: httpx.Client, create: Create, poll: Poll, upload: Upload) -> None:
    """Upload links live 15 minutes, uploads 7 days, and an upload that never arrived cannot be used."""
    body = {"items": [{"type": "image", "extension": "png"}, {"type": "audio", "extension": "mp3"}]}
    first, second = client.post("/v1/files/upload-urls", json=body).json()["items"]
    assert first["file_path"].endswith("/0.png")
    assert second["file_path"].endswith("/1.mp3")
    assert httpx.put(first["upload_url"] + "0", content=b"x").status_code == 403
    sim.advance(15 * 60)
    assert httpx.put(first["upload_url"], content=b"x").status_code == 403

    reference = upload(_png("blue"), "image", "png")
    jobs = [create("photo-colorizer", {"assets": {"image_file_path": first["file_path"]}})]
    sim.advance(7 * 24 * 3600)
    jobs.append(create("photo-colorizer", {"assets": {"image_file_path": reference}}))
    sim.advance(1)
    jobs.append(create("photo-colorizer", {"assets": {"image_file_path": reference}}))
    sim.advance(1000)
    assert [poll(job)["status"] for job in jobs] == ["error", "complete", "error"]
    assert sim.stats()["uploads"] == 1
    assert sim.stats()["creates"]["accepted"] == 3


@pytest.mark.parametrize(
    ("items", "status"),
    [
        ([{"type": "image", "extension": "mp3"}], 422),
        ([{"type": "audio", "extension": "gif"}], 422),
        ([{"type": "gif", "extension": "gif"}], 400),
        ([{"type": "image", "extension": "../x"}], 400),
        ([{"type": "image"}], 400),
        (["image"], 400),
        ([], 400),
        (None, 400),
    ],
)
def test_upload_refusals(client: httpx.Client, items: object, status: int) -> None:
    """A wrong extension is answered with the allowed ones, and a malformed request with 400."""
    answer = client.post("/v1/files/upload-urls", json={"items": items})
    assert answer.status_code == status
    if status == 422:
        assert "must be one of" in answer.json()["message"]


def test_storage_is_removed_unless_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A temporary folder goes when the simulator closes; a given one stays."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", None)
    headers = {"Authorization": "Bearer mhk_live_simulator"}
    for storage in (None, tmp_path / "kept"):
        with Simulator(storage=storage) as sim:
            items = {"items": [{"type": "image", "extension": "png"}]}
            answer = httpx.post(f"{sim.url}/v1/files/upload-urls", json=items, headers=headers)
            httpx.put(answer.json()["items"][0]["upload_url"], content=b"x" * 100_000)
            assert sim.stats()["uploads"] == 1
    assert list((tmp_path / "tmp").iterdir()) == []
    (kept,) = (tmp_path / "kept").rglob("*.png")
    assert kept.stat().st_size == 100_000
