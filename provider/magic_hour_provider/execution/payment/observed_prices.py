"""What jobs were charged, kept under ``[magic_hour] ledger_path`` for the estimates of the next ones.

One small file for each connection and tool, ``.prices/<connection>/<tool>.json``, with the last prices. It is written
over as a whole, and what two writers lose by that is no harm: a price that is missing is an unknown one, and what the
service answers always counts more than what is here.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from typing import Any

from magic_hour_provider import clock
from magic_hour_provider.api.catalog import Tool
from magic_hour_provider.api.prices import is_price
from magic_hour_provider.api.prices.priced_fields import PricedFields
from magic_hour_provider.ledger.file_store import make_readable, read_ledger_path
from magic_hour_provider.storage.files import read_file, replace_file
from magic_hour_provider.storage.paths import open_path
from magic_hour_provider.times import format_time

log = logging.getLogger(__name__)

_KEPT = 200  # prices of one file: some 30 KB
_DIGITS = 16  # of a digest


class ObservedPrices:
    """The prices of one connection and tool. Nothing fails for it.

    :param conn_id: the connection.
    :param host: base URL of its client: a simulator's prices are not Magic Hour's.
    """

    def __init__(self, conn_id: str, host: str, tool: Tool) -> None:
        root = read_ledger_path()
        digest = hashlib.sha256(json.dumps([conn_id, host]).encode()).hexdigest()[:_DIGITS]
        folder = f"{root}/.prices/{make_readable(conn_id, 80)}-{digest}"
        self._path = f"{folder}/{make_readable(tool.slug, 80)}.json" if root else None

    def find(self, priced: PricedFields) -> int | None:
        """Return what the last job with the same priced fields was charged; of a text, one that is as long or longer.

        :returns: credits; None: not known.
        """
        if priced.digest is None:
            return None
        rows = [row for row in self._read() if row["fields"] == priced.digest[:_DIGITS]]
        longer = [row for row in rows if row["characters"] >= priced.characters]
        return min(longer, key=lambda row: int(row["characters"]))["credits"] if longer else None

    def add(self, priced: PricedFields, credits: int | None) -> None:
        """Keep what an accepted job was charged.

        :param credits: None: the service did not say. What no job can cost, such as 0, is not kept either.
        """
        if self._path is None or priced.digest is None or not is_price(credits):
            return
        now = format_time(clock.current().now())
        new = {"fields": priced.digest[:_DIGITS], "characters": priced.characters, "credits": credits, "date": now}
        before = list(self._read())
        if any({**row, "date": now} == new and row["date"][:10] == now[:10] for row in before):
            return  # one write a day is enough, and a thousand mapped tasks do not all write
        others = [row for row in before if (row["fields"], row["characters"]) != (new["fields"], new["characters"])]
        try:
            replace_file(open_path(self._path), json.dumps([*others, new][-_KEPT:]).encode())
        except Exception as error:  # noqa: BLE001 (each storage library has errors of its own; the job is paid for)
            log.warning("The price of a job could not be kept for later estimates, which changes nothing: %s", error)

    def _read(self) -> Iterator[dict[str, Any]]:
        if self._path is None:
            return
        try:
            rows = json.loads(read_file(open_path(self._path)))
        except FileNotFoundError:
            return
        except Exception as error:  # noqa: BLE001 (a price that cannot be read is an unknown one)
            log.warning("The prices of earlier jobs could not be read, which changes nothing: %s", error)
            return
        for row in rows if isinstance(rows, list) else ():
            kinds = {"fields": str, "characters": int, "date": str}
            is_row = isinstance(row, dict) and all(type(row.get(name)) is kind for name, kind in kinds.items())
            if is_row and is_price(row.get("credits")):  # an older version has kept others, too
                yield row
