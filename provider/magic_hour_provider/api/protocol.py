"""The Magic Hour API without any IO: its requests, and what each answer means; that of a paid request: read_create.

The sync and the async client share it and add nothing of their own. Responses are parsed leniently: a create needs
only ``id``, unknown fields and statuses never raise.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import httpx

from magic_hour_provider.api import errors
from magic_hour_provider.api.catalog import BASE_URL, KINDS, Tool, get_tool
from magic_hour_provider.api.errors import Charge, RequestFailure, describe_error
from magic_hour_provider.api.models import GONE, Account, Download, Job, Submission, UploadLink, as_id, check_id
from magic_hour_provider.api.responses import (
    Response,
    as_int,
    as_str,
    classify_failure,
    describe,
    is_own_error,
    json_object,
    raise_for_status,
    rejection_error,
    transport_error,
)

_MAX_FILES = 1000  # of one job; a larger count is no count


@dataclass(frozen=True)
class Request:
    """One HTTP request, relative to the base URL.

    :param json: JSON body, or None for none.
    :param params: query parameters.
    """

    method: str
    path: str
    json: Any = None
    params: Mapping[str, str | int] = field(default_factory=dict)


# -- requests ---------------------------------------------------------------------------------------------------------


def check_api_key(api_key: object) -> str:
    """Return the key if it may go into a header.

    :raises InvalidInputError: it is empty or has characters no key has.
    """
    if not isinstance(api_key, str) or not api_key.strip():
        raise errors.InvalidInputError(
            "The Magic Hour API key is empty.",
            next_step="Put the key into the connection's password (make one in Magic Hour's Developer Hub).",
        )
    if not re.fullmatch(r"[!-~]+", api_key):
        raise errors.InvalidInputError(
            "The Magic Hour API key has a blank, a line break or a character outside ASCII.",
            next_step="Copy it again from Magic Hour's Developer Hub.",
        )
    return api_key


MAX_PORT = 65535


def check_base_url(base_url: str) -> str:
    """Return the base URL without a trailing slash.

    :raises InvalidInputError: it is no http(s) address.
    """
    try:
        url = httpx.URL(base_url)
    except (httpx.InvalidURL, TypeError) as error:
        raise errors.InvalidInputError(
            f"{base_url!r} is not an address: {error}.", next_step="Use one such as https://host."
        ) from None
    if url.userinfo:
        # httpx would send it in the place of the key.
        raise errors.InvalidInputError(
            "The address of Magic Hour holds a user or a password.", next_step="Use one such as https://host."
        )
    if url.scheme not in ("http", "https") or not is_host(url.host) or (url.port or 0) > MAX_PORT:
        raise errors.InvalidInputError(
            f"{base_url!r} is not an address for Magic Hour.", next_step="Use one such as https://host."
        )
    return str(base_url).rstrip("/")


def is_host(name: str) -> bool:
    """Whether a text can be the name or address of a machine: Python raises errors of its own for some that cannot."""
    if ":" in name:
        return True  # of IPv6: httpx has read it
    labels = name.removesuffix(".").split(".")
    return len(name) <= 253 and all(0 < len(label) <= 63 for label in labels) and not re.search(r"[\s%]", name)


def check_create_body(tool: str | Tool, request: Mapping[str, Any]) -> None:
    """Refuse what cannot be written into a request, before anything is recorded or sent.

    :param request: the JSON body.
    :raises InvalidInputError: it is no JSON object, or the tool's path is no path.
    """
    if not isinstance(request, Mapping):
        raise errors.InvalidInputError(
            f"The request of {get_tool(tool).slug} must be a dict, the JSON body of Magic Hour's documentation; "
            f"it is {type(request).__name__}."
        )
    try:
        # As httpx writes it: what fails there would fail after the intent to pay was recorded.
        json.dumps(request, allow_nan=False, ensure_ascii=False).encode()
        _check_path(get_tool(tool).path)
    except (TypeError, ValueError, httpx.InvalidURL) as error:
        raise errors.InvalidInputError(f"The request of {get_tool(tool).slug} is no JSON: {error}.") from None


@lru_cache(maxsize=64)  # the thousands of requests of a batch have one path
def _check_path(path: str) -> None:
    httpx.URL(BASE_URL + path)


def create_request(tool: str | Tool, request: Mapping[str, Any]) -> Request:
    """Build the paid request of a tool; ``request`` is its JSON body.

    :raises InvalidInputError: as :func:`check_create_body`.
    """
    check_create_body(tool, request)
    return Request("POST", get_tool(tool).path, json=dict(request))


def job_path(kind: str, job_id: str) -> str:
    """Return the path of a job, at which it is polled and deleted."""
    if kind not in KINDS:
        raise errors.InvalidInputError(f"{kind!r} is not a kind of Magic Hour job: use one of {', '.join(KINDS)}.")
    collection = kind if kind == "face-detection" else f"{kind}-projects"
    return f"/v1/{collection}/{check_id(job_id)}"


def get_job_request(kind: str, job_id: str) -> Request:
    """Build one poll of a job."""
    return Request("GET", job_path(kind, job_id))


def delete_job_request(kind: str, job_id: str) -> Request:
    """Build the deletion of a job's output, which is final."""
    if kind == "face-detection":
        raise errors.InvalidInputError("Magic Hour has no way to delete a face detection; it keeps no files of it.")
    return Request("DELETE", job_path(kind, job_id))


