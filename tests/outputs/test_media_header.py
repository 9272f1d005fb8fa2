"""What a file's header says, compared with what the libraries say that wrote it."""

from __future__ import annotations

import io
import wave
from pathlib import Path
from typing import Any

import av
import numpy
import pytest
from PIL import Image

from helpers.attempts import TaskInstance
from magic_hour_provider.outputs.media_header import HeaderReader, MediaFacts


def read(data: bytes, chunk: int = 1000) -> MediaFacts:
    """Return the facts of a file that comes in pieces."""
    reader = HeaderReader()
    reader.write(b"what a first try brought")
    reader.restart()
    for start in range(0, len(data), chunk):
        reader.write(data[start : start + chunk])
    return reader.read_facts()


def picture(kind: str, size: tuple[int, int] = (321, 123), **options: Any) -> bytes:
    """Return a picture's file."""
    file = io.BytesIO()
    noise = numpy.random.default_rng(1).integers(0, 255, (size[1], size[0], 3), dtype="uint8")
    Image.fromarray(noise).save(file, kind, **options)
    return file.getvalue()


def clip(folder: Path, options: dict[str, str], seconds: int = 2, kind: str = "mp4") -> bytes:
    """Return a film's file, with noise, so that it is long."""
    file = folder / f"clip.{kind}"
    with av.open(str(file), "w", kind, options=options) as media:
        stream = media.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 320, 240, "yuv420p", 8_000_000
        random = numpy.random.default_rng(1)
        for _ in range(10 * seconds):
            frame = av.VideoFrame.from_ndarray(random.integers(0, 255, (240, 320, 3), dtype="uint8"), format="rgb24")
            media.mux(stream.encode(frame))
        media.mux(stream.encode())
    return file.read_bytes()


def sound(seconds: float = 1.5) -> bytes:
    """Return a WAV file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as media:
        media.setnchannels(2)
        media.setsampwidth(2)
        media.setframerate(8000)
        media.writeframes(bytes(int(seconds * 8000) * 4))
    return file.getvalue()


def mp3(options: dict[str, str]) -> bytes:
    """Return an MP3 file of two seconds."""
    file = io.BytesIO()
    with av.open(file, "w", "mp3", options=options) as media:
        stream = media.add_stream("libmp3lame", rate=44100)
        frame = av.AudioFrame.from_ndarray(numpy.zeros((2, 88200), dtype="int16"), format="s16p", layout="stereo")
        frame.sample_rate = 44100
        media.mux(stream.encode(frame))
        media.mux(stream.encode())
    return file.getvalue()


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("JPEG", {}),
        ("JPEG", {"progressive": True, "exif": b"Exif\x00\x00" + bytes(30_000)}),
        ("GIF", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"exif": b"Exif\x00\x00" + bytes(100)}),
    ],
)
def test_pictures(kind, options):
    """Width and height, whatever the file's pieces."""
    assert read(picture(kind, **options)) == read(picture(kind, **options), 7) == MediaFacts(321, 123, None)


@pytest.mark.parametrize("options", [{}, {"movflags": "faststart"}])
def test_films(tmp_path, options):
    """The header of an MP4 is at its end, or at its beginning."""
    data = clip(tmp_path, options)
    assert len(data) > 400_000
    assert read(data) == MediaFacts(320, 240, 2.0)
    assert read(clip(tmp_path, options, kind="mov")) == MediaFacts(320, 240, 2.0)


def test_sound():
    """A duration, also where a streamed file does not know its own."""
    assert read(sound()) == MediaFacts(None, None, 1.5)
    streamed = bytearray(sound())
    streamed[40:44] = b"\xff\xff\xff\xff"
    assert read(bytes(streamed)) == MediaFacts(None, None, 1.5)
    for options in ({}, {"write_xing": "0"}, {"id3v2_version": "0"}):
        width, height, seconds = read(mp3(options))
        assert (width, height) == (None, None)
        assert seconds == pytest.approx(2.0, abs=0.1)


def test_what_is_broken_or_unknown(tmp_path):
    """It says nothing, and no file fails for that: each beginning of each file, and noise after its first bytes."""
    noise = bytes(numpy.random.default_rng(2).integers(0, 255, 5000, dtype="uint8"))
    for data in (
        picture("PNG"),
        picture("JPEG"),
        picture("WEBP"),
        picture("GIF"),
        clip(tmp_path, {}),
        sound(),
        mp3({}),
    ):
        for length in (*range(64), 100, 1000):
            read(data[:length])
            read(data[:length] + noise)
            read(data[:length] + bytes(5000))
            read(data[:length] + b"\xff" * 5000)
    assert read(b"") == read(noise) == read(b"%PDF-1.7" * 100) == MediaFacts()


def test_in_a_result(airflow):
    """Each entry of ``media`` has what its header says, and so has a task that finds the file stored already."""
    shown = []
    for tool, request in (
        ("ai-image-generator", {"image_count": 1, "style": {"prompt": "x"}}),
        ("text-to-video", {"end_seconds": 3, "style": {"prompt": "x"}}),
        ("ai-voice-generator", {"style": {"prompt": "Hello", "voice_name": "Morgan Freeman"}}),
    ):
        ti, operator = TaskInstance(tool), airflow.operator(tool, request)
        (media,) = airflow.attempt(operator, ti)["media"]
        assert airflow.attempt(operator, ti)["media"] == [media]
        shown.append({name for name in ("width", "height", "duration_s") if name in media})
    assert shown == [{"width", "height"}, {"width", "height", "duration_s"}, {"duration_s"}]
    assert airflow.creates() == 3
