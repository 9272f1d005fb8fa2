"""State kept while a delivery waits for its task to become resumable. Lost with the API server's process."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Handoff:
    """One task's move from its own trigger to a placeholder trigger.

    :param trigger_id: the trigger that the task waited on until then.
    :param at: when, in seconds since 1970.
    """

    trigger_id: int
    at: float


@dataclass
class DeliveryState:
    """State kept while a delivery is checked again.

    :param first_seen_at: when each trigger was first seen, by its id, in seconds since 1970: a worker's clock that is
        ahead of ours delays its task once and no longer.
    :param handoffs: what was done so far, by the id of the placeholder trigger.
    :param same_account: whether a task's connection belongs to the delivery's account, by the connection's id.
    """

    first_seen_at: dict[int, float] = field(default_factory=dict)
    handoffs: dict[int, Handoff] = field(default_factory=dict)
    same_account: dict[str, bool] = field(default_factory=dict)
