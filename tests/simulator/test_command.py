"""The command line, and the options of the class behind it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from helpers.simulator import IMAGE_REQUEST, KEY, Receiver, connect
from helpers.waiting import HANG_S
from magic_hour_provider.api.webhooks import verify
from magic_hour_provider.simulator import Simulator
from magic_hour_provider.simulator.__main__ import main

COMMAND = [sys.executable, "-u", "-m", "magic_hour_provider.simulator"]


def test_startup_log_and_end(tmp_path: Path) -> None:
    """One line says where it listens, one line each request without query or key, and SIGTERM ends it cleanly."""
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        [*COMMAND, "--port", "0", "--speed", "20", "--api-key", "mhk_live_secret"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        assert process.stdout
        line = process.stdout.readline()
        assert line.startswith("Magic Hour simulator on http://127.0.0.1:")
        url = line.split()[4]
        headers = {"Authorization": "Bearer mhk_live_secret"}
        assert httpx.get(f"{url}/v1/account", params={"token": "hidden"}, headers=headers).status_code == 200
        assert httpx.get(f"{url}/v1/account%0AGET").status_code == 401
        logged = [process.stdout.readline().split(" ", 1) for _ in range(2)]
        assert [words for _, words in logged] == ["GET /v1/account 200\n", "GET /v1/account%0AGET 401\n"]
        assert all(re.fullmatch(r"\d\d:\d\d:\d\d", time) for time, _ in logged)
    finally:
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=HANG_S)
    assert (process.returncode, out, err) == (0, "", "")
    assert "mhk_live_secret" not in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--speed", "0"], "speed must be a number above 0"),
        (["--speed", "-3"], "speed"),
        (["--speed", "nan"], "speed"),
        (["--speed", "inf"], "speed"),
        (["--port", "70000"], "port must be from 0 to 65535"),
        (["--credits", "-1"], "credits must be 0 or more"),
        (["--api-key", ""], "api_key"),
        (["--storage", __file__], "cannot be used as a folder"),
        (["--duration-jitter", "2"], "duration_jitter must be a number from 0 to 1"),
        (["--usage-based", "--tier", "free"], "its tier cannot be free"),
        (["--behavior", "deleted_job=maybe"], "deleted_job must be not_found or disabled"),
        (["--webhook", "https://example.com/hook"], "sends webhooks to this machine only"),
        (["--webhook", "http://127.0.0.1:1", "--webhook-secret", ""], "secret must be printable text"),
        (["--behavior", "colour=red"], "There is no behavior 'colour': use one of refunded_credits"),
    ],
)
def test_bad_options(options: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A bad option ends with one clear sentence and exit code 2."""
    assert main(options) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_words_for_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    """A word where a number belongs is refused with exit code 2."""
    with pytest.raises(SystemExit) as end:
        main(["--speed", "fast"])
    assert end.value.code == 2
    assert "fast" in capsys.readouterr().err


def test_busy_port(capsys: pytest.CaptureFixture[str]) -> None:
    """A busy port ends with one clear sentence and exit code 2."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        try:
            assert main(["--port", str(port)]) == 2
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
    error = capsys.readouterr().err
    assert error == f"Error: cannot listen on 127.0.0.1 port {port}: Address already in use.\n"


def _started(*options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, "--port", "0", *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_manual_clock_and_behavior() -> None:
    """The options of the command line reach the service, and --quiet leaves the log out."""
    process = _started("--manual-clock", "--quiet", "--behavior", "deleted_job=disabled", "--seed", "7")
    try:
        assert process.stdout
        line = process.stdout.readline()
        assert "manual clock" in line
        with httpx.Client(base_url=line.split()[4], headers={"Authorization": f"Bearer {KEY}"}, verify=False) as http:
            job = http.post("/v1/ai-image-generator", json=IMAGE_REQUEST).json()["id"]
            assert http.post("/_simulator/advance", json={"seconds": 90}).json() == {"now": 1_800_000_090.0}
            assert http.delete(f"/v1/image-projects/{job}").status_code == 204
            assert http.get(f"/v1/image-projects/{job}").json()["enabled"] is False
            assert http.get("/_simulator/stats").json()["creates"]["accepted"] == 1
        with Simulator(seed=7) as same, connect(same) as http:
            assert http.post("/v1/ai-image-generator", json=IMAGE_REQUEST).json()["id"] == job
            assert same.summary().creates == 1
    finally:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=HANG_S)
    assert (process.returncode, out, err) == (0, "", "")


def test_webhooks_of_the_command() -> None:
    """It sends webhooks where the command line says, signed with its secret, and has a line for each in its log."""
    with Receiver() as receiver:
        process = _started("--webhook", receiver.url + "?token=hidden", "--webhook-secret", "whsec_mine")
        try:
            assert process.stdout
            url = process.stdout.readline().split()[4]
            with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {KEY}"}, verify=False) as http:
                request = {"image_count": 1, "style": {"prompt": "[[seconds:0.1]]"}}
                job = http.post("/v1/ai-image-generator", json=request).json()["id"]
            lines = [process.stdout.readline().split(" ", 1)[1] for _ in range(3)]
            sent = f"{job} to {receiver.url} 200\n"
            assert lines[1:] == [f"webhook image.started {sent}", f"webhook image.completed {sent}"]
            assert httpx.get(f"{url}/_simulator/stats").json()["creates"]["accepted"] == 1
        finally:
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=HANG_S)
    assert process.returncode == 0
    assert "hidden" not in out + err
    for headers, body in receiver.requests:
        verify(body, headers, ["whsec_mine"], time.time())


def test_it_warns_when_others_can_reach_it() -> None:
    """Listening on every address is allowed and said; the address shown is one that a client here can use."""
    process = _started("--host", "0.0.0.0")
    try:
        assert process.stdout
        assert " http://127.0.0.1:" in process.stdout.readline()
    finally:
        process.send_signal(signal.SIGTERM)
        err = process.communicate(timeout=HANG_S)[1]
    assert err == "Warning: listening on 0.0.0.0, so other machines can reach it.\n"


def test_the_behavior_is_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    """The help names every setting of the behavior, its default first."""
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = "".join(capsys.readouterr().out.split())
    assert "oneseedgivesthesameids(default:randomones)" in shown
    assert "deleted_job=not_found|disabled;" in shown
    assert "upload_link_seconds=900;" in shown


def test_options_of_the_class() -> None:
    """A tier that does not exist is refused, and without start() there is no address."""
    with pytest.raises(ValueError, match="creator"):
        Simulator(tier="gold")
    idle = Simulator()
    with pytest.raises(RuntimeError, match="start"):
        _ = idle.url
    idle.close()


def test_close_twice_and_start_by_hand() -> None:
    """start() and close() work without a with statement, and closing again does nothing."""
    sim = Simulator()
    assert httpx.get(f"{sim.start().url}/_simulator/stats").status_code == 200
    sim.close()
    sim.close()
