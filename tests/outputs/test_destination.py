"""Where a job's files go: a folder that is meant, and a log that names every file in it."""

from __future__ import annotations

import logging
from pathlib import Path, PurePath
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from helpers.attempts import TaskInstance
from helpers.jobs import finished_job
from magic_hour_provider.api.catalog import Tool
from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.operators.files import MagicHourDownloadOperator
from magic_hour_provider.operators.magic_hour import MagicHourOperator
from magic_hour_provider.sensors.job import MagicHourJobSensor

REQUEST = {"image_count": 1, "style": {"prompt": "a lighthouse"}}
RELATIVE = [
    "./x",
    "x",
    "x/y",
    "~/x",
    "file://x/y",
    "file:x",
    "local://x",
    "s3:/b/x",
    "C:\\x",
    "{a}/b",
    " ./x\n",
    PurePath("x"),
]


def tell(caplog, capsys) -> str:
    """Return the log: Airflow's own goes through structlog, which writes to stdout here."""
    return caplog.text + capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:Task .* was never mapped")
@pytest.mark.parametrize("path", [*RELATIVE, "out/{{ run_id }}", "./{{ run_id }}"], ids=str)
def test_a_relative_folder_is_an_error_while_the_dag_is_parsed(path):
    """It would be a folder of whatever worker runs the task, whichever of our operators has it."""
    arguments: dict[str, Any] = {"task_id": "make", "output_path": path}
    job = {"kind": "image", "id": "abc"}
    with pytest.raises(InvalidInputError, match=r"relative path.*nothing was charged\."):
        MagicHourOperator(tool="ai-image-generator", request=REQUEST, **arguments)
    with pytest.raises(InvalidInputError, match="relative path"):
        MagicHourOperator.partial(tool="ai-image-generator", **arguments)
    for operator in (MagicHourJobSensor, MagicHourDownloadOperator):
        with pytest.raises(InvalidInputError, match="relative path"):
            operator(job=job, **arguments)


@pytest.mark.parametrize(
    "path",
    ["{{ x }}/y", "/a/{{ x }}", "{{ x }}", "s3://b/{{ x }}", "s3:{{ x }}/y", "file:///x", "file:/x", "file://~/x", ""],
)
def test_a_folder_that_is_none_or_may_be_a_whole_path(path):
    """What a template may still make whole is judged when it has."""
    MagicHourOperator(task_id="make", tool="ai-image-generator", request=REQUEST, output_path=path)
    MagicHourJobSensor(task_id="wait", job={"kind": "image", "id": "abc"}, output_path=path)


@pytest.mark.usefixtures("either_ledger")
@pytest.mark.parametrize("path", RELATIVE, ids=str)
def test_a_folder_that_is_relative_once_it_is_rendered(airflow, monkeypatch, tmp_path, path):
    """Nothing is paid, and nothing is written into the worker's own folder."""
    monkeypatch.chdir(tmp_path)
    operator = airflow.operator(output_path="{{ params.folder }}")
    operator.output_path = path
    with pytest.raises(AirflowFailException, match=r"relative path.*nothing was charged"):
        airflow.attempt(operator, ti := TaskInstance())
    assert (airflow.creates(), ti.record) == (0, None)
    assert {path.name for path in tmp_path.iterdir()} <= {"ledger"}


def test_a_relative_folder_of_the_settings(airflow, monkeypatch, tmp_path):
    """It is found before anything is paid too."""
    monkeypatch.chdir(tmp_path)
    airflow.setting("output_path", "media")
    with pytest.raises(AirflowFailException, match="relative path"):
        airflow.attempt(airflow.operator(output_path=None), TaskInstance())
    assert (airflow.creates(), list(tmp_path.iterdir())) == (0, [])


def test_a_sensor_whose_folder_is_relative_once_it_is_rendered(airflow):
    """It fails at its first poll, not when the job has ended."""
    _, job = finished_job(airflow.sim)
    sensor = MagicHourJobSensor(task_id="wait", job={"kind": "image", "id": job.id}, output_path="{{ params.folder }}")
    sensor.output_path = "x/y"
    with pytest.raises(AirflowFailException, match="relative path"):
        airflow.attempt(sensor, TaskInstance("wait"))
    assert airflow.creates() == 1


@pytest.mark.parametrize("around", ["{}\n", "  {}", "\t{} \r\n"])
def test_blanks_around_a_folder(airflow, around):
    """A file or a variable has left them there: they are no part of the folder's name."""
    folder = f"{airflow.output}/out"
    result = airflow.attempt(airflow.operator(output_path=around.format(folder)), TaskInstance())
    assert Path(result["file"].removeprefix("file://")).parent == Path(folder)
    sensor = MagicHourJobSensor(task_id="wait", job=result, output_path=around.format(f"{folder}/again"))
    again = airflow.attempt(sensor, TaskInstance("wait"))
    assert Path(again["file"].removeprefix("file://")).parent == Path(folder, "again")
    assert airflow.creates() == 1


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_forgotten_folder(airflow, caplog, capsys, deferrable):
    """The task succeeds and one warning says that nothing is stored, and where the files are."""
    operator = airflow.operator("text-to-video", {"end_seconds": 5, "style": {"prompt": "x"}}, output_path=None)
    operator.deferrable = deferrable
    result = airflow.attempt(operator, TaskInstance())
    assert result["file"] is None
    text = tell(caplog, capsys)
    assert caplog.text.count("no output_path") == 1
    assert caplog.text.count(result["library_url"]) >= 1
    assert "Stored" not in text
    assert airflow.creates() == 1


