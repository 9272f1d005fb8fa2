"""The proof that a storage can keep records, before anything is paid for: never assumed from its protocol."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from typing import NoReturn

from magic_hour_provider import clock
from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.batch.records.folder import RecordFolder
from magic_hour_provider.ledger.record import RecordError
from magic_hour_provider.storage.exclusive import refuses_taken_names
from magic_hour_provider.storage.local import random_suffix

log = logging.getLogger(__name__)

_PROBE = b"magic hour\n"


@dataclass(frozen=True)
class Proof:
    """What a storage was seen to do.

    :param is_exclusive: whether it refuses a name that is taken.
    :param storage_time: its time at the probe, in seconds since 1970; None: it does not say.
    :param proved_at: the same moment, by this process's monotonic clock.
    """

    is_exclusive: bool
    storage_time: float | None
    proved_at: float

    def now(self) -> float | None:
        """Return the storage's time now, in seconds since 1970; None: it does not say."""
        if self.storage_time is None:
            return None
        return self.storage_time + clock.current().monotonic() - self.proved_at


def prove(folder: RecordFolder) -> Proof:
    """Write a probe, and see that a second one of its name is refused and that listings show it at once.

    :raises InvalidInputError: a listing does not show what was just written, or it cannot be read back: records in this
        storage would not be seen by the worker that must not pay again.
    :raises RecordError: the storage cannot be written, listed or read now.
    """
    name = f".probe-{random_suffix()}"  # names that begin with a dot are no records
    is_exclusive = refuses_taken_names(partial(folder.create, name), partial(folder.read, name))
    if not is_exclusive:
        folder.write(name, _PROBE)
    moment = clock.current().monotonic()
    try:
        if name not in folder.list_some(name):
            _refuse(folder, "a listing does not show what was just written")
        if not folder.read(name):
            _refuse(folder, "what was just written cannot be read back")
        storage_time = folder.modified_at(name)
    finally:
        try:
            folder.remove(name)
        except RecordError as error:  # who may not delete keeps a small file for each attempt
            log.info("The probe stays: %s", error.message)
    if not is_exclusive:
        log.info(
            "The storage of '%s' does not refuse a name that is taken: workers write claims, and see each other's.",
            folder.uri,
        )
    return Proof(is_exclusive, storage_time, moment)


def _refuse(folder: RecordFolder, why: str) -> NoReturn:
    raise InvalidInputError(
        f"The storage of '{folder.uri}' cannot keep the records of what this batch pays for: {why}. So another worker, "
        "or a retry, might pay again for what is paid already.",
        next_step="Choose an output_path in storage that is consistent at once, such as S3 or a disk.",
    )
