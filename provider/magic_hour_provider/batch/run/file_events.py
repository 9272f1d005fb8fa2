"""Asset events of a batch's files, for the aliases among its outlets."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from magic_hour_provider.api.catalog import Tool
from magic_hour_provider.api.models import library_url
from magic_hour_provider.batch.records.owner import Owner
from magic_hour_provider.batch.records.state import ItemState

log = logging.getLogger(__name__)

MAX_FILE_EVENTS = 250
"""Files of one task instance that have events of their own.

Airflow takes all events of a task in the one request that says that it has succeeded, and writes four rows for each
while the worker waits for that, for 5 s by default (``[workers] execution_api_timeout``). 2,000 of them took 14 s on
SQLite; more than it waits for would fail a task whose work is done, in each of its tries.
"""


class FileEvents:
    """Collects the files of what one task instance has paid for, in all its tries.

    What another run has paid for was that run's to announce.

    :param owner: the attempt.
    """

    def __init__(self, tool: Tool, owner: Owner) -> None:
        self._tool, self._owner = tool, owner
        self._rows: list[Mapping[str, Any]] = []
        self._files = 0

    def add(self, state: ItemState, row: Mapping[str, Any]) -> None:
        """Take a row of the results, if it is such a one; of more than can be announced nothing is kept.

        :param state: of its item.
        """
        if row["status"] != "complete" or state.owner != self._owner.digest:
            return
        self._files += len(row["media"])
        if self._files <= MAX_FILE_EVENTS:
            self._rows.append(row)

    def make_extras(self, results: str) -> list[dict[str, Any]]:
        """Return the extra of an event for each file; of too many there are none: a part would look like all.

        :param results: address of the results.
        """
        if self._files > MAX_FILE_EVENTS:
            log.warning(
                "The asset alias gets no events: %s new files are more than %s, and Airflow might not write so many "
                "in the time that it gives a task to end. All are stored, and are listed in %s: with an Asset as the "
                "task's outlet the next DAG gets the whole batch in one event, and reads them with read_results().",
                self._files,
                MAX_FILE_EVENTS,
                results,
            )
            return []
        return [extra for row in self._rows for extra in self._extras_of(row, results)]

    def _extras_of(self, row: Mapping[str, Any], results: str) -> Iterator[dict[str, Any]]:
        # In the form of a single job's result, so that it is taken where that is.
        result = {
            "id": row["id"],
            "kind": self._tool.kind,
            "tool": self._tool.slug,
            "status": row["status"],
            "credits_charged": row.get("credits_charged"),
            "library_url": library_url(self._tool.kind, row["id"]),
            "file": row["files"][0] if row["files"] else None,
            "files": row["files"],
            "media": row["media"],
            "item_id": row["item_id"],
            "results": results,
        }
        for one in row["media"]:
            yield {**result, "uri": one["uri"], "index": one["index"]}
