"""What attempts leave beside the record, in every place and in their XComs: whether "no record" is true, it tells."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from airflow.providers.common.compat.sdk import conf

from magic_hour_provider.api.errors import MagicHourError
from magic_hour_provider.ledger.messages import lost_record_error
from magic_hour_provider.ledger.places.mark import ATTEMPT, AttemptMark, EarlierXComs
from magic_hour_provider.ledger.places.several import Place, Places
from magic_hour_provider.ledger.record import RecordError
from magic_hour_provider.times import parse_time

log = logging.getLogger(__name__)

_CLOCKS_S = 60.0  # by which the clocks of a worker and a scheduler may differ


class AttemptTrail:
    """The marks of one task instance's attempts.

    :param places: of its ledger.
    :param mark: of this attempt; None: it leaves none.
    :param earlier: what the attempt before has pushed.
    :param run_began_at: when the run began, in seconds since 1970, where nothing in it was cleared; None: not known.
    """

    def __init__(
        self, places: Places, mark: AttemptMark | None, earlier: EarlierXComs, run_began_at: float | None = None
    ) -> None:
        self._places = places
        self._mark = mark
        self._earlier = earlier
        self._run_began_at = run_began_at
        self.lost: RecordError | None = None
        """The error of a record that is missing although something shows that there was one."""

    def begin(self) -> None:
        """Leave this attempt's mark in every place, before anything is paid for.

        :raises RecordError: a place could not be written.
        """
        self.lost = None
        self._write(tag=None, lost=None, lost_job_ids=())

    def begin_again(self) -> None:
        """Leave the mark of an attempt that makes a new job by hand.

        A lost record stays noted until there is one again: the request may be refused, and the instruction withdrawn.

        :raises RecordError: a place could not be written.
        """
        self._write()

    def begin_without_record(self) -> None:
        """Leave this attempt's mark. It says so where something shows that the record is missing.

        :raises RecordError: a place could not be read or written.
        """
        lost = self._find_lost_record()
        if lost is None:
            self.begin()
            return
        why, job_ids = lost
        self.lost = lost_record_error(why, self._places.directions, job_ids=job_ids)
        # At once: what shows it may be XComs, which Airflow has removed as this attempt began.
        try:
            self._write(lost=why, lost_job_ids=job_ids)
        except MagicHourError as error:
            log.warning("That the record is missing could not be noted: %s", error.message)

    def declare(self, tag: str | None) -> None:
        """Note in this attempt's mark that its paid request is declared, so that its record cannot get lost unseen.

        :param tag: of the request; None: it is withdrawn.
        :raises RecordError: a place could not be written.
        """
        self._write(tag=tag)

    def find_markless_place(self) -> Place | None:
        """Return a place that has not this attempt's mark any more: what forgets it would forget a record too."""
        own = self._mark
        if own is None:
            return None
        return next((place for place in self._places if place.get(ATTEMPT) != own.to_json()), None)

    def find_deleted_run(self) -> Place | None:
        """Return a file whose record is of a deleted run of the same id, and note that; None: there is none."""
        place = self._find_place_of_deleted_run()
        if place is not None:
            self._write(refused=True)
        return place

    def is_of_deleted_run(self) -> bool:
        """Whether a file's record is of a deleted run of the same id."""
        return self._find_place_of_deleted_run() is not None

    def _find_place_of_deleted_run(self) -> Place | None:
        if self._mark is None:
            return None
        for place in self._places:
            if not place.is_files:
                continue
            if self._mark.finds_deleted_run(AttemptMark.read(place.get(ATTEMPT))) or self._is_before_the_run(place):
                return place
        return None

    def _is_before_the_run(self, place: Place) -> bool:
        """Whether a place's record is older than the run, whose first attempt may have died before it could say so."""
        if self._run_began_at is None or place.seen is None:
            return False
        written_at = parse_time(place.seen.written_at)
        return written_at is not None and written_at < self._run_began_at - _CLOCKS_S

    def _find_lost_record(self) -> tuple[str, tuple[str, ...]] | None:
        """Return what shows that the record is missing, and the jobs that are known; None: nothing does."""
        own = self._mark
        if own is None or len(self._places) == 0:
            return None
        tags, job_ids, knew_unpaid = self._earlier.tags, self._earlier.job_ids, self._earlier.knew_unpaid
        if self._earlier.has_succeeded and conf.getboolean("state_store", "clear_on_success", fallback=False):
            # The record went with the success, so XComs without one are nothing odd.
            tags, job_ids, knew_unpaid = (), (), True
        if job_ids:
            return f"an earlier attempt had Magic Hour job {', '.join(job_ids)}", job_ids
        # Airflow's own store ends with its run: there a first attempt has no mark to find.
        asked = [place for place in self._places if place.is_files or own.try_number > 1]
        marks = {place.name: AttemptMark.read(place.get(ATTEMPT)) for place in asked}
        # One place without a mark is enough to go on with, as an intent is in all of them before anything is sent.
        left = [mark for mark in marks.values() if mark is not None]
        # A mark without a tag says that what the XComs name was withdrawn, or never declared.
        declared = _unique(mark.tag for mark in left if mark.tag) if left else tags
        if declared:
            return f"an earlier attempt has declared the paid request #{', #'.join(declared)}", ()
        if noted := next((mark for mark in left if mark.lost), None):
            return str(noted.lost), noted.lost_job_ids
        if left or own.try_number <= 1:
            return None
        if own.clear_number == 0:
            if not self._earlier.is_known:
                return "this is a retry, and nothing shows that the attempt before ended before its request", ()
        elif not self._places.outlive_a_clear and not knew_unpaid:
            # The XComs of the attempt that paid go as the next one begins. That one may end before our code runs, or
            # know as little as this one does: only one that knew shows anything.
            return "the task was cleared, and nothing is left of its earlier attempts that says what they paid for", ()
        return None

    def _write(self, **changed: Any) -> None:
        if self._mark is None or len(self._places) == 0:
            return
        self._mark = replace(self._mark, **changed)
        if unwritten := self._places.set(ATTEMPT, self._mark.to_json()):
            raise unwritten[0]


def _unique(tags: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(tags))
