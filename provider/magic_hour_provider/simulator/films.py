"""Writes and reads films with PyAV."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
from PIL import Image

from magic_hour_provider.simulator.sounds import RATE

_CODECS = {
    "mp4": ("libx264", "aac", {"preset": "veryfast", "crf": "26"}),
    "webm": ("libvpx-vp9", "libopus", {"deadline": "realtime", "cpu-used": "8", "crf": "36", "b": "0"}),
}


def write_film(
    path: Path, form: str, size: tuple[int, int], frames: Iterable[Image.Image], fps: int, sound: bytes | None
) -> None:
    """Write a film.

    :param form: ``mp4`` or ``webm``.
    :param size: width and height in pixels.
    :param frames: its pictures, in RGB and of that size.
    :param fps: pictures a second.
    :param sound: its samples, as :func:`.sounds.tune` returns them; None for a silent film.
    """
    video_codec, audio_codec, options = _CODECS[form]
    # The index goes first, as in files meant for the web, so that a player can start at once.
    with av.open(str(path), "w", format=form, options={"movflags": "faststart"} if form == "mp4" else {}) as film:
        video = cast(av.VideoStream, film.add_stream(video_codec, rate=fps, options=options))
        video.width, video.height = size
        video.pix_fmt = "yuv420p"
        video.codec_context.thread_count = 1  # several jobs may be rendered at a time
        audio = film.add_stream(audio_codec, rate=RATE, layout="mono") if sound else None
        for picture in frames:
            film.mux(video.encode(av.VideoFrame.from_image(picture)))  # type: ignore[no-untyped-call]
        film.mux(video.encode())
        if isinstance(audio, av.AudioStream) and sound:
            samples = av.AudioFrame(format="s16", layout="mono", samples=len(sound) // 2)
            samples.planes[0].update(sound.ljust(samples.planes[0].buffer_size, b"\0"))
            samples.sample_rate = RATE
            samples.pts = 0
            samples.time_base = Fraction(1, RATE)
            film.mux(audio.encode(samples))
            film.mux(audio.encode())


def first_frame(path: Path) -> Image.Image | None:
    """Return the first picture of a film; None when there is none to read."""
    try:
        with av.open(str(path)) as film:
            for frame in film.decode(video=0):
                picture: Image.Image = frame.to_image()  # type: ignore[no-untyped-call]
                return picture
    except (av.FFmpegError, OSError, IndexError, ValueError):
        return None
    return None


def has_sound(path: Path) -> bool:
    """Say whether a film has sound; one that cannot be read has none."""
    try:
        with av.open(str(path)) as film:
            return bool(film.streams.audio)
    except (av.FFmpegError, OSError, ValueError):
        return False
