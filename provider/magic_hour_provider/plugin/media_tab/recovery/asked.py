"""What a person asks for of a batch's items as a whole."""

from __future__ import annotations

import json
from dataclasses import dataclass

from magic_hour_provider.plugin.recovery.batch.items import WHICH
from magic_hour_provider.plugin.recovery.errors import RecoveryError

_BODY = (
    'The body must be a JSON object such as {"which": "all", "count": 3, "price": "30", "replaces": "<as GET says>"}.'
)
_MAX_TEXT = 100  # characters


@dataclass(frozen=True)
class AskedForItems:
    """The body of a request.

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
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            raise RecoveryError(f"The body is no JSON. {_BODY}", 400) from None
        if not isinstance(value, dict) or value.keys() != cls.__dataclass_fields__.keys():
            raise RecoveryError(_BODY, 422)
        texts = [value[name] for name in ("which", "price", "replaces")]
        is_count = isinstance(value["count"], int) and not isinstance(value["count"], bool)
        if not is_count or not all(isinstance(text, str) and 0 < len(text) <= _MAX_TEXT for text in texts):
            raise RecoveryError(_BODY, 422)
        if value["which"] not in WHICH or not all(text.isprintable() for text in texts):
            raise RecoveryError(_BODY, 422)
        return cls(**value)
