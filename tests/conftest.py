"""What every test shares: a home of its own for Airflow, the simulator, and attempts of a task outside Airflow."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Before anything imports Airflow: its settings are read once, at import.
_HOME = tempfile.TemporaryDirectory(prefix="magic-hour-tests-")
os.environ["AIRFLOW_HOME"] = _HOME.name
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
# Where dag.test() looks for the file of its DAG.
os.environ["AIRFLOW__CORE__DAGS_FOLDER"] = str(Path(__file__).parent.parent / "dags_examples")
os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "False"
# Read once too, by whatever test imports gcsfs first: it would ask Google by gRPC, and wait minutes for an answer.
os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"
for _name in list(os.environ):
    if _name.startswith(("AIRFLOW_CONN_", "AIRFLOW__MAGIC_HOUR__")) or _name == "MAGIC_HOUR_API_KEY":
        del os.environ[_name]

from helpers import clouds, database, durability, s3, waiting  # noqa: E402
from helpers.simulator import render_small  # noqa: E402

s3.keep_on_loopback()
durability.keep_in_memory()
waiting.give_httpx_time()
render_small()

import pytest  # noqa: E402

from helpers import money_report  # noqa: E402
from helpers.attempts import Connected, TaskInstance  # noqa: E402
from helpers.places import CLOUDS, PLACES, Place  # noqa: E402
from helpers.samples import KEY  # noqa: E402
from helpers.sentences import watch_errors, watching_logs  # noqa: E402
from helpers.stores import LEDGERS, Store, StoredFiles  # noqa: E402
from helpers.strict_s3 import StrictS3  # noqa: E402
from magic_hour_provider.clock import SimulatedClock, override  # noqa: E402
from magic_hour_provider.ledger import file_store as storage_ledger  # noqa: E402
from magic_hour_provider.simulator import Simulator  # noqa: E402
from magic_hour_provider.simulator.behavior import Behavior  # noqa: E402


@pytest.fixture(autouse=True)
def well_formed_messages() -> Iterator[None]:
    """The messages of all errors of all tests are whole sentences: ``a ai-…``, ``violation..`` and ``?.`` are none."""
    slips: list[str] = []
    with pytest.MonkeyPatch.context() as patch, watching_logs(slips):  # not the test's own: it is undone in its turn
        watch_errors(patch, slips)
        yield
    assert slips == []


@pytest.fixture
def sim(request: pytest.FixtureRequest) -> Iterator[Simulator]:
    """A simulator whose clock only tests move; it behaves as the test's mark ``behavior`` says."""
    mark = request.node.get_closest_marker("behavior")
    behavior = Behavior(**(mark.kwargs if mark is not None else {}))
    with Simulator(api_key=KEY, clock=lambda: 1_800_000_000.0, behavior=behavior) as simulator:
        yield simulator


@pytest.fixture
def strict_s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[StrictS3]:
    """An S3 that takes only links as today's buckets do."""
    with StrictS3() as one:
        monkeypatch.setenv(f"AIRFLOW_CONN_{one.conn_id.upper()}", one.connection())
        yield one


@pytest.fixture
def clock(sim: Simulator) -> Iterator[SimulatedClock]:
    """Waiting moves the simulator's time instead of passing real time."""
    with override(one := SimulatedClock(sim)):
        yield one


