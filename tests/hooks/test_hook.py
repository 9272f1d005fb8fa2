"""A connection becomes clients."""

from __future__ import annotations

import asyncio

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.sdk import Connection

from helpers.attempts import TaskInstance
from helpers.samples import KEY
from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.get_provider_info import get_provider_info
from magic_hour_provider.hooks.magic_hour import MagicHourHook
from magic_hour_provider.hooks.settings import ConnectionSettings


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({}, "https://api.magichour.ai"),
        ({"host": "http://127.0.0.1:8765"}, "http://127.0.0.1:8765"),
        ({"host": "http://127.0.0.1:8765/"}, "http://127.0.0.1:8765"),
        ({"host": "127.0.0.1", "port": 8765, "schema": "http"}, "http://127.0.0.1:8765"),
        ({"host": "http://127.0.0.1", "port": 8765}, "http://127.0.0.1:8765"),
        ({"host": "api.example.com"}, "https://api.example.com"),
        ({"host": "https://mock.example/v1/mock/0.90.0"}, "https://mock.example/v1/mock/0.90.0"),
        ({"host": "https://mock.example/v1/mock", "port": 444}, "https://mock.example:444/v1/mock"),
    ],
)
def test_the_host_is_the_base_url(fields, url):
    """Every way in which Airflow stores an address gives the same one."""
    conn = Connection(conn_id="c", conn_type="magic_hour", password=KEY, **fields)
    assert ConnectionSettings.from_connection(conn, {}).base_url == url


def test_a_connection_uri(sim):
    """The connection may be one URI, as Airflow's environment variables have it."""
    conn = Connection.from_uri(f"magic-hour://:{KEY}@{sim.url.removeprefix('http://')}/http?timeout=5", conn_id="c")
    settings = ConnectionSettings.from_connection(conn, conn.extra_dejson)
    assert (settings.base_url, settings.timeout, settings.api_key) == (sim.url, 5.0, KEY)


@pytest.mark.parametrize(
    ("extra", "field", "value"),
    [
        ({"timeout": "90"}, "timeout", 90.0),
        ({"timeout": ""}, "timeout", 60.0),
        ({"verify": "false"}, "verify", False),
        ({"verify": True}, "verify", True),
        ({"verify": "/etc/ssl/own.pem"}, "verify", "/etc/ssl/own.pem"),
        ({"proxy": "http://proxy:3128"}, "proxy", "http://proxy:3128"),
    ],
)
def test_the_extras(extra, field, value):
    """Extras come as text from forms and as numbers from JSON."""
    assert getattr(ConnectionSettings.from_connection(Connection(conn_id="c", password=KEY), extra), field) == value


@pytest.mark.parametrize("extra", [{"timeout": 0}, {"timeout": "soon"}, {"timeout": -1}])
def test_extras_that_cannot_work(extra):
    """A number that makes no sense is named with its connection."""
    with pytest.raises(InvalidInputError, match=r"In the Airflow connection 'c'.*must be a number above 0"):
        ConnectionSettings.from_connection(Connection(conn_id="c", password=KEY), extra)


@pytest.mark.parametrize("proxy", ["user:s3cret@proxy:3128", "socks5://u:s3cret@proxy:1", "ftp://u:s3cret@x"])
def test_a_proxy_that_cannot_work_is_not_shown(proxy):
    """A proxy's address may hold a password: the error names the field and not the value."""
    with pytest.raises(InvalidInputError, match="extra 'proxy'") as caught:
        ConnectionSettings.from_connection(Connection(conn_id="c", password=KEY), {"proxy": proxy})
    assert "s3cret" not in str(caught.value)


