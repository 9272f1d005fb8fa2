"""Run thousands of jobs on an Airflow of many parts, kill each part in turn, and say what became of the jobs.

PostgreSQL, Celery with Redis, two schedulers, two triggerers and three workers, all here, against the offline
Magic Hour (``make soak``). The report is Markdown on standard output; the exit code is 1 where a promise was not kept.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import httpx
import psycopg2

from demo import DemoError, Simulator
from local_airflow import LocalAirflow, LocalAirflowError
from process_tree import stoppable
from servers import MissingServerError, PostgresServer, RedisServer
from soak_parts.chaos import Chaos, Timetable
from soak_parts.check import find_violations
from soak_parts.recovery import Recovery
from soak_parts.report import Soak, describe
from soak_parts.stack import Keeper, components, settings
from soak_parts.state import ENDED, Instance, SoakState
from soak_parts.usage import UsageByProgram
from soak_parts.work import BATCH_DAG, BATCH_RUN, JOBS_DAG, identities

PARTS = Path(__file__).resolve().parent / "soak_parts"
LARGEST_WAVE = 50
WAVE_S = 12.0
PACKAGES = ("apache-airflow", "apache-airflow-providers-celery", "celery", "redis", "psycopg2-binary")


class TimeUpError(Exception):
    """The soak did not end within its time limit."""


class Run:
    """One soak, once everything is up.

    :param waves: how many runs of mapped single jobs.
    :param pause_s: between one thing that is done to it and the next, in seconds.
    """

    def __init__(
        self,
        soak: Soak,
        *,
        waves: int,
        airflow: LocalAirflow,
        simulator: Simulator,
        database: PostgresServer,
        broker: RedisServer,
        state: SoakState,
        limit_s: float,
        pause_s: float,
        with_chaos: bool,
    ) -> None:
        self.soak, self._airflow, self._simulator, self._state = soak, airflow, simulator, state
        self._database, self._broker = database, broker
        self._began, self._limit_s = time.monotonic(), limit_s
        self._to_trigger = [(JOBS_DAG, f"soak-{number:02}") for number in range(waves)]
        self._waves = waves
        if soak.rows:
            self._to_trigger.insert(0, (BATCH_DAG, BATCH_RUN))
        self._runs = len(self._to_trigger)
        self.keeper, self._timetable, self.usage = Keeper(airflow), Timetable(), UsageByProgram()
        self._chaos = Chaos(airflow, self.keeper, database, simulator.url, self._timetable, self._say)
        self._events = list(self._chaos.events.items()) if with_chaos else []
        self._all_events = len(self._events)
        self._with_chaos, self._pause_s = with_chaos, pause_s
        self._last_wave = self._last_event = self._last_said = time.monotonic()
        self._instances: list[Instance] = []

    def go(self) -> None:
        """Run it to its end, recover what a person has to, and check.

        :raises TimeUpError: it takes too long.
        """
        if self._with_chaos:
            self._chaos.begin()
        self._until(lambda: not self._to_trigger and not self._events and self._is_whole() and self._all_ended())
        if self._with_chaos:
            self._chaos.end()
        self._chaos.close()
        recovery = Recovery(self._airflow.environment, self._state, self._say)
        recovery.recover_jobs(self._instances)
        self._until(self._all_ended)
        while recovery.recover_item():
            self._until(self._all_ended)
        self.soak.adopted, self.soak.regenerated = recovery.adopted, recovery.regenerated

    def conclude(self) -> None:
        """Put what was found into the soak."""
        soak = self.soak
        if not self._database.processes():
            self._database.start()
        soak.seconds = time.monotonic() - self._began
        soak.made = self._state.made_jobs()
        self._instances = self._state.instances()
        soak.results = self._state.results(self._instances)
        soak.tries = Counter(one.tries for one in self._instances)
        soak.restarts = self.keeper.ended
        expected = identities(
            [f"soak-{number:02}" for number in range(self._waves)], soak.jobs // self._waves, soak.rows
        )
        soak.violations += find_violations(expected, soak.made, soak.results)

    def _until(self, is_over: Callable[[], bool]) -> None:
        while not is_over():
            if time.monotonic() - self._began > self._limit_s:
                raise TimeUpError(f"It did not end within {self._limit_s / 60:g} minutes")
            self._timetable.run()
            for name, code in self.keeper.tend().items():
                self._note_event(f"{name} ended by itself with {code}")
            leaders = self._airflow.leaders() | {"simulator": self._simulator.pid}
            trees = {"postgresql": self._database.processes(), "redis": self._broker.processes()}
            self.usage.read(leaders, {name: tree for name, tree in trees.items() if tree})
            self._trigger()
            self._next_event()
            self._note()
            time.sleep(1)

    def _trigger(self) -> None:
        now, waiting = time.monotonic(), self._unfinished()
        if now - self._last_wave < WAVE_S or waiting > 3 * LARGEST_WAVE or not (self._to_trigger and self._is_whole()):
            return
        dag_id, run_id = self._to_trigger[0]
        body = {"dag_run_id": run_id, "logical_date": None, "conf": {}}
        try:
            self._airflow.api("POST", f"/dags/{dag_id}/dagRuns", json=body)
        except (httpx.HTTPError, LocalAirflowError) as error:
            if "HTTP 409" not in str(error):  # which an attempt has started whose response was lost
                return
        del self._to_trigger[0]
        if dag_id == JOBS_DAG:
            self._last_wave = now

    def _next_event(self) -> None:
        now = time.monotonic()
        if not self._is_whole():
            self._last_event = now  # one thing after another, each with some time to get over it
        elif self._events and now - self._last_event > self._pause_s:
            done = self._all_events - len(self._events)
            is_over = not self._to_trigger and all(one.state in ENDED for one in self._instances)
            # In step with the work, so that each meets tasks that are under way.
            if is_over or self._creates() >= (done + 1) * (self.soak.jobs + self.soak.rows) / (self._all_events + 1):
                what, do = self._events.pop(0)
                self._note_event(what)
                do()
                self._last_event = now

    def _is_whole(self) -> bool:
        return not self.keeper.is_any_down and bool(self._database.processes())

    def _creates(self) -> int:
        answer = httpx.get(f"{self._simulator.url}/_simulator/stats", timeout=60, trust_env=False)
        return int(answer.raise_for_status().json()["creates"]["accepted"])

    def _all_ended(self) -> bool:
        with contextlib.suppress(psycopg2.Error):
            self._instances = self._state.instances()
            states = self._state.run_states()
            return states["success"] + states["failed"] == self._runs
        return False

    def _unfinished(self) -> int:
        with contextlib.suppress(psycopg2.Error):
            self._instances = self._state.instances()
        return sum(one.state not in ENDED for one in self._instances)

    def _note(self) -> None:
        if time.monotonic() - self._last_said > 30:
            self._last_said = time.monotonic()
            states = Counter(f"{one.state}" for one in self._instances)
            said = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
            self._say(f"{said}; {self._creates()} creates")

    def _note_event(self, what: str) -> None:
        self.soak.events.append((self._second(), what))
        self._say(what)

    def _say(self, what: str) -> None:
        print(f"{self._second():6.0f} s  {what}", file=sys.stderr, flush=True)

    def _second(self) -> float:
        return time.monotonic() - self._began


def run(arguments: argparse.Namespace, home: Path) -> bool:
    """Start everything, run the soak, print its report, and return whether every promise was kept.

    :raises PackageNotFoundError: the dependency group ``soak`` is not installed.
    """
    versions = {name: version(name) for name in PACKAGES}
    media, ledger, storage = (home / name for name in ("media", "ledger", "simulator"))
    # At least one wave for each event, so that each meets tasks at work.
    wave = max(5, min(LARGEST_WAVE, arguments.jobs // 12))
    waves = max(1, arguments.jobs // wave)
    soak = Soak(jobs=waves * wave, rows=arguments.rows)
    options = ["--storage", str(storage), "--quiet", "--credits", "100000000"]
    with (
        stoppable(),
        RedisServer(home / "redis.log") as broker,
        PostgresServer() as database,
        Simulator(log=home / "simulator.log", speed=1, options=options) as simulator,
        LocalAirflow(
            home / "airflow",
            dags_folder=PARTS / "dags",
            connections={
                "magic_hour_default": {
                    "conn_type": "magic_hour",
                    "host": simulator.url,
                    "password": simulator.api_key,
                }
            },
            environment=settings(database.url, broker.url, media, ledger)
            | {
                "SOAK_MEDIA": str(media),
                "SOAK_WAVE": str(wave),
                "SOAK_ROWS": str(arguments.rows),
                "SOAK_RETRIES": str(arguments.retries),
                "SOAK_WINDOW": str(arguments.window),
            },
            components=components(),
        ) as airflow,
    ):
        state = SoakState(database, simulator.url, storage, wave, arguments.rows)
        one = Run(
            soak,
            waves=waves,
            airflow=airflow,
            simulator=simulator,
            database=database,
            broker=broker,
            state=state,
            limit_s=60 * arguments.minutes,
            pause_s=arguments.pause,
            with_chaos=not arguments.without_chaos,
        )
        try:
            one.go()
        except TimeUpError as error:
            soak.violations.append(str(error))
        one.conclude()
        print(describe(soak, one.usage, versions), flush=True)
    return not soak.violations


def main() -> int:
    """Run the soak; return 1 where a promise was not kept, and 2 where it cannot be run here."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1000, help="single jobs (%(default)s)")
    parser.add_argument("--rows", type=int, default=2000, help="rows of the batch, 0 for no batch (%(default)s)")
    parser.add_argument("--window", type=int, default=100, help="max_active_jobs of the batch (%(default)s)")
    parser.add_argument("--retries", type=int, default=2, help="retries of every task (%(default)s)")
    parser.add_argument("--minutes", type=float, default=60, help="when to give up (%(default)g)")
    parser.add_argument(
        "--pause", type=float, default=25, help="seconds from one thing killed to the next (%(default)g)"
    )
    parser.add_argument("--without-chaos", action="store_true", help="nothing is killed, taken away or lost")
    parser.add_argument("--keep", action="store_true", help="leave logs and files")
    arguments = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="magic-hour-soak-"))
    try:
        return 0 if run(arguments, home) else 1
    except PackageNotFoundError as missing:
        print(f"{missing.name} is not installed: make soak installs the dependency group soak.", file=sys.stderr)
        return 2
    except (MissingServerError, LocalAirflowError, DemoError) as error:
        print(error, file=sys.stderr)
        return 2
    finally:
        if arguments.keep:
            print(f"Logs and files: {home}", file=sys.stderr)
        else:
            shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
