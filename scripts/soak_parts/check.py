"""Whether a soak kept the promises: each job paid for once, no id lost, every file whole, no task stuck."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_SHOWN = 5


@dataclass(frozen=True)
class MadeJob:
    """A job that the simulator accepted.

    :param id: its id.
    :param identity: which request it is of.
    :param ended_at: when it was complete, in seconds since 1970.
    :param sha256: checksum of its file, as the simulator has it; empty: nobody asked for the file.
    """

    id: str
    identity: str
    ended_at: float
    sha256: str = ""


@dataclass(frozen=True)
class StoredResult:
    """What Airflow, or the results of a batch, say of a request.

    :param identity: which request.
    :param state: ``success``, or what else became of it.
    :param job_id: the job that it names; empty: none.
    :param files: paths of the stored files.
    :param has_files: whether there should be one.
    :param ended_at: when its task succeeded, or its file was there, in seconds since 1970; 0: not known.
    """

    identity: str
    state: str
    job_id: str = ""
    files: tuple[Path, ...] = ()
    has_files: bool = True
    ended_at: float = 0.0


def find_violations(expected: Iterable[str], jobs: Sequence[MadeJob], results: Sequence[StoredResult]) -> list[str]:
    """Return what was not kept, each kind as one sentence; none: all was.

    :param expected: the requests, by identity.
    :param jobs: all that the simulator accepted.
    :param results: one for each request.
    """
    made: dict[str, list[str]] = defaultdict(list)
    for job in jobs:
        made[job.identity].append(job.id)
    wanted, of_result = set(expected), {result.identity: result for result in results}
    named = {result.job_id for result in results}
    known = {job.id: job for job in jobs}
    problems = {
        "paid for twice": [f"{name}: {', '.join(ids)}" for name, ids in made.items() if len(ids) > 1],
        "never paid for": wanted - made.keys(),
        "paid for without having been asked for": made.keys() - wanted,
        "jobs whose id is in no result": [f"{job.id} of {job.identity}" for job in jobs if job.id not in named],
        "without a result": wanted - of_result.keys(),
        "not ended well": [f"{one.identity}: {one.state}" for one in results if one.state != "success"],
        "results that name no job, or that of another request": [
            f"{one.identity}: {one.job_id or 'none'}"
            for one in results
            if one.state == "success" and one.job_id not in made[one.identity]
        ],
        "files that are missing or not whole": [
            f"{one.identity}: {trouble}"
            for one in results
            if one.state == "success" and (trouble := _check_files(one, known.get(one.job_id)))
        ],
    }
    return [_describe(what, sorted(which)) for what, which in problems.items() if which]


def percentile(values: Sequence[float], part: float) -> float:
    """Return the value that so large a part of all does not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0


def latencies(jobs: Sequence[MadeJob], results: Sequence[StoredResult]) -> list[float]:
    """Return the seconds from a job's completion to its result, of all that have both."""
    ends: Mapping[str, float] = {job.id: job.ended_at for job in jobs}
    return [one.ended_at - ends[one.job_id] for one in results if one.ended_at and one.job_id in ends]


def _check_files(result: StoredResult, job: MadeJob | None) -> str:
    if len(result.files) != result.has_files:
        return f"{len(result.files)} files"
    for path in result.files:
        if not path.is_file():
            return f"{path.name} is not there"
        if job is None or hashlib.sha256(path.read_bytes()).hexdigest() != job.sha256:
            return f"{path.name} is not what the simulator has"
    return ""


def _describe(what: str, which: Sequence[str]) -> str:
    more = f", and {len(which) - _SHOWN} more" if len(which) > _SHOWN else ""
    return f"{len(which)} {what}: {'; '.join(which[:_SHOWN])}{more}"
