"""What a program's processes use of the machine, from now on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable

import psutil


class Usage:
    """Adds up the processes of a program, also those that come and go.

    :param processes: gives them.
    """

    def __init__(self, processes: Callable[[], Iterable[psutil.Process]]) -> None:
        self._processes = processes
        self._cpu_s: dict[int, float] = {}
        self.largest = 0
        """Bytes that the largest process has had resident."""
        self.read()
        self._before, self._resident = sum(self._cpu_s.values()), self.largest

    @property
    def cpu_s(self) -> float:
        """CPU seconds of all since the beginning, user and system, as last read."""
        return sum(self._cpu_s.values()) - self._before

    @property
    def grown(self) -> int:
        """Bytes by which the largest process has grown."""
        return self.largest - self._resident

    def read(self) -> None:
        """Read once more: what a process uses after its last reading is not counted."""
        for process in self._processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                self._cpu_s[process.pid] = times.user + times.system
                self.largest = max(self.largest, process.memory_info().rss)
