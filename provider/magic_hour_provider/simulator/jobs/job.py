"""A job: what was asked for, how it will end, and how it looks from outside at any moment."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from magic_hour_provider.api.catalog import Tool
from magic_hour_provider.simulator.jobs.facts import project_type

# Of a job's time, the part it waits for a machine.
_QUEUED_PART = 0.2
_LOOKS_KEPT = 50
FPS = 24

# Takes a job and the number of one of its files, counted from 1; returns {"url", "expires_at"}.
LinkMaker = Callable[["Job", int], dict[str, str]]


def iso(seconds: float) -> str:
    """Return a time in seconds since 1970 as the API writes it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True)
class Ending:
    """How a job ends.

    :param status: its last status; ``gone`` for a job that vanishes.
    :param code: code of its error.
    :param message: message of its error.
    :param immediately: whether this shows at the first look instead of when its time is over.
    """

    status: str = "complete"
    code: str = ""
    message: str = ""
    immediately: bool = False


@dataclass(frozen=True)
class Source:
    """An input file that the simulator holds: an upload, or a file of an earlier job.

    :param kind: ``image``, ``video`` or ``audio``.
    :param path: the uploaded file.
    :param job: the earlier job.
    :param number: which of the earlier job's files, counted from 1.
    """

    kind: str
    path: Path | None = None
    job: Job | None = None
    number: int = 1


@dataclass(eq=False)
class Job:
    """One job; a project, as Magic Hour says.

    :param id: its id.
    :param tool: what makes it.
    :param request: the body it was made with.
    :param name: its label.
    :param text: the words it shows.
    :param created: when it was accepted, in seconds since 1970 on the simulator's clock.
    :param duration: how long it takes, in seconds on that clock.
    :param price: credits taken for it.
    :param files: how many files it makes.
    :param extension: the extension of its files.
    :param size: width and height of its pictures, in pixels.
    :param start: start of its clip, in seconds.
    :param end: end of its clip, in seconds.
    :param ending: how it ends.
    :param sources: its input files, as far as the simulator holds them.
    :param words: all words of its request, for faults that look for some.
    :param final_price: credits that it costs in the end; the price unless it is paid by the frame.
    :param credits_charged: credits that stay charged, as its details say.
    :param settled: whether its money will not move again.
    :param polled_at: when it was polled last, in seconds since 1970 on the simulator's clock.
    """

    id: str
    tool: Tool
    request: dict[str, Any]
    name: str
    text: str
    created: float
    duration: float
    price: int
    files: int
    extension: str
    size: tuple[int, int]
    start: float
    end: float
    ending: Ending = field(default_factory=Ending)
    sources: tuple[Source, ...] = ()
    words: str = ""
    final_price: int = -1
    credits_charged: int = field(init=False)
    settled: bool = False
    deleted: bool = False
    polls: int = 0
    polled_at: deque[float] = field(default_factory=lambda: deque(maxlen=_LOOKS_KEPT))
    downloads: int = 0

    def __post_init__(self) -> None:
        if self.final_price < 0:
            self.final_price = self.price
        self.credits_charged = self.price

    @property
    def ends(self) -> float:
        """When its time is over, in seconds since 1970 on the simulator's clock."""
        return self.created + self.duration

    @property
    def renders(self) -> float:
        """When it leaves the queue, in seconds since 1970 on the simulator's clock."""
        return self.created + self.duration * _QUEUED_PART

    def is_over(self, now: float) -> bool:
        """Say whether the job has reached its ending."""
        return self.ending.immediately or now >= self.ends

    def status(self, now: float) -> str:
        """Return the status at a time, in seconds since 1970 on the simulator's clock."""
        if self.is_over(now):
            return self.ending.status
        # A job that is to stay in the queue must not be seen rendering before.
        if self.ending.status == "queued" or now < self.renders:
            return "queued"
        return "rendering"

    def file_name(self, number: int) -> str:
        """Return the last part of the path of one of its files, counted from 1."""
        return f"0-{number - 1}.png" if self.tool.kind == "face-detection" else f"output.{self.extension}"


def details(job: Job, now: float, link: LinkMaker) -> dict[str, Any]:
    """Return what a look at a job answers: every field the official SDK's models want, deprecated ones too.

    :param now: the time of the look, in seconds since 1970 on the simulator's clock.
    :param link: makes the links of its files.
    """
    status = job.status(now)
    done = status == "complete" and not job.deleted
    if job.tool.kind == "face-detection":
        faces = [
            {"path": face_path(job, number), "url": link(job, number)["url"]}
            for number in range(1, files_ready(job, now) + 1)
        ]
        return {"id": job.id, "status": status, "credits_charged": job.credits_charged, "faces": faces}
    downloads = [link(job, number) for number in range(1, job.files + 1)] if done else []
    answer: dict[str, Any] = {
        "id": job.id,
        "name": job.name,
        "status": status,
        "type": project_type(job.tool.slug),
        "created_at": iso(job.created),
        "enabled": not job.deleted,
        "credits_charged": job.credits_charged,
        "downloads": downloads,
        "error": {"code": job.ending.code, "message": job.ending.message} if status == "error" else None,
    }
    if job.tool.kind == "image":
        answer |= {"image_count": job.files, "total_frame_cost": job.credits_charged}
    elif job.tool.kind == "video":
        answer |= {
            "width": job.size[0],
            "height": job.size[1],
            "fps": FPS,
            "start_seconds": job.start,
            "end_seconds": job.end,
            "total_frame_cost": job.credits_charged,
            "download": downloads[0] if downloads else None,
        }
    return answer


def files_ready(job: Job, now: float) -> int:
    """Return how many of a job's files can be had at a time; faces are found one by one while it renders."""
    status = job.status(now)
    if status == "rendering" and job.tool.kind == "face-detection":
        part = 1.0 if job.is_over(now) else (now - job.created) / job.duration
        return int((part - _QUEUED_PART) / (1 - _QUEUED_PART) * job.files)
    return job.files if status == "complete" else 0


def face_path(job: Job, number: int) -> str:
    """Return the reference by which later requests name a face that this job found, counted from 1."""
    return f"api-assets/{job.id}/{job.file_name(number)}"


def job_row(job: Job, now: float) -> dict[str, Any]:
    """Return a job as the simulator's own list shows it."""
    return {
        "id": job.id,
        "tool": job.tool.slug,
        "kind": job.tool.kind,
        "status": "deleted" if job.deleted else job.status(now),
        "name": job.name,
        "request": job.request,
        "credits_charged": job.credits_charged,
        "created_at": iso(job.created),
        "seconds": job.duration,
        "polls": job.polls,
        "polled_at": [iso(time) for time in job.polled_at],
        "downloads": job.downloads,
    }
