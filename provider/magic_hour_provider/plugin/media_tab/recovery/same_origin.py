"""Whether a request that changes something comes from our own page: a browser sends cookies from foreign pages too."""

from __future__ import annotations

from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import conf
from starlette.datastructures import Headers

_PORTS = {"http": 80, "https": 443}


def find_cross_site_refusal(headers: Headers) -> tuple[int, str] | None:
    """Return the HTTP status and the sentence with which a request is refused; None: it is not.

    A form of a foreign page can send no JSON, its scripts only if the server permits it, and neither can leave out or
    change what the browser says of its origin.
    """
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        return 415, "The request must be JSON (Content-Type: application/json)."
    if _is_own(headers):
        return None
    return 403, (
        "This request does not come from Airflow's own page, so nothing was done. Programs send their token in an "
        "Authorization header; behind a proxy [api] base_url must be the address that browsers see."
    )


def _is_own(headers: Headers) -> bool:
    if (site := headers.get("sec-fetch-site")) is not None:
        return site.strip().lower() == "same-origin"
    if (origin := headers.get("origin")) is not None:
        return _is_own_origin(origin, headers.get("host", ""))
    # No browser, unless a very old one: no page can make one send this header to another site.
    return headers.get("authorization", "").lower().startswith("bearer ")


def _is_own_origin(origin: str, host: str) -> bool:
    found = _parse(origin)
    if found is None:
        return False
    scheme, _, _ = found
    # A proxy may have taken TLS off: the scheme is the origin's own.
    return found in (_parse(f"{scheme}://{host}"), _parse(conf.get("api", "base_url", fallback="") or ""))


def _parse(address: str) -> tuple[str, str, int] | None:
    """Return the scheme, host and port of an address."""
    try:
        parts = urlsplit(address.strip())
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not parts.hostname or port is None:
        return None
    return parts.scheme, parts.hostname, port
