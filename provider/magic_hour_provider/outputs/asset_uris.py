"""The URIs of the assets that webhooks make events of; Airflow asks here whether one that a DAG names exists.

Airflow imports this module wherever an asset of any scheme is made, so it imports nothing of weight.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from urllib.parse import SplitResult

EVENT_ASSET_URIS = tuple(
    f"magic-hour://{kind}/{event}" for event in ("completed", "errored") for kind in ("video", "image", "audio")
)
"""All of them."""


def event_asset_uri(kind: str, event: str) -> str | None:
    """Return the URI of the asset that a webhook's delivery is an event of, or None.

    :param kind: of the delivery, such as ``video``.
    :param event: of the delivery, such as ``completed``.
    """
    uri = f"magic-hour://{kind}/{event}"
    return uri if uri in EVENT_ASSET_URIS else None


def check_asset_uri(parts: SplitResult) -> SplitResult:
    """Accept the URI of an asset that has events: a DAG that is scheduled on any other would never run.

    :param parts: of the URI, as Airflow has normalized it.
    :raises ValueError: there is no such asset; the message lists those that exist.
    """
    uri = parts.geturl()
    if uri not in EVENT_ASSET_URIS:
        raise ValueError(
            f"{uri} is no asset of Magic Hour, so nothing would ever happen to it. There are "
            f"{', '.join(EVENT_ASSET_URIS)}. An asset of your own needs another scheme, such as x-media://."
        )
    return parts
