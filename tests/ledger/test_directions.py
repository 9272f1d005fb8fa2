"""The lines that errors give a person to paste are commands that there are."""

from __future__ import annotations

import re
import shlex
from types import SimpleNamespace

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_2_PLUS

from helpers.messages import read_messages
from magic_hour_provider.__main__ import make_parser
from magic_hour_provider.batch.records.intent import ItemDirections
from magic_hour_provider.ledger.places.directions import COMMAND, Directions, name_for_command


@pytest.mark.parametrize("map_index", [None, -1, 0, 3])
@pytest.mark.parametrize("item", [None, "SKU 1"])
@pytest.mark.parametrize("job", [None, "abc123"])
def test_lines_to_paste(map_index, item, job):
    """They name the task instance and the item as a shell needs it."""
    ti = SimpleNamespace(dag_id="teaser", run_id="manual__2026-11-29T15:00:00+00:00", task_id="a", map_index=map_index)
    target = name_for_command(ti)
    way = Directions(target=target) if item is None else ItemDirections(item=item, target=target)
    for text in (way.choose(job), way.adopt(job or "JOB"), way.regenerate()):
        lines = re.findall(
            r"(?:airflow magic-hour|python -m magic_hour_provider) ((?:'[^']*'|[^;'])+?)(?:;|\.(?: |$))", text
        )
        assert lines
        for line in lines:
            given = make_parser().parse_args(shlex.split(line))
            assert (given.dag_id, given.run_id, given.task_id, given.item) == ("teaser", ti.run_id, "a", item)
            assert given.map_index == (map_index if map_index in (0, 3) else -1)
            assert "adopt" not in line or given.job == (job or "JOB")


def test_the_name_of_the_command():
    """Airflow 3.1 takes no commands of providers, so no message but those of :data:`COMMAND` says how to call them."""
    assert ("airflow magic-hour" if AIRFLOW_V_3_2_PLUS else "python -m magic_hour_provider") == COMMAND
    named = {one.where for one in read_messages() if re.search("airflow magic-hour|-m magic_hour_provider", one.text)}
    assert named <= {"ledger/places/directions.py", "__main__.py"}


def test_a_place_that_no_command_reaches():
    """Files beside the outputs, of a task without ``ledger_path``: by hand alone."""
    for text in (Directions("x", has_tab=False, target="a b c").choose(), Directions("x", has_tab=False).regenerate()):
        assert "command line" not in text
        assert "Media tab" not in text
