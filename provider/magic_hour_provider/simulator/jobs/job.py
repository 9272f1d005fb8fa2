"""A simulated job: what was asked for, how it will end, and its details at any moment."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from magic_hour_provider.api.catalog import Tool
from magic_hour_provider.simulator.jobs.facts import format_api_time, project_type

# The part of a job's time that it is queued.
_QUEUED_PART = 0.2
_POLLS_KEPT = 50
FPS = 24

# Takes a job and the number of one of its files, counted from 1; returns {"url", "expires_at"}.
LinkMaker = Callable[["SimulatedJob", int], dict[str, str]]


@dataclass(frozen=True)
class JobOutcome:
    """How a job ends.

    :param status: its last status; ``gone`` for a job that is not found any more.
    :param code: code of its error.
    :param message: message of its error.
    :param immediately: whether this shows at the first poll instead of when its time is over.
    """

    status: str = "complete"
    code: str = ""
    message: str = ""
    immediately: bool = False


@dataclass(frozen=True)
class InputFile:
    """An input file that the simulator has: an upload, or a file of an earlier job.

    :param kind: ``image``, ``video`` or ``audio``.
    :param path: the uploaded file.
    :param job: the earlier job.
    :param number: which of the earlier job's files, counted from 1.
    """

    kind: str
    path: Path | None = None
    job: SimulatedJob | None = None
    number: int = 1


@dataclass(eq=False)
class SimulatedJob:
    """One job; a project, as Magic Hour says.

    :param id: its id.
    :param tool: what makes it.
    :param request: the body of its create.
    :param name: its label.
    :param caption: the text that its files show.
    :param created: when it was accepted, in seconds since 1970 on the simulator's clock.
    :param duration: how long it takes, in seconds on that clock.
    :param price: credits charged for it at its create.
    :param files: how many files it makes.
    :param extension: the extension of its files.
    :param size: width and height of its pictures, in pixels.
    :param start: start of its clip, in seconds.
    :param end: end of its clip, in seconds.
    :param outcome: how it ends.
    :param inputs: its input files, as far as the simulator has them.
    :param text: all text of its request, for faults that match text.
    :param final_price: credits that it costs once it is settled; the price unless it is charged by the frame.
    :param queue_s: how long it waits before that for other jobs of the account, in seconds.
    :param credits_charged: credits that stay charged, as its details say.
    :param settled: whether its charge is final.
    :param polls: how often it was polled.
    :param polled_at: when it was polled, for the last 50 polls, in seconds since 1970 on the simulator's clock.
    """

    id: str
    tool: Tool
    request: dict[str, Any]
    name: str
    caption: str
    created: float
    duration: float
    price: int
    files: int
    extension: str
    size: tuple[int, int]
    start: float
    end: float
    outcome: JobOutcome = field(default_factory=JobOutcome)
    inputs: tuple[InputFile, ...] = ()
    text: str = ""
    final_price: int = -1
    queue_s: float = 0.0
    credits_charged: int = field(init=False)
    settled: bool = False
    deleted: bool = False
    polls: int = 0
    polled_at: deque[float] = field(default_factory=lambda: deque(maxlen=_POLLS_KEPT))
    downloads: int = 0

    def __post_init__(self) -> None:
        if self.final_price < 0:
            self.final_price = self.price
        self.credits_charged = self.price

    @property
    def ends_at(self) -> float:
        """When its time is over, in seconds since 1970 on the simulator's clock."""
        return self.created + self.queue_s + self.duration

    @property
    def renders_at(self) -> float:
        """When it leaves the queue, in seconds since 1970 on the simulator's clock."""
        return self.created + self.queue_s + self.duration * _QUEUED_PART

    def is_over(self, now: float) -> bool:
        """Return whether the job has ended."""
        return self.outcome.immediately or now >= self.ends_at

    def status(self, now: float) -> str:
        """Return the status at a time, in seconds since 1970 on the simulator's clock."""
        if self.is_over(now):
            return self.outcome.status
        # A job that is to stay in the queue must not be seen rendering before.
        if self.outcome.status == "queued" or now < self.renders_at:
            return "queued"
        return "rendering"

    def file_name(self, number: int) -> str:
        """Return the last part of the path of one of its files, counted from 1."""
        return f"0-{number - 1}.png" if self.tool.kind == "face-detection" else f"output.{self.extension}"


def job_details(job: SimulatedJob, now: float, link: LinkMaker) -> dict[str, Any]:
    """Return the details of a job, with every field of the official SDK's models, deprecated ones too.

    :param now: the time of the poll, in seconds since 1970 on the simulator's clock.
    :param link: makes the links of its files.
    """
    status = job.status(now)
    done = status == "complete" and not job.deleted
    if job.tool.kind == "face-detection":
        faces = [
            {"path": face_reference(job, number), "url": link(job, number)["url"]}
            for number in range(1, count_ready_files(job, now) + 1)
        ]
        return {"id": job.id, "status": status, "credits_charged": job.credits_charged, "faces": faces}
    downloads = [link(job, number) for number in range(1, job.files + 1)] if done else []
    details: dict[str, Any] = {
        "id": job.id,
        "name": job.name,
        "status": status,
        "type": project_type(job.tool.slug),
        "created_at": format_api_time(job.created),
        "enabled": not job.deleted,
        "credits_charged": job.credits_charged,
        "downloads": downloads,
        "error": {"code": job.outcome.code, "message": job.outcome.message} if status == "error" else None,
    }
    if job.tool.kind == "image":
        details |= {"image_count": job.files, "total_frame_cost": job.credits_charged}
    elif job.tool.kind == "video":
        details |= {
            "width": job.size[0],
            "height": job.size[1],
            "fps": FPS,
            "start_seconds": job.start,
            "end_seconds": job.end,
            "total_frame_cost": job.credits_charged,
            "download": downloads[0] if downloads else None,
        }
    return details


def count_ready_files(job: SimulatedJob, now: float) -> int:
    """Return how many of a job's files are ready at a time; faces are found one by one while it renders."""
    status = job.status(now)
    if status == "rendering" and job.tool.kind == "face-detection":
        part = 1.0 if job.is_over(now) else (now - job.created - job.queue_s) / job.duration
        return int((part - _QUEUED_PART) / (1 - _QUEUED_PART) * job.files)
    return job.files if status == "complete" else 0


def face_reference(job: SimulatedJob, number: int) -> str:
    """Return the reference by which later requests name a face that this job found, counted from 1."""
    return f"api-assets/{job.id}/{job.file_name(number)}"


def job_row(job: SimulatedJob, now: float) -> dict[str, Any]:
    """Return a job as ``GET /_simulator/jobs`` lists it."""
    return {
        "id": job.id,
        "tool": job.tool.slug,
        "kind": job.tool.kind,
        "status": "deleted" if job.deleted else job.status(now),
        "name": job.name,
        "request": job.request,
        "credits_charged": job.credits_charged,
        "created_at": format_api_time(job.created),
        "seconds": job.duration,
        "polls": job.polls,
        "polled_at": [format_api_time(time) for time in job.polled_at],
        "downloads": job.downloads,
    }
