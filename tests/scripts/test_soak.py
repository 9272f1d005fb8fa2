"""The soak's own arithmetic: what it checks for it also finds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from soak_parts.chaos import Timetable
from soak_parts.check import MadeJob, StoredResult, find_violations, latencies, percentile
from soak_parts.usage import UsageByProgram
from soak_parts.work import identities, identity, mapped, row, single

NAMES = ("soak-00 picture 0", "soak-00 clip 1", "batch row 0")
World = tuple[list[MadeJob], list[StoredResult]]


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Three requests, each with one job, one result and one whole file."""
    jobs, results = [], []
    for number, name in enumerate(NAMES):
        path = tmp_path / f"{number}.png"
        path.write_bytes(name.encode())
        digest = hashlib.sha256(name.encode()).hexdigest()
        jobs.append(MadeJob(f"job-{number}", name, 100.0 + number, digest))
        results.append(StoredResult(name, "success", f"job-{number}", (path,), ended_at=110.0))
    return jobs, results


def pay_twice(world: World) -> None:
    world[0].append(replace(world[0][0], id="job-9"))


def pay_for_something_else(world: World) -> None:
    world[0].append(MadeJob("job-9", "", 100.0))


def pay_for_nothing(world: World) -> None:
    del world[0][1]


def lose_an_id(world: World) -> None:
    world[1][1] = replace(world[1][1], job_id="")


def swap_ids(world: World) -> None:
    world[1][1], world[1][2] = (replace(world[1][a], job_id=f"job-{b}") for a, b in ((1, 2), (2, 1)))


def stay_deferred(world: World) -> None:
    world[1][1] = replace(world[1][1], state="deferred")


def lose_a_result(world: World) -> None:
    del world[1][2]


def tear_a_file(world: World) -> None:
    path = world[1][2].files[0]
    path.write_bytes(path.read_bytes()[:-1])


def lose_a_file(world: World) -> None:
    world[1][2].files[0].unlink()


def name_no_file(world: World) -> None:
    world[1][2] = replace(world[1][2], files=())


FAULTS = {
    pay_twice: {"paid for twice", "jobs whose id is in no result"},
    pay_for_something_else: {"paid for without having been asked for", "jobs whose id is in no result"},
    pay_for_nothing: {"never paid for", "results that name no job", "files that are missing"},
    lose_an_id: {"jobs whose id is in no result", "results that name no job", "files that are missing"},
    swap_ids: {"results that name no job", "files that are missing"},
    stay_deferred: {"not ended well"},
    lose_a_result: {"without a result", "jobs whose id is in no result"},
    tear_a_file: {"files that are missing"},
    lose_a_file: {"files that are missing"},
    name_no_file: {"files that are missing"},
}


def test_nothing_is_found_where_all_was_kept(world: World) -> None:
    """One job, one result and one whole file for each request."""
    assert find_violations(NAMES, *world) == []


@pytest.mark.parametrize("fault", FAULTS)
def test_what_was_not_kept_is_found(world: World, fault: Callable[[World], None]) -> None:
    """Each fault is named for what it is, and nothing else is."""
    fault(world)
    found = find_violations(NAMES, *world)
    assert len(found) == len(FAULTS[fault])
    assert all(any(words in sentence for sentence in found) for words in FAULTS[fault])


def test_a_preview_has_no_file(world: World) -> None:
    """Where no file is to be stored, one that is there would be as wrong as a missing one elsewhere."""
    jobs, results = world
    results[0] = replace(results[0], files=(), has_files=False)
    assert find_violations(NAMES, jobs, results) == []
    results[1] = replace(results[1], has_files=False)
    assert len(find_violations(NAMES, jobs, results)) == 1


def test_requests_say_which_they_are() -> None:
    """Prompts, mapped tasks and the checker agree on who is who."""
    said = {
        identity(single(number, run)[1]["style"]["prompt"]) for run in ("soak-00", "soak-01") for number in range(7)
    }
    said |= {identity(row(number)["style"]["prompt"]) for number in range(3)}
    assert said == identities(["soak-00", "soak-01"], 7, 3)
    assert len(said) == 2 * 7 + 3
    assert sorted(mapped(7).values()) == list(range(7))
    assert all(single(number)[0] == task_id for (task_id, _), number in mapped(7).items())
    assert identity("a lighthouse") == ""


def test_percentiles_and_latencies(world: World) -> None:
    """Of those alone that have a job and an end."""
    jobs, results = world
    assert latencies(jobs, [results[0], replace(results[1], ended_at=0.0), replace(results[2], job_id="")]) == [10.0]
    values = [float(number) for number in range(100, 0, -1)]
    assert (percentile(values, 0.5), percentile(values, 0.99), percentile([], 0.5)) == (51.0, 100.0, 0.0)


def test_a_killed_program_has_used_what_it_had_used() -> None:
    """The CPU time of a killed program stays, and between a process's end and its collection nothing is lost."""
    usage = UsageByProgram()
    usage.add([("worker-1", 10, 2.0, 100), ("worker-1", 10, 1.0, 300), ("redis", 11, 0.5, 50)])
    usage.add([("worker-1", 10, 2.5, 100)])  # the second has ended, and is not collected yet
    usage.add([("worker-1", 10, 4.5, 100)])
    usage.add([("worker-1", 20, 1.0, 100)])  # another life
    assert usage.cpu_s(lambda name: name == "worker-1") == 5.5
    assert usage.cpu_s() == 6.0
    assert usage.peak == {"worker-1": 300, "redis": 50}
    assert usage.peak_together == 450


def test_a_timetable_keeps_its_order() -> None:
    """What is due is done once, the earliest first; what is not due waits, and is done no more once all is off."""
    done: list[str] = []
    timetable = Timetable()
    timetable.after(3600, lambda: done.append("later"))
    timetable.after(0, lambda: done.append("second"))
    timetable.after(-1, lambda: done.append("first"))
    timetable.run()
    timetable.run()
    assert done == ["first", "second"]
    timetable.after(-1, lambda: done.append("too late"))
    timetable.clear()
    timetable.run()
    assert done == ["first", "second"]
