"""What people give as a file and is none: one sentence before anything is paid, however much of it there is."""

from __future__ import annotations

import base64
import io
import json
import os
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.sdk import Asset

from helpers.attempts import TaskInstance
from helpers.jobs import finished_job
from helpers.samples import PHOTO
from magic_hour_provider.api.catalog import get_tool
from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.api.models import library_url
from magic_hour_provider.execution.spec import prepare_request
from magic_hour_provider.inputs.fields import find_inputs
from magic_hour_provider.inputs.sources import check_inputs
from magic_hour_provider.operators.files import MagicHourDownloadOperator, MagicHourUploadOperator

CONTENT = base64.b64encode(os.urandom(3_000_000)).decode()  # 4 MB, as a photo is
REFERENCE = "api-assets/id/x.png"
MOMENT = datetime(2030, 1, 1, tzinfo=UTC)
CONTENTS: dict[str, tuple[Any, str]] = {
    "base64": (CONTENT, "the content of a file as text"),
    "base64 in lines": ("\n".join(CONTENT[at : at + 76] for at in range(0, 100_000, 76)), "the content of a file"),
    "data URI": (f"data:image/png;base64,{CONTENT}", "the content of a file as text"),
    "data URI that is not base64": ("data:image/svg+xml,%3Csvg" + "x" * 4_000_000, "the content of a file as text"),
    "bytes": (os.urandom(3_000_000), "3,?000,?000 bytes"),
    "bytearray": (bytearray(3_000_000), "3,?000,?000 bytes"),
    "memoryview": (memoryview(bytes(300)), "300 bytes"),
    "open file": (PHOTO.open("rb"), "BufferedReader"),
    "open text": (PHOTO.open(), "TextIOWrapper"),
    "BytesIO": (io.BytesIO(bytes(3_000_000)), "BytesIO"),
    "generator": ((one for one in "ab"), "generator"),
    "long link": (f"https://x.example/{CONTENT}", "4,000,018 characters"),
    "long path": (f"/{'x' * 4_000_000}.png", "4,000,005 characters"),
    "path that no disk has": (f"/{'x' * 4_000}.png", "File name too long"),
    "long extension": (f"/x.{'p' * 5_000}", "is none"),
    "reference": ({"file_path": CONTENT}, "the content of a file as text"),
    "empty reference": ({"file_path": " "}, "is empty text"),
    "kind": ({"id": "abc", "kind": CONTENT}, "has no file to use"),
    "id": ({"id": CONTENT, "kind": "image"}, "is not a Magic Hour job id"),
    "index": ({"id": "abc", "kind": "image", "index": CONTENT}, "whole number from 0"),
    "link without a host": ("https:///x.png", "a link without a host"),
    "NUL": ("/x/a\0.png", "characters that no path or link has"),
    "half a character": ("https://x.example/\ud800.png", "characters that no path or link has"),
    "key that is no text": ({b"a": 1}, "got dict"),
    "NaN": (float("nan"), "got float"),
}


def editing(file: object) -> dict[str, Any]:
    """Return a request that takes files in a list."""
    return {"assets": {"image_file_paths": [file]}, "style": {"prompt": "warmer"}}


@pytest.mark.parametrize("name", CONTENTS)
def test_it_is_refused_before_anything_is_paid(airflow, caplog, capsys, name):
    """It fails for good, names the field, and is cut in the error, the log and the XComs; nothing was sent."""
    value, words = CONTENTS[name]
    operator = airflow.operator("ai-image-editor", editing("/later.png"))
    operator.request = editing(value)  # as rendering leaves it
    with pytest.raises(AirflowFailException, match=words) as caught:
        airflow.attempt(operator, ti := TaskInstance())
    text = str(caught.value)
    assert "nothing was charged" in text
    assert len(text) < 1_000
    assert "image_file_paths[0]" in text or name == "id"
    assert ti.xcoms["magic_hour_job"]["error"] == text
    assert len(json.dumps(ti.xcoms)) < 40_000
    assert len(caplog.text + capsys.readouterr().out) < 20_000
    assert (airflow.creates(), airflow.sim.stats()["uploads"], ti.record) == (0, 0, None)


@pytest.mark.parametrize("name", ["base64", "data URI", "bytes", "open file", "long path", "NUL"])
def test_an_upload_of_it_is_refused(airflow, name):
    """The operator that uploads takes a file's path too, and says so."""
    value, words = CONTENTS[name]
    with pytest.raises(AirflowFailException, match=words) as caught:
        airflow.attempt(MagicHourUploadOperator(task_id="up", source=value), TaskInstance("up"))
    assert len(str(caught.value)) < 1_000
    assert (airflow.creates(), airflow.sim.stats()["uploads"]) == (0, 0)


def test_a_dag_that_holds_a_file_is_refused_briefly(airflow):
    """The error is shown with the DAG."""
    with pytest.raises(InvalidInputError, match="is not a field") as caught:
        airflow.operator("ai-image-editor", {**editing("/x.png"), CONTENT: 1})
    assert len(str(caught.value)) < 1_000


