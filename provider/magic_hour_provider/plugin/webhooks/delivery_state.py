"""What an API server remembers of a delivery that it has not done with."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class HandedOver:
    """What a task was handed over from, to a stand-in.

    :param trigger_id: the trigger that waited until then.
    :param at: when, in seconds since 1970.
    """

    trigger_id: int
    at: float


@dataclass
class Memory:
    """What is kept between the looks of one delivery.

    :param met_at: when each trigger was first met, by its id, in seconds since 1970: a worker's clock that is ahead of
        ours delays its task once and no longer.
    :param stand_ins: the triggers that tasks were handed to, by their ids.
    """

    met_at: dict[int, float] = field(default_factory=dict)
    stand_ins: dict[int, HandedOver] = field(default_factory=dict)
