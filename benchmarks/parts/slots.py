"""Worker slots as Airflow's LocalExecutor has them: its workers say in their process title whether they are busy."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable
from types import TracebackType

import psutil

_EVERY_S = 0.05
_WORKER = "airflow worker -- LocalExecutor"


class Slots:
    """Watches the workers for the length of a ``with`` block.

    :param processes: gives Airflow's processes.
    """

    def __init__(self, processes: Callable[[], Iterable[psutil.Process]]) -> None:
        workers = [process for process in processes() if _title(process).startswith(_WORKER)]
        # A task's own process is a worker's child, and has its title.
        pids = {worker.pid for worker in workers}
        self._workers = [worker for worker in workers if worker.ppid() not in pids]
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.busy_s = 0.0
        """Seconds that workers were busy, all together."""
        self.starts = 0
        """How often one of them took up work."""

    def __enter__(self) -> Slots:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()

    def idle(self) -> bool:
        """Whether no worker is busy now."""
        return not any(map(_busy, self._workers))

    def _watch(self) -> None:
        before: dict[int, bool] = {}
        last = time.monotonic()
        while not self._stopped.wait(_EVERY_S):
            now = time.monotonic()
            for worker in self._workers:
                busy = _busy(worker)
                self.busy_s += (now - last) * busy
                self.starts += busy and not before.get(worker.pid, False)
                before[worker.pid] = busy
            last = now


def _title(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def _busy(worker: psutil.Process) -> bool:
    title = _title(worker)
    return bool(title) and not title.rstrip().endswith("<idle>")
