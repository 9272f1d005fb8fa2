"""The simulated service without its HTTP: jobs, uploads, credits and a clock. Safe to use from several threads."""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from magic_hour_provider.api.catalog import Tool
from magic_hour_provider.simulator.account.accounting import Accounting, Summary
from magic_hour_provider.simulator.account.budgeted import BudgetedRequest
from magic_hour_provider.simulator.account.concurrency import ConcurrencyLimit
from magic_hour_provider.simulator.account.details import account_details, saved_items_page, saved_jobs
from magic_hour_provider.simulator.account.rate_limit import RateLimit
from magic_hour_provider.simulator.behavior import Behavior
from magic_hour_provider.simulator.errors import ApiError, invalid_request_error, not_found_error
from magic_hour_provider.simulator.faults.catalog import FAULTS, FaultStage
from magic_hour_provider.simulator.faults.queue import FaultQueue, FaultTarget
from magic_hour_provider.simulator.input_links import InputLinks
from magic_hour_provider.simulator.jobs.factory import JobFactory, apply_job_fault
from magic_hour_provider.simulator.jobs.facts import format_api_time
from magic_hour_provider.simulator.jobs.inputs import InputResolver
from magic_hour_provider.simulator.jobs.job import (
    JobOutcome,
    LinkMaker,
    SimulatedJob,
    count_ready_files,
    job_details,
    job_row,
)
from magic_hour_provider.simulator.jobs.signed_links import DOWNLOAD_LIFE_S, LinkSigner
from magic_hour_provider.simulator.jobs.uploads import UploadSlot, UploadStore
from magic_hour_provider.simulator.webhooks.queue import DeliveryQueue

_FARTHEST_S = 100 * 365 * 24 * 3600
_ACTIVE = ("draft", "queued", "rendering")
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


