"""Workers that take turns at each call to their storage, so that a test decides who is where."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any

import pytest

from helpers.waiting import HANG_S
from magic_hour_provider import clock
from magic_hour_provider.batch.records import folder
from magic_hour_provider.clock import Clock
from magic_hour_provider.storage.exclusive import NotExclusiveError

CALLS = ("create_file", "replace_file", "read_file", "remove_file", "list_names", "list_tree")


class Killed(BaseException):
    """Stands for kill -9: nothing of ours catches it, and no call after it comes through."""


class Worker(threading.Thread):
    """A worker that stops before each call, until it is given its turn.

    :param work: what it does.
    :param faults: by the number of the call, from 0: ``fails``, ``fails late`` (after it took effect), ``dies`` (before
        it), ``dies late``.
    """

    def __init__(self, work: Callable[[], Any], faults: dict[int, str] | None = None) -> None:
        super().__init__(daemon=True)
        self._work, self._faults = work, faults or {}
        self._go, self._stopped = threading.Event(), threading.Event()
        self.calls, self.is_dead, self.error = 0, False, None

    def run(self) -> None:
        """Work, whatever comes of it."""
        try:
            self.pause()
            self._work()
        except Killed:
            pass
        except BaseException as error:
            self.error = error
        finally:
            self.is_over = True
            self._stopped.set()

    is_over = False

    def pause(self) -> None:
        """Wait for the next turn."""
        self._stopped.set()
        assert self._go.wait(HANG_S)
        self._go.clear()

    def take_turn(self) -> None:
        """Let it run up to its next call, or to its end."""
        if self.is_over:
            return
        self._stopped.clear()
        self._go.set()
        assert self._stopped.wait(HANG_S)

    def begin(self) -> None:
        """Start it, up to its beginning."""
        self.start()
        assert self._stopped.wait(HANG_S)

    def call(self, real: Callable[[], Any]) -> Any:
        """Make a call in its turn, with its fault."""
        self.pause()
        how = self._faults.get(self.calls)
        self.calls += 1
        if self.is_dead or how == "dies":
            self.is_dead = True
            raise Killed
        if how == "fails":
            raise OSError("away")
        result = real()
        if how == "fails late":
            raise OSError("away")
        if how == "dies late":
            self.is_dead = True
            raise Killed
        return result


class TurnsClock(Clock):
    """A clock whose pauses are turns: the worker that waits is called again when the test wants that."""

    def __init__(self) -> None:
        self._now = 1_800_000_000.0

    def now(self) -> float:
        """Return a time that only pauses move."""
        return self._now

    def monotonic(self) -> float:
        """Return the same time."""
        return self._now

    def sleep(self, seconds: float) -> None:
        """Let others take their turns."""
        worker = threading.current_thread()
        if isinstance(worker, Worker):
            worker.pause()
        self._now += seconds


class TurnsStorage:
    """A storage in memory that is consistent at once. A listing is no snapshot: it takes two turns.

    :param is_exclusive: whether it refuses a taken name.
    """

    def __init__(self, is_exclusive: bool) -> None:
        self.is_exclusive = is_exclusive
        self.files: dict[str, bytes] = {}

    @contextmanager
    def patched(self) -> Iterator[None]:
        """Take the place of any storage that records are kept in, with a clock that counts turns."""
        with pytest.MonkeyPatch.context() as patch, clock.override(TurnsClock()):
            for name in CALLS:
                patch.setattr(folder, name, getattr(self, name))
            yield

    def create_file(self, path: Any, data: bytes) -> None:
        """Create a file, if the storage is one that can."""

        def create() -> None:
            if str(path) in self.files:
                raise FileExistsError(str(path))
            self.files[str(path)] = data

        if not self.is_exclusive:
            raise NotExclusiveError
        _in_turn(create)

    def replace_file(self, path: Any, data: bytes) -> None:
        """Write a file."""
        _in_turn(lambda: self.files.update({str(path): data}))

    def read_file(self, path: Any) -> bytes:
        """Read a file."""

        def read() -> bytes:
            if str(path) not in self.files:
                raise FileNotFoundError
            return self.files[str(path)]

        found: bytes = _in_turn(read)
        return found

    def remove_file(self, path: Any) -> None:
        """Remove a file."""
        _in_turn(lambda: self.files.pop(str(path), None))

    def list_names(self, where: Any, prefix: str) -> list[str]:
        """List a folder."""
        return [name.rpartition("/")[2] for name in self.list_tree(where) if name.startswith(prefix)]

    def list_tree(self, where: Any) -> list[str]:
        """List a folder and those in it: names with an odd number of letters first, the others a turn later."""

        def names(odd: int) -> list[str]:
            inside = [PurePosixPath(path) for path in self.files if path.startswith(f"{where}/")]
            return [str(path.relative_to(str(where))) for path in inside if len(path.name) % 2 == odd]

        odd = _in_turn(lambda: names(1))
        return [*odd, *_in_turn(lambda: names(0))]


def _in_turn(real: Callable[[], Any]) -> Any:
    worker = threading.current_thread()
    return worker.call(real) if isinstance(worker, Worker) else real()


def take_turns(workers: list[Worker], order: Iterable[int], *, most: int = 2000) -> None:
    """Let workers take turns in an order of their indexes; then one after the other, until all are over.

    :param most: turns in all; more would be workers that wait for one another for ever.
    """
    for worker in workers:
        worker.begin()
    for index in order:
        workers[index % len(workers)].take_turn()
    for _ in range(most):
        left = [worker for worker in workers if not worker.is_over]
        if not left:
            break
        for worker in left:
            worker.take_turn()
    else:
        raise AssertionError("the workers wait for one another")
    for worker in workers:
        worker.join(HANG_S)
        if worker.error is not None:
            raise worker.error
