"""The service without its HTTP: jobs, uploads, credits and a clock. Safe to use from several threads."""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from magic_hour_provider.api.catalog import Tool
from magic_hour_provider.simulator import shapes
from magic_hour_provider.simulator.account import account_details, saved_items, saved_page
from magic_hour_provider.simulator.errors import ApiError, invalid, missing
from magic_hour_provider.simulator.facts import REQUIRED, text_of, values_at
from magic_hour_provider.simulator.faults import FaultBook
from magic_hour_provider.simulator.inputs import Inputs
from magic_hour_provider.simulator.jobs import Ending, Job, LinkMaker, details, iso, summary
from magic_hour_provider.simulator.links import DOWNLOAD_LIFE_S, Links
from magic_hour_provider.simulator.prices import credits_for
from magic_hour_provider.simulator.uploads import Upload, Uploads

_FACES = 2
_FARTHEST_S = 100 * 365 * 24 * 3600
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


class Service:
    """All that the simulator remembers.

    :param speed: how many times faster than Magic Hour jobs are; above 0.
    :param balance: credits at the start.
    :param tier: the account's tier, one of :data:`.account.TIERS`.
    :param seed: one seed gives the same ids.
    :param clock: returns the time in seconds since 1970.
    :param storage: folder for uploads.
    """

    def __init__(
        self, *, speed: float, balance: int, tier: str, seed: int, clock: Callable[[], float], storage: Path
    ) -> None:
        self.faults = FaultBook()
        self.links = Links(f"simulator {seed}")
        self._speed = speed
        self._start_balance = balance
        self._tier = tier
        self._seed = seed
        self._clock = clock
        self._ahead = 0.0
        self._lock = threading.RLock()
        self._jobs: dict[str, Job] = {}
        self._to_refund: list[Job] = []
        self._saved = {job.id: job for job in saved_items()}
        self._uploads = Uploads(storage / "uploads", self.links)
        self._inputs = Inputs(self._job_or_none, self._uploads.by_reference, self.links)
        self._made_ids = 0
        self._counts = dict.fromkeys(("accepted", "refused", "looks", "uploads", "downloads", "deletes"), 0)
        self._taken = self._refunded = 0

    # --- time

    def now(self) -> float:
        """Return the simulator's time, in seconds since 1970."""
        return self._clock() + self._ahead

    def advance(self, seconds: float) -> None:
        """Move the simulator's clock forward.

        :param seconds: how far; 0 or more.
        """
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 <= seconds < math.inf:
            raise invalid("seconds must be a number, 0 or more: the clock only goes forward.")
        with self._lock:
            if self._ahead + seconds > _FARTHEST_S:
                raise invalid("The clock can be moved a hundred years ahead at most.")
            self._ahead += seconds

    # --- jobs

    def create(self, tool: Tool, request: object) -> Job:
        """Accept a request: make its job and take its credits.

        :raises ApiError: the request is refused and costs nothing.
        """
        with self._lock:
            try:
                job = self._new_job(tool, request)
            except ApiError:
                self.refused()
                raise
            self._jobs[job.id] = job
            self._taken += job.price
            self._counts["accepted"] += 1
            self._shape(job)
            return job

    def _new_job(self, tool: Tool, request: object) -> Job:
        if not isinstance(request, dict):
            raise invalid("The body must be a JSON object.")
        for path in REQUIRED.get(tool.slug, ()):
            if not values_at(request, path):
                raise invalid(f"{path} is required.")
        try:
            count = shapes.image_count(request) if tool.kind == "image" else 1
            start, end = shapes.clip(tool, request)
        except shapes.ShapeError as bad:
            code = "invalid_request" if bad.status == 400 else "unprocessable_entity"
            raise ApiError(bad.status, code, str(bad)) from bad
        price = credits_for(tool, request, images=count, seconds=end - start)
        now = self.now()
        self._refund(now)
        balance = self._balance()
        if price > balance:
            raise ApiError(
                402, "insufficient_credits", f"This takes {price} credits and the account has {balance}: top it up."
            )
        sources, failing = self._inputs.resolve(tool, request, now)
        name = request.get("name")
        return Job(
            id=self._new_id(),
            tool=tool,
            request=request,
            name=name if isinstance(name, str) and name else f"{tool.title} - {iso(now)}",
            text=text_of(request),
            created=now,
            duration=(tool.median_s or tool.polling_class(request).median_s) / self._speed,
            price=price,
            files=_FACES if tool.kind == "face-detection" else count,
            extension=_extension(tool, request),
            size=shapes.picture_size(request),
            start=start,
            end=end,
            ending=failing or Ending(),
            sources=sources,
        )

    def _shape(self, job: Job) -> None:
        """Let the faults on order shape a job that was just accepted."""
        timing = self.faults.take(("seconds",), "create", job.tool.slug)
        if timing is not None and timing.seconds is not None:
            job.duration = timing.seconds
        outcome = self.faults.take(("outcome",), "create", job.tool.slug)
        if outcome is not None:
            code = outcome.code or "unknown_error"
            message = outcome.message or f"The simulator was told to end this job with {code}."
            job.ending = Ending(str(outcome.status), code, message, outcome.at_once)
        if job.ending.status in ("error", "canceled"):
            self._to_refund.append(job)

    def look(self, kind: str, job_id: str) -> Job:
        """Return a job, for its details.

        :raises ApiError: there is none of this kind and id.
        """
        with self._lock:
            self._counts["looks"] += 1
            job = self._jobs.get(job_id)
            now = self.now()
            if job is not None:
                job.looks += 1
            if job is None or job.deleted or job.tool.kind != kind or job.status(now) == "gone":
                raise missing(f"The {kind} project")
            if self._to_refund:
                self._refund(now)
            return job

    def delete(self, kind: str, job_id: str) -> Job:
        """Delete a job that is over, and return it; no look finds it after that.

        :raises ApiError: there is none of this kind and id, or it is still active.
        """
        with self._lock:
            job = self._jobs.get(job_id)
            now = self.now()
            if job is None or job.deleted or job.tool.kind != kind or job.status(now) == "gone":
                raise missing(f"The {kind} project")
            if job.status(now) in ("draft", "queued", "rendering"):
                raise ApiError(422, "unprocessable_entity", "The project is still active, so it cannot be deleted.")
            self._refund(now)
            job.deleted = True
            self._counts["deletes"] += 1
            return job

    def details(self, job: Job, base_url: str) -> dict[str, Any]:
        """Return what a look at a job answers.

        :param base_url: where the client reaches the simulator, for the links.
        """
        now = self.now()
        return details(job, now, self._link_maker(base_url, now))

    def output(self, job_id: str, number: int) -> Job:
        """Return the job that a link names, when it has the file.

        :param number: which file, counted from 1.
        :raises ApiError: there is no such file.
        """
        with self._lock:
            job = self._job_or_none(job_id)
            if job is None or not 1 <= number <= job.files or job.status(self.now()) != "complete":
                raise missing("The file")
            return job

    def downloaded(self, job: Job) -> None:
        """Note in the books that a file of this job is being downloaded."""
        with self._lock:
            job.downloads += 1
            self._counts["downloads"] += 1

    def refused(self) -> None:
        """Note in the books that a create was refused."""
        with self._lock:
            self._counts["refused"] += 1

    def tool_of(self, job_id: str) -> str | None:
        """Return the slug of the tool that makes a job, or None."""
        job = self._jobs.get(job_id)
        return job.tool.slug if job else None

    # --- uploads

    def upload_urls(self, body: object, base_url: str) -> dict[str, Any]:
        """Give out places for files, as ``POST /v1/files/upload-urls`` answers.

        :param base_url: where the client reaches the simulator.
        :raises ApiError: the request is malformed, or an extension does not fit its type.
        """
        with self._lock:
            return self._uploads.give_out(body, base_url, self._new_id(), self.now())

    def upload_at(self, reference: str) -> Upload:
        """Return the place for a file.

        :raises ApiError: it was never given out.
        """
        upload = self._uploads.by_reference.get(reference)
        if upload is None:
            raise missing("The upload")
        return upload

    def uploaded(self, upload: Upload) -> None:
        """Note in the books that a file has arrived whole."""
        with self._lock:
            upload.received = self.now()
            self._counts["uploads"] += 1

    # --- account and books

    def account(self) -> dict[str, Any]:
        """Return what ``GET /v1/account`` answers."""
        with self._lock:
            now = self.now()
            self._refund(now)
            return account_details(self._tier, self._balance(), now)

    def saved_items(self, limit: str, cursor: str, kind: str, base_url: str) -> dict[str, Any]:
        """Return what ``GET /v1/saved-items`` answers.

        :param limit: how many at most, 1 to 100; empty for 20.
        :param cursor: the ``next_cursor`` of the answer before; empty to begin.
        :param kind: the only type wanted; empty for all.
        :param base_url: where the client reaches the simulator.
        :raises ApiError: one of them is malformed.
        """
        link = self._link_maker(base_url, self.now())
        return saved_page(list(self._saved.values()), limit, cursor, kind, link)

    def stats(self) -> dict[str, Any]:
        """Return the books: creates, credits, looks, uploads, downloads and deletes so far."""
        with self._lock:
            self._refund(self.now())
            counts = dict(self._counts)
            creates = {"accepted": counts.pop("accepted"), "refused": counts.pop("refused")}
            money = {"balance": self._balance(), "taken": self._taken, "refunded": self._refunded}
            return {"creates": creates, "credits": money, **counts}

    def jobs(self) -> list[dict[str, Any]]:
        """Return every job ever accepted, the oldest first; deleted ones too."""
        with self._lock:
            now = self.now()
            self._refund(now)
            return [summary(job, now) for job in self._jobs.values()]

    # --- small parts

    def _job_or_none(self, job_id: str) -> Job | None:
        job = self._jobs.get(job_id) or self._saved.get(job_id)
        return None if job is None or job.deleted else job

    def _balance(self) -> int:
        return self._start_balance - self._taken + self._refunded

    def _refund(self, now: float) -> None:
        """Give back the credits of the failed jobs whose time is over."""
        for job in [job for job in self._to_refund if job.is_over(now)]:
            self._to_refund.remove(job)
            job.refunded = True
            self._refunded += job.price

    def _link_maker(self, base_url: str, now: float) -> LinkMaker:
        expires = int(now) + DOWNLOAD_LIFE_S
        expires_at = iso(expires)

        def link(job: Job, number: int) -> dict[str, str]:
            path = f"/_files/{job.id}/{number}/{job.file_name(number)}"
            return {"url": base_url + self.links.sign("GET", path, expires), "expires_at": expires_at}

        return link

    def _new_id(self) -> str:
        """Return the next id: 25 letters and digits that look like the service's own."""
        self._made_ids += 1
        number = int.from_bytes(hashlib.sha256(f"{self._seed}/{self._made_ids}".encode()).digest(), "big")
        return "c" + "".join(_DIGITS[number // 36**place % 36] for place in range(24))


def _extension(tool: Tool, request: Mapping[str, Any]) -> str:
    if tool.slug == "ai-gif-generator":
        wanted = request.get("output_format")
        return wanted if wanted in ("mp4", "webm") else "gif"
    return {"video": "mp4", "audio": "wav"}.get(tool.kind, "png")
