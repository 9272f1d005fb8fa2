"""What a job will probably cost, before it is paid for. It is an estimate: the service alone says what is charged.

``estimate("text-to-video", request)`` needs no network, no connection and no Airflow, so that a plain ``@task`` can add
up what a campaign will cost before anybody pays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple, TypeGuard

from magic_hour_provider.api.catalog import Tool, get_tool
from magic_hour_provider.api.prices.table import COUNTED, compute_credits, find_published_price


class Estimate(NamedTuple):
    """What a job will probably cost.

    :param credits: whole credits; None: not known, which is never 0.
    :param basis: ``published``: a figure of Magic Hour's documentation or SDK; ``observed``: what a job like it was
        charged; ``none``: nothing is known.
    """

    credits: int | None
    basis: Literal["published", "observed", "none"]

    def to_json(self) -> dict[str, Any]:
        """Return it for an XCom."""
        return self._asdict()


UNKNOWN_PRICE = Estimate(None, "none")

_MAX_PRICE: Final = 10_000_000
"""Credits that one job may cost, as far as is believed: an hour of the dearest video is far below it."""


def is_price(credits: object) -> TypeGuard[int]:
    """Whether a number can be what a job costs: a whole one from 1 on, within reason. What is not says nothing."""
    return type(credits) is int and 1 <= credits <= _MAX_PRICE


def estimate(
    tool: Tool | str, request: Mapping[str, Any], *, media_seconds: float | None = None, observed: int | None = None
) -> Estimate:
    """Estimate what a request costs. It is what the service charges first: a tool that is charged by the frame may
    settle lower, when the frames are counted.

    :param tool: its tool, or the tool's slug.
    :param request: its JSON body. What it leaves to a default that moves, or that depends on the plan, has no known
        price: name the model and the resolution.
    :param media_seconds: length of its video or audio in seconds, if it is known and the request does not say how long
        the output is.
    :param observed: what a job with the same priced fields was charged, if that is known: it counts more than what was
        published. What no job can cost, such as 0, counts as not known.
    :raises InvalidInputError: no tool has this slug.
    """
    if is_price(observed):
        return Estimate(observed, "observed")
    tool = get_tool(tool)
    known = tool.schema.get("properties") or COUNTED
    if any(name in request and name not in known for name in COUNTED):
        return UNKNOWN_PRICE  # a field that the tool is not known to have: whether the service counts it is not, either
    price = find_published_price(tool, request)
    credits = compute_credits(price, request, media_seconds=media_seconds) if price is not None else None
    return Estimate(credits, "published") if credits is not None else UNKNOWN_PRICE
