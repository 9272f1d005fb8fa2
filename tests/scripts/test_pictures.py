"""The pictures of the documentation come from the run that the script makes."""

from __future__ import annotations

import ast
from pathlib import Path

import pictures

try:
    from airflow.dag_processing.dagbag import DagBag
except ImportError:  # before Airflow 3.2
    from airflow.models.dagbag import DagBag

ROOT = Path(pictures.ROOT)


def test_the_dag_of_the_pictures_loads():
    """Its tasks are those that the script waits for, what goes on rendering, and what nobody reached."""
    bag = DagBag(str(ROOT / "scripts" / "dags"))
    assert not bag.import_errors
    assert set(bag.dags[pictures.DAG_ID].task_ids) == {*pictures.ENDED, "teaser", "publish"}


def test_every_picture_is_taken_by_the_script():
    """No picture of the documentation was made by hand."""
    calls = [node for node in ast.walk(ast.parse(Path(pictures.__file__).read_text())) if isinstance(node, ast.Call)]
    taken = {call.args[0].value for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "take"}
    assert {path.stem for path in (ROOT / "docs" / "images").glob("*.png")} == taken
