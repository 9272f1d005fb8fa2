"""Options of both clients: TLS contexts, proxies, and what is not shown."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from pathlib import Path

import certifi
import httpx
import pytest

from helpers.samples import KEY
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.api.transport import http
from magic_hour_provider.api.transport.http import TransportOptions


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every reading of certificates from now on."""
    read: list[object] = []

    def counted(real):
        def reading(*arguments, **options):
            read.append((arguments, options))
            return real(*arguments, **options)

        return reading

    http._load_context.cache_clear()
    monkeypatch.setattr(ssl, "create_default_context", counted(ssl.create_default_context))
    monkeypatch.setattr(httpx, "create_ssl_context", counted(httpx.create_ssl_context))
    return read


def test_certificates_are_read_once(reads, tmp_path):
    """All clients of a process share the context of each setting; a renewed file is read again."""
    own = tmp_path / "own.pem"
    own.write_bytes(Path(certifi.where()).read_bytes())
    for verify in (True, False, str(own), str(tmp_path)):
        before = len(reads)
        assert http.ssl_context(verify) is http.ssl_context(verify)
        assert http.ssl_context(verify).verify_mode == (ssl.CERT_REQUIRED if verify else ssl.CERT_NONE)
        assert len(reads) - before <= 2, "httpx makes one of its own by ssl.create_default_context"
    first, before = http.ssl_context(str(own)), len(reads)
    os.utime(own, (1, 1))
    assert http.ssl_context(str(own)) is not first
    assert len(reads) == before + 1


def test_a_context_that_is_given_is_used():
    """A user's own context is nobody else's."""
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    assert http.ssl_context(own) is own


def test_certificates_that_do_not_exist():
    """The message names the field and the path."""
    with pytest.raises(InvalidInputError, match=r"'verify' names '/nowhere\.pem', which does not exist"):
        MagicHourClient(api_key=KEY, verify="/nowhere.pem")


def test_certificates_of_the_environment(reads, tmp_path, monkeypatch):
    """Those that ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` name count from when they are set."""
    usual = http.ssl_context()
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert http.ssl_context() is not usual


def test_no_certificates_for_http(reads, sim):
    """A client of an address without TLS reads none: not to poll, to pay or to ask for the account."""
    request = {"image_count": 1, "style": {"prompt": "x"}}
    with MagicHourClient(api_key=KEY, base_url=sim.url) as client:
        made = client.create("ai-image-generator", request)
        client.get_job(made.kind, made.id)
        client.get_account()
    assert reads == []
    assert sim.stats()["creates"]["accepted"] == 1


def test_a_client_of_http_trusts_nobody(sim):
    """Its context would verify, and trusts no certificate: what it cannot use by mistake is no hole."""
    context = http.api_context(TransportOptions(KEY, sim.url))
    assert (context.verify_mode, context.check_hostname, context.get_ca_certs()) == (ssl.CERT_REQUIRED, True, [])


def test_a_proxy_with_tls_is_verified():
    """An API without TLS behind a proxy with TLS: both clients read certificates for the proxy."""
    options = TransportOptions(KEY, "http://magic-hour.example", proxy="https://proxy.example:3128")
    assert http.api_context(options).get_ca_certs()
    assert http.session_context(options) is not None


def test_options_show_no_secret():
    """Neither the key nor the proxy's password is in what a traceback may show."""
    options = TransportOptions(KEY, proxy="http://user:s3cret@proxy:3128")
    assert KEY not in repr(options)
    assert "s3cret" not in repr(options)


def test_no_worker_imports_aiohttp(sim):
    """Neither parsing DAGs nor a client of a worker needs it; an event loop's client does."""
    script = f"""
import sys
from airflow.sdk import DAG
had = "aiohttp" in sys.modules
import magic_hour_provider.operators.video, magic_hour_provider.operators.files, magic_hour_provider.sensors.job
import magic_hour_provider.execution.attempt, magic_hour_provider.triggers.job
from magic_hour_provider.api.client import MagicHourClient
with MagicHourClient(api_key={KEY!r}, base_url={sim.url!r}) as client:
    client.get_account()
print(had, "aiohttp" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False False"
