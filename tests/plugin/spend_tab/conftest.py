"""Databases with runs that have paid for jobs, as the API server reads them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from helpers.database import DIALECTS, airflow_on


@pytest.fixture(scope="module", params=DIALECTS)
def airflow_tables(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Airflow's own tables in a database of their own; give its dialect."""
    with airflow_on(request.param, tmp_path_factory.mktemp("spend")) as dialect:
        yield dialect
