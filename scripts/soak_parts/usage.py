"""What the processes of several programs use of the machine, also those that come and go, and those that are killed."""

from __future__ import annotations

import contextlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

import psutil

Part = tuple[float, int]
"""CPU seconds and resident bytes of a living process."""


class UsageByProgram:
    """Adds up the processes of programs.

    A process that has ended is in what its parent has collected, and what is killed with all its parents stays as it
    was at the last reading.
    """

    def __init__(self) -> None:
        self._cpu_s: dict[str, dict[int, float]] = defaultdict(dict)
        self.peak: dict[str, int] = {}
        """Resident bytes of the largest process of each program."""
        self.peak_together = 0
        """Resident bytes of all processes together; what they share is counted for each."""

    def read(self, leaders: Mapping[str, int], trees: Mapping[str, Sequence[psutil.Process]]) -> None:
        """Read once more.

        :param leaders: the leader of each program's session, by name.
        :param trees: the processes of what makes sessions of its own, its leader first.
        """
        names = {pid: name for name, pid in leaders.items()}
        found = [
            (names[leader], leader, process)
            for process in psutil.process_iter()
            if (leader := _session(process.pid)) in names
        ]
        found += [(name, tree[0].pid, process) for name, tree in trees.items() for process in tree]
        self.add([(name, leader, *part) for name, leader, process in found if (part := _read(process))])

    def add(self, parts: Iterable[tuple[str, int, float, int]]) -> None:
        """Take a reading: of each living process its program, its leader, CPU seconds and resident bytes."""
        now: dict[tuple[str, int], float] = defaultdict(float)
        together = 0
        for name, leader, cpu_s, resident in parts:
            now[name, leader] += cpu_s
            self.peak[name] = max(self.peak.get(name, 0), resident)
            together += resident
        self.peak_together = max(self.peak_together, together)
        for (name, leader), cpu_s in now.items():
            # Between its end and its parent's wait a process is nowhere: a sum never falls.
            self._cpu_s[name][leader] = max(self._cpu_s[name].get(leader, 0.0), cpu_s)

    def cpu_s(self, is_counted: Callable[[str], bool] = lambda _: True) -> float:
        """CPU seconds, user and system, of the programs that count."""
        return sum(sum(lives.values()) for name, lives in self._cpu_s.items() if is_counted(name))


def _session(pid: int) -> int:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        return os.getsid(pid)
    return 0


def _read(process: psutil.Process) -> Part | None:
    with contextlib.suppress(psutil.Error):
        times = process.cpu_times()
        own = times.user + times.system + times.children_user + times.children_system
        return own, process.memory_info().rss
    return None
