"""What is saved in the account (characters, voices, moodboards, brand kits), given by name where a file is taken."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import partial
from typing import Any, Literal, get_args

from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.api.transport.uploads import retry
from magic_hour_provider.inputs.fields import Input, shorten

SavedItemType = Literal["brand_kit", "character", "moodboard", "reference", "voice"]
"""Kinds of saved items (the official SDK's ``V1SavedItemsListResponseItemsItem``)."""

_MAX_NAMED = 5


def saved_item(type: SavedItemType, name: str) -> dict[str, Any]:  # noqa: A002 (the API's own word)
    """Return the value of a file field that stands for a saved item: ``saved_item("character", "Nori")``.

    It is looked up before anything is paid for, which is free, and its file needs no upload. The name counts in the
    request's fingerprint, not what is saved under it.

    :param type: ``character``, ``voice``, ``moodboard``, ``brand_kit`` or ``reference``.
    :param name: its name in the web app, or its id; may be a template.
    :raises InvalidInputError: there is no such type, or the name is empty.
    """
    if type not in get_args(SavedItemType):
        raise InvalidInputError(
            f"The type of a saved item is one of {', '.join(get_args(SavedItemType))}, not {type!r}."
        )
    if not isinstance(name, str) or not name.strip():
        raise InvalidInputError(f"A saved item is given by its name or its id; it is {name!r}.")
    return {"saved_item": name, "type": type}


class SavedItems:
    """The account's saved items, asked for once. Threads may share it.

    :param client: of the account.
    """

    def __init__(self, client: MagicHourClient) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._by_type: dict[str, list[dict[str, Any]]] = {}

    def find_reference(self, one: Input) -> str:
        """Return the reference of the file that a saved item has for a field.

        :param one: the field, with a saved item.
        :raises InvalidInputError: there is none of this name, several, or none with such a file.
        :raises MagicHourError: they cannot be listed.
        """
        kind, name = one.saved_item or ("", "")
        item = self._find(one, kind, name)
        assets = [asset for asset in item.get("assets") or () if isinstance(asset, Mapping)]
        fitting = [asset for asset in assets if str(asset.get("media_kind")).lower() in one.field.accepts]
        fitting.sort(key=lambda asset: asset.get("is_primary") is not True)
        paths = [asset["file_path"] for asset in fitting if isinstance(asset.get("file_path"), str)]
        if not paths:
            raise InvalidInputError(f"{one.label} takes {one.accepted_types}; the {kind} {name!r} has none.")
        return str(paths[0])

    def _find(self, one: Input, kind: str, name: str) -> dict[str, Any]:
        items = self._list(kind)
        found = [item for item in items if name in (item.get("id"), item.get("name"))]
        found = found or [item for item in items if _fold(item.get("name")) == _fold(name)]
        if len(found) == 1:
            return found[0]
        if found:
            ids = ", ".join(str(item.get("id")) for item in found[:_MAX_NAMED])
            raise InvalidInputError(
                f"{one.label}: {len(found)} saved items of type {kind} in the account are called {shorten(name)}.",
                next_step=f"Give the id of the one that is meant: {ids}.",
            )
        raise InvalidInputError(
            f"{one.label}: the account has no saved item of type {kind} that is called {shorten(name)}.",
            next_step=_suggest([str(item.get("name") or item.get("id")) for item in items], kind, name),
        )

    def _list(self, kind: str) -> list[dict[str, Any]]:
        with self._lock:
            if kind not in self._by_type:
                self._by_type[kind] = retry(partial(self._client.list_saved_items, type=kind))
            return self._by_type[kind]


def _suggest(names: list[str], kind: str, name: str) -> str:
    from difflib import get_close_matches  # only needed where something is wrong

    if not names:
        return f"It has none of type {kind}: save one in the web app, or use the key of the account that has it."
    folded = {_fold(one): one for one in names}
    near = [folded[one] for one in get_close_matches(_fold(name), folded, n=_MAX_NAMED, cutoff=0.5)]
    shown = ", ".join(map(repr, near or names[:_MAX_NAMED]))
    return f"{'The nearest are' if near else 'It has'} {shown}."


def _fold(name: Any) -> str:
    return str(name or "").strip().casefold()
