"""Quotes of the service, where an account has the capability; nothing of them is sent where it has not."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from helpers.samples import KEY
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.api.errors import (
    InsufficientCreditsError,
    InvalidInputError,
    InvalidResponseError,
    RequestRejectedError,
    SubmissionUnknownError,
)
from magic_hour_provider.api.prices import estimate
from magic_hour_provider.api.prices.quotes import budgeted_create_request, quote_request, read_quote
from magic_hour_provider.api.protocol import Request, read_create
from magic_hour_provider.api.responses import Response
from magic_hour_provider.ledger.tag import new_tag
from magic_hour_provider.simulator import Behavior, Simulator

CLIP: dict[str, Any] = {
    "assets": {"image_file_path": "https://host/product.png"},
    "end_seconds": 5,
    "model": "ltx-2.3",
    "resolution": "480p",
}


@pytest.fixture
def service():
    """A simulator that knows budgets."""
    with Simulator(api_key=KEY, manual_clock=True, behavior=Behavior(budgeted_requests="accepted")) as sim:
        yield sim


def send(sim: Simulator, request: Request) -> Response:
    """Send a request as the client does."""
    headers = {"Authorization": f"Bearer {KEY}"}
    return Response.of(httpx.request(request.method, sim.url + request.path, json=request.json, headers=headers))


def test_a_quote_is_free_and_a_lost_response_can_be_asked_for_again(service):
    """Our tag is the idempotency key: the request whose response was lost is sent again, and finds its one job."""
    account = MagicHourClient(api_key=KEY, base_url=service.url).get_account()
    terms: dict[str, Any] = {"max_credits": 120, "idempotency_key": new_tag()}
    quote = read_quote(send(service, quote_request(account, CLIP, **terms)))
    assert quote.credits == estimate("image-to-video", CLIP).credits == 120
    assert service.summary().creates == 0
    paid = budgeted_create_request(account, CLIP, **terms)
    service.inject_fault("close-after-accept")
    with pytest.raises(httpx.RequestError) as lost:
        send(service, paid)
    with pytest.raises(SubmissionUnknownError):
        read_create(lost.value, "image-to-video")
    found = read_create(send(service, paid), "image-to-video")
    assert (found.id, found.credits_charged) == (quote.project_id, 120)
    assert service.summary().creates == 1
    assert [job["id"] for job in service.jobs()] == [quote.project_id]
    other = budgeted_create_request(account, CLIP | {"end_seconds": 3}, **terms)
    with pytest.raises(RequestRejectedError):  # the key stands for another request
        read_create(send(service, other), "image-to-video")
    assert service.summary().creates == 1


def test_what_costs_more_than_its_budget_is_refused(service):
    """Neither the quote nor the create passes it."""
    account = MagicHourClient(api_key=KEY, base_url=service.url).get_account()
    terms: dict[str, Any] = {"max_credits": 119, "idempotency_key": "A"}
    with pytest.raises(InsufficientCreditsError):
        read_quote(send(service, quote_request(account, CLIP, **terms)))
    with pytest.raises(InsufficientCreditsError):
        read_create(send(service, budgeted_create_request(account, CLIP, **terms)), "image-to-video")
    assert service.summary().creates == 0


def test_without_the_capability_nothing_is_built_and_the_envelope_is_refused(sim, service):
    """The account of today has no such capability; its service refuses an envelope, and charges nothing."""
    today = MagicHourClient(api_key=KEY, base_url=sim.url).get_account()
    assert today.capabilities == frozenset()
    for build in (quote_request, budgeted_create_request):
        with pytest.raises(InvalidInputError, match="image_to_video_budget_v1"):
            build(today, CLIP, max_credits=500, idempotency_key="A")
    account = MagicHourClient(api_key=KEY, base_url=service.url).get_account()
    for build in (quote_request, budgeted_create_request):
        answer = send(sim, build(account, CLIP, max_credits=500, idempotency_key="A"))
        with pytest.raises(RequestRejectedError):
            read_create(answer, "image-to-video")
    assert sim.summary().creates == 0


@pytest.mark.parametrize(
    "changed",
    [{"dry_run": False}, {"credits_maximum": 121}, {"credits_estimated": 0}, {"project_id": None}],
)
def test_a_quote_that_bounds_nothing_is_none(changed):
    """What does not say the most that is charged, and for which job, is not paid on."""
    whole = {"dry_run": True, "credits_estimated": 120, "credits_maximum": 120, "project_id": "abc"}
    assert read_quote(Response.of(httpx.Response(200, json=whole))).credits == 120
    with pytest.raises(InvalidResponseError):
        read_quote(Response.of(httpx.Response(200, json=whole | changed)))
