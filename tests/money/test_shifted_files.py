"""A map index whose item is a file that cannot be read any more: where it was still tells one item from another."""

from __future__ import annotations

import shutil
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from helpers.attempts import TaskInstance
from helpers.mapped import attempt_index
from helpers.samples import PHOTO
from magic_hour_provider.operators.image import MagicHourAIImageEditorOperator as Edit
from magic_hour_provider.operators.magic_hour import MagicHourOperator

FIELD = "assets.image_file_paths"
STYLE = {"prompt": "at dusk"}


@pytest.fixture
def photos(tmp_path) -> Any:
    """Two photos of their own."""
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for number, path in enumerate(paths):
        shutil.copy(PHOTO, path)
        path.write_bytes(path.read_bytes() + bytes([number]))
    return paths


def attempt(airflow, ti, *files: Any, style: Any = STYLE) -> Any:
    """Run an attempt of map index 1, whose item is these files."""

    def make() -> Any:
        made = Edit.partial(task_id="make", output_path="", image_count=1, style=style)
        return made.expand(assets=[{"image_file_paths": []}, {"image_file_paths": [str(file) for file in files]}])

    return attempt_index(airflow, ti, make)


def forget_where(ti: TaskInstance, **more: str) -> None:
    """Make the record one of before the places of files were recorded."""
    record = ti.record
    digests = {name: one for name, one in record["fingerprint"].items() if not name.startswith(("(source)", "(own)"))}
    assert digests != record["fingerprint"]
    ti.store.set("magic_hour.job", {**record, "fingerprint": {**digests, **more}})


def test_another_item_whose_file_is_gone(airflow, either_ledger, photos):
    """It fails for good and names both; after a clear it is refused, unpaid, as there is nothing to make it of."""
    ti = TaskInstance("make", 1)
    made = attempt(airflow, ti, photos[0])
    photos[1].unlink()
    with pytest.raises(
        AirflowFailException, match=rf"Map index 1 .*{made['id']}.*these changed: {FIELD}\..*stays charged"
    ):
        attempt(airflow, ti, photos[1])
    ti.clear()
    with pytest.raises(AirflowFailException, match=r"b\.png' cannot be read"):
        attempt(airflow, ti, photos[1])
    assert attempt(airflow, ti, photos[0])["id"] == made["id"]
    assert airflow.creates() == 1


def test_another_item_beside_a_file_that_is_gone(airflow, photos):
    """Of several files of one field one that changed is enough, whichever of them can be read."""
    ti = TaskInstance("make", 1)
    made = attempt(airflow, ti, photos[0], photos[1])
    photos[0].unlink()
    with pytest.raises(AirflowFailException, match=made["id"]):
        attempt(airflow, ti, photos[0], PHOTO)
    assert attempt(airflow, ti, photos[0], photos[1])["id"] == made["id"]
    assert airflow.creates() == 1


def test_the_same_item_whose_file_is_gone(airflow, either_ledger, photos):
    """A retry needs no file that was sent already, and a clear makes no new job of none."""
    ti = TaskInstance("make", 1)
    made = attempt(airflow, ti, photos[0])
    photos[0].unlink()
    assert attempt(airflow, ti, photos[0])["id"] == made["id"]
    ti.clear()
    assert attempt(airflow, ti, photos[0])["id"] == made["id"]
    assert airflow.creates() == 1


def test_a_link_that_is_signed_again_beside_a_file_that_is_gone(airflow, photos):
    """The signature of a link never counts."""
    ti, link = TaskInstance("make", 1), "https://media.example/c.png?X-Amz-Signature="
    made = attempt(airflow, ti, f"{link}1", photos[0])
    photos[0].unlink()
    assert attempt(airflow, ti, f"{link}2", photos[0])["id"] == made["id"]
    with pytest.raises(AirflowFailException, match=made["id"]):
        attempt(airflow, ti, f"{link}2".replace("c.png", "d.png"), photos[0])
    assert airflow.creates() == 1


