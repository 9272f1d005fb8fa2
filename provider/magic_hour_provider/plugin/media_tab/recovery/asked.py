"""What a person asks for: of one job, and of a batch's items as a whole."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from magic_hour_provider.plugin.recovery.batch.items import WHICH
from magic_hour_provider.plugin.recovery.errors import RecoveryError

_BODY = (
    'The body must be a JSON object such as {"action": "adopt", "job": "<id>", "replaces": "<as GET says>", '
    '"confirmed_tag": null}, or with the action "regenerate".'
)
_ITEMS_BODY = (
    'The body must be a JSON object such as {"which": "all", "count": 3, "price": "30", "replaces": "<as GET says>"}.'
)
_MAX_TEXT, _MAX_ITEMS_TEXT = 1000, 100  # characters of one field


@dataclass(frozen=True)
class Asked:
    """The body of a request for one job.

    :param action: ``adopt`` or ``regenerate``.
    :param job: the job to resume, as a person has pasted it; None: none.
    :param replaces: as it was shown.
    :param confirmed_tag: of a job of another task, which a person confirms; None: none.
    """

    action: str
    job: str | None
    replaces: str
    confirmed_tag: str | None

    @classmethod
    def read(cls, data: bytes) -> Asked:
        """Read it.

        :raises RecoveryError: it is another one than it should be.
        """
        value = _read_object(data, _BODY, cls.__dataclass_fields__)
        texts: dict[str, Any] = {name: value.get(name) for name in cls.__dataclass_fields__}
        if not all(text is None or (isinstance(text, str) and _is_plain(text)) for text in texts.values()):
            raise RecoveryError(_BODY, 422)
        asked = cls(**texts)
        if asked.action not in ("adopt", "regenerate") or not asked.replaces:
            raise RecoveryError(_BODY, 422)
        if asked.action == "adopt" and not (asked.job or "").strip():
            raise RecoveryError("Paste the job's id, or its address in https://magichour.ai/my-library.", 400)
        return asked


@dataclass(frozen=True)
class AskedForItems:
    """The body of a request for many items.

    :param which: of the words of :data:`WHICH`.
    :param count: how many items a person has confirmed.
    :param price: what they cost, as a person has confirmed it.
    :param replaces: as it was shown.
    """

    which: str
    count: int
    price: str
    replaces: str

    @classmethod
    def read(cls, data: bytes) -> AskedForItems:
        """Read it.

        :raises RecoveryError: it is another one than it should be.
        """
        value = _read_object(data, _ITEMS_BODY, cls.__dataclass_fields__)
        texts = [value.get(name) for name in ("which", "price", "replaces")]
        is_count = isinstance(value.get("count"), int) and not isinstance(value["count"], bool)
        is_text = all(
            isinstance(text, str) and 0 < len(text) <= _MAX_ITEMS_TEXT and text.isprintable() for text in texts
        )
        if not is_count or not is_text or value["which"] not in WHICH:
            raise RecoveryError(_ITEMS_BODY, 422)
        return cls(**value)


def _read_object(data: bytes, body: str, fields: Collection[str]) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise RecoveryError(f"The body is no JSON. {body}", 400) from None
    if not isinstance(value, dict) or not value.keys() <= set(fields):
        raise RecoveryError(body, 422)
    return value


def _is_plain(text: str) -> bool:
    return len(text) <= _MAX_TEXT and "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)
