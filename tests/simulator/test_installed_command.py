"""``magic-hour-simulator`` as it is installed: what a person at a terminal reads."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from helpers.simulator import IMAGE_REQUEST, KEY
from helpers.waiting import HANG_S
from magic_hour_provider.simulator import Simulator

COMMAND = Path(sys.executable).parent / "magic-hour-simulator"


def test_from_start_to_ctrl_c() -> None:
    """It says where it listens, logs a create with its job and credits, and Ctrl+C ends it with exit code 0."""
    process = subprocess.Popen([COMMAND, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        started = process.stdout.readline()
        assert re.fullmatch(
            r"Magic Hour simulator on http://127\.0\.0\.1:\d+ - 1 x real time, 100000 credits, "
            r"the default key\. Ctrl\+C stops it\.\n",
            started,
        )
        url = started.split()[4]
        headers = {"Authorization": f"Bearer {KEY}"}
        made = httpx.post(f"{url}/v1/ai-image-generator", json=IMAGE_REQUEST, headers=headers).json()
        logged = process.stdout.readline()
        accepted = httpx.get(f"{url}/_simulator/stats").json()["creates"]["accepted"]
        process.stdout.readline()
    finally:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=HANG_S)
    assert re.fullmatch(rf"\d\d:\d\d:\d\d POST /v1/ai-image-generator 200 {made['id']} 10 credits\n", logged)
    assert made["credits_charged"] == 10
    assert accepted == 1
    assert (process.returncode, out, err) == (0, "", "")


@pytest.mark.parametrize("missing", ["PIL", "av"])
def test_without_its_extra(missing: str) -> None:
    """Without Pillow or PyAV it says in one sentence what to install, and ends with exit code 2."""
    script = (
        f"import runpy, sys; sys.modules[{missing!r}] = None; runpy.run_path({str(COMMAND)!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=HANG_S)
    assert done.returncode == 2
    assert done.stderr == (
        "Error: The simulator needs Pillow and PyAV: pip install 'airflow-provider-magic-hour[simulator]'.\n"
    )


def test_the_log_tells_what_a_create_made() -> None:
    """A refused create has no job; one whose response was lost has one."""
    lines: list[str] = []
    with Simulator(log=lines.append, credits=25) as sim:
        headers = {"Authorization": f"Bearer {KEY}"}
        url = f"{sim.url}/v1/ai-image-generator"
        sim.inject_fault("close-after-accept")
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.post(url, json=IMAGE_REQUEST, headers=headers)
        httpx.post(url, json=IMAGE_REQUEST, headers=headers)
        httpx.post(url, json=IMAGE_REQUEST, headers=headers)
        first, second = sim.jobs()
        assert sim.stats()["creates"]["accepted"] == 2
    assert lines == [
        f"POST /v1/ai-image-generator closed without a response {first['id']} 10 credits",
        f"POST /v1/ai-image-generator 200 {second['id']} 10 credits",
        "POST /v1/ai-image-generator 402",
    ]
