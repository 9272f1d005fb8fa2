"""The summary of a run: what its contact sheet counts, without the XComs that only the tiles need."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from magic_hour_provider.api.catalog import KINDS
from magic_hour_provider.api.models import CANCELED, ERROR, is_id
from magic_hour_provider.plugin.media_tab.files.media_types import expected_kind
from magic_hour_provider.plugin.media_tab.snapshot import TaskSnapshot, stage_of
from magic_hour_provider.plugin.web.sanitize import parse_number
from magic_hour_provider.plugin.web.xcom_columns import MAX_FIELD
from magic_hour_provider.times import parse_time

_SECONDS = frozenset(f"{second:02}" for second in range(60))
_EMPTY = (None, "", "{}", "[]", "null", "false", "0")


JOB_FIELDS = ("id", "kind", "status", "credits_charged", "submitted_at", "ended_at", "request")
"""Fields of an operator's report that are counted."""


class Entry(NamedTuple):
    """What the summary of a run is made from, for one task instance: flat, as there are many.

    :param id: of its job; this and the following as texts, and None where the operator did not report it.
    :param request: the beginning of it.
    :param files: URIs; None where there is no list of them.
    """

    task_id: str
    map_index: int
    state: str | None
    label: str | None
    makes_media: bool
    id: str | None = None
    kind: str | None = None
    status: str | None = None
    credits_charged: str | None = None
    submitted_at: str | None = None
    ended_at: str | None = None
    request: str | None = None
    files: Sequence[str] | None = None

    @classmethod
    def from_snapshot(cls, task: TaskSnapshot) -> Entry:
        """Take the values from whole XComs; the operator's report comes before the result."""
        values = {**task.result, **task.job, "request": task.job.get("request") or None}
        texts = (None if values.get(name) is None else str(values[name])[:MAX_FIELD] for name in JOB_FIELDS)
        uris = [uri for uri, _ in task.media]
        return cls._make((task.task_id, task.map_index, task.state, task.label, task.makes_media, *texts, uris))


class TaskSummary(NamedTuple):
    """A task instance on the contact sheet.

    :param stage: as :func:`stage_of` its state.
    :param kinds: one for each of its tiles.
    :param has_files: whether each tile is a file; else there is one tile at most, without a file.
    """

    task_id: str
    map_index: int
    state: str | None
    label: str | None
    makes_media: bool
    stage: str
    kinds: tuple[str | None, ...]
    has_files: bool


@dataclass(frozen=True, slots=True)
class Tile:
    """One tile of the contact sheet.

    :param index: of a file among the task instance's files, or None.
    """

    task: TaskSummary
    index: int | None
    kind: str | None


@dataclass(frozen=True)
class Selection:
    """The tiles of one response.

    :param counts: of all tiles of the run, and of those that match the filters.
    """

    tiles: Sequence[Tile]
    counts: Mapping[str, Any]


@dataclass(frozen=True)
class RunSummary:
    """A run's contact sheet without its tiles' details.

    :param tasks: in the order in which they run.
    :param live: whether the run is active.
    :param totals: number of files, the credits of all jobs and batches, their limit or None, and the seconds from
        submission to end of all jobs; each counts once.
    """

    tasks: Sequence[TaskSummary]
    live: bool
    totals: Mapping[str, Any]
    kinds: Mapping[str, int]
    stages: Mapping[str, int]

    def select(
        self, *, kind: str | None = None, stage: str | None = None, offset: int = 0, limit: int = 120
    ) -> Selection:
        """Return a part of the contact sheet.

        :param kind: only tiles of this kind.
        :param stage: only tiles of task instances at this stage.
        :param offset: number of these tiles to skip.
        :param limit: maximum number of tiles.
        """
        tiles: list[Tile] = []
        matching = with_file = 0
        by_task: Counter[str] = Counter()
        for task in self.tasks:
            if stage not in (None, task.stage):
                continue
            indexes = [index for index, its_kind in enumerate(task.kinds) if kind in (None, its_kind)]
            if offset < matching + len(indexes) and matching < offset + limit:
                wanted = indexes[max(offset - matching, 0) : offset + limit - matching]
                tiles += [Tile(task, index if task.has_files else None, task.kinds[index]) for index in wanted]
            matching += len(indexes)
            with_file += len(indexes) if task.has_files else 0
            by_task[task.task_id] += len(indexes)
        counts = {"kinds": self.kinds, "stages": self.stages, "tasks": +by_task}
        return Selection(tiles, counts | {"matching": matching, "with_file": with_file})


