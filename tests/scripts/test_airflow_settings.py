"""The throw-away Airflow's environment."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from airflow_settings import process_environment


def environment(**connections: dict[str, object]) -> dict[str, str]:
    return process_environment(Path("/home"), Path("/dags"), api_port=1234, connections=connections)


def test_the_users_own_airflow_stays_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither its settings nor its connections reach ours."""
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    monkeypatch.setenv("AIRFLOW_CONN_SECRET", "http://user:password@host")
    monkeypatch.setenv("AIRFLOW_HOME", "/theirs")
    ours = environment()
    assert ours["AIRFLOW_HOME"] == "/home"
    assert ours["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"
    assert "AIRFLOW_CONN_SECRET" not in ours


def test_a_proxy_is_not_asked_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks talk to the api-server by HTTP, which a proxy of the environment would swallow."""
    monkeypatch.setenv("NO_PROXY", "example.com")
    assert environment()["NO_PROXY"].split(",") == ["example.com", "127.0.0.1", "localhost"]


def test_connections_are_json() -> None:
    """A key with characters that a URI would have to escape arrives as it is."""
    made = environment(magic_hour_default={"conn_type": "magic_hour", "password": "a/b@c"})
    assert json.loads(made["AIRFLOW_CONN_MAGIC_HOUR_DEFAULT"])["password"] == "a/b@c"


def test_two_airflows_share_no_secret() -> None:
    """Every key is newly generated, so that nothing signed by one is believed by another."""
    one, other = environment(), environment()
    for key in ("CORE__FERNET_KEY", "API__SECRET_KEY", "API_AUTH__JWT_SECRET"):
        assert one[f"AIRFLOW__{key}"] != other[f"AIRFLOW__{key}"]
