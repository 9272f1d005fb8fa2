"""An offline Magic Hour over real HTTP: the command ``magic-hour-simulator``, or ``with Simulator() as sim``.

What can be made to go wrong is in :data:`.faults.FAULTS`, and in :mod:`.magic` by words in a prompt; what is not
known of Magic Hour, and can be chosen, is in :class:`.behavior.Behavior`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from magic_hour_provider.simulator.account.accounting import Summary
from magic_hour_provider.simulator.behavior import Behavior

if TYPE_CHECKING:
    from magic_hour_provider.simulator.server import Simulator

__all__ = ["Behavior", "Simulator", "Summary"]


def __getattr__(name: str) -> Any:
    """Load the simulator when it is used: the command must be able to say what is missing."""
    if name != "Simulator":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from magic_hour_provider.simulator.server import Simulator
    except ModuleNotFoundError as missing:
        if missing.name not in ("PIL", "av"):
            raise
        raise ModuleNotFoundError(
            "The simulator needs Pillow and PyAV: pip install 'airflow-provider-magic-hour[simulator]'.",
            name=missing.name,
        ) from missing
    return Simulator
