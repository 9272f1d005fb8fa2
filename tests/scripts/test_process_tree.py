"""What is started can be stopped, wholly."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

import process_tree
from helpers.waiting import until
from process_tree import Program, free_ports, stop_all

# A leader with a child in another process group, as Airflow's supervisors have; both print a line when they are ready.
FAMILY = """
import os, subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "print('child', flush=True); import time; time.sleep(60)"], process_group=0)
{leader}
"""
STAYS = "print('leader', flush=True); time.sleep(60)"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + STAYS
LEAVES = "print('leader', flush=True)"


@pytest.fixture
def family(tmp_path: Path) -> Iterator[Callable[[str], Program]]:
    programs: list[Program] = []

    def start(leader: str) -> Program:
        command = [sys.executable, "-c", FAMILY.format(leader=leader)]
        programs.append(Program("family", command, log=tmp_path / "family.log"))
        until(lambda: {"child", "leader"} <= set(programs[-1].tail().splitlines()))
        return programs[-1]

    yield start
    stop_all(programs, grace=0)


def test_children_in_other_process_groups_belong_to_a_program(family: Callable[[str], Program]) -> None:
    """Signalling the leader's process group alone would miss them."""
    found = family(STAYS).processes()
    assert len(found) == 2
    assert len({os.getpgid(process.pid) for process in found}) == 2


def test_orphans_belong_to_a_program(family: Callable[[str], Program]) -> None:
    """A leader that ends before its child takes nothing away from what has to be stopped."""
    program = family(LEAVES)
    until(lambda: program.exit_code is not None)
    [orphan] = program.processes()
    stop_all([program], grace=0)
    assert not psutil.pid_exists(orphan.pid) or orphan.status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("leader", [STAYS, DEAF], ids=["polite", "deaf to SIGTERM"])
def test_stop_all_leaves_nothing(family: Callable[[str], Program], leader: str) -> None:
    """Also when the leader ignores SIGTERM, or dies without stopping its child."""
    program = family(leader)
    stop_all([program], grace=0.5)
    assert program.processes() == []


def test_kill_takes_the_whole_tree(family: Callable[[str], Program]) -> None:
    """One kill, and nobody of the session is left to keep working."""
    program = family(STAYS)
    program.kill(signal.SIGKILL)
    assert program.processes() == []
    assert program.exit_code == -signal.SIGKILL


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGINT, -signal.SIGINT)])
def test_signals_run_the_cleanup(sent: int, code: int) -> None:
    """Both leave the block as exceptions, also where SIGINT was ignored before; the exit code still says so."""
    program = (
        "import signal, time\nfrom process_tree import stoppable\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "with stoppable():\n  try:\n    print('ready', flush=True); time.sleep(60)\n  finally: print('cleaned')"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(process_tree.__file__).parent)}
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(sent)
        assert process.stdout.read() == "cleaned\n"
    assert process.returncode == code


def test_free_ports_differ_and_are_free() -> None:
    """Asked for together, no port is handed out twice."""
    ports = free_ports(20)
    assert len(set(ports)) == 20
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", ports[0]))
