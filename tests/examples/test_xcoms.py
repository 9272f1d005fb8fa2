"""The XComs that the example DAG leaves in Airflow's database."""

import runpy

import pytest
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session
from sqlalchemy import select


@pytest.fixture
def teaser(pytestconfig, monkeypatch, tmp_path):
    """The DAG, loaded when its folder for files is known."""
    monkeypatch.setenv("AIRFLOW__MAGIC_HOUR__OUTPUT_PATH", str(tmp_path))
    return runpy.run_path(str(pytestconfig.rootpath / "dags_examples" / "product_teaser.py"))["dag"]


def test_the_xcoms_of_a_run(magic_hour_simulator, teaser):
    """Real rows in Airflow's table: at most 13 for each task, and the link of each leads to its job."""
    run = teaser.test()
    with create_session() as session:
        query = select(XComModel.task_id, XComModel.key, XComModel.value).where(XComModel.run_id == run.run_id)
        query = query.where(XComModel.dag_id == run.dag_id)
        xcoms = {}
        for task_id, key, value in session.execute(query):
            xcoms.setdefault(task_id, {})[key] = value
    ours = {task_id: found for task_id, found in xcoms.items() if "magic_hour_job" in found}
    assert len(ours) == 5
    for task_id, found in ours.items():
        assert len(found) <= 13, (task_id, sorted(found))
        job = found["magic_hour_job"]
        assert found["library_url"] == job["library_url"]
        assert [key for key in found if key.startswith("magic_hour.")] == [f"magic_hour.job.{job['id']}"]
    assert magic_hour_simulator.stats()["creates"]["accepted"] == 5
