"""Asset events of a task's outlets, so that other DAGs run on new media."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from magic_hour_provider.airflow_internals import MissingInternalError

if TYPE_CHECKING:
    from airflow.sdk import Asset, Context

log = logging.getLogger(__name__)


def emit_outlet_events(outlets: Sequence[Any], context: Context | Mapping[str, Any], result: Mapping[str, Any]) -> None:
    """Give a task's outlets its result: an alias gets each file as an asset, an asset gets it as its event's extra.

    :param outlets: of the task; what is no asset is left alone.
    :param context: of its attempt.
    :param result: what the task returns; it holds no signed link. Without ``media`` an alias gets nothing.
    """
    if not outlets:
        return
    from airflow.sdk import Asset

    kinds: Any = Asset
    with suppress(MissingInternalError):
        from magic_hour_provider.airflow_internals import AssetRef

        kinds = Asset | AssetRef
    for outlet in outlets:
        if isinstance(outlet, kinds):
            event = context["outlet_events"][outlet]
            event.extra = {**event.extra, **result}
    emit_file_events(
        outlets, context, [{**result, "uri": one["uri"], "index": one["index"]} for one in result.get("media", ())]
    )


def emit_file_events(
    outlets: Sequence[Any], context: Context | Mapping[str, Any], extras: Iterable[Mapping[str, Any]]
) -> None:
    """Give the aliases among a task's outlets an event for each file.

    :param extras: of the events, each with the ``uri`` of its file.
    """
    aliases = find_aliases(outlets)
    for extra in extras if aliases else ():
        try:
            asset = _make_asset(extra["uri"])
        except ValueError as error:  # too long, say: the file is stored, and paid for
            names = ", ".join(repr(alias.name) for alias in aliases)
            log.warning("%s makes no asset for %s: %s", extra["uri"], names, error)
        else:
            for alias in aliases:
                context["outlet_events"][alias].add(asset, extra=dict(extra))


def find_aliases(outlets: Sequence[Any]) -> list[Any]:
    """Return the aliases among a task's outlets."""
    if not outlets:
        return []
    from airflow.sdk import AssetAlias

    return [outlet for outlet in outlets if isinstance(outlet, AssetAlias)]


def _make_asset(uri: str) -> Asset:
    from airflow.sdk import Asset

    return Asset(asset_uri(uri))


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
