"""Learned durations outlive the triggerer where ``ledger_path`` is set, and nothing waits or ends for that."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
import threading

import pytest
from airflow.sdk.execution_time import task_runner
from airflow.sdk.io import attach

from helpers.attempts import first_event
from helpers.places import PrivateMemory
from helpers.virtual_time import run
from magic_hour_provider.polling.durations import LearnedSchedule
from magic_hour_provider.triggers.learned.files import DurationsFile
from magic_hour_provider.triggers.learned.single_thread import THREAD_NAME
from magic_hour_provider.triggers.learned.table import DurationsTable, KeptDurations, get_durations_table

WRITE_S = 301.0
LOGGER = "magic_hour_provider.triggers.learned.files"


class Storage(PrivateMemory):
    """A storage in memory that counts what is written, and fails while it has an error."""

    def __init__(self) -> None:
        super().__init__()
        self.written, self.asked = 0, 0
        self.error: Exception | None = None

    def info(self, path, **kwargs):
        """Say what is there."""
        self.asked += 1
        if self.error:
            raise self.error
        return super().info(path, **kwargs)

    def pipe_file(self, path, value, mode="overwrite", **kwargs):
        """Write a file."""
        self.written += 1
        if self.error:
            raise self.error
        return super().pipe_file(path, value, mode=mode, **kwargs)


def keep_under(monkeypatch, uri: str) -> None:
    """Set ``ledger_path``."""
    monkeypatch.setenv("AIRFLOW__MAGIC_HOUR__LEDGER_PATH", uri)


@pytest.fixture
def storage(monkeypatch):
    """The storage that ``ledger_path`` names."""
    one = Storage()
    conn_id = f"kept-{id(one)}"
    attach("memory", conn_id, fs=one)
    keep_under(monkeypatch, f"memory://{conn_id}@bucket/ledger")
    return one


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """The folder of the files, on this machine."""
    keep_under(monkeypatch, str(tmp_path / "ledger"))
    return tmp_path / "ledger" / ".durations"


def live(main, *, waits: bool = True):
    """Run a triggerer until a coroutine has ended; the storage's calls take no time, unless nothing waits for them."""
    return run(main, waits_for=THREAD_NAME if waits else "")


async def wait_for(virtual, names: list[str], takes_s: float, **changes) -> None:
    """Wait for jobs that are submitted now and end after so many seconds, each with a trigger of its own."""
    now = virtual.clock.monotonic()
    virtual.service.ends |= {name: now + takes_s + number / 10 for number, name in enumerate(names)}
    await asyncio.gather(*(first_event(virtual.trigger(name, **changes)) for name in names))


async def teach(virtual, jobs: int = 40) -> None:
    """Let lip syncs take 460 s, twice what is published, and let what that teaches be written."""
    await wait_for(virtual, [f"job{n}" for n in range(jobs)], 460.0)
    await asyncio.sleep(WRITE_S)


async def wait_as_batch(virtual) -> None:
    """Wait for a batch of one job, which takes 460 s, too."""
    virtual.service.ends["next"] = 460.0
    await first_event(virtual.batch(["next"]))


def polls_of_next(virtual, *, is_batch: bool = False, **options) -> list[float]:
    """Restart the triggerer; return when it polls its first job, which takes 460 s, too."""
    virtual.service.polls.clear()
    live(wait_as_batch(virtual) if is_batch else wait_for(virtual, ["next"], 460.0), **options)
    return virtual.service.times("next")


def histogram(**changes):
    """Return what a file holds of thirty jobs that took about 460 s."""
    return {"version": 1, "counts": [0] * 35 + [30] + [0] * 34} | changes


