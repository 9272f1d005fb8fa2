"""Airflow's audit log: who has asked for what, and what came of it.

``airflow.api_fastapi.logging.decorators.action_logging`` does not serve here: it lets fields of the body name another
DAG, fails on a body that is no JSON, blocks the event loop with its database, and on Airflow 3.1 drops the line of a
request that is refused.
"""

from __future__ import annotations

import json
import logging
from typing import Any

from sqlalchemy import update

from magic_hour_provider.plugin.airflow_internals import create_session
from magic_hour_provider.plugin.recovery.situation import TaskKey
from magic_hour_provider.plugin.web.sanitize import to_safe_json

log = logging.getLogger(__name__)


class AuditLine:
    """One line: written before anything is done, completed with the outcome. Blocks.

    :param event: its name.
    :param user: Airflow's.
    :param key: the task instance.
    :param asked: what was asked for; secrets in it are left out.
    """

    def __init__(self, event: str, user: Any, key: TaskKey, asked: dict[str, Any]) -> None:
        from magic_hour_provider.plugin.airflow_internals import Log

        self._log = Log
        self._extra = {"method": "POST", "map_index": key.map_index, **to_safe_json(asked)}
        name = user.get_name()
        with create_session(scoped=False) as session:
            line = Log(
                event=event,
                owner=name,
                owner_display_name=name,
                extra=json.dumps(self._extra),
                dag_id=key.dag_id,
                task_id=key.task_id,
                run_id=key.run_id,
                map_index=key.map_index,
            )
            session.add(line)
            session.flush()
            self._id = line.id

    def complete(self, status: int, outcome: str) -> None:
        """Add what came of it.

        :param status: the response's.
        :param outcome: as a sentence.
        """
        extra = self._extra | {"status": status, "outcome": to_safe_json(outcome)}
        try:
            with create_session(scoped=False) as session:
                session.execute(update(self._log).where(self._log.id == self._id).values(extra=json.dumps(extra)))
        except Exception:  # what was done is done: the line says who asked for it
            log.exception("The audit log does not say what came of %s", extra)
