"""Writes a person's instruction and clears the task instance, both or neither."""

from __future__ import annotations

from typing import Any

from magic_hour_provider.plugin.recovery.situation import Situation, TaskKey


def give_instruction(situation: Situation | TaskKey, instruction: Any) -> None:
    """Write an instruction and clear the task instance that it is for. Blocks, for some seconds at the most.

    :param situation: as it was seen; the task instance and its record must still be the same.
    :param instruction: to adopt a job, which was checked, or to make a new one; it names the record that it replaces.
    :raises RecoveryError: it is refused, and nothing has changed.
    """
    raise NotImplementedError