@pytest.mark.parametrize("way", ["single job", "batch"])
def test_a_restarted_triggerer_polls_its_first_job_by_what_was_learned(virtual, place, monkeypatch, way):
    """In each kind of place; without one it begins with the published durations again."""
    before = polls_of_next(virtual)
    keep_under(monkeypatch, place.uri)
    live(teach(virtual))
    after = polls_of_next(virtual, is_batch=way == "batch")
    assert before[0] < 60 < 200 < after[0]
    assert len(after) <= 0.6 * len(before)
    assert after[-1] - 460 <= 10


def test_a_wait_that_began_before_the_file_was_read_follows_it(virtual, tmp_path, monkeypatch):
    """Also one that an earlier triggerer has begun to poll: its next interval is a learned one."""

    async def main():
        submitted = virtual.clock.now() - 100
        await wait_for(virtual, ["overtaken"], 360.0, submitted_at=submitted, deferred_at=submitted)

    live(main())
    without = virtual.service.times("overtaken")
    keep_under(monkeypatch, str(tmp_path / "ledger"))
    live(teach(virtual))
    virtual.service.polls.clear()
    live(main())
    times = virtual.service.times("overtaken")
    assert times[0] == pytest.approx(without[0])  # due at once, before anything was read
    assert len(times) <= 0.8 * len(without)
    assert times[-1] - 360 <= 10


def test_without_a_place_nothing_changes(virtual, tmp_path, monkeypatch):
    """There is no file, no thread and no other reading of the connection; in a test command's process neither."""

    class InProcessSupervisorComms:
        pass

    for is_test in (False, True):
        if is_test:
            keep_under(monkeypatch, str(tmp_path / "ledger"))
            monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", InProcessSupervisorComms(), raising=False)
        virtual.readings = 0
        kinds = []

        async def main(kinds=kinds):
            await teach(virtual, jobs=3)
            kinds += [type(one) for one in get_durations_table().histograms.values()]

        live(main())
        assert KeptDurations not in kinds
        assert len(kinds) == virtual.readings == 1
    assert list(tmp_path.iterdir()) == []


def test_a_storage_that_never_answers_changes_no_poll(virtual, folder, tmp_path, monkeypatch):
    """A file that can be opened and never read: polls are what they are without one, and one thread hangs for all."""
    live(teach(virtual, jobs=1))
    (file,) = folder.iterdir()
    file.unlink()
    os.mkfifo(file)
    try:
        after = polls_of_next(virtual, waits=False)
        live(wait_for(virtual, ["other"], 460.0, conn_id="magic_hour_other"), waits=False)  # one more event loop
        assert len([one for one in threading.enumerate() if one.name == THREAD_NAME]) == 1
    finally:
        os.close(os.open(file, os.O_RDWR | os.O_NONBLOCK))
    for thread in threading.enumerate():
        if thread.name == THREAD_NAME:
            thread.join(20)
            assert not thread.is_alive()
    monkeypatch.delenv("AIRFLOW__MAGIC_HOUR__LEDGER_PATH")
    assert after == polls_of_next(virtual)


