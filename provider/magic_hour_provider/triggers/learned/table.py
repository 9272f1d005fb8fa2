"""The histograms of learned durations of one event loop, read and written in the background where they are kept.

No wait ever waits for that. Jobs that begin before a histogram is read are polled by the published durations until it
is there, and for ever where the storage never answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from weakref import WeakKeyDictionary

from airflow.providers.common.compat.sdk import conf

from magic_hour_provider import clock
from magic_hour_provider.api.catalog import POLLING_CLASSES, TOOLS, default_polling_class
from magic_hour_provider.hooks.magic_hour import MagicHourHook
from magic_hour_provider.hooks.own_task import is_in_test_process
from magic_hour_provider.polling.durations import Durations
from magic_hour_provider.polling.schedule import Schedule
from magic_hour_provider.triggers.learned.files import MAX_HISTOGRAMS, DurationsFile, NotKeptError
from magic_hour_provider.triggers.learned.single_thread import OccupiedError, call_in_thread

_WRITE_AFTER_S = 300.0
"""Seconds from a job that counts to the write, so that each file is written at most so often."""
_LEFT_ALONE_S = 3600.0
"""Seconds for which a file that failed is not tried again; all of them, where a second one fails meanwhile."""
_READ_AGAIN_S = 60.0
"""Seconds until a connection is read again that could not be read."""


class KeptDurations(Durations):
    """A histogram that is kept in a file.

    :param published: the schedule as long as few jobs have been seen.
    :param on_change: called when a job counts.
    :param key: connection, tool and polling class.
    """

    def __init__(self, published: Schedule, on_change: Callable[[], None], key: tuple[str, str, str]) -> None:
        super().__init__(published)
        self._on_change = on_change
        self.key = key
        self.file: DurationsFile | None = None
        """None: it is not read yet."""
        self.retry_at = float("-inf")
        """Until when its file is neither read nor written."""
        self.has_changed = False

    def is_to_be_read(self, now: float) -> bool:
        """Whether its file is to be read."""
        return self.file is None and now >= self.retry_at

    def record(self, schedule: Schedule, *, active_age_s: float | None, complete_age_s: float) -> bool:
        """Record a job; as :meth:`.Durations.record`."""
        counts = super().record(schedule, active_age_s=active_age_s, complete_age_s=complete_age_s)
        if counts:
            self.has_changed = True
            self._on_change()
        return counts


class DurationsTable:
    """The histograms of one event loop. The one that has gone unused for longest makes room for a new one."""

    def __init__(self) -> None:
        self.histograms: dict[tuple[str, str, str], Durations] = {}
        self._task: asyncio.Task[None] | None = None
        self._has_timer = self._writes = False
        self._suspected_until = self._left_alone_until = float("-inf")

    def find(self, conn_id: str, tool: str, kind: str, polling: str | None) -> Durations:
        """Return what this event loop has seen of such jobs: of one connection, as the speed of accounts differs.

        :param conn_id: the connection.
        :param tool: slug of the tool, or the kind where the tool is not known.
        :param kind: the jobs' kind.
        :param polling: name of the polling class; None: the tool's default.
        """
        # A class that only a newer version knows is the default one here.
        polling_class = POLLING_CLASSES.get(polling or "") or default_polling_class(tool, kind)
        key = conn_id, tool, polling_class.name
        found = self.histograms.pop(key, None)
        if found is None:
            published = Schedule.of(polling_class, TOOLS.get(tool))
            found = KeptDurations(published, self._on_change, key) if _has_place() else Durations(published)
        self.histograms[key] = found  # the newest last
        if len(self.histograms) > MAX_HISTOGRAMS:
            del self.histograms[next(iter(self.histograms))]
        if isinstance(found, KeptDurations) and found.is_to_be_read(clock.current().monotonic()):
            self._start()
        return found

    def _on_change(self) -> None:
        if not self._has_timer:
            self._has_timer = True
            # An empty context, as for all that belongs to no single task; and real time, also where a test's clock
            # waits by moving a simulator's.
            asyncio.get_running_loop().call_later(_WRITE_AFTER_S, self._on_timer, context=Context())

    def _on_timer(self) -> None:
        self._has_timer, self._writes = False, True
        self._start()

    def _start(self) -> None:
        if self._task is None and clock.current().monotonic() >= self._left_alone_until:
            self._task = asyncio.get_running_loop().create_task(self._work(), context=Context())

    async def _work(self) -> None:
        """Read what is not read yet and, if it is time, write what has changed: one file after another."""
        try:
            while (found := self._next()) is not None:
                one, file = found
                try:
                    await (self._read(one) if file is None else self._write(one, file))
                except NotKeptError:
                    self._leave_alone(one)
        except OccupiedError:
            pass  # another event loop of this process; the next wait, or the next write, tries again
        finally:
            self._task, self._writes = None, False

    def _next(self) -> tuple[KeptDurations, DurationsFile | None] | None:
        """Return a histogram that is to be read, and no file, or one that is to be written, and its file."""
        now = clock.current().monotonic()
        if now < self._left_alone_until:
            return None
        kept = [one for one in self.histograms.values() if isinstance(one, KeptDurations) and now >= one.retry_at]
        for one in kept:
            if one.file is None:
                return one, None
        changed = ((one, one.file) for one in kept if one.has_changed and self._writes)
        return next(((one, file) for one, file in changed if file is not None and file.is_ours), None)

    def _leave_alone(self, one: KeptDurations) -> None:
        now = clock.current().monotonic()
        one.retry_at = now + _LEFT_ALONE_S
        if now < self._suspected_until:
            self._left_alone_until = one.retry_at
        self._suspected_until = one.retry_at

    @staticmethod
    async def _read(one: KeptDurations) -> None:
        conn_id, tool, polling = one.key
        try:
            settings = await MagicHourHook(conn_id).async_settings()
        except Exception:  # noqa: BLE001 (its polls fail for the same reason, and say so)
            one.retry_at = clock.current().monotonic() + _READ_AGAIN_S
            return
        file = await call_in_thread(lambda: DurationsFile(conn_id, settings.base_url, tool, polling))
        one.file = file
        if file.kept is not None:
            one.restore(file.kept)
            file.kept = None

    @staticmethod
    async def _write(one: KeptDurations, file: DurationsFile) -> None:
        kept = one.to_json()
        one.has_changed = False
        try:
            await call_in_thread(lambda: file.write(kept))
        except BaseException:
            one.has_changed = True
            raise


_tables: WeakKeyDictionary[asyncio.AbstractEventLoop, DurationsTable] = WeakKeyDictionary()


def _has_place() -> bool:
    """Whether durations can outlive this process. A test command's process is no triggerer, and ends soon."""
    try:
        return bool(conf.get("magic_hour", "ledger_path", fallback="").strip()) and not is_in_test_process()
    except Exception:  # noqa: BLE001 (no wait ends for a setting that cannot be read; tasks say what is wrong with it)
        return False


def get_durations_table() -> DurationsTable:
    """Return the table of the running event loop."""
    return _tables.setdefault(asyncio.get_running_loop(), DurationsTable())
