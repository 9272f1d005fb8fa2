"""Asset events for everything that anybody in the account finishes, so that DAGs can be scheduled on new media.

Tested on Airflow 3.3.2 and 3.1.8, with SQLite and PostgreSQL.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import String, cast, select

from magic_hour_provider.api.webhooks import Delivery
from magic_hour_provider.outputs.asset_uris import event_asset_uri
from magic_hour_provider.plugin.airflow_internals import AssetEvent, AssetModel, asset_manager, create_session
from magic_hour_provider.plugin.webhooks.database import lock_row

log = logging.getLogger(__name__)

# Magic Hour repeats a delivery for a day (https://docs.magichour.ai/integration/webhook/create-handler).
_REPEAT_WINDOW = timedelta(hours=25)


def create_asset_event(delivery: Delivery, conn_id: str) -> bool:
    """Create an asset event for a delivery, once, if any DAG uses the asset; return whether one was created now.

    :param conn_id: the connection whose secret signed the delivery; its key sees the job.
    :raises DATABASE_UNAVAILABLE: the database does not answer; a retry may succeed.
    """
    uri = event_asset_uri(delivery.kind, delivery.event)
    if uri is None:
        return False
    callbacks: list[Callable[[], None]] = []
    created = False
    with create_session(scoped=False) as session:
        active = select(AssetModel.id).where(AssetModel.uri == uri, AssetModel.active.has())
        for asset_id in session.scalars(active).all():
            # Locked first: two API servers may each have a copy of the delivery.
            asset = lock_row(session, AssetModel, asset_id)
            if asset is None or _is_created(session, asset_id, delivery):
                continue
            extra = delivery.describe(conn_id)
            created |= bool(
                # The callbacks are those of listeners; Airflow before 3.3 calls them itself.
                asset_manager.register_asset_change(asset=asset, extra=extra, session=session, callback_sink=callbacks)
            )
    for callback in callbacks:
        callback()
    return created


def _is_created(session: Any, asset_id: int, delivery: Delivery) -> bool:
    now = datetime.now(UTC)
    # One that was long in a queue may repeat what came before it.
    sent_at = now if delivery.sent_at is None else min(now, datetime.fromtimestamp(delivery.sent_at, UTC))
    recent = select(AssetEvent.extra).where(
        AssetEvent.asset_id == asset_id,
        AssetEvent.timestamp > sent_at - _REPEAT_WINDOW,
        # Only to load fewer of them: their values are compared below.
        cast(AssetEvent.extra, String).contains(delivery.id, autoescape=True),
    )
    return any(
        (extra.get("id"), extra.get("type")) == (delivery.id, delivery.type) for extra in session.scalars(recent)
    )
