"""What ``dag.test()`` needs beside the DAGs folder: a database, here in the tests' own AIRFLOW_HOME."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="package", autouse=True)
def database() -> None:
    """Make the tables once."""
    from airflow.utils.db import initdb

    initdb()
