"""What is killed, taken away and answered wrongly while the soak runs, and when."""

from __future__ import annotations

import heapq
import itertools
import signal
import time
from collections.abc import Callable

import httpx
import psutil

from local_airflow import LocalAirflow
from servers import PostgresServer
from soak_parts.stack import SCHEDULERS, TRIGGERERS, WORKERS, Keeper

DATABASE_AWAY_S, API_SERVER_AWAY_S = 30.0, 60.0
SPELL_S, PAUSE_S = 15.0, 30.0

# Answered by half of what matches, while a spell lasts. No 503 to a paid request: see LOST.
SPELLS = (
    [{"fault": "status", "status": 429, "retry_after": 2, "endpoint": where} for where in ("create", "get-job")],
    [{"fault": "status", "status": 503, "endpoint": where} for where in ("get-job", "download", "account")],
)
# Responses to paid requests that are lost, so that a person has to recover: of jobs that were made, and of none.
LOST = (
    {"fault": "close-after-accept", "count": 2, "every": 11, "prompt": "soak soak-"},
    {"fault": "status", "status": 503, "count": 2, "every": 7, "prompt": "soak soak-"},
    {"fault": "close-after-accept", "count": 1, "every": 29, "prompt": "soak batch"},
    {"fault": "status", "status": 503, "count": 1, "every": 23, "prompt": "soak batch"},
)


class Timetable:
    """What is to be done at which time, in one thread."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Callable[[], object]]] = []
        self._count = itertools.count()

    def after(self, seconds: float, action: Callable[[], object]) -> None:
        """Do something in so many seconds."""
        heapq.heappush(self._due, (time.monotonic() + seconds, next(self._count), action))

    def clear(self) -> None:
        """Do nothing of it any more."""
        self._due.clear()

    def run(self) -> None:
        """Do what is due."""
        while self._due and self._due[0][0] <= time.monotonic():
            heapq.heappop(self._due)[2]()


class Chaos:
    """Does one thing after another to a running Airflow.

    :param say: is told what happens.
    """

    def __init__(
        self,
        airflow: LocalAirflow,
        keeper: Keeper,
        database: PostgresServer,
        simulator_url: str,
        timetable: Timetable,
        say: Callable[[str], None],
    ) -> None:
        self._airflow, self._keeper, self._database = airflow, keeper, database
        self._timetable, self._say = timetable, say
        self._http = httpx.Client(base_url=f"{simulator_url}/_simulator", timeout=30, trust_env=False)
        self._spells = itertools.cycle(SPELLS)
        self.events: dict[str, Callable[[], None]] = {
            **{
                f"kill -9 of {name}": lambda name=name: keeper.kill(name)
                for name in (*WORKERS, *TRIGGERERS, *SCHEDULERS)
            },
            "kill -9 of dag-processor": lambda: keeper.kill("dag-processor"),
            "the API server away for 60 s": self._take_api_server,
            "the largest process of triggerer-1 killed, as for memory": self._kill_for_memory,
            "the database away for 30 s": self._take_database,
        }
        """What happens, in its order."""

    def begin(self) -> None:
        """Lose some responses, and answer 429 and 503 now and then, until :meth:`end`."""
        for fault in LOST:
            self._inject(fault)
        self._timetable.after(PAUSE_S, self._begin_spell)

    def end(self) -> None:
        """Answer as it should be from now on."""
        self._timetable.clear()
        self._http.delete("/faults").raise_for_status()

    def close(self) -> None:
        """Close the connection to the simulator."""
        self._http.close()

    def _begin_spell(self) -> None:
        spell = next(self._spells)
        for fault in spell:
            self._inject(fault | {"probability": 0.5})
        self._say(f"HTTP {spell[0]['status']} for {SPELL_S:g} s")
        self._timetable.after(SPELL_S, self._end_spell)

    def _end_spell(self) -> None:
        pending = self._http.get("/faults").raise_for_status().json()
        self._http.delete("/faults").raise_for_status()
        for fault in pending:
            remaining = fault.pop("remaining")
            del fault["triggered"]
            if remaining is not None:  # what was to be lost, and has not been yet
                self._inject(fault | {"count": remaining})
        self._timetable.after(PAUSE_S, self._begin_spell)

    def _inject(self, fault: dict[str, object]) -> None:
        self._http.post("/faults", json=fault).raise_for_status()

    def _take_api_server(self) -> None:
        self._keeper.held.add("api-server")
        self._keeper.kill("api-server")
        self._timetable.after(API_SERVER_AWAY_S, lambda: self._keeper.held.discard("api-server"))

    def _take_database(self) -> None:
        self._database.stop(signal.SIGQUIT)
        self._timetable.after(DATABASE_AWAY_S, self._database.start)

    def _kill_for_memory(self) -> None:
        # The kernel takes the process that has most.
        largest = max(self._airflow.processes("triggerer-1"), key=lambda process: process.memory_info().rss)
        self._say(f"SIGKILL to process {largest.pid}: {' '.join(largest.cmdline())[:80]}")
        try:
            largest.kill()
        except psutil.NoSuchProcess:
            self._say("which had just ended by itself")
