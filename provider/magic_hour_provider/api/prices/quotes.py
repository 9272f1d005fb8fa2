"""Quotes: what the service itself says a job will cost at most, where the account has that capability.

Magic Hour prepares it for image-to-video (magichourhq/magic-hour-mcp at 846c9db, docs/video-variations.md; not in SDK
0.90.0): the request goes in an envelope, with the most that it may cost and an idempotency key. A dry run is free, and
says which project the key stands for; the create with the same key makes that one project however often it is sent, so
that a response that was lost can be asked for again. No task of this package uses it yet: without the capability a
service could ignore what it does not know, and charge.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from magic_hour_provider.api.catalog import get_tool
from magic_hour_provider.api.errors import InvalidInputError, InvalidResponseError
from magic_hour_provider.api.models import Account, as_id
from magic_hour_provider.api.protocol import Request, check_create_body
from magic_hour_provider.api.responses import Response, as_int, as_str, json_object, raise_for_status

TOOL = "image-to-video"
CAPABILITY = "image_to_video_budget_v1"


class Quote(NamedTuple):
    """What the service says that a job will cost.

    :param credits: at most.
    :param project_id: of the job that the idempotency key stands for, once it is made.
    :param model: that would make it; None: not said.
    :param resolution: that it would have; None: not said.
    """

    credits: int
    project_id: str
    model: str | None
    resolution: str | None


def quote_request(account: Account, request: Mapping[str, Any], *, max_credits: int, idempotency_key: str) -> Request:
    """Build the free request for a quote.

    :param account: that it is for, as it was just read.
    :param request: the JSON body of image-to-video.
    :param max_credits: the most that the job may cost.
    :param idempotency_key: one key makes one job: our tag.
    :raises InvalidInputError: the account has not the capability: nothing may be sent.
    """
    return _wrap(account, request, max_credits, idempotency_key, dry_run=True)


def budgeted_create_request(
    account: Account, request: Mapping[str, Any], *, max_credits: int, idempotency_key: str
) -> Request:
    """Build the paid request of a quote. The same one again makes no second job.

    Its response is that of any create: see :func:`magic_hour_provider.api.protocol.read_create`.

    :param account: as of :func:`quote_request`, and so are the others.
    :raises InvalidInputError: the account has not the capability: nothing may be sent.
    """
    return _wrap(account, request, max_credits, idempotency_key, dry_run=False)


def read_quote(response: Response) -> Quote:
    """Parse a quote.

    :raises MagicHourError: the request was refused: it costs more than ``max_credits``, say.
    :raises InvalidResponseError: it is no quote that bounds the charge: nothing may be paid on it.
    """
    body = json_object(raise_for_status(response, "asking for a quote")) or {}
    credits, project_id = as_int(body.get("credits_estimated")), as_id(body.get("project_id"))
    is_bound = body.get("dry_run") is True and as_int(body.get("credits_maximum")) == credits
    if credits is None or credits < 1 or project_id is None or not is_bound:
        raise InvalidResponseError("The response to a request for a quote is no quote that bounds the charge.")
    return Quote(credits, project_id, as_str(body.get("model")), as_str(body.get("resolution")))


def _wrap(
    account: Account, request: Mapping[str, Any], max_credits: int, idempotency_key: str, *, dry_run: bool
) -> Request:
    if CAPABILITY not in account.capabilities:
        raise InvalidInputError(
            f"Magic Hour does not say that this account has {CAPABILITY}, so a request with a budget is not sent: a "
            "service that does not know it could charge without that."
        )
    check_create_body(TOOL, request)
    # The required fields are only inside: a service that does not know the envelope refuses it and charges nothing.
    envelope = {**request, "max_credits": max_credits, "idempotency_key": idempotency_key}
    return Request(
        "POST", get_tool(TOOL).path, json={"budgeted_request": envelope | ({"dry_run": True} if dry_run else {})}
    )
