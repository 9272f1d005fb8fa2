"""An offline Magic Hour over real HTTP: ``python -m magic_hour_provider.simulator``, or ``with Simulator() as sim``.

What can be made to go wrong is in :data:`.faults.FAULTS`, and in :mod:`.magic` by words in a prompt; what is not
known of Magic Hour, and can be chosen, is in :class:`.choices.Choices`.
"""

from __future__ import annotations

from magic_hour_provider.simulator.books import Books
from magic_hour_provider.simulator.choices import Choices

try:
    from magic_hour_provider.simulator.server import Simulator
except ModuleNotFoundError as missing:
    if missing.name not in ("PIL", "av"):
        raise
    raise ModuleNotFoundError(
        "The simulator needs Pillow and PyAV: pip install 'airflow-provider-magic-hour[simulator]'.", name=missing.name
    ) from missing

__all__ = ["Books", "Choices", "Simulator"]
