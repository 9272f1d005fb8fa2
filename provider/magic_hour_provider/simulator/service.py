"""The service without its HTTP: jobs, uploads, credits and a clock. Safe to use from several threads."""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from magic_hour_provider.api.catalog import Tool
from magic_hour_provider.simulator.account.accounting import Bookkeeper, Summary
from magic_hour_provider.simulator.account.details import account_details, saved_items, saved_page
from magic_hour_provider.simulator.account.rate_limit import Pace
from magic_hour_provider.simulator.behavior import Behavior
from magic_hour_provider.simulator.errors import ApiError, invalid, missing
from magic_hour_provider.simulator.faults.catalog import JOB, Fault
from magic_hour_provider.simulator.faults.queue import FaultBook
from magic_hour_provider.simulator.jobs.factory import Maker, shape
from magic_hour_provider.simulator.jobs.inputs import Inputs
from magic_hour_provider.simulator.jobs.job import Ending, Job, LinkMaker, details, files_ready, iso, job_row
from magic_hour_provider.simulator.jobs.signed_links import DOWNLOAD_LIFE_S, Links
from magic_hour_provider.simulator.jobs.uploads import Upload, Uploads
from magic_hour_provider.simulator.webhooks.queue import Deliveries

_FARTHEST_S = 100 * 365 * 24 * 3600
_ACTIVE = ("draft", "queued", "rendering")
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


