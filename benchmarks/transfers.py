"""What moving files costs: memory, CPU and time, beside a bare loop of httpx and the official SDK, on loopback.

Servers run in processes of their own and make their bytes as they send them. Memory is the highest resident size of a
fresh process over what it was after its imports and one small transfer (VmHWM, so this needs Linux). CPU time is of the
client's whole process, the threads of its libraries included. Sides take turns; a figure is the median over the rounds
of the ratio within each.

The peer is a loop of httpx that reads and writes pieces. Our downloads record each file's SHA-256, so their bound is
for a loop that computes it too; below it stands one that never knows what it has received.
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
from parts.table import Table  # noqa: E402

from helpers import s3  # noqa: E402

ROUNDS = 5
MEMORY_MIB, OF_SDK = 24, 0.05
CPU, SPEED = 1.2, 0.8
PARALLEL = 2.5
SDK_MIB = 300
BARE, HASHING = "httpx", "httpx that hashes"
KEY, TOOL, BUCKET = "mhk_live_benchmark", "text-to-video", "media"

Side = Callable[[], object]


# --- What is measured. It runs in processes of its own, which begin by importing this file: so imports are inside.


def download(server: str, folder: str, files: int, mib: int, where: str = "files") -> None:
    """Store the files of one job, as operators do."""
    from magic_hour_provider.api.client import MagicHourClient
    from magic_hour_provider.api.models import Download, Job
    from magic_hour_provider.outputs.download import download_outputs

    links = tuple(Download(f"{server}/{where}/{mib}/clip{number}.mp4") for number in range(files))
    with MagicHourClient(api_key=KEY, base_url=server) as client:
        stored = download_outputs(client, Job(f"mib{mib}", "video", "complete", downloads=links), TOOL, folder)
    assert [media.size for media in stored] == [mib * MIB] * files


def upload(server: str, folder: str, files: int, mib: int) -> None:
    """Upload files for one task, as operators do."""
    from magic_hour_provider.api.catalog import FileField
    from magic_hour_provider.api.client import MagicHourClient
    from magic_hour_provider.api.transport.uploads import upload_all
    from magic_hour_provider.inputs.fields import Input
    from magic_hour_provider.inputs.sources import check_inputs

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
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
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
        HASHING: partial(bare_download, server, bare_uri(f"{folder}/bare.mp4"), mib, hashed=True),
        BARE: partial(bare_download, server, bare_uri(f"{folder}/bare.mp4"), mib, hashed=False),
    }
    return taking_turns(sides, after=partial(remove, folder))


def upload_rates(server: str, folder: str, mib: int) -> Rates:
    """Compare uploads of one file."""
    sides = {
        "ours": partial(upload, server, folder, 1, mib),
        BARE: partial(bare_upload, server, bare_uri(source(folder, 0, mib)), mib),
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


def beside(table: Table, figure: str, mib: int, rates: Rates, peer: str, *, bound: bool = True) -> None:
    """Print our CPU and speed beside a peer's."""
    pairs = list(zip(rates["ours"], rates[peer], strict=True))
    cpu = statistics.median(ours[0] / theirs[0] for ours, theirs in pairs)
    speed = statistics.median(theirs[1] / ours[1] for ours, theirs in pairs)
    sides = [[statistics.median(column) for column in zip(*rates[side], strict=True)] for side in ("ours", peer)]
    each = " and ".join(f"{1000 * cpu_s / mib:.2f} ms/MiB, {mib * MIB / 1e6 / s:.0f} MB/s" for cpu_s, s in sides)
    if bound:
        table.row(f"{figure}: CPU per MiB beside {peer}", cpu, must=CPU)
        table.row(f"{figure}: MB/s beside {peer}", speed, must=SPEED, least=True)
        table.note(f"{figure}: ours and {peer}", each)
    else:
        table.note(f"{figure}: ours and {peer}", f"{each}: {cpu:.2f} times the CPU, {speed:.2f} times the speed")


def memories(table: Table, server: str, there: Mapping[str, str]) -> None:
    """Measure memory."""
    table.head("Peak memory over the baseline")
    for where, files, mib in (("file", 1, 1024), ("file", 8, 128), ("S3", 1, 256), ("S3", 8, 32)):
        for of in (download, upload):
            place = f"{there[where]}/{of.__name__}{files}"
            if where == "file":
                Path(place).mkdir()
            if of is upload:
                in_a_fresh_process(make_sources, place, 1, 1)
                in_a_fresh_process(make_sources, place, files, mib)
            peak = in_a_fresh_process(memory, of, server, place, files, mib)
            table.row(f"{of.__name__}, {where}, {files} x {mib} MiB", peak, " MiB", must=MEMORY_MIB)
    theirs = in_a_fresh_process(memory, generate, server, there["file"], 1, SDK_MIB)
    ours = in_a_fresh_process(memory, download, server, f"{there['file']}/sdk", 1, SDK_MIB)
    table.row(f"download, {SDK_MIB} MiB, beside the official SDK ({theirs:.0f} MiB)", ours / theirs, must=OF_SDK)


def speeds(table: Table, server: str, there: Mapping[str, str]) -> None:
    """Measure CPU and time."""
    table.head("CPU and time")
    for where, mib in (("file", 256), ("S3", 64)):
        place = f"{there[where]}/rates"
        if where == "file":
            Path(place).mkdir()
        rates = in_a_fresh_process(download_rates, server, place, mib)
        beside(table, f"download, {where}", mib, rates, HASHING)
        beside(table, f"download, {where}", mib, rates, BARE, bound=False)
        in_a_fresh_process(make_sources, place, 1, mib)
        beside(table, f"upload, {where}", mib, in_a_fresh_process(upload_rates, server, place, mib), BARE)
    rates = in_a_fresh_process(parallel_rates, server, f"{there['file']}/far")
    gain = statistics.median(b[1] / a[1] for a, b in zip(rates["at once"], rates["in turn"], strict=True))
    table.row("Four outputs at once, 50 ms latency, beside one after another", gain, must=PARALLEL, least=True)
    seconds = {side: statistics.median(spent[1] for spent in each) for side, each in rates.items()}
    table.note("Four outputs", ", ".join(f"{side} {value:.2f} s" for side, value in seconds.items()))


def main() -> int:
    """Print the tables; the exit code is 0 when the bounds were kept."""
    table = Table()
    s3.keep_on_loopback()
    with tempfile.TemporaryDirectory() as folder, served("files") as server, served("s3") as storage:
        os.environ["BENCHMARK_S3"] = storage
        os.environ[f"AIRFLOW_CONN_{s3.CONN_ID.upper()}"] = s3.connection(storage)
        os.environ |= {"AIRFLOW_HOME": f"{folder}/airflow", "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
        os.environ |= {"AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING", "MAGIC_HOUR_POLL_INTERVAL": "0.01"}
        os.environ |= {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
        in_a_fresh_process(make_bucket)
        there = {"file": folder, "S3": f"s3://{s3.CONN_ID}@{BUCKET}"}
        memories(table, server, there)
        speeds(table, server, there)
    return 0 if table.kept else 1


def make_bucket() -> None:
    """Make the bucket."""
    s3_files().mkdir(BUCKET)


if __name__ == "__main__":
    sys.exit(main())
