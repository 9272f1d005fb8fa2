"""What the tests of whole attempts share."""

from __future__ import annotations

import pytest

from helpers.attempts import Connected
from helpers.batches import Batches


@pytest.fixture
def batches(airflow: Connected) -> Batches:
    """Batches of one folder."""
    return Batches(airflow)
