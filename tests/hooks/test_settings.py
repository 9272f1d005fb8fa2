"""Settings of a connection, however Airflow stores them."""

from __future__ import annotations

import pytest
from airflow.sdk import Connection

from helpers.samples import KEY
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.api.errors import InvalidInputError
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


@pytest.mark.parametrize(
    "proxy",
    [
        "user:s3cret@proxy:3128",
        "socks5://u:s3cret@proxy:1",
        "ftp://u:s3cret@x",
        "http://u:s3cret@x:99999",
        "http://u:s3cret@..",
    ],
)
def test_a_proxy_that_cannot_work_is_not_shown(proxy):
    """A proxy's address may hold a password: the error names the field and not the value."""
    with pytest.raises(InvalidInputError, match="extra 'proxy'") as caught:
        ConnectionSettings.from_connection(Connection(conn_id="c", password=KEY), {"proxy": proxy})
    assert "s3cret" not in str(caught.value)


def test_the_key_is_not_shown():
    """Neither settings nor errors show the key."""
    assert KEY not in repr(ConnectionSettings.from_connection(Connection(conn_id="c", password=KEY), {}))


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
        ({"host": "https://api.magichour.ai/v1"}, "https://api.magichour.ai"),
        ({"host": "api.magichour.ai/v1/"}, "https://api.magichour.ai"),
        ({"host": "https://x.example./"}, "https://x.example."),
    ],
)
def test_hosts_of_every_form(fields, url):
    """IPv6 addresses take a port, and one of this machine without a scheme is the simulator's: it has no TLS."""
    conn = Connection(conn_id="c", conn_type="magic_hour", password=KEY, **fields)
    assert ConnectionSettings.from_connection(conn, {}).base_url == url


@pytest.mark.parametrize(
    "host",
    [
        *(
            "http://user:s3cret@x",
            "http://a b",
            f"https://{'a' * 64}.x",
            "https://..",
            f"https://{'a.' * 200}x",
            "http://a..b",
        ),
        "https:/example.com",
        "http:example.com",
        "http://x?y=1",
        "http://x#y",
        "http://x:99999",
        "http://::1",
        "ftp://x",
    ],
)
def test_hosts_that_cannot_work(host):
    """What is no address is said, and not sent to."""
    conn = Connection(conn_id="c", conn_type="magic_hour", password=KEY, host=host)
    with pytest.raises(InvalidInputError, match=r"In the Airflow connection 'c': .* address") as caught:
        ConnectionSettings.from_connection(conn, {})
    assert "s3cret" not in str(caught.value)


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


@pytest.mark.parametrize("verify", ["/tmp/\0a", "yes", "a" * 5000])
def test_a_path_of_certificates_that_is_none(verify):
    """It is said when a client is opened, and not by an error of Python's."""
    settings = ConnectionSettings.from_connection(Connection(conn_id="c", password=KEY), {"verify": verify})
    with pytest.raises(InvalidInputError, match="The connection's 'verify' names"):
        MagicHourClient.from_options(settings)
