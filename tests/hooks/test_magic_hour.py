"""From a connection to clients; the connection's form and test."""

from __future__ import annotations

import asyncio

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from helpers.attempts import TaskInstance
from helpers.samples import KEY
from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.get_provider_info import get_provider_info
from magic_hour_provider.hooks.magic_hour import MagicHourHook
from magic_hour_provider.hooks.settings import ConnectionSettings


def test_the_key_in_the_environment(airflow, monkeypatch):
    """It serves the default connection only, and only where that does not exist."""
    airflow.disconnect()
    monkeypatch.setenv("MAGIC_HOUR_API_KEY", KEY)
    assert MagicHourHook().settings() == ConnectionSettings(api_key=KEY)
    assert asyncio.run(MagicHourHook().async_settings()) == ConnectionSettings(api_key=KEY)
    with pytest.raises(InvalidInputError, match="no Airflow connection 'other'"):
        MagicHourHook("other").settings()
    airflow.connect(password="mhk_live_of_the_connection")
    assert MagicHourHook().settings().api_key == "mhk_live_of_the_connection"


def test_sync_and_async_settings_are_the_same(airflow):
    """A worker and a triggerer read one connection alike."""
    airflow.connect(extra='{"timeout": 7, "verify": false}')
    assert asyncio.run(MagicHourHook().async_settings()) == MagicHourHook().settings()


def test_an_older_common_compat(airflow, monkeypatch):
    """The version that Airflow 3.1 pins cannot read the extra asynchronously: the settings are the same."""
    airflow.connect(extra='{"timeout": 7, "verify": false}')
    monkeypatch.delattr("airflow.providers.common.compat.connection.get_async_extra_dejson", raising=False)
    assert asyncio.run(MagicHourHook().async_settings()) == MagicHourHook().settings()


def test_the_connection_form():
    """The same labels, placeholders and fields for every Airflow: as data from 3.2, by the hook's methods before."""
    from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService

    (form,) = [one for one in HookMetaService.hook_meta_data() if one.connection_type == "magic_hour"]
    assert set(form.extra_fields) == {"timeout", "max_polls_per_second", "verify", "proxy", "webhook_secret"}
    fields = form.standard_fields
    assert (fields.password.title, fields.host.title) == ("API key", "Base URL")
    assert (fields.login.hidden, fields.url_schema.hidden, fields.port.hidden) == (True, True, True)
    older = MagicHourHook.get_ui_field_behaviour()
    assert older["relabeling"] == {"password": "API key", "host": "Base URL"}
    assert set(older["hidden_fields"]) == {"login", "schema", "port"}


def test_testing_a_connection(airflow):
    """The test shows plan and credits, costs nothing, and a wrong key is said plainly."""
    assert MagicHourHook().test_connection() == (True, "Connected to Magic Hour: plan creator, 100000 credits.")
    airflow.connect(password="mhk_live_wrong")
    fine, words = MagicHourHook().test_connection()
    assert not fine
    assert "does not accept the API key" in words
    airflow.connect(host="http://127.0.0.1:9")
    assert "could not be reached" in MagicHourHook().test_connection()[1]
    assert airflow.creates() == 0


@pytest.mark.parametrize("environment", [True, False])
@pytest.mark.parametrize("exists", [True, False])
def test_certificates_that_cannot_be_read(airflow, monkeypatch, tmp_path, environment, exists):
    """A file of certificates that is missing, or is none, fails with one sentence; nothing is paid."""
    file = tmp_path / "own.pem"
    if exists:
        file.write_text("no certificates")
    airflow.connect(host="https://127.0.0.1:9", extra="{}" if environment else f'{{"verify": "{file}"}}')
    if environment:
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with pytest.raises(AirflowFailException, match=r"own\.pem.*Each worker, each triggerer and the API server needs"):
        airflow.attempt(airflow.operator(), TaskInstance())
    assert airflow.creates() == 0


@pytest.mark.parametrize(
    ("name", "value"), [("ALL_PROXY", "socks5://u:s3cret@x:1"), ("HTTP_PROXY", "ftp://x"), ("NO_PROXY", "[::1]")]
)
def test_proxies_of_the_environment_that_cannot_work(airflow, monkeypatch, name, value):
    """A proxy that httpx cannot use fails with one sentence that names the variables; nothing is paid."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv(name, value)
    with pytest.raises(AirflowFailException, match=r"proxy of the environment .*NO_PROXY") as caught:
        airflow.attempt(airflow.operator(), TaskInstance())
    assert "s3cret" not in str(caught.value)
    assert airflow.creates() == 0


def test_the_form_fills_in_nothing():
    """A default in the form becomes a value of the extra, which Airflow masks, and warns of where it is short."""
    fields = get_provider_info()["connection-types"][0]["conn-fields"]
    assert [name for name, field in fields.items() if "default" in field["schema"]] == []
