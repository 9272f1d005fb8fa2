"""Renders the files of a job at their first download: real images, videos and sounds that say which job made them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from magic_hour_provider.simulator.jobs.dimensions import has_aspect_ratio, rendered_seconds, size_for_ratio
from magic_hour_provider.simulator.jobs.job import FPS, InputFile, SimulatedJob
from magic_hour_provider.simulator.rendering.audio import render_melody, write_wav
from magic_hour_provider.simulator.rendering.images import (
    add_caption,
    draw_caption,
    draw_landscape,
    fit_image,
    tint,
    zoom_frames,
)
from magic_hour_provider.simulator.rendering.video import has_sound, read_first_frame, write_video

_MAX_SCENES = 64
_LONGEST_CHAIN = 50
_GIF_FRAMES = 12
_GIF_FRAME_MS = 100
_GIF_SIDE = 400


class Renderer:
    """Renders each file once and keeps it in a folder. Safe to use from several threads.

    :param folder: where the files are kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._locks: dict[Path, threading.Lock] = {}
        self._scenes: OrderedDict[tuple[str, int], Image.Image] = OrderedDict()

    def render_file(self, job: SimulatedJob, number: int) -> Path:
        """Return one of a job's files, after rendering it if need be. Slow: not for an event loop.

        :param number: which file, counted from 1.
        """
        path = self._folder / job.id / f"{number}.{job.extension}"
        if path.exists():
            return path
        with self._lock:
            lock = self._locks.setdefault(path, threading.Lock())
        with lock:
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                staging_file = path.with_suffix(".part")
                self._render(job, number, staging_file)
                staging_file.replace(path)
        with self._lock:
            self._locks.pop(path, None)
        return path

    def delete_files(self, job: SimulatedJob) -> None:
        """Delete a job's files."""
        for path in (self._folder / job.id).glob("*"):
            path.unlink(missing_ok=True)

    def _render(self, job: SimulatedJob, number: int, path: Path) -> None:
        if job.extension == "wav":
            write_wav(path, render_melody(job.id, rendered_seconds("audio", job.start, job.end)))
            return
        scene = self._scene(job, number)
        caption = self._caption(job, number, scene.size)
        if job.extension == "png":
            add_caption(scene, caption).save(path, "PNG", compress_level=3)
        elif job.extension == "gif":
            small = ImageOps.contain(scene, (_GIF_SIDE, _GIF_SIDE))
            caption = self._caption(job, number, small.size)
            # There and back again, so that the loop has no jump.
            there = [add_caption(frame, caption) for frame in zoom_frames(small, _GIF_FRAMES)]
            palette = there[0].quantize(128)
            first, *rest = [frame.quantize(palette=palette) for frame in there + there[-2:0:-1]]
            first.save(path, "GIF", save_all=True, append_images=rest, duration=_GIF_FRAME_MS, loop=0)
        else:
            seconds = rendered_seconds("video", job.start, job.end)
            sound = render_melody(self._melody(job), seconds) if self._has_sound(job) else None
            write_video(path, job.extension, scene, caption, round(seconds * FPS), sound)

    def _caption(self, job: SimulatedJob, number: int, size: tuple[int, int]) -> Image.Image:
        of = f" {number}/{job.files}" if job.files > 1 else ""
        before = dict.fromkeys(input_file.job.tool.title for input_file in job.inputs if input_file.job is not None)
        note = f"{job.id}{of}" + "".join(f"  <  {title}" for title in before)
        return draw_caption(size, job.tool.slug, job.tool.title, job.caption, note)

    def _scene(self, job: SimulatedJob, number: int, depth: int = 0) -> Image.Image:
        """Return the picture of a file without its caption, so that captions do not pile up along a chain."""
        key = (job.id, number)
        with self._lock:
            if key in self._scenes:
                self._scenes.move_to_end(key)
                return self._scenes[key]
        inputs = (self._input(input_file, depth) for input_file in job.inputs if input_file.kind != "audio")
        first_input = next((picture for picture in inputs if picture is not None), None)
        if first_input is None:
            scene = draw_landscape(job.size, f"{job.id}/{number}/{job.caption}")
        else:
            # Pictures keep the proportions of their input; a video's were promised when it was made.
            free = job.tool.kind != "video" and not has_aspect_ratio(job.request)
            size = size_for_ratio(first_input.width / first_input.height) if free else job.size
            scene = tint(fit_image(first_input, size), f"{job.tool.slug}/{number}")
        with self._lock:
            self._scenes[key] = scene
            if len(self._scenes) > _MAX_SCENES:
                self._scenes.popitem(last=False)
        return scene

    def _input(self, input_file: InputFile, depth: int) -> Image.Image | None:
        if input_file.job is not None:
            return self._scene(input_file.job, input_file.number, depth + 1) if depth < _LONGEST_CHAIN else None
        if input_file.path is None:
            return None
        try:
            with Image.open(input_file.path) as picture:
                turned = ImageOps.exif_transpose(picture.convert("RGB"))
                turned.thumbnail((1280, 1280))
                return turned
        except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError):
            return read_first_frame(input_file.path)

    def _has_sound(self, job: SimulatedJob) -> bool:
        if job.request.get("audio") is True or any(field.accepts == ("audio",) for field in job.tool.files):
            return True
        return any(self._input_has_sound(input_file) for input_file in job.inputs)

    def _input_has_sound(self, input_file: InputFile) -> bool:
        if input_file.kind == "audio":
            return True
        if input_file.kind != "video":
            return False
        if input_file.job is not None:
            return self._has_sound(input_file.job)
        return input_file.path is not None and has_sound(input_file.path)

    def _melody(self, job: SimulatedJob) -> str:
        """Return the name of a video's melody: that of its input sound, else its own."""
        for input_file in job.inputs:
            if input_file.job is not None and input_file.kind == "audio":
                return input_file.job.id
            if input_file.job is not None and input_file.kind == "video" and self._has_sound(input_file.job):
                return self._melody(input_file.job)
        return job.id
