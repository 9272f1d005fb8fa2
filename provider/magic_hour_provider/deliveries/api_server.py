"""The webhook route of this Airflow's API server, as a task reaches it: its address, and what it answers."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from urllib.parse import quote

import httpx
from airflow.providers.common.compat.sdk import conf

from magic_hour_provider import clock
from magic_hour_provider.api.responses import as_str, parse_object
from magic_hour_provider.api.transport.http import CONNECT_TIMEOUT_S, USER_AGENT, new_client, quiet

_TIMEOUT_S = 20.0  # the route answers within about 11 s, whatever its database does
_PAUSES_S = (2.0, 8.0)
_MAX_DETAIL = 200  # characters
_ROUTE = "magic-hour/webhook"


class Acceptance(Enum):
    """What is known of a delivery that was sent to the route."""

    ACCEPTED = "accepted"
    """The route has it: it resumes the tasks that wait, and makes the asset event."""
    NOT_ACCEPTED = "not accepted"
    """It surely has not."""
    UNKNOWN = "unknown"
    """It was sent, and nothing says what became of it."""


@dataclass(frozen=True)
class RouteAnswer:
    """What came of it.

    :param reason: in words, for the middle of a sentence; empty where it was accepted.
    """

    acceptance: Acceptance
    reason: str = ""
    is_worth_another_try: bool = False


def get_api_server_url() -> str:
    """Return the API server's address inside the network: where ``/execution`` and ``/magic-hour`` lie below.

    It is that of ``[magic_hour] api_server_url``, else the one at which Airflow's workers reach the execution API.
    """
    own = conf.get("magic_hour", "api_server_url", fallback="")
    if own:
        return str(own).strip().rstrip("/")
    execution = conf.get("core", "execution_api_server_url", fallback=None)
    if execution:
        return str(execution).strip().rstrip("/").removesuffix("/execution").rstrip("/")
    # As Airflow's executors do (``get_execution_api_server_url`` in ``airflow/executors/base_executor.py``).
    base = conf.get("api", "base_url", fallback=None) or "/"
    return (f"http://localhost:8080{base}" if base.startswith("/") else base).rstrip("/")


def send_to_route(address: str, conn_id: str, body: bytes, headers: Mapping[str, str]) -> RouteAnswer:
    """Send a delivery to the route, three times at the most: the route takes each only once.

    :param address: of :func:`get_api_server_url`.
    :param headers: all that it needs; what it holds is never logged.
    :returns: what is known of it then: once it may have arrived, a later failure says no more.
    """
    url = f"{address}/{_ROUTE}/{quote(conn_id, safe='')}"
    may_have_arrived = None
    timeout = httpx.Timeout(_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
    with quiet(), new_client(verify=_tls_context(address), timeout=timeout) as client:
        for pause in (*_PAUSES_S, None):
            answer = _send_once(client, url, body, headers)
            if answer.acceptance is Acceptance.UNKNOWN:
                may_have_arrived = answer
            if pause is None or not answer.is_worth_another_try:
                break
            clock.current().sleep(pause)
    return answer if answer.acceptance is Acceptance.ACCEPTED else may_have_arrived or answer


def _send_once(client: httpx.Client, url: str, body: bytes, headers: Mapping[str, str]) -> RouteAnswer:
    sent = {"content-type": "application/json", "user-agent": USER_AGENT, **headers}
    try:
        response = client.post(url, content=body, headers=sent)
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol, httpx.ProxyError) as error:
        return RouteAnswer(Acceptance.NOT_ACCEPTED, f"it cannot be reached ({type(error).__name__}: {error})", True)
    except httpx.InvalidURL as error:
        return RouteAnswer(Acceptance.NOT_ACCEPTED, f"that is no address ({error})")
    except httpx.HTTPError as error:
        return RouteAnswer(Acceptance.UNKNOWN, f"no response came ({type(error).__name__})", True)
    return _read_answer(response)


def _read_answer(response: httpx.Response) -> RouteAnswer:
    status = response.status_code
    detail = (as_str((parse_object(response.content) or {}).get("detail")) or "")[:_MAX_DETAIL]
    said = f"it answered HTTP {status}" + (f" ({detail})" if detail else "")
    if status in (200, 202) and detail:
        return RouteAnswer(Acceptance.ACCEPTED)
    if status == 503 and detail:
        return RouteAnswer(Acceptance.NOT_ACCEPTED, said, True)
    if status >= 500:
        return RouteAnswer(Acceptance.UNKNOWN, said, True)
    if status < 400 or status in (404, 405):
        return RouteAnswer(
            Acceptance.NOT_ACCEPTED,
            f"{said}, which is not this package's route: it is not installed there, or plugins are served elsewhere",
        )
    return RouteAnswer(Acceptance.NOT_ACCEPTED, said)


def _tls_context(address: str) -> ssl.SSLContext | bool:
    """Return what trusts the API server: the usual certificates, and those with which Airflow's own client does."""
    if not address.lower().startswith("https://"):
        return True
    context = httpx.create_ssl_context()
    for name in ("ssl_ca_file", "ssl_cert"):
        if path := conf.get("api", name, fallback=None):
            context.load_verify_locations(path)
    certificate = conf.get("api", "client_ssl_cert", fallback=None)
    if certificate:
        context.load_cert_chain(certificate, conf.get("api", "client_ssl_key", fallback=None))
    return context
