"""The responses of ``GET /v1/account`` and ``GET /v1/saved-items``."""

from __future__ import annotations

from typing import Any

from magic_hour_provider.api.catalog import TOOLS
from magic_hour_provider.simulator.behavior import Behavior
from magic_hour_provider.simulator.errors import invalid_request_error
from magic_hour_provider.simulator.jobs.dimensions import size_for_ratio
from magic_hour_provider.simulator.jobs.facts import format_api_time
from magic_hour_provider.simulator.jobs.job import LinkMaker, SimulatedJob

TIERS = ("free", "creator", "pro", "business")
_PRICES = {"creator": 1500, "pro": 4900, "business": 24900}  # cents a month
_MONTH_S = 30 * 24 * 3600
_ITEM_TYPES = ("brand_kit", "character", "moodboard", "reference", "voice")


def account_details(tier: str, balance: int, now: float, usage_based: bool, behavior: Behavior) -> dict[str, Any]:
    """Return the response of ``GET /v1/account``.

    :param balance: credits left.
    :param now: the time, in seconds since 1970 on the simulator's clock.
    :param usage_based: whether it pays later, for what it used; such accounts have no subscription.
    :param behavior: whether it says that it knows requests with a budget.
    """
    subscription = None
    if tier != "free" and not usage_based:
        subscription = {
            "name": tier.capitalize(),
            "status": "active",
            "billing_interval": "month",
            "price": {"amount": _PRICES[tier], "currency": "usd"},
            "discount": None,
            "current_period_end": format_api_time(now + _MONTH_S),
            "cancel_at_period_end": False,
        }
    return {
        "id": "simulator",
        "email": "simulator@example.com",
        "credits": balance,
        "tier": tier,
        "subscription": subscription,
        **({"capabilities": {"image_to_video_budget_v1": True}} if behavior.budgeted_requests == "accepted" else {}),
    }


def saved_jobs() -> list[SimulatedJob]:
    """Return the saved items: complete jobs that cost nothing, so that their files are rendered like any other."""
    rows = (
        ("character", "Ada", "ai-image-generator", "png", "A friendly engineer called Ada"),
        ("voice", "Narrator", "ai-voice-generator", "wav", "A calm and warm narrating voice"),
    )
    return [
        SimulatedJob(
            id=f"saved-{number}",
            tool=TOOLS[slug],
            request={"type": kind},
            name=name,
            caption=text,
            created=0,
            duration=0,
            price=0,
            files=1,
            extension=extension,
            size=size_for_ratio(1),
            start=0,
            end=2,
        )
        for number, (kind, name, slug, extension, text) in enumerate(rows, 1)
    ]


def saved_items_page(saved: list[SimulatedJob], limit: str, cursor: str, kind: str, link: LinkMaker) -> dict[str, Any]:
    """Return the response of ``GET /v1/saved-items``.

    :param limit: how many at most, 1 to 100; empty for 20.
    :param cursor: the ``next_cursor`` of the page before; empty for the first page.
    :param kind: the only type wanted; empty for all.
    :param link: makes the links of their files.
    :raises ApiError: one of them is malformed.
    """
    if limit and not (limit.isascii() and limit.isdecimal() and 1 <= int(limit[:9]) <= 100):
        raise invalid_request_error("limit must be a whole number from 1 to 100.")
    if kind and kind not in _ITEM_TYPES:
        raise invalid_request_error(f"type must be one of {', '.join(_ITEM_TYPES)}.")
    wanted = [job for job in saved if kind in ("", job.request["type"])]
    ids = [job.id for job in wanted]
    if cursor and cursor not in ids:
        raise invalid_request_error("cursor must be the next_cursor of an earlier page.")
    first = ids.index(cursor) if cursor else 0
    after = first + int(limit or 20)
    items = [_saved_item(job, link) for job in wanted[first:after]]
    return {"items": items, "next_cursor": ids[after] if after < len(ids) else None}


def _saved_item(job: SimulatedJob, link: LinkMaker) -> dict[str, Any]:
    signed = link(job, 1)
    asset = {
        "file_path": f"saved-items/{job.id}/{job.file_name(1)}",
        "is_primary": True,
        "media_kind": job.tool.kind.upper(),
        "url": signed["url"],
        "url_expires_at": signed["expires_at"],
    }
    return {"id": job.id, "name": job.name, "type": job.request["type"], "assets": [asset]}