@pytest.mark.parametrize("expires_at", ["soon", "", 5, "2030-01-01", ["x"], True, "9" * 4_000_000])
def test_an_upload_whose_end_nobody_can_read(airflow, expires_at):
    """Magic Hour may have deleted it: that is said for free, and not found out for credits."""
    operator = airflow.operator("ai-image-editor", editing({"file_path": REFERENCE, "expires_at": expires_at}))
    with pytest.raises(AirflowFailException, match=r"image_file_paths\[0\].*expires_at.*no date and time") as caught:
        airflow.attempt(operator, TaskInstance())
    assert len(str(caught.value)) < 1_000
    assert airflow.creates() == 0


@pytest.mark.parametrize("expires_at", [None, "2030-01-01T00:00:00Z", "2030-01-01 00:00:00.5+02:00", MOMENT])
def test_an_upload_whose_end_can_be_read(expires_at):
    """A time as text or as an object, or none at all."""
    value = {"file_path": REFERENCE, "expires_at": expires_at}
    (one,) = find_inputs(get_tool("ai-image-editor"), editing(value))
    one.check((MOMENT - timedelta(days=1)).timestamp())
    if expires_at is not None:
        with pytest.raises(InvalidInputError, match="has deleted"):
            one.check((MOMENT + timedelta(days=1)).timestamp())


@pytest.mark.parametrize("around", ["{}\n", "  {}", "\t{} \r\n", "\ufeff{}", "\xa0{}\u200b\n"])
def test_blanks_around_a_file(airflow, around):
    """They are what a text file or a variable has left: links, paths, references and addresses are meant without."""
    tool = get_tool("ai-image-editor")
    given = ["https://x.example/a.png", REFERENCE, library_url("image", "abc"), str(PHOTO)]
    texts = [around.format(one) for one in given]
    assert [find_inputs(tool, editing(text))[0].value for text in texts] == given
    assert find_inputs(tool, editing({"file_path": texts[1]}))[0].reference == REFERENCE
    assert find_inputs(tool, editing({"uri": texts[3]}))[0].value == given[3]
    assert find_inputs(tool, editing(Asset(name="a", uri=given[0])))[0].value == given[0]
    inputs = find_inputs(tool, editing(texts[3]))
    assert list(check_inputs(inputs, 0.0)) == [("assets", "image_file_paths", 0)]
    operator = airflow.operator("ai-image-editor", editing(texts[3]))
    assert airflow.attempt(operator, TaskInstance())["status"] == "complete"
    assert (airflow.creates(), airflow.sim.stats()["uploads"]) == (1, 1)


def test_blanks_around_a_jobs_address(airflow):
    """As around every link."""
    _, job = finished_job(airflow.sim)
    address = f" {library_url('image', job.id)}\n"
    get = MagicHourDownloadOperator(task_id="get", job=address, output_path=str(airflow.output))
    assert airflow.attempt(get, TaskInstance("get"))["id"] == job.id
    assert airflow.creates() == 1


def test_a_request_without_end():
    """One that holds itself, or nearly, is an error and no crash."""
    request: dict[str, Any] = editing("/x.png")
    for _ in range(5_000):
        request = {"style": request}
    with pytest.raises(InvalidInputError, match="nested too deeply"):
        prepare_request(get_tool("ai-image-editor"), editing("/x.png"), request)


@pytest.mark.parametrize(
    "extra",
    [{"name": 5}, {b"x": 1}, {"x": {("a",): 1}}, {"x": open}, {"x": [{1: b""}]}, {"x": 10**5000}],
    ids=["name", "key", "inner key", "function", "bytes", "huge number"],
)
def test_an_extra_request_that_is_no_json(airflow, extra):
    """Nothing checks its fields, but what cannot be sent is named."""
    operator = airflow.operator(extra_request=extra)
    with pytest.raises(AirflowFailException, match=r"cannot be sent|is text") as caught:
        airflow.attempt(operator, TaskInstance())
    assert "nothing was charged" in str(caught.value)
    assert airflow.creates() == 0


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "a\udc80"], ids=ascii)
@pytest.mark.parametrize("field", ["name", "prompt"])
def test_a_text_that_no_database_takes(airflow, text, field):
    """The record of what is paid for could not be written, nor the result."""
    request = {"image_count": 1, "style": {"prompt": "x"}} | ({"name": text} if field == "name" else {})
    operator = airflow.operator(request=request | ({"style": {"prompt": text}} if field == "prompt" else {}))
    with pytest.raises(AirflowFailException, match=rf"{field}`.*cannot be sent.*nothing was charged"):
        airflow.attempt(operator, ti := TaskInstance())
    assert (airflow.creates(), ti.record) == (0, None)


@pytest.mark.parametrize("changed", [{"image_count": 10**5000}, {"style": 10**5000}], ids=list)
def test_a_number_that_python_does_not_write(airflow, changed):
    """It is refused in a sentence, where its text would be an error of its own."""
    operator = airflow.operator()
    operator.request = {"image_count": 1, "style": {"prompt": "x"}} | changed
    with pytest.raises(AirflowFailException, match="nothing was charged") as caught:
        airflow.attempt(operator, TaskInstance())
    assert len(str(caught.value)) < 1_000
    assert airflow.creates() == 0