def test_a_file_that_moved_is_the_same_item(airflow, photos):
    """Where it can be read its content decides alone, also after a clear."""
    ti = TaskInstance("make", 1)
    made = attempt(airflow, ti, photos[0])
    moved = photos[0].rename(photos[0].with_name("moved.png"))
    assert attempt(airflow, ti, moved)["id"] == made["id"]
    ti.clear()
    assert attempt(airflow, ti, moved)["id"] == made["id"]
    assert airflow.creates() == 1


@pytest.mark.parametrize("is_cleared", [False, True])
def test_a_record_without_places_waits_for_the_file(airflow, either_ledger, photos, is_cleared):
    """Whose item it was is unknown until the file can be read: a retry asks again, and a person may decide."""
    ti = TaskInstance("make", 1)
    made = attempt(airflow, ti, photos[0])
    forget_where(ti)
    kept = photos[0].read_bytes()
    photos[0].unlink()
    if is_cleared:
        ti.clear()
    for file in (photos[0], photos[1].with_name("c.png")):
        with pytest.raises(AirflowException) as caught:
            attempt(airflow, ti, file)
        assert not isinstance(caught.value, AirflowFailException)
        message = str(caught.value)
        for part in ("Map index 1", made["id"], FIELD, "cannot be read now", "stays charged", "put them back", "adopt"):
            assert part in message
    photos[0].write_bytes(kept)
    assert attempt(airflow, ti, photos[0])["id"] == made["id"]
    assert airflow.creates() == 1


def test_a_record_whose_file_could_never_be_read(airflow, photos):
    """No retry can compare it, so a person decides."""
    ti = TaskInstance("make", 1)
    made = attempt(airflow, ti, photos[0])
    forget_where(ti, **{FIELD: "magic-hour:unreadable-file"})
    with pytest.raises(AirflowFailException, match="could not be read when the job was paid for") as caught:
        attempt(airflow, ti, photos[1])
    assert "A retry" not in str(caught.value)
    ti.store.set("magic_hour.adopt", made["id"])
    ti.clear()
    assert attempt(airflow, ti, photos[1])["id"] == made["id"]
    assert airflow.creates() == 1


def test_a_file_that_all_indexes_share_changes_nothing(airflow, photos):
    """Gone and given elsewhere it counts as unchanged, as in a task that is not mapped."""

    def make(file: Any) -> Any:
        made = Edit.partial(task_id="make", output_path="", image_count=1, assets={"image_file_paths": [str(file)]})
        return made.expand(style=[{"prompt": "at dawn"}, STYLE])

    ti = TaskInstance("make", 1)
    made = attempt_index(airflow, ti, lambda: make(photos[0]))
    assert not [name for name in ti.record["fingerprint"] if name.startswith("(source)")]
    gone = photos[0].with_name("gone.png")
    assert attempt_index(airflow, ti, lambda: make(gone))["id"] == made["id"]
    ti.clear()
    assert attempt_index(airflow, ti, lambda: make(gone))["id"] == made["id"]
    assert airflow.creates() == 1


def test_a_task_that_is_not_mapped_keeps_no_places(airflow, photos):
    """There is no other item, so a file that is gone counts as unchanged."""

    def operator(file: Any) -> MagicHourOperator:
        request = {"image_count": 1, "style": STYLE, "assets": {"image_file_paths": [str(file)]}}
        return airflow.operator("ai-image-editor", request)

    ti = TaskInstance()
    made = airflow.attempt(operator(photos[0]), ti)
    assert {name for name in ti.record["fingerprint"] if name.startswith("(")} == {"(connection)", "(host)", "(tool)"}
    ti.clear()
    assert airflow.attempt(operator(photos[0].with_name("gone.png")), ti)["id"] == made["id"]
    assert airflow.creates() == 1
