"""A task hands a delivery that came through a queue to the API server.

Money is not at stake: a delivery changes when something happens, never what is paid for. What has to hold is that
nobody can make up a delivery or use one twice, and that each becomes one asset event: DAGs that pay may be scheduled on
it. So the signature is checked before anything else, and where it is not known whether the route has a delivery, the
task fails and sends it again, rather than make an event that may be the second one.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from typing import Any

from magic_hour_provider import clock
from magic_hour_provider.api.errors import InvalidInputError, MagicHourError, ResponseLostError
from magic_hour_provider.api.webhooks import (
    MAX_AGE_S,
    PROOF_HEADER,
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    TOLERANCE_S,
    Delivery,
    ForwardResult,
    SignatureError,
    digest_proof,
    read_delivery,
    verify,
)
from magic_hour_provider.deliveries.api_server import Acceptance, RouteAnswer, get_api_server_url, send_to_route
from magic_hour_provider.hooks.exceptions import one_clear_error, to_airflow_error
from magic_hour_provider.hooks.magic_hour import MagicHourHook
from magic_hour_provider.outputs.asset_uris import event_asset_uri
from magic_hour_provider.outputs.assets import find_aliases
from magic_hour_provider.xcoms import forward_xcom

log = logging.getLogger(__name__)

_POLLING = "A task that waits for the job finds its end by polling"


@one_clear_error
def forward_delivery(
    body: bytes | str, headers: Mapping[str, str], conn_id: str, *, received_at: float | None = None
) -> ForwardResult:
    """Hand a delivery to the API server; see :func:`magic_hour_provider.api.webhooks.forward`."""
    try:
        result = _forward(body.encode() if isinstance(body, str) else bytes(body), headers, conn_id, received_at)
    except MagicHourError as error:
        raise to_airflow_error(error) from error.__cause__
    log.log(logging.INFO if result["status"] == "accepted" else logging.WARNING, "%s", result["message"])
    return result


def _forward(body: bytes, headers: Mapping[str, str], conn_id: str, received_at: float | None) -> ForwardResult:
    context = _get_context()
    try:
        sent_at = _verify(body, headers, conn_id, received_at)
    except SignatureError:
        return _result("refused", None, _refusal(conn_id, received_at))
    try:
        delivery = read_delivery(body, sent_at)
    except InvalidInputError as error:
        return _result("ignored", None, error.message)
    address = get_api_server_url()
    answer = send_to_route(address, conn_id, body, _announce(context["ti"], delivery, body, headers))
    what = f"The delivery {delivery.type} of the Magic Hour job {delivery.id}"
    if answer.acceptance is Acceptance.ACCEPTED:
        return _result("accepted", delivery, f"{what} was accepted by the API server at {address}.")
    # An earlier try may have sent it and had no response: then an event here might be the second one.
    is_repeat = answer.is_worth_another_try and (context["ti"].try_number or 0) > 1
    if answer.acceptance is Acceptance.UNKNOWN or is_repeat:
        raise ResponseLostError(
            f"{what} was sent to the API server at {address}, now or by an earlier try; it is not known whether that "
            f"has it: {answer.reason}.",
            next_step=f"{_POLLING}. Retry this task: the API server takes each delivery only once.",
        )
    return _leave_to_polling(
        context, delivery, conn_id, f"{what} was not accepted by the API server at {address}", answer
    )


def _get_context() -> Any:
    from airflow.sdk import get_current_context

    try:
        return get_current_context()
    except Exception as error:  # its class differs between versions of Airflow
        raise InvalidInputError(
            "A delivery can be forwarded only by the code of a running task, as Airflow vouches for that.",
            next_step="Call forward() in a @task.",
        ) from error


def _verify(body: bytes, headers: Mapping[str, str], conn_id: str, received_at: float | None) -> int:
    """Return when a delivery was signed.

    :raises SignatureError: by nobody who has the secret, or too long ago.
    :raises InvalidInputError: the connection has no secret.
    """
    own = MagicHourHook(conn_id).settings().webhook_secrets
    if not own:
        raise InvalidInputError(
            f"The Airflow connection {conn_id!r} has no webhook_secret here, so it is unknown who sent a delivery.",
            next_step="Put the secret from Magic Hour's Developer Hub into the connection.",
        )
    sent_at = verify(body, headers, own, clock.current().now(), max_age_s=MAX_AGE_S)
    if received_at is not None and abs(received_at - sent_at) > TOLERANCE_S:
        raise SignatureError
    return sent_at


def _refusal(conn_id: str, received_at: float | None) -> str:
    when = (
        f"more than {MAX_AGE_S / 86_400:.0f} days old"
        if received_at is None
        else f"more than {TOLERANCE_S / 60:.0f} minutes from when the gateway received it"
    )
    return (
        "A delivery was refused, and nothing was done: its signature does not fit the webhook_secret of the connection "
        f"{conn_id!r}, or its timestamp is {when}. Anybody can send such requests to a public gateway; if Magic Hour's "
        "own deliveries are refused, compare the secret with the one in the Developer Hub."
    )


def _announce(ti: Any, delivery: Delivery, body: bytes, headers: Mapping[str, str]) -> dict[str, str]:
    """Let Airflow know that this task sends a delivery; return the headers that it is sent with."""
    signed = {key.lower(): value for key, value in headers.items()}
    proof = secrets.token_urlsafe(32)
    ti.xcom_push(key=forward_xcom(digest_proof(proof, body, headers)), value={"id": delivery.id, "type": delivery.type})
    return {name: signed[name] for name in (SIGNATURE_HEADER, TIMESTAMP_HEADER)} | {PROOF_HEADER: proof}


def _leave_to_polling(context: Any, delivery: Delivery, conn_id: str, what: str, answer: RouteAnswer) -> ForwardResult:
    emitted, event = False, "It is no event of an asset"
    if (uri := event_asset_uri(delivery.kind, delivery.event)) is not None:
        emitted = _emit(context, uri, delivery.describe(conn_id))
        event = (
            f"This task's outlet has the asset event {uri}"
            if emitted
            else f"There is no asset event {uri}, as no AssetAlias is among this task's outlets"
        )
    message = (
        f"{what}: {answer.reason}. {_POLLING}. {event}. For deliveries to be accepted, [magic_hour] api_server_url "
        "must be the address of the API server that serves Airflow's plugins, as this task reaches it, and its "
        f"[magic_hour] webhook_conn_ids must name {conn_id!r}."
    )
    return _result("left to polling", delivery, message, emitted)


def _emit(context: Any, uri: str, extra: dict[str, Any]) -> bool:
    """Give the aliases among the task's outlets an event of an asset; return whether there is one."""
    aliases = find_aliases(context["task"].outlets)
    if aliases:
        from airflow.sdk import Asset

        for alias in aliases:
            context["outlet_events"][alias].add(Asset(uri), extra=extra)
    return bool(aliases)


def _result(status: Any, delivery: Delivery | None, message: str, emitted: bool = False) -> ForwardResult:
    return {
        "status": status,
        "type": delivery.type if delivery else None,
        "id": delivery.id if delivery else None,
        "event_emitted": emitted,
        "message": message,
    }
