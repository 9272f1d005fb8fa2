"""A whole Airflow on this machine, for the demo and the system tests: four real processes, nothing shared."""

from __future__ import annotations

import json
import secrets
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
import psutil

from airflow_report import describe
from airflow_settings import ANSWER_S, HANG_S, USER, api_url, process_environment
from process_tree import Program, free_ports, stop_all

_LOCKED_S = 20.0

COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")

# What every line of a task's log carries, and whoever asked for the log knows.
_LOG_ROUTINE = {"timestamp", "level", "event", "logger", "filename", "lineno", "loc"}
_LOG_ROUTINE |= {"ti_id", "dag_id", "task_id", "run_id", "try_number", "map_index"}

T = TypeVar("T")

TaskInstance = dict[str, Any]
"""A task instance as Airflow's REST API shows it."""


class LocalAirflowError(Exception):
    """Airflow did not start, stopped by itself, or refused a request."""


class LocalAirflow:
    """Airflow's api-server, scheduler, dag-processor and triggerer, up for the length of a ``with`` block.

    When the block ends, in whatever way, every process is gone. The folder stays: logs, database and all.

    Its bounds are for what hangs, and no measure of a machine. When one has passed, the error says what Airflow was
    doing, and what comes after it is waited for a fifth as long: it will hang for the same reason.

    :param home: AIRFLOW_HOME, made when missing
    :param dags_folder: where the DAG files are
    :param connections: by connection id, what Airflow takes as a connection's JSON (``conn_type``, ``password``, ...)
    :param environment: added to every process, last; without a database in it, that is a file of SQLite's in ``home``
    :param components: by name, the ``airflow`` command of each component; by default one of each of :data:`COMPONENTS`
    """

    def __init__(
        self,
        home: Path,
        *,
        dags_folder: Path,
        connections: Mapping[str, Mapping[str, Any]] | None = None,
        environment: Mapping[str, str] | None = None,
        components: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.home, self.dags_folder = home.resolve(), dags_folder.resolve()
        self.components = dict(components or {name: [name] for name in COMPONENTS})
        [port] = free_ports(1)
        self.url = api_url(port)
        self.user, self.password = USER, secrets.token_urlsafe(12)
        self.environment = process_environment(
            self.home, self.dags_folder, api_port=port, connections=connections or {}
        ) | dict(environment or {})
        self._programs: dict[str, Program] = {}
        self._has_hung = False
        # A proxy of the environment has no business between us and this machine.
        self._http = httpx.Client(base_url=self.url, timeout=ANSWER_S, trust_env=False)

    def __enter__(self) -> Self:
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "passwords.json").write_text(json.dumps({USER: self.password}))
        try:
            self._migrate()
            for name in self.components:
                self.start(name)
            self.wait_until_healthy()
            if any(self.dags_folder.rglob("*.py")):
                self._until(lambda: self._dag_ids() or self.import_errors(), "no DAG file was parsed")
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close()

    # Processes

    def log_of(self, name: str) -> Path:
        """The file that a component's output goes to."""
        return self.home / "logs-of-processes" / f"{name}.log"

    def start(self, component: str, name: str | None = None) -> None:
        """Start one component, without waiting for it.

        :param name: what it is called here, where there is more than one of its kind
        """
        name = name or component
        if name in self._programs:
            raise LocalAirflowError(f"{name} is already running.")
        command = [sys.executable, "-m", "airflow", *self.components.get(component, [component])]
        self._programs[name] = Program(name, command, log=self.log_of(name), env=self.environment, cwd=self.home)

    def kill(self, name: str, sig: int = 9) -> None:
        """Send a signal to all processes of one component, and wait until they are gone."""
        self._programs[name].kill(sig)
        del self._programs[name]

    def restart(self, name: str, sig: int = 9) -> None:
        """Kill one component if it is up, start it again, and wait until the new one says that it is healthy."""
        if name in self._programs:
            self.kill(name, sig)
        before = self._health()
        self.start(name)
        # The killed one's last heartbeat still counts as fresh for a while: wait for one that is newer.
        self._until(
            lambda: self._health().get(name, "") > before.get(name, ""), f"the new {name} did not become healthy"
        )

    def processes(self, name: str | None = None) -> list[psutil.Process]:
        """Every process of this Airflow, or of one component: its helpers, executor workers and tasks included."""
        programs = self._programs.values() if name is None else [self._programs[name]]
        return [process for program in programs for process in program.processes()]

    def leaders(self) -> dict[str, int]:
        """The process that leads each running component's session."""
        return {name: program.pid for name, program in self._programs.items()}

    def ended(self) -> dict[str, int]:
        """The components that have ended by themselves, each with its exit code."""
        codes = {name: program.exit_code for name, program in self._programs.items()}
        return {name: code for name, code in codes.items() if code is not None}

    def running(self, component: str) -> list[str]:
        """The names of the running programs of one component."""
        return [name for name in self._programs if name.startswith(component)]

    def wait_until_healthy(self) -> None:
        """Wait until the components that should be up say that they are.

        :raises LocalAirflowError: when one ends by itself, or they hang
        """
        # Of several of a kind one is enough for Airflow, and it says nothing of an executor's workers.
        awaited = {self.components.get(name, [name])[0] for name in self._programs} & {*COMPONENTS}
        self._until(lambda: awaited <= self._health().keys(), "not all became healthy")

    # REST

    def api(self, method: str, path: str, json: Any = None, **params: Any) -> Any:
        """Call Airflow's public REST API as the admin user.

        :param path: below ``/api/v2``, with its slash
        :raises LocalAirflowError: when Airflow does not answer with success
        """
        if "authorization" not in self._http.headers:
            self._http.headers["authorization"] = f"Bearer {self.log_in()}"
        answer = self._http.request(method, f"/api/v2{path}", json=json, params=params)
        end = time.monotonic() + _LOCKED_S
        while "Database error" in answer.text and time.monotonic() < end:  # SQLite, when two write at once
            time.sleep(0.5)
            answer = self._http.request(method, f"/api/v2{path}", json=json, params=params)
        if not answer.is_success:
            raise LocalAirflowError(f"{method} {path}: HTTP {answer.status_code}, {answer.text[:500]}")
        return answer.json() if answer.content else None

    def log_in(self) -> str:
        """Return a token of the admin user, which is also what a browser's cookie ``_token`` holds."""
        answer = self._http.post("/auth/token", json={"username": USER, "password": self.password})
        return str(answer.raise_for_status().json()["access_token"])

    def import_errors(self) -> list[str]:
        """What Airflow says about DAG files that it could not load."""
        return [
            f"{entry['filename']}: {entry['stack_trace']}"
            for entry in self.api("GET", "/importErrors")["import_errors"]
        ]

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None) -> str:
        """Start a run of a DAG, waiting first until its file has been read; returns the run's id."""
        self._until(lambda: dag_id in self._dag_ids() or self.import_errors(), f"there is no DAG {dag_id!r}")
        if dag_id not in self._dag_ids():
            raise LocalAirflowError("A DAG file could not be loaded. " + "\n".join(self.import_errors()))
        run_id = f"manual__{datetime.now(UTC).isoformat()}"
        self._make_run(dag_id, {"dag_run_id": run_id, "logical_date": None, "conf": dict(conf or {})})
        return run_id

    def run_state(self, dag_id: str, run_id: str) -> str:
        """The state of a run."""
        return str(self.api("GET", f"/dags/{dag_id}/dagRuns/{run_id}")["state"])

    def task_instances(self, dag_id: str, run_id: str) -> list[TaskInstance]:
        """The task instances of a run, as the REST API shows them."""
        return list(self.api("GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances", limit=100)["task_instances"])

    def task_instance(self, dag_id: str, run_id: str, task_id: str) -> TaskInstance:
        """One unmapped task instance."""
        return dict(self.api("GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"))

    def wait_for_task(
        self, dag_id: str, run_id: str, task_id: str, states: Sequence[str], timeout: float = HANG_S
    ) -> TaskInstance:
        """Wait until an unmapped task instance is in one of the states, and return it."""

        def read() -> TaskInstance | None:
            ti = self.task_instance(dag_id, run_id, task_id)
            return ti if ti["state"] in states else None

        missed = f"{task_id} did not become {' or '.join(states)}"
        return self._until(read, missed, seconds=timeout, run=(dag_id, run_id))

    def wait_until_left(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Wait until the scheduler knows that the worker of a task which waits for something has ended.

        What resumes the task before that, Airflow 3.1 to 3.3 take for a task that was lost: it is tried again.
        """
        key = f"(dag_id='{dag_id}', task_id='{task_id}', run_id='{run_id}', "
        known = f"Received executor event with state success for task instance TaskInstanceKey{key}"
        logs = [self.log_of(name) for name in self.running("scheduler")]
        self._until(
            lambda: any(known in log.read_text(errors="replace") for log in logs),
            f"the scheduler did not see the worker of {task_id} end",
            run=(dag_id, run_id),
        )

    def wait_for_run(
        self,
        dag_id: str,
        run_id: str,
        timeout: float = HANG_S,
        on_change: Callable[[TaskInstance], None] | None = None,
    ) -> str:
        """Wait until a run has ended and return its state, polling once a second.

        :param timeout: in seconds
        :param on_change: called with each task instance whose state or try number differs from the last poll
        """
        seen: dict[tuple[str, int], tuple[str | None, int]] = {}

        def ended() -> str | None:
            state = self.run_state(dag_id, run_id)  # before the tasks: their last changes belong to it
            for ti in self.task_instances(dag_id, run_id) if on_change else ():
                key, now = (ti["task_id"], ti["map_index"]), (ti["state"], ti["try_number"])
                if seen.get(key, (None, 0)) != now and ti["state"] and on_change:
                    on_change(ti)
                seen[key] = now
            return state if state in ("success", "failed") else None

        missed = f"run {run_id} of {dag_id} did not end"
        return self._until(ended, missed, seconds=timeout, run=(dag_id, run_id), every=1)

    def task_log(self, dag_id: str, run_id: str, task_id: str, try_number: int, map_index: int = -1) -> str:
        """The log of one attempt, one line per message."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{try_number}"
        content = self.api("GET", path, map_index=map_index, full_content=True)["content"]
        return "\n".join(line for entry in content for line in _log_lines(entry))

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        """A value that a task pushed, or none."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}"
        try:
            value = self.api("GET", path, map_index=map_index)["value"]
        except LocalAirflowError as error:
            if "HTTP 404" in str(error):
                return None
            raise
        return json.loads(value) if isinstance(value, str) else value

    def clear(self, dag_id: str, run_id: str, task_ids: Sequence[str]) -> None:
        """Clear tasks of a run, whatever their state, so that they run again."""
        body = {"dry_run": False, "only_failed": False, "dag_run_id": run_id, "task_ids": list(task_ids)}
        self.api("POST", f"/dags/{dag_id}/clearTaskInstances", json=body)

    def report(self, dag_id: str = "~", run_id: str = "~") -> str:
        """A page on what is unfinished, with the ends of all logs, of one run or, as by default, of all."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances"
        try:
            tis = self.api("GET", path, limit=100, order_by="-start_date")["task_instances"]
        except (LocalAirflowError, httpx.HTTPError) as error:
            return f"The states of the tasks are unknown: {error!r}\n{describe(self.home, [])}"
        return describe(self.home, tis)

    def pid_of(self, ti: TaskInstance) -> int:
        """The process that runs a task now: the task's own, not its supervisor's.

        :raises LocalAirflowError: when the task instance has no living process below this scheduler
        """
        pid = ti["pid"]
        if ti["state"] != "running" or pid not in {process.pid for process in self._programs["scheduler"].processes()}:
            raise LocalAirflowError(f"{ti['task_id']} ({ti['state']}) has no process now; Airflow last named {pid}.")
        return int(pid)

    # Inside

    def _health(self) -> dict[str, str]:
        """The healthy components, each with the time of its last heartbeat."""
        try:
            answer = self._http.get("/api/v2/monitor/health").json()
        except (httpx.HTTPError, ValueError):
            return {}
        heartbeats = {"api-server": "now"}  # it has none, but it did answer
        for key, part in answer.items():
            if part and part["status"] == "healthy":
                heartbeats[key.replace("_", "-")] = part.get(f"latest_{key}_heartbeat", "")
        return heartbeats

    def _migrate(self) -> None:
        log = self.log_of("db-migrate")
        log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "airflow", "db", "migrate"]
        program = Program("airflow db migrate", command, log=log, env=self.environment, cwd=self.home)
        try:
            while program.exit_code is None:
                time.sleep(0.1)
        finally:
            stop_all([program])
        if program.exit_code:
            raise LocalAirflowError(f"airflow db migrate ended with {program.exit_code}. It wrote:\n{program.tail()}")

    def _dag_ids(self) -> set[str]:
        return {dag["dag_id"] for dag in self.api("GET", "/dags", limit=100)["dags"]}

    def _make_run(self, dag_id: str, body: Mapping[str, Any]) -> None:
        """Make a run with an id of ours, once: that it is there already is the answer to a request sent again."""
        try:
            try:
                self.api("POST", f"/dags/{dag_id}/dagRuns", json=body)
            except httpx.TimeoutException:
                self.api("POST", f"/dags/{dag_id}/dagRuns", json=body)
        except LocalAirflowError as error:
            if "HTTP 409" not in str(error):
                raise

    def _until(
        self,
        read: Callable[[], T | None],
        otherwise: str,
        *,
        seconds: float = HANG_S,
        every: float = 0.25,
        run: tuple[str, str] = ("~", "~"),
    ) -> T:
        seconds = seconds / 5 if self._has_hung else seconds
        end = time.monotonic() + seconds
        while True:
            for name, program in self._programs.items():
                if program.exit_code is not None:
                    raise LocalAirflowError(f"{name} ended with {program.exit_code}. It wrote:\n{program.tail()}")
            if found := read():
                return found
            if time.monotonic() > end:
                self._has_hung = True
                raise LocalAirflowError(f"After {seconds:g} s, {otherwise}.\n{self.report(*run)}")
            time.sleep(every)

    def _close(self) -> None:
        stop_all(list(self._programs.values()))
        self._programs.clear()
        self._http.close()


def _log_lines(entry: Any) -> list[str]:
    """One message of a task's log as text; what it carries beside its words follows them."""
    if not isinstance(entry, dict):
        return [str(entry)]
    rest = {key: value for key, value in entry.items() if key not in _LOG_ROUTINE and value}
    failures = rest.pop("error_detail", [])
    head = " ".join(str(entry[key]) for key in ("timestamp", "level", "event") if entry.get(key))
    lines = [f"{head} {json.dumps(rest, default=str)}" if rest else head]
    for failure in failures:
        lines += [f"  {frame['filename']}:{frame['lineno']} in {frame['name']}" for frame in failure.get("frames", ())]
        lines.append(f"  {failure.get('exc_type')}: {failure.get('exc_value')}")
    return lines
