"""JSON bodies of requests and responses."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from magic_hour_provider.simulator.errors import ApiError, invalid_request_error

CREATED_JOB = "magic_hour.created_job"
"""Key of a request's scope under which a create leaves its job and price, for the log."""


def error_response(
    status: int, code: str | None, message: str, headers: dict[str, str] | None = None, *, with_code: bool = True
) -> Response:
    """Return an error as the API responds with it.

    :param with_code: whether the body has the code beside the message.
    """
    body = {"code": code, "message": message} if with_code else {"message": message}
    return Response(json.dumps(body), status, headers, "application/json")


def json_response(content: Any, status: int = 200) -> Response:
    """Return a response in JSON."""
    return Response(json.dumps(content, separators=(",", ":")), status, media_type="application/json")


def base_url(scope: Scope) -> str:
    """Return the address by which this client reaches the simulator, for links that work from where it is."""
    for name, value in scope["headers"]:
        if name == b"host":
            return "http://" + str(value, "latin-1")
    address, port = scope["server"]
    return f"http://{address}:{port}"


async def read_json(request: Request, limit: int) -> Any:
    """Return the JSON of a request.

    :param limit: how many bytes it may have.
    :raises ApiError: it is no JSON, or too large.
    """
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > limit:
            raise ApiError(413, "invalid_request", f"The body is larger than {limit} bytes.")
    try:
        return json.loads(raw, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as bad:
        raise invalid_request_error("The body must be JSON.") from bad


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
