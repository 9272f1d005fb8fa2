"""Fixtures: a receiver of webhooks, and a simulator that sends to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from helpers.simulator import Receiver
from magic_hour_provider.simulator import Simulator


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as one:
        yield one


@pytest.fixture
def hooked(sim: Simulator, receiver: Receiver) -> Simulator:
    """The simulator, with a webhook that leads to the receiver."""
    sim.add_webhook(receiver.url)
    return sim
