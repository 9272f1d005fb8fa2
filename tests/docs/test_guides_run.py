"""The DAGs that the guides show are run as they are, against the simulator: what each pays for."""

from __future__ import annotations

import runpy
import shutil
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow import settings
from airflow.sdk.definitions._internal.contextmanager import DagContext

from helpers.database import airflow_on
from helpers.pages import DOCS, Page
from helpers.samples import PHOTO

BUCKET = "s3://aws_default@media"
PHOTOS = ("shoe-1.jpg", "shoe-2.jpg", "shoe-3.jpg", "anna.jpg", "ben.jpg", "logo.png")


@pytest.fixture(scope="module", autouse=True)
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A database without other tests' DAGs of the same names."""
    with airflow_on("sqlite", tmp_path_factory.mktemp("metadata")):
        yield


@pytest.fixture
def media(tmp_path: Path) -> Path:
    """A folder in the place of the guides' bucket, with the files that they name."""
    folder = tmp_path / "media"
    folder.mkdir()
    for name in PHOTOS:
        shutil.copy(PHOTO, folder / name)
    with wave.open(str(folder / "voice.wav"), "wb") as voice:
        voice.setnchannels(1)
        voice.setsampwidth(2)
        voice.setframerate(8000)
        voice.writeframes(bytes(2 * 8000))
    return folder


def load(page: Page, media: Path, folder: Path) -> dict[str, Any]:
    """Return the DAGs of a page, whose bucket is a folder and whose file of rows is there."""
    code = "\n".join(block.code for block in page.blocks("python") if not block.is_parsed_only)
    for block in page.blocks("csv"):
        (media / "campaign.csv").write_text(block.code.replace(BUCKET, str(media)))
    file = folder / "page.py"
    file.parent.mkdir()
    file.write_text(code.replace(BUCKET, str(media)).replace("/data/", f"{media}/"))
    DagContext.autoregistered_dags.clear()
    DagContext.current_autoregister_module_name = "<run_path>"
    try:
        runpy.run_path(str(file))
        return {dag.dag_id: dag for dag, _ in DagContext.autoregistered_dags}
    finally:
        DagContext.current_autoregister_module_name = None
        DagContext.autoregistered_dags.clear()


@pytest.mark.parametrize(
    ("name", "dag_id", "jobs"),
    [
        ("one-job", "lighthouse", 1),
        ("one-job", "submit_and_wait", 1),
        ("files", "one_voice", 2),
        ("chaining", "third_of_four", 2),
        ("chaining", "three_into_one", 3),
        ("mapping-or-batch", "mapped_pictures", 3),
        ("mapping-or-batch", "batch_of_pictures", 3),
        ("batch", "campaign", 2),
        ("budgets", "waves", 1),
        ("decorators", "many_posters", 2),
        ("decorators", "campaign_by_function", 2),
        ("lineage", "producer", 1),
    ],
)
def test_a_guides_dag_runs(magic_hour_simulator, media, tmp_path, monkeypatch, name, dag_id, jobs):
    """It succeeds, pays for its jobs once, and stores what they made."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AIRFLOW__MAGIC_HOUR__OUTPUT_PATH", str(tmp_path / "magic-hour"))
    monkeypatch.setattr(settings, "DAGS_FOLDER", str(tmp_path / "dags"))  # where dag.test() finds the file
    dag = load(Page(DOCS / "guides" / f"{name}.md"), media, tmp_path / "dags")[dag_id]
    assert dag.test().state == "success"
    assert magic_hour_simulator.stats()["creates"]["accepted"] == jobs
    stored = [path for path in tmp_path.rglob("*-1.*") if path.suffix in (".png", ".mp4")]
    assert len(stored) == jobs
