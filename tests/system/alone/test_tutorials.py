"""The tutorials, pasted command by command: a new Airflow and a simulator, as a reader's own shell starts them."""

from __future__ import annotations

import json
import os
import re
import sys
from contextlib import suppress
from pathlib import Path
from shutil import which
from typing import Any

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS

from airflow_settings import ANSWER_S
from helpers.waiting import HANG_S, until
from process_tree import Program, free_ports, stop_all, tail

ROOT = Path(__file__).parents[3]
START = ROOT / "docs" / "start"

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(not (which("bash") and which("curl")), reason="the tutorials are for bash, and use curl"),
    pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="the tutorials install Airflow 3.3"),
]

_BLOCK = re.compile(
    r"^(?:Save this as `(?P<file>[^`]+)`:\n\n)?```(?P<language>bash|python)\n(?P<text>.*?)^```$", re.M | re.S
)
_LIMIT_S = 900.0  # on a machine that is busy with something else


def sections(page: str) -> dict[str, str]:
    """Return what a reader pastes of each section of a page: its commands, and its files as they are to be saved."""
    scripts = {}
    for section in re.split(r"^## ", (START / page).read_text(), flags=re.M)[1:]:
        lines = []
        for block in _BLOCK.finditer(section):
            if block["language"] == "python":
                lines += [f"cat > {block['file']} <<'END'", block["text"] + "END"]
            else:
                lines += block["text"].splitlines()
        scripts[section.partition("\n")[0]] = "\n".join(lines)
    return scripts


def stats(output: str) -> list[dict[str, Any]]:
    """Return the simulator's counters, each time that the tutorial shows them."""
    decode = json.JSONDecoder().raw_decode
    return [decode(output, found.start())[0] for found in re.finditer(r'\{"creates"', output)]


@pytest.fixture(scope="module")
def transcript(tmp_path_factory) -> str:
    """Paste both tutorials into one shell, and return all that it has shown; only installing is left out."""
    home = tmp_path_factory.mktemp("home")
    (home / "magic-hour-try").mkdir()
    first, second = sections("simulator.md"), sections("recovery.md")
    assert first.pop("1. Install").splitlines()[-1].startswith("pip install -c constraints/")
    stop = first.pop("Stop it")
    del first["With a key of your own"]
    script = "\n".join(
        ["set -m", *first.values(), *second.values(), stop, "wait", "echo The shell has reached its end."]
    )
    # The reader's machine has both ports free; this one may not.
    airflow, simulator, worker_logs, trigger_logs = free_ports(4)
    assert script.count("8080") >= 1 and script.count("8765") >= 1
    script = re.sub(r"^(airflow magic-hour regenerate .*)$", r"\1 <<< n", script, flags=re.M)  # as the page says
    script = script.replace("8080", str(airflow)).replace("8765", str(simulator))
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "MAGIC_HOUR"))}
    environment |= {
        "HOME": str(home),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
        "COLUMNS": "500",
        "AIRFLOW__API__PORT": str(airflow),
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{airflow}",
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(worker_logs),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(trigger_logs),
        # The reader's machine does nothing else; on this one a task may wait for an answer, or for SQLite.
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": str(ANSWER_S),
        "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": str(HANG_S),
        "AIRFLOW__DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT": str(HANG_S),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/magic-hour-try/airflow/airflow.db?timeout=60",
    }
    # With job control, as in the shell of a reader: what is started with & can be interrupted.
    shell = Program("the tutorial", ["bash", "-v", "-c", script], log=home / "log", env=environment, cwd=ROOT)
    try:
        with suppress(AssertionError):
            until(lambda: shell.exit_code is not None, _LIMIT_S)
        has_left_nothing = shell.exit_code is not None and shell.wait(HANG_S)
    finally:
        stop_all([shell])
    logs = [shell.log, *sorted((home / "magic-hour-try").glob("*.log"))]
    if shell.exit_code or not has_left_nothing:
        pytest.fail("\n\n".join(f"{log.name}:\n{tail(log, 40)}" for log in logs))
    return shell.log.read_text(errors="replace")


def test_the_first_job_is_finished_and_paid_once(transcript):
    """The first tutorial ends with a stored picture and one create, also after the task has run a second time."""
    first, again, _ = stats(transcript)
    assert (first["creates"]["accepted"], first["credits"]["charged"]) == (1, 10)
    assert again["creates"]["accepted"] == 1
    assert re.search(r"^ai-image-generator-\w+-1\.png$", transcript, re.M)
    assert "100000" in transcript  # the credits that account shows


def test_the_lost_job_is_recovered_for_nothing(transcript):
    """The second one loses a response and finds its job: one more create for one more run, and a success in the end."""
    end = stats(transcript)[-1]
    assert (end["creates"]["accepted"], end["credits"]["charged"], end["credits"]["refunded"]) == (2, 20, 0)
    states = re.findall(r"^(success|failed)$", transcript, re.M)
    assert states == ["success", "success", "failed", "success"]
    assert "Nothing was changed, and nothing is paid." in transcript  # the question of the last command, denied


def test_both_programs_end(transcript):
    """The commands that stop Airflow and the simulator end all that they have started, which the fixture has seen."""
    assert transcript.rstrip().endswith("The shell has reached its end.")
