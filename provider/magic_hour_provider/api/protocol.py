"""The Magic Hour API without any IO: builds every request and reads every answer.

The sync and the async client share it and add nothing of their own. Answers are read leniently: a create needs only
``id``, unknown fields and statuses never raise.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from magic_hour_provider.api import errors
from magic_hour_provider.api.catalog import BASE_URL, KINDS, Tool, get_tool
from magic_hour_provider.api.models import GONE, Account, Download, Job, Submission, UploadLink, check_id, is_id
from magic_hour_provider.api.responses import (
    NOT_CHARGED,
    Response,
    as_int,
    as_str,
    check,
    describe,
    describe_error,
    json_object,
    rejection_error,
    transport_error,
)


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
            "The Magic Hour API key is empty: put the key into the connection's password (make one in Magic Hour's "
            "Developer Hub). Nothing was sent and nothing was charged."
        )
    if not re.fullmatch(r"[!-~]+", api_key):
        raise errors.InvalidInputError(
            "The Magic Hour API key has a blank, a line break or a character outside ASCII: "
            "copy it again from Magic Hour's Developer Hub. Nothing was sent and nothing was charged."
        )
    return api_key


def check_base_url(base_url: str) -> str:
    """Return the base URL without a trailing slash.

    :raises InvalidInputError: it is no http(s) address.
    """
    try:
        url = httpx.URL(base_url)
    except (httpx.InvalidURL, TypeError) as error:
        raise errors.InvalidInputError(
            f"{base_url!r} is not an address: {error}. Use one such as https://host."
        ) from None
    if url.scheme not in ("http", "https") or not url.host:
        raise errors.InvalidInputError(f"{base_url!r} is not an address for Magic Hour: use one such as https://host.")
    return str(base_url).rstrip("/")


def create_request(tool: str | Tool, request: Mapping[str, Any]) -> Request:
    """Build the paid request of a tool; ``request`` is its JSON body."""
    if not isinstance(request, Mapping):
        raise errors.InvalidInputError(
            f"The request of {get_tool(tool).slug} must be a dict, the JSON body of Magic Hour's documentation; "
            f"it is {type(request).__name__}. Nothing was sent and nothing was charged."
        )
    try:
        # As httpx writes it: what fails there would fail after the intent to pay was recorded.
        json.dumps(request, allow_nan=False, ensure_ascii=False).encode()
        httpx.URL(BASE_URL + get_tool(tool).path)
    except (TypeError, ValueError, httpx.InvalidURL) as error:
        raise errors.InvalidInputError(
            f"The request of {get_tool(tool).slug} is no JSON: {error}. Nothing was sent and nothing was charged."
        ) from None
    return Request("POST", get_tool(tool).path, json=dict(request))


def _job_path(kind: str, job_id: str) -> str:
    if kind not in KINDS:
        raise errors.InvalidInputError(f"{kind!r} is not a kind of Magic Hour job: use one of {', '.join(KINDS)}.")
    collection = kind if kind == "face-detection" else f"{kind}-projects"
    return f"/v1/{collection}/{check_id(job_id)}"


def get_job_request(kind: str, job_id: str) -> Request:
    """Build one look at a job."""
    return Request("GET", _job_path(kind, job_id))


def delete_job_request(kind: str, job_id: str) -> Request:
    """Build the deletion of a job's output, which is final."""
    if kind == "face-detection":
        raise errors.InvalidInputError("Magic Hour has no way to delete a face detection; it keeps no files of it.")
    return Request("DELETE", _job_path(kind, job_id))


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


# -- answers ----------------------------------------------------------------------------------------------------------


def _rows(value: Any) -> list[dict[str, Any]]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def _read_object(answer: Response, doing: str) -> dict[str, Any]:
    body = json_object(check(answer, doing))
    if body is None:
        raise errors.InvalidResponseError(
            f"The answer when {doing} is not Magic Hour's JSON: {describe(answer)}. "
            "A proxy or a wrong host in the connection is the usual cause.",
            status_code=answer.status,
        )
    return body


