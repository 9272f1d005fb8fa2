"""The catalog, beside the official SDK."""

from __future__ import annotations

import inspect
import re

import magic_hour

from magic_hour_provider.api.catalog import FREE_ENDPOINTS, POLLING_CLASSES, TOOLS


def sdk_routes() -> dict[str, tuple[str, str]]:
    """Return ``METHOD /path`` of every create, get, delete and list of the SDK, as its docstrings name them."""
    routes = {}
    v1 = magic_hour.Client(token="x").v1
    for name in dir(v1):
        resource = getattr(v1, name)
        for owner in (resource, getattr(resource, "upload_urls", None)):
            for method in ("create", "get", "delete", "list"):
                text = inspect.getdoc(getattr(owner, method, None)) if hasattr(owner, method) else None
                if text and (match := re.search(r"^(POST|GET|DELETE) (/\S+)", text, re.M)):
                    routes[f"{name}.{method}"] = match.groups()
    return routes


def test_every_route_of_the_sdk_is_known():
    """32 tools and 10 other endpoints: the same paths as the official SDK's."""
    ours = {("POST", tool.path) for tool in TOOLS.values()} | {(e.method, e.path) for e in FREE_ENDPOINTS}
    assert set(sdk_routes().values()) == ours
    assert (len(TOOLS), len(FREE_ENDPOINTS)) == (32, 10)


def test_every_tool_has_a_pace():
    """Each tool's polling class has bounds, a middle and a timeout."""
    for tool in TOOLS.values():
        pace = tool.polling_class()
        low, high = pace.poll_interval_s
        assert 2 <= low <= high <= 30
        assert pace.timeout_s > pace.median_s > 0


def test_a_request_can_change_the_pace():
    """video-to-video v1 takes an hour and is polled every 30 s."""
    tool = TOOLS["video-to-video"]
    assert tool.polling_class({"style": {"version": "v1"}}) is POLLING_CLASSES["long_video"]
    assert tool.polling_class({"style": {"version": "v2"}}) is POLLING_CLASSES["complex_video"]
    assert tool.polling_class({"style": "odd"}) is POLLING_CLASSES["complex_video"]
