"""``doctor``: each finding, what to do about it, and the exit code."""

from __future__ import annotations

import json
import os
import platform

import airflow
import pytest
from airflow.providers.common.compat.version_compat import get_base_airflow_version_tuple

from helpers.samples import KEY
from magic_hour_provider import __version__
from magic_hour_provider.cli.checks import finding, records
from magic_hour_provider.ledger.file_store import FileStore

HAS_STORE = get_base_airflow_version_tuple() >= (3, 3, 0)


@pytest.fixture
def doctor(run, connected, monkeypatch, tmp_path):
    """Run it with a ledger and a media root that work, and return what it finds, by subject."""
    for name in ("ledger", "media"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(f"AIRFLOW__MAGIC_HOUR__{name.upper()}_{'PATH' if name == 'ledger' else 'ROOTS'}", "")
    monkeypatch.setenv("AIRFLOW__MAGIC_HOUR__LEDGER_PATH", str(tmp_path / "ledger"))
    monkeypatch.setenv("AIRFLOW__MAGIC_HOUR__MEDIA_ROOTS", str(tmp_path / "media"))

    def doctor(*arguments: str) -> tuple[int, dict[str, list[tuple[str, str]]]]:
        done = run("doctor", *arguments, "-o", "json")
        found: dict[str, list[tuple[str, str]]] = {}
        for row in done.rows:
            assert row.keys() == {"status", "check", "finding"}
            assert row["status"] in ("ok", "warning", "problem")
            assert row["finding"].endswith((".", "pricing", "API")), row
            found.setdefault(row["check"], []).append((row["status"], row["finding"]))
        has_problem = any(status == "problem" for rows in found.values() for status, _ in rows)
        assert done.code == int(has_problem)
        return done.code, found

    return doctor


def test_all_is_well(doctor, connected):
    """With everything set up each line is ok, and the exit code is 0."""
    code, found = doctor()
    assert code == 0
    # Before Airflow 3.3 there is no store of its own, which is a warning.
    assert {status for rows in found.values() for status, _ in rows} <= ({"ok"} if HAS_STORE else {"ok", "warning"})
    assert connected.url in found["connection"][0][1]
    assert found["API key"] == [
        ("ok", f"There is an API key of {len(KEY)} characters that begins with mhk_, as those of Magic Hour do.")
    ]
    assert found["plan"][0] == ("ok", "Plan creator, 100000 credits.")
    ((status, concurrency),) = found["plan"][1:]
    assert status == "ok"
    assert concurrency.startswith("The plan creator runs 3 jobs at the same time, by Magic Hour's billing page;")
    assert "max_active_jobs=3 of a batch" in concurrency
    assert found["webhook secret"] == [("ok", "A secret is set in 'magic_hour_default'.")]
    ((_, versions),) = found["versions"]
    assert f"airflow-provider-magic-hour {__version__}, Airflow {airflow.__version__}" in versions
    assert platform.python_version() in versions
    assert "apache-airflow-providers-common-compat" in found["providers"][0][1]
    assert connected.summary().creates == 0


def test_for_people(run, connected, monkeypatch):
    """A person reads a line for each finding, with the brackets of sections in it."""
    monkeypatch.setenv("AIRFLOW__MAGIC_HOUR__LEDGER_PATH", "")
    done = run("doctor")
    assert "ok | Magic Hour | It answers, and accepts the key." in done.text
    assert "[magic_hour] media_roots" in done.text


def test_no_connection(doctor, monkeypatch):
    """A missing connection is a problem that says how to make one; the other checks still run."""
    code, found = doctor("--conn-id", "nowhere")
    assert code == 1
    ((status, message),) = found["connection"]
    assert status == "problem"
    assert "There is no Airflow connection 'nowhere'" in message
    assert "Make one of type Magic Hour" in message
    assert "Magic Hour" not in found
    assert "versions" in found


def test_the_key_of_the_environment(doctor, connected, monkeypatch):
    """Without the default connection the key may come from the environment, which is said."""
    monkeypatch.delenv("AIRFLOW_CONN_MAGIC_HOUR_DEFAULT")
    monkeypatch.setenv("MAGIC_HOUR_API_KEY", KEY)
    monkeypatch.setattr("magic_hour_provider.hooks.settings.BASE_URL", connected.url)
    monkeypatch.setattr("magic_hour_provider.cli.checks.connection.MagicHourHook.get_conn", lambda *_: _Unreachable())
    code, found = doctor()
    assert code == 1
    assert "the key is that of the environment's MAGIC_HOUR_API_KEY" in found["connection"][0][1]
    assert "none" not in found["webhook secret"][0][1]
    assert found["webhook secret"][0][0] == "ok"


class _Unreachable:
    def __enter__(self):
        from magic_hour_provider.api.errors import ConnectionFailedError

        raise ConnectionFailedError("No connection to Magic Hour could be made.")

    def __exit__(self, *exc):
        pass


@pytest.mark.parametrize(
    ("change", "subject", "words"),
    [
        ({"password": "mhk_live_of_nobody_at_all"}, "Magic Hour", "401"),
        ({"password": ""}, "connection", "API key is empty"),
        ({"password": "two words"}, "connection", "a blank"),
        ({"host": "http://127.0.0.1:9"}, "Magic Hour", "could"),
        ({"extra": {"timeout": "soon"}}, "connection", "timeout"),
    ],
)
def test_a_connection_that_cannot_work(doctor, connected, monkeypatch, change, subject, words):
    """Each is a problem that says what is wrong, without the key."""
    connection = {"conn_type": "magic_hour", "host": connected.url, "password": KEY} | change
    monkeypatch.setenv("AIRFLOW_CONN_MAGIC_HOUR_DEFAULT", json.dumps(connection))
    code, found = doctor()
    assert code == 1
    (problem,) = [message for status, message in found[subject] if status == "problem"]
    assert words in problem
    assert not change.get("password") or change["password"] not in json.dumps(found)


def test_a_key_of_an_odd_shape(doctor, connected, monkeypatch):
    """At another address than Magic Hour's own a key may look as it likes; certificates that are not checked warn."""
    connection = {"conn_type": "magic_hour", "host": connected.url, "password": "other", "extra": {"verify": False}}
    monkeypatch.setenv("AIRFLOW_CONN_MAGIC_HOUR_DEFAULT", json.dumps(connection))
    _, found = doctor()
    assert found["API key"][0][0] == "ok"
    assert "5 characters, but it does not begin with mhk_" in found["API key"][0][1]
    assert any(status == "warning" and "'verify'" in message for status, message in found["connection"])


def test_the_minimum_balance(doctor, monkeypatch):
    """A balance below the minimum stops every task, so it is a problem."""
    monkeypatch.setenv("AIRFLOW__MAGIC_HOUR__MIN_CREDITS_LEFT", "200000")
    code, found = doctor()
    assert code == 1
    assert ("problem", True) in [(status, "min_credits_left" in message) for status, message in found["plan"]]


@pytest.mark.parametrize(
    ("conn_ids", "extra", "status", "words"),
    [
        ("", {}, "ok", "Webhooks are off"),
        ("magic_hour_default", {}, "ok", "None is set in 'magic_hour_default': webhooks are off"),
        ("magic_hour_default", {"webhook_secret": "whsec_b25l whsec_dHdv"}, "ok", "2 secrets are set"),
        ("marketing", {}, "warning", "There is no connection 'marketing'"),
        ("magic_hour_default, marketing", {}, "warning", "None is set in 'magic_hour_default', which"),
        ("magic_hour_default", {"webhook_secret": 5}, "problem", "must be a text"),
    ],
)
def test_webhook_secrets(doctor, connected, monkeypatch, conn_ids, extra, status, words):
    """Each connection of the setting is set, not set, or wrong; the secret itself is never shown."""
    connection = {"conn_type": "magic_hour", "host": connected.url, "password": KEY, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_MAGIC_HOUR_DEFAULT", json.dumps(connection))
    monkeypatch.setenv("AIRFLOW__MAGIC_HOUR__WEBHOOK_CONN_IDS", conn_ids)
    _, found = doctor()
    assert (found["webhook secret"][0][0], words in found["webhook secret"][0][1]) == (status, True), found
    for secret in str(extra.get("webhook_secret", "")).split():
        assert len(secret) < 8 or secret not in json.dumps(found)


def test_media_roots(doctor, monkeypatch, tmp_path, bucket):
    """Each root is readable, or there is nothing yet, or it says why not."""
    file = tmp_path / "file"
    file.write_text("no folder")
    bucket.put("media/one.png", b"png") if hasattr(bucket, "put") else None
    roots = {
        str(tmp_path / "media"): "ok",
        str(tmp_path / "missing"): "warning",
        str(file): "problem",
        "/": "problem",
        "relative/folder": "problem",
        f"{bucket.uri}/nothing-yet": "warning",
        "s3://no_such_connection@bucket/media": "problem",
        "nonsense://bucket/media": "problem",
    }
    monkeypatch.setenv("AIRFLOW__MAGIC_HOUR__MEDIA_ROOTS", ",".join(roots))
    code, found = doctor()
    assert code == 1
    assert [status for status, _ in found["media root"]] == list(roots.values()), found["media root"]
    for (_, message), root in zip(found["media root"], roots, strict=True):
        assert root in message


def test_no_media_roots(doctor, monkeypatch):
    """Without a root the tab shows no files, which is said with the reason."""
    monkeypatch.setenv("AIRFLOW__MAGIC_HOUR__MEDIA_ROOTS", "")
    _, found = doctor()
    assert found["media root"][0][0] == "warning"
    assert "neither media_roots nor output_path is set" in found["media root"][0][1]
    monkeypatch.setenv("AIRFLOW__MAGIC_HOUR__OUTPUT_PATH", "/mnt/{{ ds }}")
    _, found = doctor()
    assert "output_path is a template" in found["media root"][0][1]


def test_a_storage_that_stalls(doctor, monkeypatch):
    """It is a problem after a while, and holds neither the other checks nor the end of the command."""
    import threading

    never = threading.Event()
    monkeypatch.setattr(finding.STORAGE_CHECKS, "seconds", 0.2)
    monkeypatch.setattr(FileStore, "get", lambda self, key, default=None: never.wait())
    code, found = doctor()
    never.set()
    assert code == 1
    assert any(status == "problem" and "no response within" in message for status, message in found["records"])


@pytest.mark.parametrize("discards", [False, True])
@pytest.mark.parametrize("has_files", [False, True])
def test_where_records_are_kept(doctor, monkeypatch, discards, has_files):
    """Files outlive a clear on every Airflow; its own store until clears discard it; neither is a problem."""
    monkeypatch.setattr(records, "clear_discards_state", lambda: discards)
    if not has_files:
        monkeypatch.setenv("AIRFLOW__MAGIC_HOUR__LEDGER_PATH", "")
    _, found = doctor()
    status, message = found["records"][-1]
    if has_files:
        assert (status, message) == ("ok", "They outlive a clear, a retry and a deleted run.")
    elif not HAS_STORE:
        assert status == "problem"
        assert "may pay again. Set [magic_hour] ledger_path" in message
    elif discards:
        assert status == "warning"
        assert "clear discards them, unless 'keep task state' is ticked" in message
        assert "a task that was cleared pays nothing by itself" in message  # as its own error says, not twice
        assert "Set [magic_hour] ledger_path" in message
    else:
        assert (status, message) == ("ok", "They outlive a clear and a retry, and end with the DAG run.")


def test_records_beside_the_files(doctor, monkeypatch, tmp_path):
    """Where each task's own folder has its record, it is said who does not see it there."""
    monkeypatch.setenv("AIRFLOW__MAGIC_HOUR__LEDGER_PATH", "")
    monkeypatch.setenv("AIRFLOW__MAGIC_HOUR__OUTPUT_PATH", str(tmp_path))
    monkeypatch.setattr(records, "_describe_store", lambda: ("Files alone.", False))
    _, found = doctor()
    status, message = found["records"][1]
    assert status == "warning"
    assert "these commands do not see them there, and cannot say what is paid for. Set [magic_hour]" in message


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("relative", "absolute path"),
        ("/mnt/{{ ds }}", "no template"),
        ("s3://nobody@bucket/x", "no Airflow connection"),
    ],
)
def test_a_ledger_path_that_cannot_work(doctor, monkeypatch, path, words):
    """It is a problem: tasks fail before they pay."""
    monkeypatch.setenv("AIRFLOW__MAGIC_HOUR__LEDGER_PATH", path)
    code, found = doctor()
    assert code == 1
    assert any(status == "problem" and words in message for status, message in found["records"]), found


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_ledger_path_that_cannot_be_written(doctor, monkeypatch, tmp_path):
    """It is a problem where this user may not write it."""
    (tmp_path / "ledger").chmod(0o500)
    code, found = doctor()
    assert code == 1
    assert any(status == "problem" and "may not be written" in message for status, message in found["records"])


