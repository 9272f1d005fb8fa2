"""Media that anybody in the account finished becomes an asset event, so that a DAG can be scheduled on it.

Tested on Airflow 3.3.2 and 3.1.8, with SQLite and PostgreSQL.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.assets.manager import asset_manager
from airflow.models.asset import AssetEvent, AssetModel
from airflow.utils.session import create_session
from sqlalchemy import String, cast, select

from magic_hour_provider.api.webhooks import Delivery
from magic_hour_provider.plugin.webhooks.database import locked

log = logging.getLogger(__name__)

# Magic Hour repeats a delivery for a day (https://docs.magichour.ai/integration/webhook/create-handler).
_REPEATED = timedelta(hours=25)
_EVENTS = ("completed", "errored")
_LONGEST_NAME = 500


def asset_uri(delivery: Delivery) -> str | None:
    """Return the asset that a delivery is an event of, or None."""
    return f"magic-hour://{delivery.kind}/{delivery.event}" if delivery.event in _EVENTS else None


def create_asset_event(delivery: Delivery, conn_id: str) -> bool:
    """Make an asset event of a delivery, once, if some DAG knows the asset; return whether one was made now.

    :param conn_id: the connection whose secret it was signed with; its key sees the job.
    :raises DATABASE_AWAY: the database does not answer; another try may find it back.
    """
    uri = asset_uri(delivery)
    if uri is None:
        return False
    after: list[Callable[[], None]] = []
    made = False
    with create_session(scoped=False) as session:
        known = select(AssetModel.id).where(AssetModel.uri == uri, AssetModel.active.has())
        for asset_id in session.scalars(known).all():
            # Locked first: two API servers may each have a copy of the delivery.
            asset = locked(session, AssetModel, asset_id)
            if asset is None or _announced(session, asset_id, delivery):
                continue
            extra = _extra(delivery, conn_id)
            made |= bool(
                # The callbacks are those of listeners; Airflow before 3.3 calls them itself.
                asset_manager.register_asset_change(asset=asset, extra=extra, session=session, callback_sink=after)
            )
    for callback in after:
        callback()
    return made


def _announced(session: Any, asset_id: int, delivery: Delivery) -> bool:
    recent = select(AssetEvent.extra).where(
        AssetEvent.asset_id == asset_id,
        AssetEvent.timestamp > datetime.now(UTC) - _REPEATED,
        # Only to bring fewer of them here: what they say is compared below.
        cast(AssetEvent.extra, String).contains(delivery.id, autoescape=True),
    )
    return any(
        (extra.get("id"), extra.get("type")) == (delivery.id, delivery.type) for extra in session.scalars(recent)
    )


def _extra(delivery: Delivery, conn_id: str) -> dict[str, Any]:
    """Say which job it is, as the operators' result does. No signed link: whoever wants the files asks for them."""
    return {
        "id": delivery.id,
        "type": delivery.type,
        "kind": delivery.kind,
        "name": delivery.name and delivery.name[:_LONGEST_NAME],
        "credits_charged": delivery.credits_charged,
        "library_url": delivery.library_url,
        "conn_id": conn_id,
    }
