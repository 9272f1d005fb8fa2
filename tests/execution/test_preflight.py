"""What can fail for free: one clear error before anything is paid."""

from __future__ import annotations

from datetime import timedelta

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from helpers.attempts import TaskInstance
from magic_hour_provider.api.errors import InvalidInputError

both_ledgers = pytest.mark.usefixtures("either_ledger")

VIDEO = {"style": {"prompt": "waves"}, "end_seconds": 3}


EDIT = {"style": {"prompt": "x"}}


def edit(path: object) -> dict:
    """Return a request of the image editor."""
    return {"assets": {"image_file_paths": [path]}, **EDIT}


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/nowhere/photo.png", r"image_file_paths\[0\].*cannot be read"),
        ("/etc", "has no extension"),
        ("photo", "has no extension"),
        ("notes.txt", "takes image files"),
        ("clip.mp4", "takes image files"),
        ("nosuch://bucket/photo.png", "cannot be read"),
        (5, "takes a public URL"),
        ({"kind": "face-detection", "id": "abc"}, "has no file to use"),
        ({"kind": "image", "id": "../x"}, "is not a Magic Hour job id"),
    ],
)
def test_an_input_that_cannot_work(airflow, path, words):
    """Unreadable files, missing extensions and wrong kinds are named with their field; nothing is charged."""
    with pytest.raises(AirflowFailException, match=words):
        airflow.attempt(airflow.operator("ai-image-editor", edit(path)), TaskInstance())
    assert airflow.creates() == 0


def test_a_folder_in_place_of_a_photo(airflow, tmp_path):
    """A folder that is named like a picture cannot be read."""
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(AirflowFailException, match="cannot be read"):
        airflow.attempt(airflow.operator("ai-image-editor", edit(str(tmp_path / "folder.png"))), TaskInstance())
    assert airflow.creates() == 0


def test_an_output_folder_that_cannot_be_written(airflow, tmp_path):
    """The folder is tried before anything is paid for."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(AirflowFailException, match=r"cannot be written.*nothing was charged"):
        airflow.attempt(airflow.operator(output_path=str(tmp_path / "file" / "out")), TaskInstance())
    assert airflow.creates() == 0


@pytest.mark.parametrize(
    ("connection", "words"),
    [
        ({"password": ""}, "API key is empty"),
        ({"password": None}, "API key is empty"),
        ({"password": "mhk live"}, "has a blank"),
        ({"password": "mhk_live_wrong"}, "does not accept the API key"),
        ({"host": "ftp://x"}, "is not an address"),
        ({"extra": '{"timeout": "soon"}'}, "'timeout' must be a number"),
        ({"extra": '{"verify": "/no/such/file"}'}, "does not exist"),
    ],
)
def test_a_connection_that_cannot_work(airflow, connection, words):
    """A wrong key or address fails the first attempt for good, before any create, and shows no key."""
    airflow.connect(**connection)
    with pytest.raises(AirflowFailException, match=words) as caught:
        airflow.attempt(airflow.operator(), TaskInstance())
    assert not connection.get("password") or connection["password"] not in str(caught.value)
    assert airflow.creates() == 0


def test_a_missing_connection(airflow):
    """Without connection and without key in the environment the error says what to make."""
    airflow.disconnect()
    with pytest.raises(AirflowFailException, match=r"no Airflow connection 'magic_hour_default'.*MAGIC_HOUR_API_KEY"):
        airflow.attempt(airflow.operator(), TaskInstance())
    assert airflow.creates() == 0


def test_a_wrong_host(airflow):
    """Nobody listens there: the error is retryable, as networks heal, and nothing was recorded or charged."""
    airflow.connect(host="http://127.0.0.1:9")
    ti = TaskInstance()
    with pytest.raises(AirflowException, match=r"could not be reached.*nothing was charged") as caught:
        airflow.attempt(airflow.operator(), ti)
    assert not isinstance(caught.value, AirflowFailException)
    assert ti.record is None
    assert airflow.creates() == 0


@pytest.mark.parametrize("extra", [{"seed": float("nan")}, {"when": timedelta(1)}])
def test_extra_request_must_be_json(airflow, extra):
    """It is never checked for meaning, but what is no JSON is said before anything is sent."""
    ti = TaskInstance()
    with pytest.raises(AirflowFailException, match="cannot be sent"):
        airflow.attempt(airflow.operator(extra_request=extra), ti)
    assert ti.record is None
    assert airflow.creates() == 0


@pytest.mark.parametrize(
    "setting",
    [
        "MAGIC_HOUR__INLINE_WAIT_SECONDS",
        "MAGIC_HOUR__SIDECAR",
        "MAGIC_HOUR__RESEND_AFTER_BAD_GATEWAY",
        "MAGIC_HOUR__MIN_CREDITS_LEFT",
        "WORKERS__MIN_HEARTBEAT_INTERVAL",
    ],
)
def test_a_setting_that_cannot_be_read(airflow, monkeypatch, setting):
    """Also one that is first needed after the payment: it is refused before, for good."""
    monkeypatch.setenv(f"AIRFLOW__{setting}", "perhaps")
    with pytest.raises(AirflowFailException, match=r"cannot be read.*nothing was charged.*Correct it in airflow"):
        airflow.attempt(airflow.operator(), TaskInstance())
    assert airflow.creates() == 0


@pytest.mark.parametrize("timeout", [float("inf"), float("nan"), 1e300, timedelta.max, -1, "soon"])
def test_a_timeout_that_is_no_duration(airflow, timeout):
    """It would break the wait, after the payment."""
    with pytest.raises(InvalidInputError, match="timeout must be"):
        airflow.operator(timeout=timeout)
    assert airflow.creates() == 0
