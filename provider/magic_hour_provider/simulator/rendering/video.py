"""Renders and reads videos with PyAV."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
from PIL import Image

from magic_hour_provider.simulator.jobs.job import FPS
from magic_hour_provider.simulator.rendering.audio import RATE
from magic_hour_provider.simulator.rendering.images import zoom_frames

_MAX_FRAMES = 24  # different frames of a video: drawing one costs more than encoding one that repeats
_CODECS = {
    "mp4": ("libx264", "aac", {"preset": "ultrafast", "crf": "28"}),
    "webm": ("libvpx-vp9", "libopus", {"deadline": "realtime", "cpu-used": "8", "crf": "36", "b": "0"}),
}


def write_video(
    path: Path, form: str, scene: Image.Image, caption: Image.Image, count: int, sound: bytes | None
) -> None:
    """Write a video: a slow zoom into a picture, with a caption over its lower edge.

    :param form: ``mp4`` or ``webm``.
    :param scene: the picture, in RGB; its width and height are even.
    :param caption: as wide as the picture; its height is even.
    :param count: how many frames, :data:`.jobs.job.FPS` a second.
    :param sound: its samples, as :func:`.audio.render_melody` returns them; None for a silent video.
    """
    video_codec, audio_codec, options = _CODECS[form]
    # The index goes first, as in files meant for the web, so that a player can start at once.
    # Exact bits, as the muxers would otherwise add a random number or the time.
    muxing = {"fflags": "bitexact"} | ({"movflags": "faststart"} if form == "mp4" else {})
    with av.open(str(path), "w", format=form, options=muxing) as film:
        video = cast(av.VideoStream, film.add_stream(video_codec, rate=FPS, options=options))
        video.width, video.height = scene.size
        video.pix_fmt = "yuv420p"
        video.codec_context.thread_count = 1  # several jobs may be rendered at a time
        audio = film.add_stream(audio_codec, rate=RATE, layout="mono") if sound else None
        each = -(-count // _MAX_FRAMES)
        for number, frame in enumerate(_zoomed(_planes(scene), _planes(caption), -(-count // each))):
            for at in range(number * each, min(number * each + each, count)):
                frame.pts, frame.time_base = at, Fraction(1, FPS)
                film.mux(video.encode(frame))
        film.mux(video.encode())
        if isinstance(audio, av.AudioStream) and sound:
            samples = av.AudioFrame(format="s16", layout="mono", samples=len(sound) // 2)
            samples.planes[0].update(sound.ljust(samples.planes[0].buffer_size, b"\0"))
            samples.sample_rate = RATE
            samples.pts = 0
            samples.time_base = Fraction(1, RATE)
            film.mux(audio.encode(samples))
            film.mux(audio.encode())


def _planes(picture: Image.Image) -> list[Image.Image]:
    """Return brightness, blue and red of a picture, as videos have them: converting once is cheaper than each frame."""
    frame = av.VideoFrame.from_image(picture).reformat(format="yuv420p")  # type: ignore[no-untyped-call]
    return [
        Image.frombuffer("L", (plane.width, plane.height), bytes(plane), "raw", "L", plane.line_size, 1)
        for plane in frame.planes
    ]


def _zoomed(scene: list[Image.Image], caption: list[Image.Image], count: int) -> Iterator[av.VideoFrame]:
    frames = [zoom_frames(plane, count) for plane in scene]
    for pictures in zip(*frames, strict=True):
        frame = av.VideoFrame(scene[0].width, scene[0].height, "yuv420p")
        for plane, picture, text in zip(frame.planes, pictures, caption, strict=True):
            picture.paste(text, (0, picture.height - text.height))
            rows = picture.tobytes("raw", ("L", plane.line_size, 1))
            plane.update(rows.ljust(plane.buffer_size, b"\0"))
        yield frame


def read_first_frame(path: Path) -> Image.Image | None:
    """Return the first picture of a video; None when there is none to read."""
    try:
        with av.open(str(path)) as film:
            for frame in film.decode(video=0):
                picture: Image.Image = frame.to_image()  # type: ignore[no-untyped-call]
                return picture
    except (av.FFmpegError, OSError, IndexError, ValueError):
        return None
    return None


def has_sound(path: Path) -> bool:
    """Return whether a video has sound; one that cannot be read has none."""
    try:
        with av.open(str(path)) as film:
            return bool(film.streams.audio)
    except (av.FFmpegError, OSError, ValueError):
        return False
