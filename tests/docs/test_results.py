"""What tasks return and push is what the reference says: each key, and no other."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from helpers.attempts import TaskInstance
from helpers.batches import Batches, rows
from helpers.pages import DOCS
from magic_hour_provider.operators.magic_hour import MagicHourOperator

PAGE = (DOCS / "reference" / "results.md").read_text("utf-8")
REQUESTS = {
    "ai-image-generator": {"image_count": 2, "style": {"prompt": "a lighthouse"}},
    "text-to-video": {"end_seconds": 2, "style": {"prompt": "a wave"}},
    "ai-voice-generator": {"style": {"prompt": "hello", "voice_name": "Morgan Freeman"}},
    "face-detection": {"assets": {"target_file_path": "https://files.example/team.jpg"}},
}
TYPES = {"text": str, "number": int, "list of texts": list, "list of objects": list, "null": type(None)}


def keys(heading: str, table: int = 0) -> dict[str, str]:
    """Return the keys of a table below a heading, each with what the next column says."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    text = re.split(r"^\|(?: --- \|)+\n", section, flags=re.M)[table + 1].split("\n\n")[0]
    cells = [row.strip("| ").split(" | ") for row in text.splitlines()]
    return {key: row[1] for row in cells for key in re.findall(r"`([^`]+)`", row[0])}


@pytest.mark.parametrize("tool", REQUESTS)
def test_a_result_has_the_keys_of_the_page(tool, airflow):
    """Of each kind of job: the result's keys and types, those of its media, and those of the XCom."""
    ti = TaskInstance()
    operator = MagicHourOperator(
        task_id="make",
        tool=tool,
        request=REQUESTS[tool],
        output_path=str(airflow.output / "out"),
        max_credits=9000,
        max_credits_unknown="allow",
        max_credits_per_run=9000,
    )
    result = airflow.attempt(operator, ti)
    assert airflow.creates() == 1
    described = keys("A job")
    assert result.keys() == described.keys() - ({"faces"} if tool != "face-detection" else set())
    for name, value in result.items():
        assert isinstance(value, tuple(TYPES[word] for word in described[name].split(" or "))), name
    media = keys("A job", 1)
    assert {name for one in result["media"] for name in one} <= media.keys()
    assert ti.xcoms["magic_hour_job"].keys() <= keys("The XCom magic_hour_job").keys()
    sidecars = list((airflow.output / "out").glob("*.json"))
    assert len(sidecars) == (tool != "face-detection")
    for sidecar in sidecars:
        assert json.loads(sidecar.read_text()).keys() == keys("The sidecar").keys()


def test_a_failure_pushes_the_keys_of_the_page(airflow):
    """A job that fails: its XCom has the error's keys too, and the other XComs are those that are listed."""
    ti = TaskInstance()
    request = {"image_count": 1, "style": {"prompt": "[[error:no_source_face]]"}}
    with pytest.raises(AirflowFailException):
        airflow.attempt(MagicHourOperator(task_id="make", tool="ai-image-generator", request=request), ti)
    assert airflow.creates() == 1
    described = keys("The XCom magic_hour_job")
    assert {"error", "error_code", "charge", "next_step"} <= ti.xcoms["magic_hour_job"].keys() <= described.keys()
    others = {re.sub(r"<\w+>$", "", key) for key in keys("Other XComs")}
    for key in ti.xcoms.keys() - {"magic_hour_job"}:
        assert any(key.startswith(other) for other in others), key


def test_a_batch_has_the_keys_of_the_page(airflow):
    """What a batch returns and pushes, and each line of its results: complete, failed and unknown ones."""
    batches, ti = Batches(airflow), TaskInstance("campaign")
    result = batches.attempt(batches.operator(rows(2), item_id="sku"), ti)
    assert result.keys() == keys("A batch").keys()
    bad = [{"sku": "bad", "style": {"prompt": "[[error:no_source_face]]"}}]
    lost = [{"sku": "lost", "style": {"prompt": "[[lost-response]]"}}]
    operator = batches.operator([*rows(2), *bad, *lost], item_id="sku", max_credits=900)
    with suppress(AirflowFailException):
        batches.attempt(operator, ti := TaskInstance("campaign"))
    assert batches.creates() == 4
    pushed = ti.xcoms["magic_hour_batch"]
    assert pushed.keys() <= keys("The XCom magic_hour_batch").keys()
    lines = [json.loads(line) for line in Path(pushed["results"]).read_text().splitlines()]
    assert {one["status"] for one in lines} == {"complete", "failed", "unknown"}
    assert {name for one in lines for name in one} <= keys("A batch", 1).keys()
