"""An offline Magic Hour over real HTTP: the command ``magic-hour-simulator``, or ``with Simulator() as sim``.

The faults that can be injected are in :data:`.faults.FAULTS`, those that a prompt can ask for in
:mod:`.faults.prompts`; settings for behavior that is not established of Magic Hour are in :class:`.behavior.Behavior`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from magic_hour_provider.simulator.account.accounting import Summary
from magic_hour_provider.simulator.behavior import Behavior

if TYPE_CHECKING:
    from magic_hour_provider.simulator.server import Simulator

__all__ = ["Behavior", "Simulator", "Summary"]


def __getattr__(name: str) -> Any:
    """Import the simulator when it is used: without its extra, the command can still say what is missing."""
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