@pytest.mark.skipif(not HAS_STORE, reason="the store came with Airflow 3.3")
def test_settings_of_the_store(doctor, monkeypatch):
    """What discards records after a success, and what the API server cannot read, is said."""
    monkeypatch.setenv("AIRFLOW__STATE_STORE__CLEAR_ON_SUCCESS", "True")
    _, found = doctor()
    assert any(status == "warning" and "clear_on_success" in message for status, message in found["records"])
    monkeypatch.setenv("AIRFLOW__STATE_STORE__CLEAR_ON_SUCCESS", "perhaps")
    code, found = doctor()
    assert code == 1
    assert any(status == "problem" and "clear_on_success" in message for status, message in found["records"])


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("sidecar", "perhaps", "boolean"),
        ("inline_wait_seconds", "long", "float"),
        ("min_credits_left", "many", "integer"),
        ("resend_after_bad_gateway", "2", "boolean"),
        ("tag_job_names", "some", "one of all, generated and none"),
        ("input_transfer", "sign", "one of upload and presign"),
    ],
)
def test_a_setting_that_cannot_be_read(doctor, monkeypatch, name, value, words):
    """It is a problem that names the setting and what it takes."""
    monkeypatch.setenv(f"AIRFLOW__MAGIC_HOUR__{name.upper()}", value)
    code, found = doctor()
    assert code == 1
    (problem,) = [message for status, message in found["settings"] if status == "problem"]
    assert f"[magic_hour] {name} cannot be read" in problem
    assert words in problem