def summarize_run(
    entries: Iterable[Entry], *, live: bool, batch_credits: float = 0, limit: float | None = None
) -> RunSummary:
    """Return the summary of a run.

    :param entries: its task instances, in order.
    :param live: whether the run is active.
    :param batch_credits: what its batches were charged.
    :param limit: the most that it may spend, in credits; None: nobody has recorded a limit.
    """
    tasks: list[TaskSummary] = []
    uris: set[str] = set()
    jobs: dict[str, Entry] = {}
    same: dict[tuple[str | None, ...], tuple[str | None, ...]] = {}  # one object for all that are equal
    all_kinds: defaultdict[str | None, int] = defaultdict(int)
    stages: Counter[str] = Counter()
    for entry in entries:
        *task, job_id, reported_kind, _, _, _, _, request, listed = entry
        stage, files = stage_of(entry.state), listed or ()
        kinds: tuple[str | None, ...] = tuple([expected_kind(uri) for uri in files])
        if not kinds and entry.makes_media and stage != "skipped":
            kinds = (reported_kind if reported_kind in KINDS else None,)
        tasks.append(TaskSummary._make((*task, stage, same.setdefault(kinds, kinds), bool(files))))
        uris.update(files)
        # Of those that know a job, one that has submitted it knows most.
        if job_id is not None and (job_id not in jobs or request not in _EMPTY) and is_id(job_id):
            jobs[job_id] = entry
        for kind in kinds:
            all_kinds[kind] += 1
        stages[stage] += len(kinds)
    totals = {"files": len(uris), "limit": limit} | _sum_jobs(jobs.values(), batch_credits)
    return RunSummary(tasks, live, totals, {kind: n for kind, n in all_kinds.items() if kind}, +stages)


def _sum_jobs(jobs: Iterable[Entry], credits: float) -> dict[str, Any]:
    seconds = 0.0
    minutes: dict[tuple[str, str], float | None] = {}
    for job in jobs:
        if job.status not in (ERROR, CANCELED):
            credits += max(0, parse_number(job.credits_charged) or 0)
        if job.submitted_at is None or job.ended_at is None:
            continue
        start, end = _parse_time(job.submitted_at, minutes), _parse_time(job.ended_at, minutes)
        if start is not None and end is not None:
            seconds += max(end - start, 0)
    return {"credits": int(credits) if float(credits).is_integer() else credits, "seconds": seconds}


def _parse_time(text: str, minutes: dict[tuple[str, str], float | None]) -> float | None:
    """As :func:`parse_time`, faster: the many times of a run lie in few minutes, which are kept."""
    seconds, parts = text[17:19], (text[:17], text[19:])
    if seconds not in _SECONDS or text[16:17] != ":":
        return None
    if parts not in minutes:
        minutes[parts] = parse_time(f"{parts[0]}00{parts[1]}")
    minute = minutes[parts]
    return None if minute is None else minute + int(seconds)


def iterate_uris(selection: Selection, snapshots: Mapping[tuple[str, int], TaskSnapshot]) -> Iterator[str]:
    """Return the URIs of a selection's files; a task instance may have fewer by now than the summary knew."""
    for tile in selection.tiles:
        media = snapshots[tile.task.task_id, tile.task.map_index].media
        if tile.index is not None and tile.index < len(media):
            yield media[tile.index][0]
