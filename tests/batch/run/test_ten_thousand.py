"""Ten thousand rows from the first payment to the last file, and over a death in the middle."""

from __future__ import annotations

import itertools
import logging
from pathlib import Path

import pytest

from helpers.attempts import TaskInstance
from helpers.batches import Batches, rows
from magic_hour_provider.batch.jobs.submitter import Submitter
from magic_hour_provider.batch.run.results import read_results
from magic_hour_provider.simulator.rendering.render import Renderer

pytestmark = pytest.mark.long

ROWS = 10_000
PRICE = 10


def picture(job_id: str) -> bytes:
    """Return what begins as a picture does, and says whose it is."""
    return b"\x89PNG\r\n\x1a\n" + job_id.encode()


class Killed(BaseException):
    """Stands for kill -9: nothing of ours catches it."""


@pytest.fixture(autouse=True)
def few_lines():
    """Without those of each job."""
    logging.disable(logging.INFO)
    yield
    logging.disable(logging.NOTSET)


def test_ten_thousand_rows(airflow, monkeypatch):
    """A worker that dies in the middle, and its retry: 10,000 creates, and a whole file for each."""
    # Drawing so many pictures would take most of the time.
    monkeypatch.setattr(Renderer, "_render", lambda _, job, number, path: path.write_bytes(picture(job.id)))
    batches, ti = Batches(airflow), TaskInstance("campaign")
    operator = batches.operator(rows(ROWS), item_id="sku", max_active_jobs=200, retries=1)
    real, calls = Submitter.submit, itertools.count(1)

    def submit(*arguments):
        if next(calls) > ROWS // 2:
            raise Killed
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Submitter, "submit", submit)
        with pytest.raises(Killed):
            batches.attempt(operator, ti)
    made = batches.attempt(operator, ti)
    assert (made["items"], made["complete"], made["credits_charged"]) == (ROWS, ROWS, ROWS * PRICE)
    assert batches.creates() == ROWS
    for number, row in enumerate(read_results(made)):
        assert row["item_id"] == f"shoe-{number}"
        assert Path(row["files"][0]).read_bytes() == picture(row["id"])
