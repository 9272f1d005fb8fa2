"""What moving files costs: memory, CPU and time, beside a bare loop of httpx and the official SDK, on loopback.

Servers run in processes of their own and make their bytes as they send them. Memory is the highest resident size of a
fresh process over what it was after its imports and one small transfer (VmHWM, so this needs Linux). CPU time is of the
client's whole process, the threads of its libraries included. Sides take turns; a figure is the median over the rounds
of the ratio within each.

Downloads are compared twice. Ours record each file's SHA-256, so the bound is for a loop that computes it too; beside
it stands a loop that never knows what it has received.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests")]

from parts.file_server import MIB, served  # noqa: E402

import s3  # noqa: E402

ROUNDS = 5
MEMORY_MIB, OF_SDK = 24, 0.05
CPU, SPEED = 1.2, 0.8
PARALLEL = 2.5
SDK_MIB = 300
KEY, TOOL, BUCKET = "mhk_live_benchmark", "text-to-video", "media"

Side = Callable[[], object]


# --- What is measured. It runs in processes of its own, which begin by importing this file: so imports are inside.


def download(server: str, folder: str, files: int, mib: int, where: str = "files") -> None:
    """Store the files of one job, as operators do."""
    from magic_hour_provider.api.client import MagicHourClient
    from magic_hour_provider.api.jobs import Download, Job
    from magic_hour_provider.delivery import collect

    links = tuple(Download(f"{server}/{where}/{mib}/clip{number}.mp4") for number in range(files))
    with MagicHourClient(api_key=KEY, base_url=server) as client:
        stored = collect(client, Job(f"mib{mib}", "video", "complete", downloads=links), TOOL, folder)
    assert [media.size for media in stored] == [mib * MIB] * files


def upload(server: str, folder: str, files: int, mib: int) -> None:
    """Upload files for one task, as operators do."""
    from magic_hour_provider.api.catalog import FileField
    from magic_hour_provider.api.client import MagicHourClient
    from magic_hour_provider.api.uploads import upload_all
    from magic_hour_provider.inputs import Input
    from magic_hour_provider.sources import check_inputs

    field = FileField("assets.video_file_path", ("video",))
    inputs = [Input(("file", number), field, source(folder, number, mib)) for number in range(files)]
    sources = list(check_inputs(inputs, time.time()).values())
    assert [one.size for one in sources] == [mib * MIB] * files
    with MagicHourClient(api_key=KEY, base_url=server) as client:
        assert len(upload_all(client, sources)) == files


def generate(server: str, folder: str, files: int, mib: int) -> None:
    """Let the official SDK generate and download a file."""
    import magic_hour

    client = magic_hour.Client(token=KEY, base_url=server)
    made = client.v1.text_to_video.generate(end_seconds=mib, style={"prompt": "waves"}, download_directory=folder)
    assert [Path(path).stat().st_size for path in made.downloaded_paths] == [mib * MIB] * files


def bare_download(server: str, target: str, mib: int, *, hashed: bool) -> None:
    """Stream a file to its place with httpx and the storage's own library."""
    import httpx

    digest = hashlib.sha256()
    with httpx.stream("GET", f"{server}/files/{mib}/clip.mp4") as response, opened(target, "wb") as file:
        for chunk in response.iter_bytes():
            file.write(chunk)
            if hashed:
                digest.update(chunk)


def bare_upload(server: str, origin: str, mib: int) -> None:
    """Send a file with httpx and the storage's own library."""
    import httpx

    with opened(origin, "rb") as file:
        httpx.put(f"{server}/put/a.mp4", content=file, headers={"Content-Length": str(mib * MIB)}).raise_for_status()


def opened(place: str, mode: str) -> Any:
    """Open a local path or an S3 URI, as somebody without this package would."""
    return s3_files().open(place, mode) if place.startswith("s3://") else Path(place).open(mode)


def s3_files() -> Any:
    """Return S3's file system, with its own defaults."""
    import s3fs

    return s3fs.S3FileSystem(endpoint_url=os.environ["BENCHMARK_S3"], key="testing", secret="testing")


def source(folder: str, number: int, mib: int) -> str:
    """Name an input file."""
    return f"{folder}/input{mib}-{number}.mp4"


