"""Start programs and stop them without leaving anything behind.

A program started here leads a session of its own. Whatever it starts stays in that session, also when it changes its
process group (Airflow's task processes do) or outlives its parent, so "everything that belongs to it" has a definite
answer until the last of them is gone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType

import psutil


class Program:
    """One program: its session of processes and the file its output goes to.

    :param name: what messages call it
    :param command: the command and its arguments
    :param log: receives standard output and error; appended to, so that a restart keeps what came before
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.name, self.log = name, log
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._leader = subprocess.Popen(
                command,
                env=env,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # also keeps the terminal's Ctrl-C away: we decide who stops, and when
            )

    @property
    def pid(self) -> int:
        """The process that was started, which is also the id of its session."""
        return self._leader.pid

    @property
    def exit_code(self) -> int | None:
        """How the leader ended; none while it runs."""
        return self._leader.poll()

    def processes(self) -> list[psutil.Process]:
        """Every living process of this program, orphans included."""
        # Zombies count as gone: the ones whose parent died are init's to collect.
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, ProcessLookupError, PermissionError):
                if os.getsid(process.pid) == self.pid and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def send(self, number: int) -> None:
        """Send a signal to every process of this program, the leader first."""
        for process in sorted(self.processes(), key=lambda process: process.pid != self.pid):
            with contextlib.suppress(psutil.Error):
                process.send_signal(number)

    def wait(self, seconds: float) -> bool:
        """Wait until no process of this program is left; false when some outlive the bound."""
        end = time.monotonic() + seconds
        while True:
            self._leader.poll()
            if not self.processes():
                return True
            if time.monotonic() >= end:
                return False
            time.sleep(0.1)

    def kill(self, number: int = signal.SIGKILL, *, seconds: float = 10) -> None:
        """Send a signal to the whole program and wait until all of it is gone.

        :raises TimeoutError: when some of it is still there after ``seconds``
        """
        self.send(number)
        if not self.wait(seconds):
            left = ", ".join(f"{process.pid}" for process in self.processes())
            raise TimeoutError(f"{self.name} did not stop within {seconds:g} s of signal {number}; still there: {left}")

    def tail(self, lines: int = 30) -> str:
        """The last lines that the program wrote."""
        return tail(self.log, lines)


def stop_all(programs: Sequence[Program], *, grace: float = 8) -> None:
    """Stop programs together: ask each leader, then, after ``grace`` seconds, SIGKILL all that is left.

    Only the leaders are asked politely, since they know in which order their own processes have to go.
    Ctrl-C and SIGTERM are ignored meanwhile: an impatient second Ctrl-C must not leave half of it running.
    """
    with _signals(signal.SIG_IGN):
        for program in programs:
            if program.exit_code is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(program.pid, signal.SIGTERM)
        end = time.monotonic() + grace
        left = [program for program in programs if not program.wait(max(0.0, end - time.monotonic()))]
        for program in left:
            program.send(signal.SIGKILL)
        for program in left:
            while not program.wait(1):  # a process may have been born between the listing and the signal
                program.send(signal.SIGKILL)


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the block as exceptions, with its cleanup.

    SIGTERM would end the interpreter on the spot; SIGINT is ignored in what a script's shell started with ``&``.
    """

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    previous = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),
        signal.SIGTERM: signal.signal(signal.SIGTERM, leave),
    }
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def free_ports(count: int) -> list[int]:
    """Different TCP ports that nothing listens on now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in sockets]


def tail(path: Path, lines: int) -> str:
    """The last lines of a text file, or a remark that it is empty."""
    text = path.read_text(errors="replace") if path.exists() else ""
    return "\n".join(text.splitlines()[-lines:]) or "(it wrote nothing)"


@contextlib.contextmanager
def _signals(handler: signal.Handlers) -> Iterator[None]:
    try:
        previous = [(number, signal.signal(number, handler)) for number in (signal.SIGINT, signal.SIGTERM)]
    except ValueError:  # not the main thread, which alone receives signals
        yield
        return
    try:
        yield
    finally:
        for number, old in previous:
            signal.signal(number, old)
