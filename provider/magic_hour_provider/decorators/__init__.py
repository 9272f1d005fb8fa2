"""``@task.magic_hour`` and ``@task.magic_hour_batch``, also as typed functions: a function makes what is asked for."""

from __future__ import annotations

from magic_hour_provider.decorators.magic_hour import magic_hour_task
from magic_hour_provider.decorators.magic_hour_batch import magic_hour_batch_task

__all__ = ["magic_hour_batch_task", "magic_hour_task"]
