"""What ``dag.test()`` needs beside the DAGs folder: a database, here in the tests' own AIRFLOW_HOME."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.definitions.mappedoperator import MappedOperator

from helpers.database import fill_home


@pytest.fixture(scope="package", autouse=True)
def database() -> None:
    """Make the tables once."""
    fill_home()


@pytest.fixture
def load_example(pytestconfig: pytest.Config) -> Callable[[str], dict[str, Any]]:
    """Return what an example's file defines, read again: its DAGs see the settings of the test.

    What fails is not tried again after minutes, as ``dag.test()`` would: the retry would hide it.
    """

    def load(name: str) -> dict[str, Any]:
        defined = runpy.run_path(str(pytestconfig.rootpath / "dags_examples" / f"{name}.py"))
        for task in [task for dag in defined.values() if isinstance(dag, DAG) for task in dag.tasks]:
            options = task.partial_kwargs if isinstance(task, MappedOperator) else vars(task)
            options["retries"] = 0
        return defined

    return load


@pytest.fixture
def returned() -> Callable[[Any, str], Any]:
    """Return what an unmapped task of a run returned."""

    def read(run: Any, task_id: str) -> Any:
        return run.get_task_instance(task_id).xcom_pull(task_id)

    return read