@pytest.fixture
def airflow(sim: Simulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Connected:
    """The connection to the simulator, and attempts of tasks that wait without real time passing."""
    return Connected(sim, monkeypatch, tmp_path)


@pytest.fixture(scope="session", autouse=True)
def tables() -> Iterator[None]:
    """Whatever asks for a database with Airflow's tables gets a copy of one."""
    with database.keeping_tables():
        yield


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of an S3 on loopback, started when a test first asks for it."""
    with s3.serving() as address:
        yield address


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[s3.Bucket]:
    """An empty bucket; ``f"{bucket.uri}/key"`` is what users write, with the connection in it."""
    monkeypatch.setenv(f"AIRFLOW_CONN_{s3.CONN_ID.upper()}", s3.connection(s3_server))
    one = s3.Bucket(s3_server)
    yield one
    one.empty()


@pytest.fixture(scope="session")
def google() -> Iterator[str]:
    """The address of a Google Cloud Storage on loopback that refuses taken names."""
    with pytest.MonkeyPatch.context() as patch, clouds.serving_google(patch, has_conditions=True) as address:
        yield address


@pytest.fixture(scope="session")
def azure() -> Iterator[Any]:
    """The file system of an Azurite account on loopback."""
    with clouds.serving_azure() as files:
        yield files


@pytest.fixture(scope="session")
def s3_refused() -> Iterator[str]:
    """The address of an S3 that says that it has no conditional writes."""
    with s3.serving("refused") as address:
        yield address


@pytest.fixture(scope="session")
def s3_ignored() -> Iterator[str]:
    """The address of an S3 that passes over conditions in silence."""
    with s3.serving("ignored") as address:
        yield address


@pytest.fixture(params=[*PLACES, *(pytest.param(cloud, marks=pytest.mark.long) for cloud in CLOUDS)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Each kind of place that files can be stored in."""
    if request.param in CLOUDS:
        yield from request.getfixturevalue("cloud_place")(request.param)
    elif request.param == "s3":
        yield Place.s3(request.getfixturevalue("bucket"))
    elif request.param == "local":
        yield Place.local(tmp_path / "out")
    else:
        yield Place.memory(f"{tmp_path.name}-{id(tmp_path)}")


@pytest.fixture
def cloud_place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Iterator[Place]]:
    """Open an empty place in one of the clouds."""

    def opened(kind: str) -> Iterator[Place]:
        name = f"media-{uuid.uuid4().hex[:12]}"
        if kind in ("gs", "abfs"):
            served = request.getfixturevalue("google" if kind == "gs" else "azure")
            monkeypatch.setenv(clouds.SERVED, f"{kind} {served if kind == 'gs' else served.connection_string}")
            yield from clouds.opening(kind, served, name)
            return
        address = request.getfixturevalue(kind.replace("-", "_"))
        conn_id = kind.replace("-", "_")
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", s3.connection(address))
        bucket = s3.Bucket(address, conn_id)
        yield Place.s3(bucket, "unable" if kind == "s3-refused" else "replaced")
        bucket.empty()

    return opened


@pytest.fixture(params=LEDGERS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store | StoredFiles:
    """Either store of one task instance."""
    return Store() if request.param == LEDGERS[0] else StoredFiles(str(tmp_path / "ledger"))


@pytest.fixture(params=LEDGERS)
def either_ledger(
    request: pytest.FixtureRequest, airflow: Connected, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> str:
    """Run the test with Airflow's task state store, and once more with the storage ledger; give its name."""
    if request.param == LEDGERS[1]:
        monkeypatch.setattr(TaskInstance, "ledger_path", str(tmp_path / "ledger"))
        monkeypatch.setattr(storage_ledger, "FileStore", StoredFiles)
        airflow.setting("ledger_path", str(tmp_path / "ledger"))
    return str(request.param)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Side by side, with whatever ``--dist``: the system tests share one Airflow."""
    from helpers.distribution import OneAirflow

    return OneAirflow(config, log)


def pytest_runtest_logstart(nodeid: str) -> None:
    """Side by side: a worker that runs tests without a real Airflow gives way to the one with it."""
    from helpers.distribution import give_way

    give_way(nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In a worker of pytest-xdist: hand over what the tests of the money saw."""
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["paid"] = money_report.seen()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take what a worker handed over; one that crashed has nothing to hand over."""
    money_report.take(getattr(node, "workeroutput", {}).get("paid", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the tests of the money saw."""
    for number, line in enumerate(money_report.lines()):
        if number == 0:
            terminalreporter.section("what was paid")
        terminalreporter.write_line(line)
