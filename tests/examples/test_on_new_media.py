"""The two DAGs that share an alias: what Airflow learns of new files, and what is made of them."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.models import dagrun
from airflow.models.asset import AssetEvent
from airflow.utils.session import create_session
from sqlalchemy import select


@pytest.fixture
def started_by(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let the runs of ``dag.test()`` stand for events, as those do that the scheduler starts for them."""
    make = dagrun.get_or_create_dagrun

    def arrange(run_id: str) -> None:
        def started(*, session: Any, **options: Any) -> Any:
            run = make(session=session, **options)
            run.consumed_asset_events.extend(session.scalars(select(AssetEvent).filter_by(source_run_id=run_id)))
            session.commit()
            return run

        monkeypatch.setattr(dagrun, "get_or_create_dagrun", started)

    return arrange


def test_each_new_picture_is_cut_out(magic_hour_simulator, load_example, started_by, monkeypatch, tmp_path):
    """Both files of one job are recorded under the alias; the other DAG pays for one job each, and uploads nothing."""
    monkeypatch.setenv("AIRFLOW__MAGIC_HOUR__OUTPUT_PATH", str(tmp_path))
    example = load_example("on_new_media")
    run = example["producer"].test()
    assert run.state == "success"
    with create_session() as session:
        events = session.scalars(select(AssetEvent).filter_by(source_run_id=run.run_id)).all()
        seen = {event.asset.uri: (event.source_aliases[0].name, event.extra["index"]) for event in events}
    pictures = sorted(tmp_path.glob("ai-image-generator-*.png"))
    assert seen == {f"file://{path}": ("magic-hour-new-pictures", index) for index, path in enumerate(pictures)}
    assert (len(pictures), magic_hour_simulator.stats()["creates"]["accepted"]) == (2, 1)

    started_by(run.run_id)
    assert example["consumer"].test().state == "success"
    stats = magic_hour_simulator.stats()
    assert (stats["creates"]["accepted"], stats["uploads"]) == (3, 0)
    assert len(list(tmp_path.glob("image-background-remover-*.png"))) == 2
