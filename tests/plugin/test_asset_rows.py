"""What Airflow writes of a batch's asset events, as its own code takes them from the worker."""

from __future__ import annotations

import sqlalchemy as sa
from airflow.models.asset import AssetActive, AssetAliasModel, AssetEvent, AssetModel
from airflow.models.taskinstance import TaskInstance as Row
from airflow.sdk import DAG, Asset, AssetAlias
from airflow.sdk.api.datamodels._generated import AssetProfile
from airflow.sdk.execution_time.task_runner import _serialize_outlet_events
from airflow.utils.session import create_session

from helpers.airflow_rows import put_run
from helpers.attempts import TaskInstance
from helpers.batches import Batches, rows

ALIAS, WHOLE = AssetAlias("campaign files"), Asset("campaign", uri="x-media://campaign")
OUTLETS = [AssetProfile(name=ALIAS.name, type="AssetAlias"), AssetProfile(name=WHOLE.name, uri=WHOLE.uri, type="Asset")]


def count_rows(session) -> dict[str, int]:
    """Return how many rows each table has that is about assets."""
    names = [name for name in sa.inspect(session.connection()).get_table_names() if "asset" in name]
    return {name: session.scalar(sa.select(sa.func.count()).select_from(sa.table(name))) for name in names}


def test_four_rows_for_each_file(airflow_rows, airflow):
    """And one for the whole batch, with its manifest; the extras come through as they are."""
    batches, ti = Batches(airflow), TaskInstance("campaign")
    with DAG("asset_rows", schedule=None) as dag:
        operator = batches.operator(rows(2, image_count=2), item_id="sku", outlets=[ALIAS, WHOLE])
    made = batches.attempt(operator, ti)
    put_run(dag)
    with create_session() as session:
        session.add_all([AssetAliasModel(name=ALIAS.name, group=""), AssetActive(name=WHOLE.name, uri=WHOLE.uri)])
        session.add(AssetModel(name=WHOLE.name, uri=WHOLE.uri, group="asset"))
    with create_session() as session:
        row = session.scalars(sa.select(Row).where(Row.dag_id == "asset_rows")).one()
        before = count_rows(session)
        sent = list(_serialize_outlet_events(ti.outlet_events))
        Row.register_asset_changes_in_db(row, OUTLETS, sent, session=session)
        session.flush()
        after = count_rows(session)
        extras = {event.uri: event.extra for event in session.scalars(sa.select(AssetEvent))}
        session.rollback()
    assert {name: count - before[name] for name, count in after.items() if count > before[name]} == {
        "asset": 4,
        "asset_event": 5,
        "asset_alias_asset": 4,
        "asset_alias_asset_event": 4,
    }
    assert extras.pop(WHOLE.uri) == made
    given = {event.dest_asset_key.uri: event.extra for event in ti.outlet_events[ALIAS].asset_alias_events}
    assert extras == given
    assert batches.creates() == 2