def read_create(outcome: Response | httpx.RequestError, tool: str | Tool) -> Submission:
    """Read what came of a create. This is the table that decides whether a second create may follow.

    :param outcome: the answer, or the exception with which httpx ended.
    :returns: the submission: the job exists and was charged.
    :raises ConnectionFailedError: the request surely never left: it may be sent again.
    :raises RateLimitedError: refused for now (429).
    :raises SubmissionUnknownError: a job may have been made and charged; nothing may be sent again by itself.
    :raises MagicHourError: AuthenticationError, InsufficientCreditsError, NotFoundError or RequestRejectedError: the
        service rejected it, nothing was charged.
    """
    tool = get_tool(tool)
    doing = f"submitting {tool.slug}"
    if isinstance(outcome, httpx.RequestError):
        error = transport_error(outcome, doing)
        if isinstance(error, errors.ConnectionFailedError):
            raise error
        raise errors.SubmissionUnknownError(
            f"the request was sent, but the connection broke ({describe_error(outcome)})"
        )
    body = json_object(outcome) or {}
    job_id = body.get("id")
    if outcome.ok and is_id(job_id):
        return Submission(id=job_id, kind=tool.kind, credits_charged=as_int(body.get("credits_charged")))
    refused = None if outcome.ok else rejection_error(outcome, doing, NOT_CHARGED)
    if refused is not None:
        raise refused
    what = f"is an error that names job {job_id}" if is_id(job_id) else "names no job that can be looked at"
    raise errors.SubmissionUnknownError(
        f"the request was sent, but the answer {what} ({describe(outcome)})",
        status_code=outcome.status,
        not_created_per_docs=outcome.status == 502 and not job_id,
        job_id=job_id if is_id(job_id) else None,
    )


def read_job(answer: Response, kind: str, job_id: str) -> Job:
    """Read one look at a job."""
    body = _read_object(answer, f"looking at {kind} job {job_id}")
    error: Any = body.get("error")
    error = error if isinstance(error, dict) else {}
    return Job(
        id=job_id,
        kind=kind,
        status=GONE if body.get("enabled") is False else as_str(body.get("status")) or "unknown",
        name=as_str(body.get("name")),
        credits_charged=as_int(body.get("credits_charged")),
        downloads=tuple(
            Download(row["url"], as_str(row.get("expires_at")))
            for row in _rows(body.get("downloads"))
            if isinstance(row.get("url"), str)
        ),
        error_code=as_str(error.get("code")),
        error_message=as_str(error.get("message")),
        created_at=as_str(body.get("created_at")),
        faces=tuple(row["path"] for row in _rows(body.get("faces")) if isinstance(row.get("path"), str)),
    )


def read_deleted(answer: Response, kind: str, job_id: str) -> None:
    """Read the answer to a deletion."""
    check(answer, f"deleting {kind} job {job_id}")


def read_account(answer: Response) -> Account:
    """Read the account."""
    body = _read_object(answer, "asking for the account")
    return Account(
        id=as_str(body.get("id")),
        email=as_str(body.get("email")),
        tier=as_str(body.get("tier")),
        credits=as_int(body.get("credits")),
        usage_based=body.get("subscription") is None,
    )


def read_saved_items(answer: Response) -> tuple[list[dict[str, Any]], str | None]:
    """Read one page of saved items: the items, and the cursor of the next page or None."""
    body = _read_object(answer, "asking for the saved items")
    return _rows(body.get("items")), as_str(body.get("next_cursor"))


def read_upload_links(answer: Response, count: int) -> list[UploadLink]:
    """Read upload links, in the order in which they were asked for.

    :raises InvalidResponseError: there are not as many as were asked for.
    """
    body = _read_object(answer, "asking for upload links")
    links = [
        UploadLink(row["upload_url"], row["file_path"])
        for row in _rows(body.get("items"))
        if isinstance(row.get("upload_url"), str) and isinstance(row.get("file_path"), str)
    ]
    if len(links) != count:
        raise errors.InvalidResponseError(
            f"Magic Hour answered {len(links)} upload links where {count} were asked for. Nothing was charged."
        )
    return links
