"""New jobs of all items of a batch, or of all that failed or are unknown: asked for as a whole, by one file.

Which items those are, the results of the task instance say: the folder may hold others, which only another task would
pay for. A person confirms how many there are and what they cost.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from magic_hour_provider.api.errors import describe_credits, describe_error
from magic_hour_provider.batch.records.folder import RESULTS_FILE, results_folder
from magic_hour_provider.batch.records.owner import Owner
from magic_hour_provider.batch.records.records import ItemRecords
from magic_hour_provider.batch.records.regenerate_list import new_list_name
from magic_hour_provider.batch.records.state import ItemState
from magic_hour_provider.plugin.recovery.batch.item import limit_storage, load_batch_report, require_output_path
from magic_hour_provider.plugin.recovery.errors import RecoveryError, translating_database_errors
from magic_hour_provider.plugin.recovery.instruct import Undo, clear_after
from magic_hour_provider.plugin.recovery.situation import Situation, TaskKey, describe_state, find_job_task
from magic_hour_provider.plugin.recovery.time_limit import TimeLimit
from magic_hour_provider.storage.paths import open_path

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

log = logging.getLogger(__name__)

WHICH = {"all": ("done", "failed", "unknown"), "failed": ("failed", "unknown")}
"""What may be asked for, and the states of the items that are meant. A job that is under way is never meant."""
_UNKNOWN = "unknown"
_MAX_LINE = 4 * 2**20  # bytes of a row of the results: anybody who reaches the storage may have written it

_LISTING = TimeLimit("magic-hour-recovery-listing", threads=2, seconds=60.0)
"""For the records and the results of a batch together."""


@dataclass(frozen=True)
class ItemsToRegenerate:
    """Items of a batch of which new jobs may be asked for.

    :param situation: of the task instance.
    :param states: as their records say, by key.
    :param missing: how many items of the batch nothing is paid for: any clear makes them.
    :param records: of the batch.
    """

    situation: Situation
    states: Mapping[str, ItemState] = field(repr=False)
    missing: int
    records: ItemRecords

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.states)

    @property
    def credits(self) -> int:
        """What the last jobs of those items were charged of which that is known."""
        return sum(_price_of(state) or 0 for state in self.states.values())

    @property
    def unpriced(self) -> int:
        """Of how many it is not known what they cost."""
        return sum(_price_of(state) is None for state in self.states.values())

    @property
    def unknown(self) -> int:
        """Of how many it is not known whether a job was made."""
        return sum(state.status == "unknown" for state in self.states.values())

    @property
    def price(self) -> str:
        """What they cost, as a person confirms it: ``240``, ``240+unknown`` or ``unknown``."""
        if not self.unpriced:
            return str(self.credits)
        return _UNKNOWN if self.unpriced == self.count else f"{self.credits}+{_UNKNOWN}"

    @property
    def replaces(self) -> str:
        """Names the states that new jobs take the place of."""
        states = [[key, state.number, state.job_id, state.status] for key, state in sorted(self.states.items())]
        return hashlib.sha256(json.dumps(states).encode()).hexdigest()[:16]

    def describe(self) -> str:
        """Say what is made and what it costs, as sentences."""
        words = [f"{_count(self.count)} made again and paid for."]
        has_refunds = any(state.refunded and state.price for state in self.states.values())
        cost, refunded = ("were charged", ", before failures were refunded") if has_refunds else ("cost", "")
        if self.unpriced == self.count:
            words.append("What they cost is not known here.")
        elif self.unpriced:
            priced = self.count - self.unpriced
            words.append(f"The last jobs of {priced:,} of them {cost} {describe_credits(self.credits)}{refunded}.")
            words.append(f"The price of the other {self.unpriced:,} is not known, and not in that.")
        else:
            words.append(f"The last jobs of them {cost} {describe_credits(self.credits)}{refunded}.")
        if self.unknown:
            words.append(f"Of {self.unknown} it is not known whether a job was made: if one was, both are paid for.")
        if self.missing:
            words.append(f"{_count(self.missing)} missing: the task makes and pays for what is missing, too.")
        return " ".join(words)


def load_items_to_regenerate(key: TaskKey, output_path: str | None = None) -> dict[str, ItemsToRegenerate]:
    """Read of which items of a batch new jobs may be asked for, by the words of :data:`WHICH`.

    It blocks, for a minute at the most.

    :param output_path: of the batch, where it was checked; None: as its task has reported it.
    :raises RecoveryError: there is no such task instance or batch, or what was paid for cannot be read.
    """
    from magic_hour_provider.plugin.airflow_internals import create_session

    with translating_database_errors(), create_session(scoped=False) as session:
        row, _ = find_job_task(session, key)
        report = load_batch_report(session, row.dag_run_id, key)
    folder = require_output_path(report, output_path)
    owner = Owner(key.dag_id, key.run_id, key.task_id, key.map_index)
    records = ItemRecords.open(folder)

    def load() -> tuple[list[str], dict[str, ItemState]]:
        return list(_read_keys(f"{results_folder(folder, owner)}/{RESULTS_FILE}")), records.load()

    keys, states = limit_storage(load, limit=_LISTING)
    own = {one: states[one] for one in keys if one in states}
    missing = sum(one not in own or own[one].status == "new" for one in keys)
    situation = Situation(
        key, row.id, row.state, row.try_number, None, "", None, None, "", refusal=describe_state(row.state)
    )
    return {
        which: ItemsToRegenerate(
            situation, {one: state for one, state in own.items() if state.status in statuses}, missing, records
        )
        for which, statuses in WHICH.items()
    }


def check_confirmation(items: ItemsToRegenerate, *, count: int, price: str, replaces: str | None = None) -> None:
    """Do nothing where a person has confirmed what would be made now.

    :param count: of items, as the person gives it back.
    :param price: as of :attr:`ItemsToRegenerate.price`, as the person gives it back.
    :param replaces: as of :attr:`ItemsToRegenerate.replaces`, as it was shown; None: not known.
    :raises RecoveryError: something else is confirmed.
    """
    if (count, price) == (items.count, items.price) and replaces in (None, items.replaces):
        return
    raise RecoveryError(
        f"What was confirmed ({count} items, price {price}) is not what would be made now ({items.count} items, price "
        f"{items.price}): it has changed since you saw it, or was mistyped. Nothing was written; see how it is now."
    )


def give_items_instruction(items: ItemsToRegenerate) -> None:
    """Write that new jobs are wanted and clear the task instance, both or neither. Blocks, for some seconds.

    :param items: as they were seen and confirmed. One that has changed since is not paid for again.
    :raises RecoveryError: it is refused, and nothing has changed.
    """
    if items.situation.refusal is not None:
        raise RecoveryError(items.situation.refusal)
    if not items.states:
        raise RecoveryError("No item of this batch is like that, so there is nothing to make again.")

    def write(_session: Session, _run_id: int, undo: list[Undo]) -> None:
        name = new_list_name()

        def put_back() -> None:
            with suppress(RecoveryError):  # a storage that stalls: what is written too late is removed then
                limit_storage(lambda: items.records.folder.remove(name))

        undo.append(put_back)
        remove = items.records.folder.remove
        limit_storage(lambda: items.records.instruct_many(items.states, name), abandoned=lambda: remove(name))

    clear_after(items.situation, write)
    log.info("The task %s was cleared, to make %s items again.", items.situation.key, items.count)


def _price_of(state: ItemState) -> int | None:
    if state.status == "done" and state.credits is not None:
        return state.credits
    return state.price


def _read_keys(uri: str) -> Iterator[str]:
    """Yield the keys of a task instance's items, as its results name them."""
    try:
        with open_path(uri).open("rb") as file:
            for line in iter(lambda: file.readline(_MAX_LINE), b""):
                row = json.loads(line)  # one that was cut is none
                yield str(row.get("key") or row["item_id"])
    except FileNotFoundError:
        raise RecoveryError(
            f"This batch has not come to an end yet: there is no {uri!r}, so it is not known which items are its own. "
            "Nothing has changed. Clear the task first, which makes only what is missing; one item is recovered by its "
            "id."
        ) from None
    except Exception as error:  # each storage library has errors of its own
        raise RecoveryError(
            f"The batch's results {uri!r} cannot be read ({describe_error(error)}). Nothing has changed.", 503
        ) from error


def _count(number: int) -> str:
    return "1 item is" if number == 1 else f"{number:,} items are"
