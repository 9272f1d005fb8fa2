"""What nobody means to send is quoted in messages as it came: they need not be whole sentences here."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def well_formed_messages() -> None:
    """Check no sentences."""