def test_a_setting_that_does_not_exist(doctor, monkeypatch):
    """A mistyped name is a warning with the right ones."""
    monkeypatch.setenv("AIRFLOW__MAGIC_HOUR__LEDGERPATH", "/mnt/ledger")
    code, found = doctor()
    assert code == 0
    ((status, message),) = found["settings"]
    assert status == "warning"
    assert "[magic_hour] ledgerpath is not a setting" in message
    assert "ledger_path" in message


def test_a_setting_that_a_command_gives(doctor, monkeypatch):
    """Airflow may read any setting from a command's output or a secrets backend: those are no mistyped names."""
    monkeypatch.setenv("AIRFLOW__MAGIC_HOUR__LEDGER_PATH_CMD", "echo /mnt/ledger")
    monkeypatch.setenv("AIRFLOW__MAGIC_HOUR__OUTPUT_PATH_SECRET", "magic_hour_output")
    _, found = doctor()
    assert [message for _, message in found["settings"] if "is not a setting" in message] == []


def test_a_check_that_breaks(doctor, monkeypatch):
    """What a check did not expect is one problem, and the other checks still run."""
    monkeypatch.setattr(
        "magic_hour_provider.cli.doctor.check_versions", lambda: (_ for _ in ()).throw(RuntimeError("odd"))
    )
    code, found = doctor()
    assert code == 1
    assert found["versions"][0][1].startswith("It could not be checked: RuntimeError: odd.")
    assert found["plan"][0][0] == "ok"
