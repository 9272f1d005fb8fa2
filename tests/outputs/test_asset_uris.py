"""The assets that webhooks make events of, as Airflow knows them when a DAG is parsed."""

from __future__ import annotations

from pathlib import Path

import pytest
from airflow.sdk import Asset

from magic_hour_provider.outputs.asset_uris import EVENT_ASSET_URIS

DAG_FILE = """
from airflow.sdk import DAG, Asset
with DAG("on_media", schedule=[Asset({uri!r})]):
    pass
"""


def parse(folder: Path, uri: str) -> dict[str, str]:
    """Return what Airflow says against a DAG that is scheduled on the asset."""
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:  # Airflow 3.1
        from airflow.models.dagbag import DagBag

    file = folder / "on_media.py"
    file.write_text(DAG_FILE.format(uri=uri))
    return DagBag(str(file)).import_errors


def test_all_six_are_accepted(tmp_path):
    """Airflow parses a DAG that is scheduled on one, and takes the others too, unchanged."""
    assert parse(tmp_path, "magic-hour://video/completed") == {}
    assert len(EVENT_ASSET_URIS) == 6
    assert [Asset(uri).uri for uri in EVENT_ASSET_URIS] == list(EVENT_ASSET_URIS)


def test_a_typo_is_an_import_error_with_the_list(tmp_path):
    """It is said when the DAG is parsed, and what there is stands in the error."""
    (error,) = parse(tmp_path, "magic-hour://video/complete").values()
    assert "magic-hour://video/complete is no asset of Magic Hour" in error
    assert all(uri in error for uri in EVENT_ASSET_URIS)


@pytest.mark.parametrize(
    "uri",
    [
        "magic-hour://",
        "magic-hour://video",
        "magic-hour:video/completed",
        "magic-hour://video/completed?x=1",
        "magic-hour://Video/completed",
        "magic-hour://video/started",
        "magic-hour://face-detection/completed",
    ],
)
def test_nothing_else_of_the_scheme(uri):
    """Neither another kind or event, nor another spelling: its events would have another URI."""
    with pytest.raises(ValueError, match="is no asset of Magic Hour"):
        Asset(uri)


def test_a_trailing_slash_is_airflows():
    """It is removed by Airflow before it asks, and the scheme's case with it."""
    assert Asset("MAGIC-HOUR://image/errored/").uri == "magic-hour://image/errored"