def test_a_process_ends_while_a_storage_never_answers():
    """A triggerer that is stopped does not wait for it."""
    program = (
        "import asyncio, threading\n"
        "from magic_hour_provider.triggers.learned.single_thread import OccupiedError, call_in_thread\n"
        "begun = threading.Event()\n"
        "async def main():\n"
        "    task = asyncio.create_task(call_in_thread(lambda: (begun.set(), threading.Event().wait())))\n"
        "    while not begun.is_set():\n"
        "        await asyncio.sleep(0.01)\n"
        "    try:\n"
        "        await call_in_thread(print)\n"
        "    except OccupiedError:\n"
        "        print('refused')\n"
        "asyncio.run(main())\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert ended.stdout.split() == ["refused"]


FOREIGN = {
    "empty": b"",
    "half": json.dumps(histogram()).encode()[:100],
    "no text": b"\xff\xfe\x00",
    "deep": b"[" * 4000,
    "huge": b" " * 5000 + json.dumps(histogram()).encode(),
    "a list": b"[]",
    "fewer buckets": json.dumps(histogram(counts=[30])).encode(),
    "negative": json.dumps(histogram(counts=[-1] * 70)).encode(),
    "too many": json.dumps(histogram(counts=[10**30] * 70)).encode(),
    "no numbers": json.dumps(histogram(counts=[True] * 70)).encode(),
    "no version": json.dumps({"counts": histogram()["counts"]}).encode(),
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_a_file_that_is_no_histogram(virtual, folder, content, caplog):
    """It is ignored with one line, changes no poll, and is replaced by what is learned now."""
    live(teach(virtual, jobs=1))
    (file,) = folder.iterdir()
    file.write_bytes(content)
    caplog.set_level(logging.WARNING, LOGGER)
    assert polls_of_next(virtual)[0] < 60
    assert [one.split("(")[0] for one in caplog.messages] == [f"The learned durations in '{file}' cannot be used "]
    live(teach(virtual))
    assert sum(json.loads(file.read_bytes())["counts"]) >= 40


def test_a_file_of_a_newer_version_is_left_alone(virtual, folder, caplog):
    """A triggerer that is upgraded later does not write over what the first one has."""
    live(teach(virtual, jobs=1))
    (file,) = folder.iterdir()
    file.write_text(newer := json.dumps(histogram(version=2)))
    caplog.set_level(logging.WARNING, LOGGER)
    assert polls_of_next(virtual)[0] < 60
    live(teach(virtual))
    assert file.read_text() == newer
    assert len(caplog.messages) == 2  # one for each triggerer
    assert "newer version" in caplog.messages[0]


def test_each_file_is_written_every_five_minutes_at_the_most(virtual, storage):
    """However many jobs end; and not at all while none does."""

    async def main():
        for number in range(20):
            await wait_for(virtual, [f"job{number}-{n}" for n in range(20)], 60.0)
        await asyncio.sleep(WRITE_S)
        spent, written = virtual.clock.monotonic(), storage.written
        await asyncio.sleep(86_400)
        return spent, written, storage.written

    spent, written, after_a_day = live(main())
    assert spent >= 1200
    assert 2 <= written <= spent / 300
    assert written == after_a_day
    assert storage.asked == 1


def test_a_storage_that_fails_is_left_alone_for_an_hour(virtual, storage, caplog):
    """One line for each hour; no wait is affected, and when it is back what was learned meanwhile is written."""
    caplog.set_level(logging.WARNING, LOGGER)
    storage.error = PermissionError("no entry?X-Amz-Signature=abcdefgh")

    async def main():
        for number in range(20):
            await wait_for(virtual, [f"job{number}-{n}" for n in range(3)], 300.0)
        spent, asked = virtual.clock.monotonic(), storage.asked
        storage.error = None
        await asyncio.sleep(3600)
        await teach(virtual, jobs=1)
        return spent, asked

    spent, asked = live(main())
    assert spent > 6000
    assert 2 <= asked <= spent / 3600 + 1
    assert len(caplog.messages) == asked
    assert "PermissionError: no entry" in caplog.messages[0]
    assert "abcdefgh" not in caplog.text
    (file,) = storage.find("/")
    assert sum(json.loads(storage.cat_file(file))["counts"]) == 61


def test_a_file_that_always_fails_holds_no_other_up(virtual, folder):
    """It alone is left alone for an hour; the others are read and written."""
    live(teach(virtual, jobs=1))
    (lip_sync,) = folder.iterdir()
    lip_sync.unlink()
    lip_sync.mkdir()

    async def main():
        await teach(virtual, jobs=1)
        await wait_for(virtual, ["a1"], 300.0, tool="image-to-video")
        await asyncio.sleep(WRITE_S)

    live(main())
    (other,) = (one for one in folder.iterdir() if one != lip_sync)
    assert sum(json.loads(other.read_text())["counts"]) == 1


def test_a_storage_that_fails_for_two_files_is_tried_for_no_third(virtual, storage):
    """Then it is the storage that fails: nothing is tried for an hour."""
    storage.error = PermissionError("no entry")
    tools = ("lip-sync", "image-to-video", "text-to-video", "animation")

    async def main():
        await asyncio.gather(*(wait_for(virtual, [tool], 300.0, tool=tool) for tool in tools))

    live(main())
    assert storage.asked == 2


def test_two_triggerers_share_a_file(virtual, folder):
    """The last one to write wins, and no one writes without what was there when it began."""
    live(teach(virtual, jobs=30))

    async def both():
        tables = [DurationsTable(), DurationsTable()]
        found = [one.find("magic_hour_default", "lip-sync", "video", None) for one in tables]
        await asyncio.sleep(1)
        tables[1].find("magic_hour_default", "lip-sync", "video", None)  # the thread was the first one's
        await asyncio.sleep(1)
        for one, jobs in zip(found, (5, 9), strict=True):
            for _ in range(jobs):
                assert one.record(one.schedule, active_age_s=455.0, complete_age_s=465.0)
        await asyncio.sleep(2 * WRITE_S)
        return [one.jobs for one in found]

    assert live(both()) == [35, 39]
    (file,) = folder.iterdir()
    assert sum(json.loads(file.read_bytes())["counts"]) in (35, 39)


def test_there_are_so_many_files_at_the_most(virtual, folder, caplog):
    """As many as one triggerer remembers: a new one is not written then, and one that is there is."""
    caplog.set_level(logging.WARNING, LOGGER)
    live(teach(virtual, jobs=3))
    (file,) = folder.iterdir()
    for number in range(499):
        (folder / f"{number}.json").touch()
    live(wait_for_and_write(virtual, "magic_hour_other"))
    assert len(list(folder.iterdir())) == 500
    assert "There are 500 files of learned durations" in caplog.text
    live(teach(virtual, jobs=3))
    assert sum(json.loads(file.read_bytes())["counts"]) == 6


async def wait_for_and_write(virtual, conn_id: str) -> None:
    """Wait for one job of another connection, and let that be written."""
    await wait_for(virtual, ["other"], 460.0, conn_id=conn_id)
    await asyncio.sleep(WRITE_S)


def test_each_account_tool_and_class_has_a_file_of_its_own(folder):
    """Also where names differ only in what a file's name cannot hold; and the name has nothing of a key."""
    base = ("prod", "https://api.magichour.ai", "lip-sync", "video")
    for number, value in [(0, "other"), (0, "PROD"), (1, "http://127.0.0.1:9"), (2, "lip/sync"), (3, "x"), (0, "пр")]:
        changed = list(base)
        changed[number] = value
        DurationsFile(*changed).write(histogram())
    DurationsFile(*base).write(histogram())
    names = {file.name for file in folder.iterdir()}
    assert len({name.lower() for name in names}) == 7
    assert all(name.isascii() and len(name) <= 255 and "api." not in name for name in names)
    assert DurationsFile(*base).kept == histogram()


def test_a_connection_that_cannot_be_read_keeps_nothing_back(virtual, folder, monkeypatch):
    """Its histogram is not kept until it can be read; another connection's is."""
    from magic_hour_provider.hooks.magic_hour import MagicHourHook

    read = MagicHourHook.async_settings

    async def settings(self):
        if self.magic_hour_conn_id == "broken":
            raise ValueError("no such connection")
        return await read(self)

    monkeypatch.setattr(MagicHourHook, "async_settings", settings)

    async def main():
        broken = get_durations_table().find("broken", "lip-sync", "video", None)
        await teach(virtual)
        return broken.file

    assert live(main()) is None
    assert len(list(folder.iterdir())) == 1
    assert isinstance(live(_schedule_of_next(virtual)), LearnedSchedule)


async def _schedule_of_next(virtual):
    found = virtual.trigger("next")._polled_job()[0].durations
    await asyncio.sleep(1)
    return found.schedule