class Service:
    """All that the simulator remembers.

    :param speed: how many times faster than Magic Hour jobs are; above 0.
    :param balance: credits at the start.
    :param tier: the account's tier, one of :data:`.account.TIERS`.
    :param seed: one seed gives the same ids and durations.
    :param clock: returns the time in seconds since 1970.
    :param storage: folder for uploads.
    :param behavior: how open questions are answered.
    :param duration_jitter: how far durations stray from the median, as a part of it, from 0 to 1.
    :param usage_based: whether the account pays later, so that its balance may go below 0.
    """

    def __init__(
        self,
        *,
        speed: float,
        balance: int,
        tier: str,
        seed: int,
        clock: Callable[[], float],
        storage: Path,
        behavior: Behavior = Behavior(),  # noqa: B008 - frozen
        duration_jitter: float = 0.0,
        usage_based: bool = False,
    ) -> None:
        self.behavior = behavior
        self.faults = FaultBook(seed)
        self.links = Links(f"simulator {seed}")
        self.books = Bookkeeper(balance, behavior.refunded_credits)
        self._pace = Pace(behavior)
        self._tier = tier
        self._usage_based = usage_based
        self._seed = seed
        self._clock = clock
        self._ahead = 0.0
        self._lock = threading.RLock()
        self.webhooks = Deliveries(self._lock, self.now, self.faults, self.books, behavior, self._details_at)
        self._jobs: dict[str, Job] = {}
        self._saved = {job.id: job for job in saved_items()}
        self._uploads = Uploads(storage / "uploads", self.links, behavior, tier)
        inputs = Inputs(self._job_or_none, self._uploads.by_reference, self.links)
        self._maker = Maker(speed, duration_jitter, seed, tier, behavior, inputs)
        self._made_ids = 0
        self._made_places = 0

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
            self.webhooks.wake()

    # --- jobs

    def create(self, tool: Tool, request: object, spells: Sequence[Fault] = ()) -> Job:
        """Accept a request: make its job and take its credits.

        :param spells: faults that the request's own words order; those of a job shape it.
        :raises ApiError: the request is refused and costs nothing.
        """
        with self._lock:
            now = self.now()
            job = self._maker.job(tool, request, self._next_id(), now)
            self._settle(now)
            balance = self.books.balance
            if job.price > balance and not self._usage_based:
                sentence = f"This takes {job.price} credits and the account has {balance}: top it up."
                raise ApiError(402, "insufficient_credits", sentence)
            self._made_ids += 1
            self._shape(job, spells)
            self._jobs[job.id] = job
            self.books.accepted(job)
            self.webhooks.expect(job)
            return job

    def _shape(self, job: Job, spells: Sequence[Fault]) -> None:
        faults = [spell for spell in spells if spell.stage == JOB]
        for fault in faults:
            self.faults.note(fault)
        named = [fault.fault for fault in faults]
        for name in ("job-duration", "job-outcome"):
            order = None if name in named else self.faults.take((JOB,), "create", job.tool.slug, job.words, name=name)
            if order is not None:
                faults.append(order.fault)
        shape(job, faults)

    def look(self, kind: str, job_id: str) -> Job:
        """Return a job, for its details.

        :raises ApiError: there is none of this kind and id, or too many have been asked for.
        """
        with self._lock:
            now = self.now()
            self._pace.check(now)
            self.books.count("polls")
            job = self._jobs.get(job_id)
            if job is not None:
                job.polls += 1
                job.polled_at.append(now)
            self._settle(now)
            if job is None or (job.deleted and self.behavior.deleted_job == "not_found"):
                raise missing(f"The {kind} project")
            if job.status(now) == "gone" or (job.tool.kind != kind and self.behavior.wrong_kind == "not_found"):
                raise missing(f"The {kind} project")
            return job

    def delete(self, kind: str, job_id: str) -> Job:
        """Delete a job, and return it; what a look finds after that is one of the behavior.

        :raises ApiError: there is none of this kind and id, or it is still active and may not be deleted.
        """
        with self._lock:
            job = self._jobs.get(job_id)
            now = self.now()
            if job is None or job.deleted or job.tool.kind != kind or job.status(now) == "gone":
                raise missing(f"The {kind} project")
            self._settle(now)
            if job.status(now) in _ACTIVE:
                if self.behavior.delete_active == "refused":
                    sentence = "The project is still active, so it cannot be deleted."
                    raise ApiError(422, "unprocessable_entity", sentence)
                if self.behavior.delete_active == "canceled":
                    job.ending = Ending("canceled", immediately=True)
                    self.books.refund(job)
            job.deleted = True
            self.books.count("deletes")
            return job

    def details(self, job: Job, base_url: str) -> dict[str, Any]:
        """Return what a look at a job answers.

        :param base_url: where the client reaches the simulator, for the links.
        """
        return self._details_at(job, base_url, self.now())

    def _details_at(self, job: Job, base_url: str, now: float) -> dict[str, Any]:
        return details(job, now, self._link_maker(base_url, now))

    def output(self, job_id: str, number: int) -> Job:
        """Return the job that a link names, when it has the file.

        :param number: which file, counted from 1.
        :raises ApiError: there is no such file.
        """
        with self._lock:
            job = self._job_or_none(job_id)
            if job is None or not 1 <= number <= files_ready(job, self.now()):
                raise missing("The file")
            return job

    def downloaded(self, job: Job) -> None:
        """Note in the books that a file of this job is being downloaded."""
        with self._lock:
            job.downloads += 1
            self.books.count("downloads")

    def refused(self) -> None:
        """Note in the books that a create was refused."""
        with self._lock:
            self.books.count("refused")

    def requested(self, endpoint: str) -> None:
        """Note in the books that a request has come to an endpoint."""
        with self._lock:
            self.books.requests[endpoint] += 1

    def tool_and_words(self, job_id: str) -> tuple[str | None, str]:
        """Return the slug of the tool that makes a job and the words of its request; nothing for an unknown job."""
        job = self._jobs.get(job_id)
        return (job.tool.slug, job.words) if job else (None, "")

    # --- uploads

    def upload_urls(self, body: object, base_url: str) -> dict[str, Any]:
        """Give out places for files, as ``POST /v1/files/upload-urls`` answers.

        :param base_url: where the client reaches the simulator.
        :raises ApiError: the request is malformed, or an extension does not fit its type.
        """
        with self._lock:
            # Counted apart from jobs, so that an upload more or less does not change the ids of the jobs.
            token = self._id_of(f"upload {self._made_places + 1}")
            answer = self._uploads.give_out(body, base_url, token, self.now())
            self._made_places += 1
            return answer

    def upload_at(self, reference: str, size: int | None) -> Upload:
        """Return the place for a file.

        :param size: its size in bytes, as far as it is known.
        :raises ApiError: it was never given out, it is used up, or the file is too large.
        """
        with self._lock:
            return self._uploads.place(reference, size)

    def check_upload_size(self, size: int) -> None:
        """Refuse an upload of more bytes than the account may send.

        :raises ApiError: it is too large.
        """
        self._uploads.check_size(size)

    def uploaded(self, upload: Upload) -> None:
        """Note in the books that a file has arrived whole."""
        with self._lock:
            upload.received = self.now()
            self.books.count("uploads")

    # --- account and books

    def account(self) -> dict[str, Any]:
        """Return what ``GET /v1/account`` answers."""
        with self._lock:
            now = self.now()
            self._settle(now)
            return account_details(self._tier, self.books.balance, now, self._usage_based)

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
        """Return the books in full, as :meth:`.books.Bookkeeper.stats` does."""
        with self._lock:
            self._settle(self.now())
            stats = self.books.stats(self._jobs, self.faults.struck())
            stats["webhooks"] |= self.webhooks.stats()
            return stats

    def summary(self) -> Summary:
        """Return the books in brief."""
        with self._lock:
            self._settle(self.now())
            return self.books.summary()

    def jobs(self) -> list[dict[str, Any]]:
        """Return every job ever accepted, the oldest first; deleted ones too."""
        with self._lock:
            now = self.now()
            self._settle(now)
            return [job_row(job, now) for job in self._jobs.values()]

    def deliveries(self) -> list[dict[str, Any]]:
        """Return the last attempts to deliver an event to a webhook, the oldest first."""
        with self._lock:
            return self.books.deliveries()

    # --- small parts

    def _settle(self, now: float) -> None:
        """Let happen what has happened up to now, in its order: deliveries show a job as it was at their time."""
        self.webhooks.pass_time(now)
        self.books.settle(now)

    def _job_or_none(self, job_id: str) -> Job | None:
        job = self._jobs.get(job_id) or self._saved.get(job_id)
        return None if job is None or job.deleted else job

    def _link_maker(self, base_url: str, now: float) -> LinkMaker:
        expires = int(now) + DOWNLOAD_LIFE_S
        expires_at = iso(expires)

        def link(job: Job, number: int) -> dict[str, str]:
            path = f"/_files/{job.id}/{number}/{job.file_name(number)}"
            return {"url": base_url + self.links.sign("GET", path, expires), "expires_at": expires_at}

        return link

    def _next_id(self) -> str:
        return self._id_of(str(self._made_ids + 1))

    def _id_of(self, what: str) -> str:
        """Return 25 letters and digits that look like the service's own ids."""
        number = int.from_bytes(hashlib.sha256(f"{self._seed}/{what}".encode()).digest(), "big")
        return "c" + "".join(_DIGITS[number // 36**place % 36] for place in range(24))