class Service:
    """The state of the simulator, and what its routes do.

    :param speed: jobs run at so many x real time; above 0.
    :param balance: credits at the start.
    :param tier: the account's tier, one of :data:`.account.details.TIERS`.
    :param seed: one seed gives the same ids and durations.
    :param clock: returns the time in seconds since 1970.
    :param storage: folder for uploads.
    :param behavior: how it behaves where Magic Hour's behavior is not established.
    :param duration_jitter: largest deviation of a duration from the median, as a part of it, from 0 to 1.
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
        self.faults = FaultQueue(seed)
        self.links = LinkSigner(f"simulator {seed}")
        self._accounting = Accounting(balance, behavior.refunded_credits)
        self._rate_limit = RateLimit(behavior)
        self._concurrency = ConcurrencyLimit(behavior)
        self._tier = tier
        self._usage_based = usage_based
        self._seed = seed
        self._clock = clock
        self._advanced_s = 0.0
        self._lock = threading.RLock()
        self.webhooks = DeliveryQueue(self._lock, self.now, self.faults, self._accounting, behavior, self._details_at)
        self._jobs: dict[str, SimulatedJob] = {}
        self._saved = {job.id: job for job in saved_jobs()}
        self._uploads = UploadStore(storage / "uploads", self.links, behavior, tier)
        self.input_links = InputLinks(behavior, self._uploads.limit)
        inputs = InputResolver(self._find_job, self._uploads.by_reference, self.links, self.input_links.is_missing)
        self._factory = JobFactory(speed, duration_jitter, seed, tier, behavior, inputs)
        self._created_jobs = 0
        self._created_slots = 0

    # --- time

    def now(self) -> float:
        """Return the simulator's time, in seconds since 1970."""
        return self._clock() + self._advanced_s

    def advance(self, seconds: float) -> None:
        """Move the simulator's clock forward.

        :param seconds: how far; 0 or more.
        :raises ApiError: the number makes no sense.
        """
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 <= seconds < math.inf:
            raise invalid_request_error("seconds must be a number, 0 or more: the clock only goes forward.")
        with self._lock:
            if self._advanced_s + seconds > _FARTHEST_S:
                raise invalid_request_error("The clock can be moved a hundred years ahead at most.")
            self._advanced_s += seconds
            self.webhooks.wake()

    # --- jobs

    def quote(self, tool: Tool, budgeted: BudgetedRequest) -> dict[str, Any]:
        """Return what a request would cost; nothing is made, and what would be refused is."""
        return budgeted.quote(self._factory.make(tool, budgeted.request, self._make_id(budgeted.name), self.now()))

    def create(
        self, tool: Tool, request: object, faults: FaultQueue | None = None, budgeted: BudgetedRequest | None = None
    ) -> SimulatedJob:
        """Accept a request: make its job and charge its credits.

        :param tool: what makes the job.
        :param request: the JSON body.
        :param faults: the faults of this request; None for those that are pending. Those of a job are applied.
        :param budgeted: its envelope: one key makes one job, and its repetition is answered with that.
        :raises ApiError: the request is refused and costs nothing.
        """
        with self._lock:
            now = self.now()
            job_id = self._make_id(budgeted.name if budgeted is not None else str(self._created_jobs + 1))
            if budgeted is not None and job_id in self._jobs:
                return budgeted.repeat(self._jobs[job_id])
            job = self._factory.make(tool, request, job_id, now)
            if budgeted is not None:
                budgeted.check_price(job)
            self._settle(now)
            balance = self._accounting.balance
            if job.price > balance and not self._usage_based:
                sentence = f"This takes {job.price} credits and the account has {balance}: top it up."
                raise ApiError(402, "insufficient_credits", sentence)
            self._concurrency.apply(job, self._jobs.values(), now)
            self._created_jobs += 1
            self._inject_job_faults(job, faults or self.faults)
            self._jobs[job.id] = job
            self._accounting.charge(job)
            self.webhooks.schedule_events(job)
            return job

    def _inject_job_faults(self, job: SimulatedJob, faults: FaultQueue) -> None:
        target = FaultTarget("create", job.tool.slug, job.text)
        for name in (name for name, kind in FAULTS.items() if kind.stage is FaultStage.JOB):
            queued = faults.take((FaultStage.JOB,), target, name=name)
            if queued is not None:
                apply_job_fault(job, queued.fault)

    def get_job(self, kind: str, job_id: str) -> SimulatedJob:
        """Return a job for its details, and count the poll.

        :raises ApiError: there is none of this kind and id, or the account's rate limit is exceeded.
        """
        with self._lock:
            now = self.now()
            self._rate_limit.check(now)
            self._accounting.count("polls")
            job = self._jobs.get(job_id)
            if job is not None:
                job.polls += 1
                job.polled_at.append(now)
            self._settle(now)
            if job is None or (job.deleted and self.behavior.deleted_job == "not_found"):
                raise not_found_error(f"The {kind} project")
            if job.status(now) == "gone" or (job.tool.kind != kind and self.behavior.wrong_kind == "not_found"):
                raise not_found_error(f"The {kind} project")
            return job

    def delete_job(self, kind: str, job_id: str) -> SimulatedJob:
        """Delete a job, and return it. How a poll is answered after that is a setting of :class:`.behavior.Behavior`.

        :raises ApiError: there is none of this kind and id, or it is still active and may not be deleted.
        """
        with self._lock:
            job = self._jobs.get(job_id)
            now = self.now()
            if job is None or job.deleted or job.tool.kind != kind or job.status(now) == "gone":
                raise not_found_error(f"The {kind} project")
            self._settle(now)
            if job.status(now) in _ACTIVE:
                if self.behavior.delete_active == "refused":
                    raise ApiError(422, "unprocessable_entity", "The project is still active, so it cannot be deleted.")
                if self.behavior.delete_active == "canceled":
                    job.outcome = JobOutcome("canceled", immediately=True)
                    self._accounting.refund(job)
            job.deleted = True
            self._accounting.count("deletes")
            return job

    def details(self, job: SimulatedJob, base_url: str) -> dict[str, Any]:
        """Return the details of a job, as a poll is answered.

        :param base_url: where the client reaches the simulator, for the links.
        """
        return self._details_at(job, base_url, self.now())

    def _details_at(self, job: SimulatedJob, base_url: str, now: float) -> dict[str, Any]:
        return job_details(job, now, self._link_maker(base_url, now))

    def get_job_with_file(self, job_id: str, number: int) -> SimulatedJob:
        """Return the job that a download link names, if its file is ready.

        :param number: which file, counted from 1.
        :raises ApiError: there is no such file.
        """
        with self._lock:
            job = self._find_job(job_id)
            if job is None or not 1 <= number <= count_ready_files(job, self.now()):
                raise not_found_error("The file")
            return job

    # --- uploads

    def create_upload_urls(self, body: object, base_url: str) -> dict[str, Any]:
        """Create slots for files, and return the response of ``POST /v1/files/upload-urls``.

        :param base_url: where the client reaches the simulator.
        :raises ApiError: the request is malformed, or an extension does not fit its type.
        """
        with self._lock:
            # Counted apart from jobs, so that an upload more or less does not change the ids of the jobs.
            token = self._make_id(f"upload {self._created_slots + 1}")
            urls = self._uploads.create_slots(body, base_url, token, self.now())
            self._created_slots += 1
            return urls

    def open_upload_slot(self, reference: str, size: int | None) -> UploadSlot:
        """Return the slot that a file is being sent to.

        :param size: the file's size in bytes; None while it is not known.
        :raises ApiError: there is no such slot, it is used up, or the file is too large.
        """
        with self._lock:
            return self._uploads.open_slot(reference, size)

    def check_upload_size(self, size: int) -> None:
        """Refuse an upload of more bytes than the account may send.

        :raises ApiError: it is too large.
        """
        self._uploads.check_size(size)

    # --- account

    def account(self) -> dict[str, Any]:
        """Return the response of ``GET /v1/account``."""
        with self._lock:
            now = self.now()
            self._settle(now)
            return account_details(self._tier, self._accounting.balance, now, self._usage_based, self.behavior)

    def saved_items(self, limit: str, cursor: str, kind: str, base_url: str) -> dict[str, Any]:
        """Return the response of ``GET /v1/saved-items``.

        :param limit: how many at most, 1 to 100; empty for 20.
        :param cursor: the ``next_cursor`` of the page before; empty for the first page.
        :param kind: the only type wanted; empty for all.
        :param base_url: where the client reaches the simulator.
        :raises ApiError: one of them is malformed.
        """
        return saved_items_page(list(self._saved.values()), limit, cursor, kind, self._link_maker(base_url, self.now()))

    # --- counters

    def count_request(self, endpoint: str) -> None:
        """Count a request to an endpoint."""
        with self._lock:
            self._accounting.requests[endpoint] += 1

    def count_refused_create(self) -> None:
        """Count a create that was refused."""
        with self._lock:
            self._accounting.count("refused")

    def count_download(self, job: SimulatedJob) -> None:
        """Count a download of one of a job's files."""
        with self._lock:
            job.downloads += 1
            self._accounting.count("downloads")

    def count_upload(self, slot: UploadSlot) -> None:
        """Count a file that was received whole, and note its time."""
        with self._lock:
            slot.received = self.now()
            self._accounting.count("uploads")

    def stats(self) -> dict[str, Any]:
        """Return all counters, as :meth:`.accounting.Accounting.stats` does."""
        with self._lock:
            self._settle(self.now())
            stats = self._accounting.stats(self._jobs, self.faults.count_injected())
            stats["webhooks"] |= self.webhooks.stats()
            return stats | {"input_links": self.input_links.stats()}

    def summary(self) -> Summary:
        """Return the counters in brief."""
        with self._lock:
            self._settle(self.now())
            return self._accounting.summary()

    def list_jobs(self) -> list[dict[str, Any]]:
        """Return every job ever accepted, the oldest first; deleted ones too."""
        with self._lock:
            now = self.now()
            self._settle(now)
            return [job_row(job, now) for job in self._jobs.values()]

    def list_deliveries(self) -> list[dict[str, Any]]:
        """Return the last attempts to deliver an event to a webhook, the oldest first."""
        with self._lock:
            return self._accounting.list_deliveries()

    # --- small parts

    def fault_target(self, endpoint: str, job_id: str) -> FaultTarget:
        """Return the target of faults in a request about a job."""
        job = self._jobs.get(job_id)
        return FaultTarget(endpoint, job.tool.slug, job.text) if job else FaultTarget(endpoint, None, "")

    def _settle(self, now: float) -> None:
        """Settle everything up to now in its order: a delivery has the details of a job at its own time."""
        self.webhooks.advance_to(now)
        self._accounting.settle(now)

    def _find_job(self, job_id: str) -> SimulatedJob | None:
        job = self._jobs.get(job_id) or self._saved.get(job_id)
        return None if job is None or job.deleted else job

    def _link_maker(self, base_url: str, now: float) -> LinkMaker:
        expires = int(now) + DOWNLOAD_LIFE_S
        expires_at = format_api_time(expires)

        def link(job: SimulatedJob, number: int) -> dict[str, str]:
            path = f"/_files/{job.id}/{number}/{job.file_name(number)}"
            return {"url": base_url + self.links.sign("GET", path, expires), "expires_at": expires_at}

        return link

    def _make_id(self, name: str) -> str:
        """Return 25 letters and digits that look like the service's own ids."""
        number = int.from_bytes(hashlib.sha256(f"{self._seed}/{name}".encode()).digest(), "big")
        return "c" + "".join(_DIGITS[number // 36**place % 36] for place in range(24))
