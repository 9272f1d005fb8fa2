"""Fixtures of the trigger tests."""

from __future__ import annotations

import pytest

from helpers.virtual_time import Virtual


@pytest.fixture
def virtual(monkeypatch: pytest.MonkeyPatch) -> Virtual:
    """Triggers in virtual time."""
    return Virtual(monkeypatch)
