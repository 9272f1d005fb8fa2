"""What attempts leave beside the record, in every place and in their XComs: whether "no record" is true, it tells."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from airflow.providers.common.compat.sdk import conf

from magic_hour_provider.ledger.messages import lost_record_error
from magic_hour_provider.ledger.places.mark import ATTEMPT, AttemptMark, EarlierXComs
from magic_hour_provider.ledger.places.several import Place, Places
from magic_hour_provider.ledger.record import RecordError


class AttemptTrail:
    """The marks of one task instance's attempts.

    :param places: of its ledger.
    :param mark: of this attempt; None: it leaves none.
    :param earlier: what the attempt before has pushed.
    """

    def __init__(self, places: Places, mark: AttemptMark | None, earlier: EarlierXComs) -> None:
        self._places = places
        self._mark = mark
        self._earlier = earlier
        self.lost: RecordError | None = None
        """The error of a record that is missing although something shows that there was one."""

    def begin(self) -> None:
        """Leave this attempt's mark in every place, before anything is paid for.

        :raises RecordError: a place could not be written.
        """
        self.lost = None
        self.declare(None)

    def begin_without_record(self) -> None:
        """Leave this attempt's mark, unless something shows that the record is missing: that must not be written over.

        :raises RecordError: a place could not be read or written.
        """
        self.lost = self._find_lost_record()
        if self.lost is None:
            self.begin()

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
            if place.is_files and self._mark.finds_deleted_run(AttemptMark.read(place.get(ATTEMPT))):
                return place
        return None

    def _find_lost_record(self) -> RecordError | None:
        own = self._mark
        if own is None or len(self._places) == 0:
            return None
        tags, job_ids = self._earlier.tags, self._earlier.job_ids
        if conf.getboolean("state_store", "clear_on_success", fallback=False):
            tags = job_ids = ()  # records go with a success, so XComs without one are nothing odd
        if job_ids:
            return self._lost(f"an earlier attempt had Magic Hour job {', '.join(job_ids)}", job_ids)
        # Airflow's own store ends with its run: there a first attempt has no mark to find.
        asked = [place for place in self._places if place.is_files or own.try_number > 1]
        marks = {place.name: AttemptMark.read(place.get(ATTEMPT)) for place in asked}
        # One place without a mark is enough to go on with, as an intent is in all of them before anything is sent.
        left = [mark for mark in marks.values() if mark is not None]
        # A mark without a tag says that what the XComs name was withdrawn, or never declared.
        declared = _unique(mark.tag for mark in left if mark.tag) if left else tags
        if declared:
            return self._lost(f"an earlier attempt has declared the paid request #{', #'.join(declared)}")
        if not left and not self._earlier.is_known and own.try_number > 1 and own.clear_number == 0:
            return self._lost("this is a retry, and nothing shows that the attempt before ended before its request")
        return None

    def _lost(self, why: str, job_ids: tuple[str, ...] = ()) -> RecordError:
        return lost_record_error(why, self._places.directions, job_ids=job_ids)

    def _write(self, **changed: Any) -> None:
        if self._mark is None or len(self._places) == 0:
            return
        self._mark = replace(self._mark, **changed)
        if unwritten := self._places.set(ATTEMPT, self._mark.to_json()):
            raise unwritten[0]


def _unique(tags: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(tags))