def test_a_template_that_leaves_no_folder(airflow, caplog):
    """Nobody meant that."""
    operator = airflow.operator(output_path="{{ params.folder }}")
    operator.output_path = " "
    assert airflow.attempt(operator, TaskInstance())["files"] == []
    assert caplog.text.count("no output_path") == 1
    assert airflow.creates() == 1


@pytest.mark.parametrize("options", [{"output_path": ""}, {"output_path": None, "wait_for_completion": False}], ids=str)
def test_a_task_that_is_to_store_nothing(airflow, caplog, options):
    """There is nothing to warn about: the next task takes the job by reference, or waits for it."""
    airflow.attempt(airflow.operator(**options), TaskInstance())
    assert "no output_path" not in caplog.text
    assert airflow.creates() == 1


@pytest.mark.parametrize("folder", [None, ""])
def test_a_sensor_without_a_folder(airflow, caplog, folder):
    """As the operator."""
    _, job = finished_job(airflow.sim)
    sensor = MagicHourJobSensor(task_id="wait", job={"kind": "image", "id": job.id}, output_path=folder)
    airflow.attempt(sensor, TaskInstance("wait"))
    assert caplog.text.count("no output_path") == (folder is None)
    assert airflow.creates() == 1


def test_the_log_names_every_stored_file(airflow, caplog, place):
    """One line with its size for each, and one that says which of them were there already; the sensor's log too."""
    caplog.set_level(logging.INFO)
    operator = airflow.operator(request={"image_count": 2, "style": {"prompt": "x"}}, output_path=place.uri)
    result = airflow.attempt(operator, TaskInstance())
    for one in result["media"]:
        size = f"{one['size'] / 1e3:,.1f} kB"
        assert caplog.text.count(f"Stored {one['uri']} ({size}).") == 1
    caplog.clear()
    airflow.attempt(MagicHourJobSensor(task_id="wait", job=result, output_path=place.uri), TaskInstance("wait"))
    assert "Stored" not in caplog.text
    assert [caplog.text.count(f"{one['uri']} is there already (") for one in result["media"]] == [1, 1]
    caplog.clear()
    sensor = MagicHourJobSensor(task_id="wait", job=result, output_path=f"{place.uri}/elsewhere")
    files = airflow.attempt(sensor, TaskInstance("wait"))["files"]
    assert [caplog.text.count(f"Stored {uri} (") for uri in files] == [1, 1]
    assert airflow.creates() == 1


def test_one_line_says_that_the_job_is_submitted(airflow, caplog, capsys):
    """With its id, what it costs, and where it is."""
    caplog.set_level(logging.INFO)
    result = airflow.attempt(airflow.operator(), TaskInstance())
    lines = [line for line in caplog.messages if "ubmitted" in line or "accepted" in line]
    assert lines == [
        f"Submitted Magic Hour job {result['id']} (ai-image-generator), charged 10 credits. It keeps running and stays "
        f"charged whatever happens to this task; see {result['library_url']}"
    ]
    assert "accepted job" not in capsys.readouterr().out
    assert airflow.creates() == 1


@pytest.mark.parametrize("path", ["/x/a\0", "/x/\ud800", "s3://b/a\nb", "memory://a/\x1b", "/x\x7f"], ids=ascii)
def test_a_folder_of_no_text(airflow, path):
    """What no database takes would lose the result of a job that is paid for."""
    operator = airflow.operator(output_path="{{ params.folder }}")
    operator.output_path = path
    with pytest.raises(AirflowFailException, match=r"characters that no folder has.*nothing was charged"):
        airflow.attempt(operator, TaskInstance())
    assert airflow.creates() == 0


@pytest.mark.parametrize("path", ["s3://[x/y", "nosuch://x/y", "s3://no_such_connection@b/x", "/a/../b"])
def test_a_folder_that_cannot_be_opened_when_the_job_has_ended(airflow, path):
    """A sensor that finds it so, or the retry of a task whose folder has changed, fails in one sentence, for good."""
    _, job = finished_job(airflow.sim)
    sensor = MagicHourJobSensor(task_id="wait", job={"kind": "image", "id": job.id}, output_path=path)
    with pytest.raises(AirflowFailException, match=r"files .*have no place") as raised:
        airflow.attempt(sensor, TaskInstance("wait"))
    assert job.id in str(raised.value)
    assert airflow.creates() == 1


def test_a_tool_with_a_long_name(airflow):
    """Its files have a name that disks take: a failure would come after the payment."""
    tool = Tool("x" * 300, "image", "/v1/ai-image-generator", accepts_name=True)
    result = airflow.attempt(airflow.operator(tool), TaskInstance())
    (file,) = result["files"]
    assert file.endswith(f"/{'x' * 60}-{result['id']}-1.png")
    assert Path(file.removeprefix("file://")).exists()
    assert airflow.creates() == 1
