"""Emulators of Google Cloud Storage and Azure on loopback, with the file systems that reach them."""

from __future__ import annotations

import functools
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from helpers.places import Place

CONN_ID = "cloud"
SERVED = "MAGIC_HOUR_TESTS_CLOUD"
"""The variable with the protocol of a cloud and the address of its emulator, for processes of tests."""

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
def serving_google(monkeypatch: pytest.MonkeyPatch, *, has_conditions: bool = False) -> Iterator[str]:
    """Run a Google Cloud Storage in this process; give its address.

    :param has_conditions: whether it keeps to ``ifGenerationMatch=0``, as Google does and the emulator alone does not.
    """
    pytest.importorskip("gcsfs")
    server = pytest.importorskip("gcp_storage_emulator.server").create_server("127.0.0.1", 0, in_memory=True)
    if has_conditions:
        _keep_conditions(server, monkeypatch)
    server.start()
    try:
        yield f"http://127.0.0.1:{server._api._httpd.server_address[1]}"
    finally:
        server.stop()


def _keep_conditions(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse names that are taken, at the end of an upload, and cancel uploads; it answers one request at a time."""
    from gcp_storage_emulator import exceptions
    from gcp_storage_emulator.handlers import objects
    from gcp_storage_emulator.server import Router

    class TakenError(exceptions.Conflict):  # type: ignore[misc]
        """The condition does not hold."""

    storage, is_new = server._storage, [False]
    handle, create, conflict = Router.handle, storage.create_file, objects._handle_conflict

    def handling(router: Any, method: str) -> None:
        request = router._request_handler
        is_new[0] = "ifGenerationMatch=0" in request.path
        if (
            method == "DELETE" and "upload_id=" in request.path
        ):  # https://cloud.google.com/storage/docs/performing-resumable-uploads
            request.send_response(499)
            request.send_header("Content-Length", "0")
            request.end_headers()
        else:
            handle(router, method)

    def creating(bucket: str, name: str, *arguments: Any) -> None:
        if is_new[0] and name in storage.objects.get(bucket, {}):
            raise TakenError("At least one of the pre-conditions you specified did not hold.")
        create(bucket, name, *arguments)

    def answering(response: Any, error: Exception) -> None:
        conflict(response, error)
        if isinstance(error, TakenError):
            response.status = 412

    monkeypatch.setattr(Router, "handle", handling)
    monkeypatch.setattr(storage, "create_file", creating)
    monkeypatch.setattr(objects, "_handle_conflict", answering)


@contextmanager
def serving_azure() -> Iterator[Any]:
    """Run Azurite, where npm has installed it; give the file system of its account."""
    command = shutil.which("azurite-blob")
    if command is None:
        pytest.skip("Azurite is not installed: npm install --global azurite")
    pytest.importorskip("adlfs")
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
        yield azure_files(account + where)
    finally:
        process.terminate()
        process.wait(30)


def azure_files(connection_string: str) -> Any:
    """Return another file system of an account."""
    import adlfs

    return adlfs.AzureBlobFileSystem(connection_string=connection_string, skip_instance_cache=True)


def attach_files(protocol: str, served: str) -> None:
    """Make a cloud known to Airflow in this process, as ``gs://cloud@bucket`` and ``abfs://cloud@container``.

    :param served: the emulator's address, or the account's connection string.
    """
    from airflow.sdk.io import attach

    files = google_files(served) if protocol == "gs" else azure_files(served)
    attach(protocol, conn_id=CONN_ID, fs=files)


def attach_from_environment() -> None:
    """Make the cloud known that the test has opened which started this process, if it has one of these."""
    if served := os.environ.get(SERVED):
        attach_files(*served.split(" ", 1))


def opening(protocol: str, served: Any, name: str) -> Iterator[Place]:
    """Give a place in a bucket or container that is made for it, and removed."""
    address = served if protocol == "gs" else served.connection_string
    attach_files(protocol, address)
    files = google_files(address) if protocol == "gs" else azure_files(address)
    files.mkdir(name)
    yield Place.cloud(f"{protocol}://{CONN_ID}@{name}/out", files, name)
    files.invalidate_cache()
    for path in files.find(name):
        files.rm_file(path)
