"""Run the example DAG on a real Airflow against the offline Magic Hour, and show what came out (``make demo``)."""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx

from local_airflow import LocalAirflow, LocalAirflowError, TaskInstance
from process_tree import Program, free_ports, stop_all, stoppable

ROOT = Path(__file__).resolve().parent.parent
DAG_ID = "product_teaser"
GENERATING = ("edit_photo", "animate", "voice", "lip_sync", "subtitle")
MUST_DEFER = 2


class DemoError(Exception):
    """The demo did not show what it is there to show."""


@dataclass(frozen=True)
class MediaFile:
    """A file of the run, after it was decoded to its end."""

    path: Path
    size: int
    content_type: str
    seconds: float | None


class Simulator:
    """The offline Magic Hour, as a process of its own for the length of a ``with`` block.

    :param log: its output
    :param speed: its jobs run at so many x real time
    :param options: further ones of its command
    """

    def __init__(self, *, log: Path, speed: float, options: Sequence[str] = ()) -> None:
        [port] = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        self.api_key = f"mhk_live_{secrets.token_hex(16)}"
        self._log = log
        self._command = [sys.executable, "-m", "magic_hour_provider.simulator", "--port", str(port)]
        self._command += ["--speed", f"{speed:g}", "--api-key", self.api_key, *options]

    def __enter__(self) -> Simulator:
        self._program = Program("the simulator", self._command, log=self._log, cwd=self._log.parent)
        try:
            end = time.monotonic() + 60
            while not self._answers():
                if self._program.exit_code is not None or time.monotonic() > end:
                    raise DemoError(f"The simulator did not start. It wrote:\n{self._program.tail()}")
                time.sleep(0.2)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        stop_all([self._program])

    @property
    def pid(self) -> int:
        """Its process."""
        return self._program.pid

    def stats(self) -> dict[str, Any]:
        """Its counters: creates accepted and refused, credits charged and refunded."""
        return dict(httpx.get(f"{self.url}/_simulator/stats", trust_env=False).raise_for_status().json())

    def _answers(self) -> bool:
        try:
            self.stats()
        except httpx.HTTPError:
            return False
        return True


class Progress:
    """Prints what happens to each task, once, when it is first seen, and remembers who was deferred."""

    def __init__(self, airflow: LocalAirflow, run_id: str) -> None:
        self._airflow, self._run_id, self._start = airflow, run_id, time.monotonic()
        self.deferred: set[str] = set()

    def __call__(self, ti: TaskInstance) -> None:
        """Print one change of one task."""
        if ti["state"] == "deferred":
            self.deferred.add(ti["task_id"])
        attempt = f", attempt {ti['try_number']}" if ti["try_number"] > 1 else ""
        cost = self._credits(ti) if ti["state"] in ("deferred", "success") else None
        credits_ = "" if cost is None else f"{cost:>7} credits"
        state = f"{ti['state']}{attempt}"
        print(
            f"{time.monotonic() - self._start:6.1f} s  {ti['task_id']:<12} {state:<24}{credits_}".rstrip(), flush=True
        )

    def _credits(self, ti: TaskInstance) -> int | None:
        # Pushed when the job was accepted, long before the task has a result.
        record = self._airflow.xcom(DAG_ID, self._run_id, ti["task_id"], "magic_hour_job") or {}
        charged: int | None = record.get("credits_charged", record.get("credits"))
        return charged


def local_path(uri: str) -> Path:
    """The file that a result's URI names, which in the demo is on this machine."""
    parts = urlsplit(uri)
    if parts.scheme not in ("", "file"):
        raise DemoError(f"{uri} is not on this machine")
    return Path(unquote(parts.path) if parts.scheme else uri)


def decode(path: Path, content_type: str) -> MediaFile:
    """Decode a file to its last frame or sample.

    :raises DemoError: when it is missing, damaged, or holds neither picture nor sound
    """
    # Only with the [simulator] extra.
    import av
    from PIL import Image, ImageSequence

    try:
        size = path.stat().st_size
        if content_type.startswith("image/"):
            with Image.open(path) as image:
                for frame in ImageSequence.Iterator(image):
                    frame.load()
            return MediaFile(path, size, content_type, None)
        with av.open(str(path)) as container:
            streams = [stream for stream in container.streams if stream.type in ("video", "audio")]
            count = sum(1 for _ in container.decode(streams)) if streams else 0
            seconds = container.duration / av.time_base if container.duration else None
    except (OSError, ValueError, SyntaxError, av.error.FFmpegError) as error:
        raise DemoError(f"{path} does not decode: {error}") from error
    if not count:
        raise DemoError(f"{path} holds neither picture nor sound")
    return MediaFile(path, size, content_type, seconds)


