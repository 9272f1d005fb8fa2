"""Makes the files of a job, at the first download: real pictures, films and sounds that say where they come from."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from magic_hour_provider.simulator.jobs.dimensions import asks_for_shape, seconds_to_render, sized
from magic_hour_provider.simulator.jobs.job import FPS, Job, Source
from magic_hour_provider.simulator.rendering.audio import tune, write_wav
from magic_hour_provider.simulator.rendering.images import captioned, fitted, landscape, panel, touched, zoom
from magic_hour_provider.simulator.rendering.video import first_frame, has_sound, write_film

_REMEMBERED = 64
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

    def output(self, job: Job, number: int) -> Path:
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
                unfinished = path.with_suffix(".part")
                self._render(job, number, unfinished)
                unfinished.replace(path)
        with self._lock:
            self._locks.pop(path, None)
        return path

    def forget(self, job: Job) -> None:
        """Remove a job's files."""
        for path in (self._folder / job.id).glob("*"):
            path.unlink(missing_ok=True)

    def _render(self, job: Job, number: int, path: Path) -> None:
        if job.extension == "wav":
            write_wav(path, tune(job.id, seconds_to_render("audio", job.start, job.end)))
            return
        scene = self._scene(job, number)
        caption = self._caption(job, number, scene.size)
        if job.extension == "png":
            captioned(scene, caption).save(path, "PNG", compress_level=3)
        elif job.extension == "gif":
            small = ImageOps.contain(scene, (_GIF_SIDE, _GIF_SIDE))
            caption = self._caption(job, number, small.size)
            # There and back again, so that the loop has no jump.
            there = [captioned(frame, caption) for frame in zoom(small, _GIF_FRAMES)]
            palette = there[0].quantize(128)
            first, *rest = [frame.quantize(palette=palette) for frame in there + there[-2:0:-1]]
            first.save(path, "GIF", save_all=True, append_images=rest, duration=_GIF_FRAME_MS, loop=0)
        else:
            seconds = seconds_to_render("video", job.start, job.end)
            sound = tune(self._melody(job), seconds) if self._sounds(job) else None
            write_film(path, job.extension, scene, caption, round(seconds * FPS), sound)

    def _caption(self, job: Job, number: int, size: tuple[int, int]) -> Image.Image:
        of = f" {number}/{job.files}" if job.files > 1 else ""
        before = dict.fromkeys(source.job.tool.title for source in job.sources if source.job is not None)
        note = f"{job.id}{of}" + "".join(f"  <  {title}" for title in before)
        return panel(size, job.tool.slug, job.tool.title, job.text, note)

    def _scene(self, job: Job, number: int, depth: int = 0) -> Image.Image:
        """Return the picture of a file without its caption, so that captions do not pile up along a chain."""
        key = (job.id, number)
        with self._lock:
            if key in self._scenes:
                self._scenes.move_to_end(key)
                return self._scenes[key]
        inputs = (self._input(source, depth) for source in job.sources if source.kind != "audio")
        given = next((picture for picture in inputs if picture is not None), None)
        if given is None:
            scene = landscape(job.size, f"{job.id}/{number}/{job.text}")
        else:
            # Pictures keep the proportions of their input; a video's were promised when it was made.
            free = job.tool.kind != "video" and not asks_for_shape(job.request)
            size = sized(given.width / given.height) if free else job.size
            scene = touched(fitted(given, size), f"{job.tool.slug}/{number}")
        with self._lock:
            self._scenes[key] = scene
            if len(self._scenes) > _REMEMBERED:
                self._scenes.popitem(last=False)
        return scene

    def _input(self, source: Source, depth: int) -> Image.Image | None:
        if source.job is not None:
            return self._scene(source.job, source.number, depth + 1) if depth < _LONGEST_CHAIN else None
        if source.path is None:
            return None
        try:
            with Image.open(source.path) as picture:
                turned = ImageOps.exif_transpose(picture.convert("RGB"))
                turned.thumbnail((1280, 1280))
                return turned
        except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError):
            return first_frame(source.path)

    def _sounds(self, job: Job) -> bool:
        if job.request.get("audio") is True or any(field.accepts == ("audio",) for field in job.tool.files):
            return True
        return any(self._source_sounds(source) for source in job.sources)

    def _source_sounds(self, source: Source) -> bool:
        if source.kind == "audio":
            return True
        if source.kind != "video":
            return False
        if source.job is not None:
            return self._sounds(source.job)
        return source.path is not None and has_sound(source.path)

    def _melody(self, job: Job) -> str:
        """Return the name of a film's tune: that of the sound it was given, else its own."""
        for source in job.sources:
            if source.job is not None and source.kind == "audio":
                return source.job.id
            if source.job is not None and source.kind == "video" and self._sounds(source.job):
                return self._melody(source.job)
        return job.id
