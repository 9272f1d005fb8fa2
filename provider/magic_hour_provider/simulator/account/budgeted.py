"""Requests with a budget: a quote for nothing, and a create that is accepted once for each idempotency key.

The service prepares them for image-to-video alone (magichourhq/magic-hour-mcp, docs/video-variations.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from magic_hour_provider.api.catalog import Tool
from magic_hour_provider.simulator.behavior import Behavior
from magic_hour_provider.simulator.errors import ApiError, invalid_request_error
from magic_hour_provider.simulator.jobs.job import SimulatedJob

_TOOL = "image-to-video"
_ENVELOPE = "budgeted_request"


@dataclass(frozen=True)
class BudgetedRequest:
    """What an envelope holds.

    :param request: the request inside it.
    :param key: one key makes one job.
    :param max_credits: the most that the job may cost.
    :param dry_run: whether a quote is all that is wanted.
    """

    request: dict[str, Any]
    key: str
    max_credits: int
    dry_run: bool

    def check_price(self, job: SimulatedJob) -> None:
        """Refuse a job that costs more than its budget.

        :raises ApiError: 402, it does.
        """
        if job.price > self.max_credits:
            sentence = f"This takes {job.price} credits, and max_credits is {self.max_credits}."
            raise ApiError(402, "budget_exceeded", sentence)

    @property
    def name(self) -> str:
        """What the id of its job is made of."""
        return f"budgeted {self.key}"

    def repeat(self, job: SimulatedJob) -> SimulatedJob:
        """Return the job that the key has made, which is not made again.

        :raises ApiError: 422, the key was used for another request.
        """
        if job.request != self.request:
            raise ApiError(422, "unprocessable_entity", "This idempotency_key was used for another request.")
        return job

    def quote(self, job: SimulatedJob) -> dict[str, Any]:
        """Return the response of a dry run.

        :param job: that the request would make.
        :raises ApiError: 402, it costs more than its budget.
        """
        self.check_price(job)
        names = {name: self.request.get(name) or "default" for name in ("model", "resolution")}
        credits = {"credits_estimated": job.price, "credits_maximum": job.price}
        return {"dry_run": True, "project_id": job.id, **credits, **names}


def read_budgeted(tool: Tool, body: object, behavior: Behavior) -> BudgetedRequest | None:
    """Return what a create's envelope holds; None: it has none, or the service does not know envelopes.

    :raises ApiError: 400, the envelope is malformed.
    """
    envelope = body.get(_ENVELOPE) if isinstance(body, Mapping) else None
    if behavior.budgeted_requests == "unknown" or tool.slug != _TOOL or not isinstance(envelope, dict):
        return None
    request = dict(envelope)
    key, limit = request.pop("idempotency_key", None), request.pop("max_credits", None)
    dry_run = request.pop("dry_run", False)
    if not isinstance(key, str) or not key:
        raise invalid_request_error("idempotency_key must be text.")
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise invalid_request_error("max_credits must be a whole number, 1 or more.")
    return BudgetedRequest(request, key, limit, dry_run is True)