def upload_links_request(items: Sequence[tuple[str, str]]) -> Request:
    """Build the request for upload links; ``items`` are (type, extension), such as ``("image", "png")``."""
    return Request(
        "POST",
        "/v1/files/upload-urls",
        json={"items": [{"type": kind, "extension": extension} for kind, extension in items]},
    )


def account_request() -> Request:
    """Build the request for the account, which is free."""
    return Request("GET", "/v1/account")


def saved_items_request(
    *,
    type: str | None = None,  # noqa: A002 (the API's own word)
    limit: int | None = None,
    cursor: str | None = None,
) -> Request:
    """Build one page of the account's saved characters, voices and so on."""
    params = {"type": type, "limit": limit, "cursor": cursor}
    return Request("GET", "/v1/saved-items", params={k: v for k, v in params.items() if v is not None})


# -- responses --------------------------------------------------------------------------------------------------------


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _rows(value: Any) -> list[dict[str, Any]]:
    return [row for row in _list(value) if isinstance(row, dict)]


def _read_object(response: Response, doing: str) -> dict[str, Any]:
    body = json_object(raise_for_status(response, doing))
    if body is None:
        raise errors.InvalidResponseError(
            f"The response when {doing} is not Magic Hour's JSON: {describe(response)}.",
            next_step="A proxy or a wrong host in the connection is the usual cause.",
            status_code=response.status,
        )
    return body


def read_create(outcome: Response | httpx.RequestError, tool: str | Tool) -> Submission:
    """Parse the outcome of a create. This is the table that decides whether a second create may follow.

    :param outcome: the response, or the exception with which httpx ended.
    :returns: the submission: the job exists and was charged.
    :raises ConnectionFailedError: never delivered: it may be sent again.
    :raises RateLimitedError: rejected for now (429).
    :raises MagicHourError: AuthenticationError, InsufficientCreditsError, NotFoundError or RequestRejectedError:
        rejected, nothing was charged.
    :raises SubmissionUnknownError: unknown outcome: a job may have been created and charged, and nothing may be sent
        again by itself.
    """
    tool = get_tool(tool)
    doing = f"submitting {tool.slug}"
    body = json_object(outcome) or {} if isinstance(outcome, Response) else {}
    job_id = as_id(body.get("id"))
    if isinstance(outcome, Response) and outcome.ok and job_id is not None:
        return Submission(id=job_id, kind=tool.kind, credits_charged=as_int(body.get("credits_charged")))
    known = classify_failure(outcome) is not RequestFailure.UNKNOWN_OUTCOME
    library = "Look for the job at https://magichour.ai/my-library before it is submitted again."
    if isinstance(outcome, httpx.RequestError):
        if known:
            raise transport_error(outcome, doing, charge=Charge.NONE)
        raise errors.SubmissionUnknownError(
            f"The request was sent, but the connection broke ({describe_error(outcome)}).", next_step=library
        )
    if known:
        raise rejection_error(outcome, doing, charge=Charge.NONE)
    what = f"is an error that names job {job_id}" if job_id is not None else "names no job that can be polled"
    raise errors.SubmissionUnknownError(
        f"The request was sent, but the response {what} ({describe(outcome)}).",
        next_step=library,
        status_code=outcome.status,
        not_created_per_docs=outcome.status == 502 and is_own_error(outcome),
        job_id=job_id,
    )


