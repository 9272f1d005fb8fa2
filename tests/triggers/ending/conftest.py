"""Fixtures of tasks that end in the triggerer."""

from __future__ import annotations

import pytest

from helpers.attempts import Connected
from helpers.ending import Triggerer


@pytest.fixture
def triggerer(airflow: Connected, monkeypatch: pytest.MonkeyPatch) -> Triggerer:
    """A triggerer that may end tasks."""
    return Triggerer(airflow, monkeypatch)
