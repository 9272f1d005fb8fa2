"""Emulators of Google Cloud Storage and Azure on loopback, with the file systems that reach them."""

from __future__ import annotations

import functools
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

# What everybody's Azurite has: https://learn.microsoft.com/azure/storage/common/storage-connect-azurite
AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@functools.cache
def private_key() -> Any:
    """Return a key of this process's own."""
    from cryptography.hazmat.primitives.asymmetric import rsa

    return rsa.generate_private_key(65537, 2048)


def service_account() -> Any:
    """Return a service account's credentials, which hold a token, so that nobody is asked for one."""
    from cryptography.hazmat.primitives import serialization
    from google.oauth2 import service_account as accounts

    pem = private_key().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    info = {"private_key": pem.decode(), "client_email": "tests@project.invalid", "token_uri": "http://127.0.0.1:9/"}
    credentials = accounts.Credentials.from_service_account_info(info)
    credentials.token = "a-token"
    return credentials


def google_files(endpoint: str, credentials: Any = None) -> Any:
    """Return Google's file system; without credentials that of a service account."""
    import gcsfs

    token = credentials if credentials is not None else service_account()
    return gcsfs.GCSFileSystem(project="project", token=token, endpoint_url=endpoint, skip_instance_cache=True)


@contextmanager
def serving_google(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Run a Google Cloud Storage in this process; give its address."""
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # asks by gRPC, which the emulator does not speak
    pytest.importorskip("gcsfs")
    server = pytest.importorskip("gcp_storage_emulator.server").create_server("127.0.0.1", 0, in_memory=True)
    server.start()
    try:
        yield f"http://127.0.0.1:{server._api._httpd.server_address[1]}"
    finally:
        server.stop()


@contextmanager
def serving_azure() -> Iterator[Any]:
    """Run Azurite, where npm has installed it; give the file system of its account."""
    command = shutil.which("azurite-blob")
    if command is None:
        pytest.skip("Azurite is not installed: npm install --global azurite")
    adlfs = pytest.importorskip("adlfs")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--inMemoryPersistence", "--silent", "--skipApiVersionCheck", "--disableTelemetry"]
    process = subprocess.Popen([command, "--blobHost", "127.0.0.1", "--blobPort", str(port), *options])
    try:
        for _ in range(600):
            try:
                httpx.get(f"http://127.0.0.1:{port}/", trust_env=False)
                break
            except httpx.TransportError:
                assert process.poll() is None, "Azurite did not start"
                time.sleep(0.1)
        where = f"BlobEndpoint=http://127.0.0.1:{port}/devstoreaccount1;"
        account = f"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={AZURITE_KEY};"
        yield adlfs.AzureBlobFileSystem(connection_string=account + where)
    finally:
        process.terminate()
        process.wait(30)
