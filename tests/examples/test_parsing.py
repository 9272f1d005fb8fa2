"""Every example parses on a machine that reaches nothing and has no library for S3."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG

EXAMPLES = sorted(path.stem for path in (Path(__file__).parents[2] / "dags_examples").glob("*.py"))


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_parses_offline(name: str, load_example: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is asked of a network, nor of a library that only buckets need; the DAGs are there and make sense."""

    if name.startswith("agent_"):
        pytest.importorskip("airflow.providers.common.ai")

    def refused(*_: Any) -> None:
        raise AssertionError("parsing reached for the network")

    monkeypatch.setattr(socket.socket, "connect", refused)
    for library in ("airflow.providers.amazon", "s3fs", "boto3", "aiobotocore"):
        monkeypatch.setitem(sys.modules, library, None)
    dags = [value for value in load_example(name).values() if isinstance(value, DAG)]
    assert dags
    for dag in dags:
        dag.validate()