def table(files: list[MediaFile], root: Path) -> str:
    """The files as a text table, their paths as seen from ``root``."""
    rows = [("file", "bytes", "type", "seconds")]
    for file in files:
        path = file.path.relative_to(root) if file.path.is_relative_to(root) else file.path
        rows.append(
            (str(path), f"{file.size:,}", file.content_type, "" if file.seconds is None else f"{file.seconds:.1f}")
        )
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        f"{path:<{widths[0]}}  {size:>{widths[1]}}  {kind:<{widths[2]}}  {seconds:>{widths[3]}}".rstrip()
        for path, size, kind, seconds in rows
    ]
    return "\n".join([lines[0], "-" * (sum(widths) + 6), *lines[1:]])


def run(airflow: LocalAirflow, simulator: Simulator) -> None:
    """Run the DAG, report, and compare the simulator's counters with what the DAG should have bought.

    :raises DemoError: when a task failed, a file is missing or broken, or the counters do not agree
    """
    run_id = airflow.trigger(DAG_ID)
    progress = Progress(airflow, run_id)
    state = airflow.wait_for_run(DAG_ID, run_id, on_change=progress)
    if state != "success":
        raise DemoError(f"The run ended as {state}.\n\n{failures(airflow, run_id)}")

    results = [airflow.xcom(DAG_ID, run_id, task_id) for task_id in GENERATING]
    files = [decode(local_path(media["uri"]), media["content_type"]) for result in results for media in result["media"]]
    charged = sum(result["credits_charged"] for result in results)
    stats = simulator.stats()
    accepted = stats["creates"]["accepted"]
    print(f"\n{table(files, ROOT)}\n")
    print(f"{charged} credits for {accepted} jobs; {len(progress.deferred)} tasks waited without a worker slot.")

    without = [task_id for task_id, result in zip(GENERATING, results, strict=True) if not result["media"]]
    if without:
        raise DemoError(f"No file came from {', '.join(without)}.")
    if accepted != len(GENERATING):
        raise DemoError(f"{len(GENERATING)} tasks generate, but the simulator accepted {accepted} creates.")
    kept = stats["credits"]["charged"] - stats["credits"]["refunded"]
    if charged != kept:
        raise DemoError(f"The tasks say {charged} credits, but the simulator kept {kept}.")
    if len(progress.deferred) < MUST_DEFER:
        raise DemoError(f"Only {len(progress.deferred)} tasks were deferred; at least {MUST_DEFER} should have been.")


def failures(airflow: LocalAirflow, run_id: str) -> str:
    """The end of the log of every task that failed, and not those that only stood behind it."""
    parts = []
    for ti in airflow.task_instances(DAG_ID, run_id):
        if ti["state"] in ("failed", "up_for_retry"):
            log = airflow.task_log(DAG_ID, run_id, ti["task_id"], ti["try_number"])
            parts.append(
                f"--- log of {ti['task_id']}, attempt {ti['try_number']} ---\n" + "\n".join(log.splitlines()[-60:])
            )
    return "\n\n".join(parts) or "No task failed by itself."


def main() -> int:
    """Everything, from the two servers to the verdict; the exit code is 0 when all of it went well."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave Airflow and the simulator up until Ctrl-C")
    parser.add_argument("--speed", type=float, default=20, help="so many x real time (default: 20)")
    parser.add_argument("--api-key-of-connection", metavar="KEY", help="a key that the simulator does not know")
    arguments = parser.parse_args()

    work = ROOT / ".demo"
    work.mkdir(exist_ok=True)
    home = Path(tempfile.mkdtemp(prefix="airflow-", dir=work))
    began = time.monotonic()
    code = 130  # what Ctrl-C makes of it, until there is a verdict
    try:
        with stoppable(), Simulator(log=home / "simulator.log", speed=arguments.speed) as simulator:
            print(
                f"Starting Airflow in {home.relative_to(ROOT)} and an offline Magic Hour at {simulator.url} ...",
                flush=True,
            )
            key = arguments.api_key_of_connection or simulator.api_key
            connection = {"conn_type": "magic_hour", "password": key, "host": simulator.url}
            with LocalAirflow(
                home,
                dags_folder=ROOT / "dags_examples",
                connections={"magic_hour_default": connection},
                environment={"AIRFLOW__MAGIC_HOUR__OUTPUT_PATH": str(work / "output")},
            ) as airflow:
                print(f"Up after {time.monotonic() - began:.0f} s. Running {DAG_ID}:\n", flush=True)
                try:
                    run(airflow, simulator)
                    code = 0
                except (DemoError, LocalAirflowError) as error:
                    print(f"\n{error}", file=sys.stderr, flush=True)
                    code = 1
                if arguments.keep:
                    print(
                        f"\nAirflow: {airflow.url}  user {airflow.user}  password {airflow.password}\nCtrl-C stops it.",
                        flush=True,
                    )
                    while True:
                        time.sleep(3600)
    except (DemoError, LocalAirflowError) as error:
        print(f"\n{error}", file=sys.stderr)
        code = 1
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return code
    print(f"{'Done' if code == 0 else 'Failed'} after {time.monotonic() - began:.0f} s. Logs: {home.relative_to(ROOT)}")
    return code


if __name__ == "__main__":
    sys.exit(main())
