"""Asset events of a task's outlets, so that other DAGs run on new media."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)


def emit_outlet_events(outlets: Sequence[Any], context: Context | Mapping[str, Any], result: Mapping[str, Any]) -> None:
    """Give a task's outlets its result: an alias gets each file as an asset, an asset gets it as its event's extra.

    :param outlets: of the task; what is no asset is left alone.
    :param context: of its attempt.
    :param result: what the task returns; it holds no signed link.
    """
    if not outlets:
        return
    from airflow.sdk import Asset, AssetAlias
    from airflow.sdk.definitions.asset import AssetRef

    events = context["outlet_events"]
    for outlet in outlets:
        if isinstance(outlet, AssetAlias):
            for one in result["media"]:
                try:
                    asset = Asset(asset_uri(one["uri"]))
                except ValueError as error:  # too long, say: the file is stored, and paid for
                    log.warning("%s makes no asset for %r: %s", one["uri"], outlet.name, error)
                else:
                    events[outlet].add(asset, extra={**result, "uri": one["uri"], "index": one["index"]})
        elif isinstance(outlet, Asset | AssetRef):
            events[outlet].extra = {**events[outlet].extra, **result}


def asset_uri(uri: str) -> str:
    """Return the asset URI of a stored file: absolute, without the connection, which is not part of the address.

    Airflow takes what follows ``?`` or ``#`` for something else than the address, so these two are escaped.
    """
    parts = urlsplit(uri)
    if not parts.scheme:
        scheme, place = "file", os.path.abspath(uri)  # noqa: PTH100 (a path that only is a name)
    else:
        scheme, place = parts.scheme, uri.partition("://")[2]
        netloc, slash, rest = place.partition("/")
        place = f"{netloc.rpartition('@')[2]}{slash}{rest}"
        if scheme != "file":
            place = place.lstrip("/")  # Airflow 3.1 would make memory:///x the asset memory:/x
    return f"{scheme}://{place}".replace("?", "%3F").replace("#", "%23")