def test_the_key_is_not_shown():
    """Neither settings nor errors show the key."""
    assert KEY not in repr(ConnectionSettings.from_connection(Connection(conn_id="c", password=KEY), {}))


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
    monkeypatch.delattr("airflow.providers.common.compat.connection.get_async_extra_dejson")
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


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({"host": "http://[::1]", "port": 8765}, "http://[::1]:8765"),
        ({"host": "http://[::1]:8765"}, "http://[::1]:8765"),
        ({"host": "::1", "port": 8765, "schema": "http"}, "http://[::1]:8765"),
        ({"host": "::1", "schema": "https"}, "https://[::1]"),
        ({"host": "[::1]:8765"}, "http://[::1]:8765"),
        ({"host": "127.0.0.1:8765"}, "http://127.0.0.1:8765"),
        ({"host": "localhost", "port": 8765}, "http://localhost:8765"),
        ({"host": "api.example.com:8443"}, "https://api.example.com:8443"),
        ({"host": "http://127.0.0.1:1", "port": 2}, "http://127.0.0.1:1"),
    ],
)
def test_hosts_of_every_form(fields, url):
    """IPv6 addresses take a port, and one of this machine without a scheme is the simulator's: it has no TLS."""
    conn = Connection(conn_id="c", conn_type="magic_hour", password=KEY, **fields)
    assert ConnectionSettings.from_connection(conn, {}).base_url == url


@pytest.mark.parametrize(
    "host",
    ["https:/example.com", "http:example.com", "http://x?y=1", "http://x#y", "http://x:99999", "http://::1", "ftp://x"],
)
def test_hosts_that_cannot_work(host):
    """What is no address is said, and not sent to."""
    conn = Connection(conn_id="c", conn_type="magic_hour", password=KEY, host=host)
    with pytest.raises(InvalidInputError, match=r"In the Airflow connection 'c': .* address"):
        ConnectionSettings.from_connection(conn, {})


def test_a_uri_with_an_underscore():
    """A scheme has no underscore: Airflow then takes key and host for one text, which is not shown."""
    conn = Connection.from_uri(f"magic_hour://:{KEY}@127.0.0.1:8765/http", conn_id="c")
    with pytest.raises(InvalidInputError, match=r"its URI must begin with magic-hour://") as caught:
        ConnectionSettings.from_connection(conn, conn.extra_dejson)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("name", ["timeout", "max_polls_per_second"])
@pytest.mark.parametrize("value", ["inf", "-inf", "nan", float("inf"), float("nan"), 1e300, [1], {}, True, -1, "1_0"])
def test_numbers_that_cannot_work(name, value):
    """Each number is refused with its name where it is none, or none that a connection can wait for."""
    with pytest.raises(InvalidInputError, match=f"the extra '{name}' must be a number above 0"):
        ConnectionSettings.from_connection(Connection(conn_id="c", password=KEY), {name: value})


@pytest.mark.parametrize("extra", ["[1]", "3", '"text"', "no json", "{"])
def test_an_extra_that_is_no_object(extra):
    """An extra that Airflow cannot read is said, not passed over."""
    conn = Connection(conn_id="c", conn_type="magic_hour", password=KEY, extra=extra)
    with pytest.raises(InvalidInputError, match="In the Airflow connection 'c': its extra is no JSON object"):
        ConnectionSettings.from_connection(conn, conn.extra_dejson)


@pytest.mark.parametrize("extra", ["", "null", "{}", None])
def test_an_empty_extra(extra):
    """Nothing in it is fine, however it is written."""
    conn = Connection(conn_id="c", conn_type="magic_hour", password=KEY, extra=extra)
    assert ConnectionSettings.from_connection(conn, conn.extra_dejson).timeout == 60


@pytest.mark.parametrize("verify", [["x"], {"a": 1}, 2, 0.5])
def test_verify_that_cannot_work(verify):
    """What is neither a truth value nor a path is said."""
    with pytest.raises(InvalidInputError, match="the extra 'verify' must be true, false or the path"):
        ConnectionSettings.from_connection(Connection(conn_id="c", password=KEY), {"verify": verify})


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
    with pytest.raises(AirflowFailException, match=r"own\.pem"):
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