def make_sources(folder: str, files: int, mib: int) -> None:
    """Make input files."""
    for place in (bare_uri(source(folder, number, mib)) for number in range(files)):
        with opened(place, "wb") as file:
            if not place.startswith("s3://"):
                file.truncate(mib * MIB)  # sparse: takes no room
                continue
            for _ in range(mib):
                file.write(bytes(MIB))


def bare_uri(place: str) -> str:
    """Return a URI without the Airflow connection in it."""
    return place.replace(f"{s3.CONN_ID}@", "")


# --- How


def in_a_fresh_process(measure: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a function returns that runs in a process which has done nothing else."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, *arguments).result()


def memory(of: Callable[..., None], server: str, folder: str, files: int, mib: int) -> float:
    """Return the peak over the baseline, in MiB."""
    of(server, folder, 1, 1)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew from here
    before = resident("VmRSS")
    of(server, folder, files, mib)
    return resident("VmHWM") - before


def resident(name: str) -> float:
    """Return a line of this process's status, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


Rates = dict[str, list[tuple[float, float]]]
"""By side, for each round: CPU seconds, and seconds."""


def taking_turns(sides: Mapping[str, Side], after: Side, rounds: int = ROUNDS) -> Rates:
    """Run the sides in turn, after one round that does not count."""
    rates: Rates = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, side in sides.items():
            cpu, start = time.process_time(), time.perf_counter()
            side()
            spent = (time.process_time() - cpu, time.perf_counter() - start)
            after()
            if number:
                rates[name].append(spent)
    return rates


def download_rates(server: str, folder: str, mib: int) -> Rates:
    """Compare downloads of one file."""
    sides = {
        "ours": partial(download, server, folder, 1, mib),
        "bare, SHA-256": partial(bare_download, server, bare_uri(f"{folder}/bare.mp4"), mib, hashed=True),
        "bare": partial(bare_download, server, bare_uri(f"{folder}/bare.mp4"), mib, hashed=False),
    }
    return taking_turns(sides, after=partial(remove, folder))


def upload_rates(server: str, folder: str, mib: int) -> Rates:
    """Compare uploads of one file."""
    sides = {
        "ours": partial(upload, server, folder, 1, mib),
        "bare": partial(bare_upload, server, bare_uri(source(folder, 0, mib)), mib),
    }
    return taking_turns(sides, after=lambda: None)


def parallel_rates(server: str, folder: str) -> Rates:
    """Compare four files at once with one after another, over a link with latency."""
    turn = iter(range(1000))

    def place() -> str:
        return f"{folder}/{next(turn)}"

    sides = {
        "at once": lambda: download(server, place(), 4, 2, "far"),
        "in turn": lambda: [download(server, place(), 1, 2, "far") for _ in range(4)],
    }
    return taking_turns(sides, after=lambda: None)


def remove(folder: str) -> None:
    """Remove what is in a folder."""
    if folder.startswith("s3://"):
        s3_files().rm(bare_uri(folder), recursive=True)
    else:
        shutil.rmtree(folder)
        Path(folder).mkdir()


class Report:
    """Prints a line for each figure, and remembers whether all bounds were kept."""

    good = True

    def line(self, figure: str, measured: str, bound: str = "", *, kept: bool | None = None) -> None:
        """Print one line.

        :param kept: whether the bound was; None: there is none.
        """
        self.good = self.good and kept is not False
        verdict = {True: "pass", False: "FAIL", None: ""}[kept]
        print(f"| {figure} | {measured} | {bound} | {verdict} |", flush=True)

    def memory(self, figure: str, mib: float, bound: float = MEMORY_MIB) -> None:
        """Print a peak."""
        self.line(f"{figure}: peak over baseline", f"{mib:.1f} MiB", f"<= {bound:.1f} MiB", kept=mib <= bound)

    def rates(self, figure: str, mib: int, rates: Rates, peer: str, *, bound: bool = True) -> None:
        """Print CPU and speed beside a peer's."""
        pairs = list(zip(rates["ours"], rates[peer], strict=True))
        for name, column, unit, limit in (("CPU per MiB", 0, "ms/MiB", CPU), ("MB/s", 1, "MB/s", SPEED)):
            ours, theirs = (statistics.median(spent[column] for spent in rates[side]) for side in ("ours", peer))
            if column == 0:
                ratio = statistics.median(one[0] / other[0] for one, other in pairs)
                shown = f"{1000 * ours / mib:.2f} to {1000 * theirs / mib:.2f} {unit}"
                kept, words = ratio <= limit, f"<= {limit}"
            else:
                ratio = statistics.median(other[1] / one[1] for one, other in pairs)
                shown = f"{mib * MIB / 1e6 / ours:.0f} to {mib * MIB / 1e6 / theirs:.0f} {unit}"
                kept, words = ratio >= limit, f">= {limit}"
            words, verdict = (words, kept) if bound else ("", None)
            self.line(f"{figure}: {name} beside httpx, {peer}", f"{ratio:.2f} ({shown})", words, kept=verdict)


def measure(report: Report, server: str, folder: str) -> None:
    """Measure everything, and print it."""
    there = {"file": folder, "S3": f"s3://{s3.CONN_ID}@{BUCKET}"}
    # (where, files, MiB each)
    amounts = [("file", 1, 1024), ("file", 8, 128), ("S3", 1, 256), ("S3", 8, 32)]
    for where, files, mib in amounts:
        for what, of in (("download", download), ("upload", upload)):
            place = f"{there[where]}/{what}{files}"
            Path(folder, f"{what}{files}").mkdir(exist_ok=True)
            if of is upload:
                in_a_fresh_process(make_sources, place, 1, 1)
                in_a_fresh_process(make_sources, place, files, mib)
            peak = in_a_fresh_process(memory, of, server, place, files, mib)
            report.memory(f"{what}, {where}, {files} x {mib} MiB", peak)
    theirs = in_a_fresh_process(memory, generate, server, folder, 1, SDK_MIB)
    ours = in_a_fresh_process(memory, download, server, f"{folder}/sdk", 1, SDK_MIB)
    report.memory(f"download, {SDK_MIB} MiB (the official SDK: {theirs:.0f} MiB)", ours, OF_SDK * theirs)
    for where, mib in (("file", 256), ("S3", 128)):
        place = f"{there[where]}/rates"
        Path(folder, "rates").mkdir(exist_ok=True)
        rates = in_a_fresh_process(download_rates, server, place, mib)
        report.rates(f"download, {where}", mib, rates, "bare, SHA-256")
        report.rates(f"download, {where}", mib, rates, "bare", bound=False)
        in_a_fresh_process(make_sources, place, 1, mib)
        report.rates(f"upload, {where}", mib, in_a_fresh_process(upload_rates, server, place, mib), "bare")
    rates = in_a_fresh_process(parallel_rates, server, f"{folder}/far")
    ratio = statistics.median(b[1] / a[1] for a, b in zip(rates["at once"], rates["in turn"], strict=True))
    shown = " to ".join(f"{statistics.median(spent[1] for spent in rates[side]):.2f}" for side in rates)
    report.line(
        "four outputs at once, 50 ms latency", f"{ratio:.2f} ({shown} s)", f">= {PARALLEL}", kept=ratio >= PARALLEL
    )


def main() -> int:
    """Print the table; the exit code is 0 when the bounds were kept."""
    report = Report()
    s3.keep_on_loopback()
    with tempfile.TemporaryDirectory() as folder, served("files") as server, served("s3") as storage:
        os.environ["BENCHMARK_S3"] = storage
        os.environ[f"AIRFLOW_CONN_{s3.CONN_ID.upper()}"] = s3.connection(storage)
        os.environ |= {"AIRFLOW_HOME": f"{folder}/airflow", "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
        os.environ |= {"MAGIC_HOUR_POLL_INTERVAL": "0.01", "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
        in_a_fresh_process(make_bucket)
        print("| figure | measured | bound | |\n| --- | --- | --- | --- |")
        measure(report, server, folder)
    return 0 if report.good else 1


def make_bucket() -> None:
    """Make the bucket."""
    s3_files().mkdir(BUCKET)


if __name__ == "__main__":
    sys.exit(main())
