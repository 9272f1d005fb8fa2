"""What ``dag.test()`` needs beside the DAGs folder: a database, here in the tests' own AIRFLOW_HOME."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from typing import Any

import pytest

from helpers.database import fill_home


@pytest.fixture(scope="package", autouse=True)
def database() -> None:
    """Make the tables once."""
    fill_home()


@pytest.fixture
def load_example(pytestconfig: pytest.Config) -> Callable[[str], dict[str, Any]]:
    """Return what an example's file defines, read again: its DAGs see the settings of the test."""
    return lambda name: runpy.run_path(str(pytestconfig.rootpath / "dags_examples" / f"{name}.py"))


@pytest.fixture
def returned() -> Callable[[Any, str], Any]:
    """Return what an unmapped task of a run returned."""

    def read(run: Any, task_id: str) -> Any:
        return run.get_task_instance(task_id).xcom_pull(task_id)

    return read