def read_job(response: Response, kind: str, job_id: str) -> Job:
    """Parse one poll of a job."""
    body = _read_object(response, f"polling {kind} job {job_id}")
    error: Any = body.get("error")
    error = error if isinstance(error, dict) else {"message": error}
    return Job(
        id=job_id,
        kind=kind,
        status=GONE if body.get("enabled") is False else as_str(body.get("status")) or "unknown",
        name=as_str(body.get("name")),
        credits_charged=as_int(body.get("credits_charged")),
        downloads=_read_downloads(body),
        error_code=as_str(error.get("code")),
        error_message=as_str(error.get("message")),
        created_at=as_str(body.get("created_at")),
        faces=tuple(as_str(row.get("path")) if isinstance(row, dict) else None for row in _list(body.get("faces"))),
    )


def _read_downloads(body: Mapping[str, Any]) -> tuple[Download | None, ...]:
    """Return a job's links, each in its place: an entry without one (null, an error) is None.

    A job of several images says how many there are (``image_count``): those at the end may be missing too.
    """
    links = [_read_link(row) for row in _list(body.get("downloads"))]
    count = as_int(body.get("image_count")) or 0
    if links and len(links) < count <= _MAX_FILES:
        links += [None] * (count - len(links))
    return tuple(links)


def _read_link(row: Any) -> Download | None:
    url = as_str(row.get("url")) if isinstance(row, dict) else None
    return Download(url, as_str(row.get("expires_at"))) if url and url.strip() else None


def read_deleted(response: Response, kind: str, job_id: str) -> None:
    """Check the response to a deletion."""
    raise_for_status(response, f"deleting {kind} job {job_id}")


def read_account(response: Response) -> Account:
    """Parse the account."""
    body = _read_object(response, "asking for the account")
    return Account(
        id=as_str(body.get("id")),
        email=as_str(body.get("email")),
        tier=as_str(body.get("tier")),
        credits=as_int(body.get("credits")),
        usage_based=body.get("subscription") is None,
        capabilities=frozenset(name for name, has in _mapping(body.get("capabilities")).items() if has is True),
    )


def read_saved_items(response: Response) -> tuple[list[dict[str, Any]], str | None]:
    """Parse one page of saved items: the items, and the cursor of the next page or None."""
    body = _read_object(response, "asking for the saved items")
    return _rows(body.get("items")), as_str(body.get("next_cursor"))


def read_upload_links(response: Response, count: int) -> list[UploadLink]:
    """Parse upload links, in the order in which they were asked for.

    :raises InvalidResponseError: there are not as many as were asked for.
    """
    body = _read_object(response, "asking for upload links")
    links = [
        UploadLink(row["upload_url"], row["file_path"])
        for row in _rows(body.get("items"))
        if isinstance(row.get("upload_url"), str) and isinstance(row.get("file_path"), str)
    ]
    if len(links) != count:
        raise errors.InvalidResponseError(
            f"Magic Hour returned {len(links)} upload links where {count} were asked for.",
            next_step="A retry asks again.",
        )
    return links
