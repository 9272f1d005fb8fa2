"""Owners and records of a batch's items, as tests write them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from magic_hour_provider.api.catalog import get_tool
from magic_hour_provider.batch.records.owner import Owner
from magic_hour_provider.ledger.record import Record

TOOL = get_tool("ai-image-generator")
OWNER = Owner("campaigns", "manual__1", "campaign", ti_id="a")


def owner(number: int = 1, **more: Any) -> Owner:
    """Return an attempt of another run."""
    return replace(OWNER, run_id=f"manual__{number}", **more)


def intent(tag: str = "AAAAAAAA") -> Record:
    """Return the record of an intent."""
    return Record("intent", TOOL.slug, TOOL.kind, tag, {"style.prompt": "1" * 64}, conn_id="magic_hour_default")


def job(job_id: str, credits: int | None = 5, tag: str = "AAAAAAAA") -> Record:
    """Return the record of a paid job."""
    paid = replace(intent(tag), state="submitted", job_id=job_id, submitted_at=1_800_000_000.7)
    return replace(paid, credits_charged=credits)


def done(job_id: str, credits: int | None = 5) -> Record:
    """Return the record of a job whose files are stored."""
    return replace(job(job_id, credits), state="delivered", files=[{"uri": "file:///a.png", "size": 1, "sha256": "0"}])


def failed(job_id: str | None, *, retryable: bool = True) -> Record:
    """Return the record of a job that failed."""
    base = intent() if job_id is None else job(job_id)
    return replace(base, state="failed" if retryable else "ended", reason="The job failed.")
