"""The pytest plugin: a simulator for one test, with the Airflow connection set and without waiting.

pytest loads this module at every start, so at its top it imports only itself and the standard library.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

if TYPE_CHECKING:
    from magic_hour_provider.simulator import Simulator

_INI_SPEED = "magic_hour_speed"
_DEFAULT_CONN_ID = "magic_hour_default"
# The options of the marker, and the type of each in words.
_OPTIONS: dict[str, tuple[tuple[type, ...], str]] = {
    "speed": ((int, float), "a number above 0"),
    "credits": ((int,), "a whole number"),
    "tier": ((str,), "the name of a tier"),
    "seed": ((int,), "a whole number"),
    "webhook": ((str,), "an http address of this machine"),
    "conn_id": ((str, list, tuple), "a connection id or a list of them"),
    "real_time": ((bool,), "True or False"),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the setting ``magic_hour_speed``."""
    parser.addini(_INI_SPEED, "the simulator's jobs run at so many x real time (default: 1)", default="")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker ``magic_hour``."""
    config.addinivalue_line(
        "markers",
        "magic_hour(speed=1, credits=100_000, tier='creator', seed=None, webhook=None, conn_id='magic_hour_default', "
        "real_time=False): "
        "options of the fixture magic_hour_simulator",
    )


@pytest.fixture
def magic_hour_simulator(request: pytest.FixtureRequest) -> Iterator[Simulator]:
    """An offline Magic Hour for this test, and the Airflow connection to it: a whole DAG runs for no credits.

    Yields the ``Simulator``: ``stats()`` and ``jobs()`` are its counters, ``inject_fault(...)`` injects a fault,
    ``advance(seconds)`` moves its clock, ``add_webhook(url)`` has it send webhooks, signed with the secret that the
    connection has. Operators, sensors and triggers that wait in the test's own process, as in
    ``dag.test()``, move that clock too instead of passing real time: a job of 11 minutes takes none. While the test
    runs, ``MAGIC_HOUR_API_KEY`` is hidden. Options, by ``@pytest.mark.magic_hour(...)`` on a test, a class or a module:

    - ``speed``: jobs run at so many x real time (default: the setting ``magic_hour_speed``, or 1);
    - ``credits``: balance at the start (100,000);
    - ``tier``: the account's tier: ``free``, ``creator``, ``pro`` or ``business`` (``creator``);
    - ``seed``: one seed gives the same job ids (random ones);
    - ``webhook``: where it sends webhooks, as ``add_webhook`` does, if that is known beforehand;
    - ``conn_id``: the connection that is set (``magic_hour_default``), or a list of several. Name every one that the
      DAG uses: any other still leads to wherever it leads;
    - ``real_time``: True leaves waiting alone, for tasks that run in processes of their own; give ``speed`` with it.
    """
    options = _options(request.node, request.config)
    conn_ids = _conn_ids(options.pop("conn_id", _DEFAULT_CONN_ID))
    real_time = options.pop("real_time", False)
    try:
        from magic_hour_provider import clock
        from magic_hour_provider.simulator import Simulator
        from magic_hour_provider.simulator.server import DEFAULT_API_KEY
        from magic_hour_provider.simulator.webhooks.registration import DEFAULT_SECRET

        simulator = Simulator(**options)
    except (ModuleNotFoundError, ValueError) as bad:
        pytest.fail(f"magic_hour_simulator cannot start: {bad}", pytrace=False)
    # Waiting in this process moves the simulator's clock instead of passing real time.
    waiting = nullcontext() if real_time else clock.override(clock.SimulatedClock(simulator))
    with simulator, waiting, pytest.MonkeyPatch.context() as patch:
        connection = {
            "conn_type": "magic_hour",
            "host": simulator.url,
            "password": DEFAULT_API_KEY,
            "extra": {"webhook_secret": DEFAULT_SECRET},
        }
        _connect(connection, conn_ids, patch)
        yield simulator


def _options(node: pytest.Item, config: pytest.Config) -> dict[str, Any]:
    """Return the options that a test asks for; of two markers the nearer one counts.

    :raises pytest.fail.Exception: an option does not exist or has the wrong type.
    """
    options: dict[str, Any] = {}
    if config.getini(_INI_SPEED):
        options["speed"] = _number(config.getini(_INI_SPEED))
    for marker in reversed(list(node.iter_markers("magic_hour"))):
        if marker.args:
            _refuse(f"takes its options by name, such as speed=20, not {marker.args[0]!r}")
        for name, value in marker.kwargs.items():
            if name not in _OPTIONS:
                _refuse(f"has no option {name!r}: it takes {', '.join(_OPTIONS)}")
            types, words = _OPTIONS[name]
            # True is an int for Python, and a mistake here.
            if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
                _refuse(f"option {name} must be {words}, not {value!r}")
            options[name] = value
    return options


def _conn_ids(given: Any) -> list[str]:
    ids = [given] if isinstance(given, str) else list(given)
    if not ids or not all(isinstance(one, str) and one for one in ids):
        _refuse(f"option conn_id must be {_OPTIONS['conn_id'][1]}, not {given!r}")
    return ids


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        pytest.fail(f"The pytest setting {_INI_SPEED} must be a number above 0, not {text!r}.", pytrace=False)


def _refuse(reason: str) -> NoReturn:
    pytest.fail(f"The marker magic_hour {reason}.", pytrace=False)


def _connect(connection: dict[str, Any], conn_ids: list[str], patch: pytest.MonkeyPatch) -> None:
    """Set Airflow connections to the simulator, and hide the key that would be used if one of them did not exist."""
    for conn_id in conn_ids:
        patch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))
    patch.delenv("MAGIC_HOUR_API_KEY", raising=False)
    # A proxy cannot reach this machine's own ports.
    here = ",".join(filter(None, [os.environ.get("NO_PROXY") or os.environ.get("no_proxy"), "127.0.0.1"]))
    for name in ("NO_PROXY", "no_proxy"):
        patch.setenv(name, here)
