"""Which worker of pytest-xdist runs which tests."""

from __future__ import annotations

from typing import Any

from xdist.scheduler import LoadScopeScheduling

SYSTEM = "tests/system"


class OneAirflow(LoadScopeScheduling):
    """A module's tests are all one worker's, as are those that run real Airflow processes: what they share starts once.

    The latter take longest and come first, then the largest modules. pytest-xdist's own groups by mark (``--dist
    loadgroup``) would do nothing with pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        return SYSTEM if nodeid.startswith(f"{SYSTEM}/") else nodeid.partition("::")[0]

    def _assign_work_unit(self, node: Any) -> None:
        if SYSTEM in self.workqueue:
            self.workqueue.move_to_end(SYSTEM, last=False)
        super()._assign_work_unit(node)
