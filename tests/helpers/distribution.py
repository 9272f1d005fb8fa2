"""Which worker of pytest-xdist runs which tests, and who gets the processor first."""

from __future__ import annotations

import os
from typing import Any

from xdist.scheduler import LoadScopeScheduling

SYSTEM = "tests/system"
ALONE = f"{SYSTEM}/alone"
_NICENESS = 10


def give_way(nodeid: str) -> None:
    """Let the processes of a real Airflow, and of the worker that it answers, go before a worker that runs this test.

    They wait more than they work, and what keeps them waiting is kept waiting in turn: heartbeats, locks and bounds.
    """
    if "PYTEST_XDIST_WORKER" in os.environ and not nodeid.startswith(f"{SYSTEM}/") and os.nice(0) < _NICENESS:
        os.nice(_NICENESS - os.nice(0))


class OneAirflow(LoadScopeScheduling):
    """A module's tests are all one worker's, as are those that share a real Airflow: what they share starts once.

    So are those that start an Airflow of their own, one after another: more than two at once are too many for a small
    machine. Both take longest and come first, then the largest modules. pytest-xdist's own groups by mark (``--dist
    loadgroup``) would do nothing with pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        return next(
            (folder for folder in (ALONE, SYSTEM) if nodeid.startswith(f"{folder}/")), nodeid.partition("::")[0]
        )

    def _assign_work_unit(self, node: Any) -> None:
        for folder in (ALONE, SYSTEM):
            if folder in self.workqueue:
                self.workqueue.move_to_end(folder, last=False)
        super()._assign_work_unit(node)
