"""Saved items of the account, given by name where a request takes a file."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.sdk import DAG

from helpers.attempts import TaskInstance
from helpers.batches import Batches
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.hooks.magic_hour import MagicHourHook
from magic_hour_provider.inputs.saved_items import saved_item
from magic_hour_provider.operators.magic_hour import MagicHourOperator

ADA = saved_item("character", "Ada")
PATH = "saved-items/saved-1/"


def edit(*pictures: Any) -> dict[str, Any]:
    """Return a request for an edited picture."""
    return {"assets": {"image_file_paths": list(pictures)}, "style": {"prompt": "at dawn"}}


@pytest.fixture
def make(airflow):
    """Run an attempt of an image editor with these files; return what was sent for them."""

    def run(*pictures: Any, ti: TaskInstance | None = None) -> list[str]:
        with DAG("teaser", schedule=None):
            operator = MagicHourOperator(
                task_id="make", tool="ai-image-editor", request=edit(*pictures), output_path=""
            )
        ti = ti or TaskInstance()
        operator.render_template_fields({**ti.context(operator), "params": {"who": "Ada"}})
        airflow.attempt(operator, ti)
        return list(airflow.sim.jobs()[-1]["request"]["assets"]["image_file_paths"])

    return run


@pytest.mark.parametrize("name", ["Ada", "saved-1", " ada ", "{{ params.who }}"])
def test_by_name_or_id(airflow, make, name):
    """Its own file is given by reference: nothing is uploaded."""
    (sent,) = make(saved_item("character", name))
    assert sent.startswith(PATH)
    assert airflow.sim.stats()["uploads"] == 0
    assert airflow.creates() == 1


def test_a_retry_and_a_clear(airflow, make):
    """The same item is the same request; another one is a new job after a clear."""
    ti = TaskInstance()
    make(ADA, ti=ti)
    make(ADA, ti=ti)
    ti.clear()
    make(ADA, ti=ti)
    assert airflow.creates() == 1
    ti.clear()
    make(ADA, ADA, ti=ti)
    assert airflow.creates() == 2


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (saved_item("character", "Adda"), "The nearest are 'Ada'"),
        (saved_item("character", "Zyx"), "It has 'Ada'"),
        (saved_item("moodboard", "Ada"), "It has none of type moodboard"),
        (saved_item("voice", "Narrator"), "takes image files"),
        ({"saved_item": "", "type": "voice"}, "without a name"),
    ],
)
def test_what_is_not_there(airflow, make, given, words):
    """It fails for good before anything is paid or uploaded, and says what there is."""
    with pytest.raises(AirflowFailException, match=words):
        make(given)
    assert (airflow.creates(), airflow.sim.stats()["uploads"]) == (0, 0)


def test_two_of_one_name(airflow, make, monkeypatch):
    """Nobody guesses: the error has their ids, which can be given."""
    asset = {"file_path": "saved-items/x/1.png", "media_kind": "IMAGE", "is_primary": False}
    primary = {"file_path": "saved-items/x/2.png", "media_kind": "IMAGE", "is_primary": True}
    items = [{"id": one, "name": "Nori", "type": "character", "assets": [asset, primary]} for one in ("i1", "i2")]
    monkeypatch.setattr(MagicHourClient, "list_saved_items", lambda client, **given: items)
    with pytest.raises(AirflowFailException, match="i1, i2"):
        make(saved_item("character", "Nori"))
    assert airflow.creates() == 0
    assert make(saved_item("character", "i2")) == ["saved-items/x/2.png"]
    assert airflow.creates() == 1


def test_in_the_rows_of_a_batch(airflow, monkeypatch):
    """They are listed once for all rows, and checked with them; one that is gone holds up no row that is paid for."""
    listed: list[str] = []
    ask = MagicHourClient.list_saved_items

    def count(client: MagicHourClient, **given: Any) -> Any:
        listed.append(given["type"])
        return ask(client, **given)

    monkeypatch.setattr(MagicHourClient, "list_saved_items", count)
    batches = Batches(airflow)
    rows = [{"sku": f"{number}", **edit(saved_item("character", name))} for number, name in enumerate(["Ada", "ada"])]
    rows.append({"sku": "2", **edit(saved_item("character", "Nobody"))})
    options = {"tool": "ai-image-editor", "request": {}, "item_id": "sku"}
    with pytest.raises(AirflowFailException, match=r"1 of 3 rows .*\n.*row 3: .*no saved item .* 'Nobody'"):
        batches.attempt(batches.operator(rows, **options), TaskInstance("campaign"))
    assert listed == ["character"]
    assert airflow.creates() == 0
    ti = TaskInstance("campaign")
    batches.attempt(batches.operator(rows[:2], **options), ti)
    assert listed == ["character"] * 2
    assert airflow.creates() == 2
    monkeypatch.setattr(MagicHourClient, "list_saved_items", lambda client, **given: [])
    assert batches.attempt(batches.operator(rows[:2], **options), ti)["complete"] == 2
    assert airflow.creates() == 2


def test_the_hook_lists_them(airflow):
    """All of them, or one type."""
    assert {item["name"] for item in MagicHourHook().list_saved_items()} == {"Ada", "Narrator"}
    assert [item["type"] for item in MagicHourHook().list_saved_items(type="voice")] == ["voice"]


@pytest.mark.parametrize(("type_", "name"), [("caracter", "Ada"), ("voice", ""), ("voice", None)])
def test_a_value_that_cannot_work(type_, name):
    """It is said while the DAG is parsed."""
    with pytest.raises(InvalidInputError, match="saved item"):
        saved_item(type_, name)
