"""What only Airflow's API server has: its metadata database, here with the rows that tests put there."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from helpers.airflow_rows import make_app
from helpers.clocks import HeldClock, MovableTime
from helpers.database import DIALECTS, airflow_at, database_of, fill_home
from helpers.samples import KEY
from helpers.webhook_rows import Airflow, Triggerer
from helpers.webhooks import OTHER_SECRET, SECRET, Webhooks, serving
from magic_hour_provider.clock import override


@pytest.fixture(scope="session", params=DIALECTS)
def airflow_database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The dialect and the URL of a database with Airflow's own tables."""
    with database_of(request.param, tmp_path_factory.mktemp("metadata")) as url:
        yield request.param, url


@pytest.fixture
def database(airflow_database: tuple[str, str]) -> Iterator[str]:
    """The dialect of that database, which is Airflow's for one test in place of the one in its home."""
    dialect, url = airflow_database
    with airflow_at(url):
        yield dialect


@pytest.fixture(scope="session")
def api() -> Iterator[TestClient]:
    """Airflow's API server; who asks is nobody unless a token is given."""
    fill_home()
    with TestClient(make_app(), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def airflow_rows(database: str) -> Iterator[Airflow]:
    """Airflow's tables, without any task, asset or event."""
    airflow = Airflow(database)
    airflow.empty()
    yield airflow


@pytest.fixture
def triggerer(airflow_rows: Airflow) -> Iterator[Triggerer]:
    """The database's side of a triggerer."""
    thread = Triggerer()
    thread.start()
    yield thread
    thread.end()


@pytest.fixture
def clock() -> Iterator[HeldClock]:
    """The real time, as the rows of Airflow's database have it, which tests move on by hand."""
    with override(one := HeldClock(MovableTime(time.time))):
        yield one


@pytest.fixture
def webhooks(
    airflow_rows: Airflow, triggerer: Triggerer, clock: HeldClock, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Webhooks]:
    """The receiver, mounted as Airflow mounts it, with a secret in the default connection and a clock to move."""
    from starlette.applications import Starlette

    from magic_hour_provider.plugin.webhooks.inbox import Inbox
    from magic_hour_provider.plugin.webhooks.receiver import make_webhook_app

    connection = {"conn_type": "magic_hour", "password": KEY}
    for name, extra in {
        "DEFAULT": {"webhook_secret": SECRET},
        "ROTATED": {"webhook_secret": f"whsec_next {SECRET}"},
        "UNLISTED": {"webhook_secret": SECRET},
        "OTHER": {"webhook_secret": OTHER_SECRET},
        "NONE": {},
    }.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_MAGIC_HOUR_{name}", json.dumps(connection | {"extra": extra}))
    conn_ids = "magic_hour_default, magic_hour_rotated, magic_hour_other, magic_hour_none"
    monkeypatch.setenv("AIRFLOW__MAGIC_HOUR__WEBHOOK_CONN_IDS", conn_ids)
    root = Starlette()
    inbox = Inbox()
    app = make_webhook_app(inbox=inbox)
    root.mount("/magic-hour", app)
    with serving(root) as url:
        yield Webhooks(url, clock, inbox, triggerer, receiver=app.state.receiver)
