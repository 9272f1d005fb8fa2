"""The command ``magic-hour-simulator``: an offline Magic Hour until it is interrupted."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from contextlib import suppress

from magic_hour_provider.simulator.account.details import TIERS
from magic_hour_provider.simulator.behavior import Behavior, allowed_values, parse_behavior
from magic_hour_provider.simulator.webhooks.registration import DEFAULT_SECRET

_LOCAL = ("127.0.0.1", "localhost", "::1")


def _parser(default_key: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="magic-hour-simulator", description="An offline Magic Hour: same API, no credits, no internet."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8765, help="port to listen on, 0 for a free one (%(default)s)")
    parser.add_argument("--speed", type=float, default=1.0, help="jobs run at so many x real time (%(default)g)")
    parser.add_argument("--api-key", default=default_key, help="the only key it accepts (%(default)s)")
    parser.add_argument("--credits", type=int, default=100_000, help="credits at the start (%(default)s)")
    parser.add_argument("--tier", choices=TIERS, default="creator", help="the account's tier (%(default)s)")
    parser.add_argument("--seed", type=int, help="one seed gives the same ids (default: random ones)")
    parser.add_argument("--manual-clock", action="store_true", help="time moves by POST /_simulator/advance alone")
    parser.add_argument(
        "--duration-jitter",
        type=float,
        default=0.0,
        help="largest deviation from the median duration, 0 to 1 (%(default)g)",
    )
    parser.add_argument("--usage-based", action="store_true", help="an account that pays later, without subscription")
    parser.add_argument(
        "--behavior",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="what it does where Magic Hour's behavior is not established; repeatable: " + _describe_behavior(),
    )
    parser.add_argument(
        "--webhook",
        action="append",
        default=[],
        metavar="URL",
        help="send webhooks there: an http address of this machine; repeatable (more by POST /_simulator/webhooks)",
    )
    parser.add_argument(
        "--webhook-secret",
        metavar="SECRET",
        default=DEFAULT_SECRET,
        help="signs the requests of --webhook (%(default)s)",
    )
    parser.add_argument("--quiet", action="store_true", help="no line per request")
    parser.add_argument("--storage", metavar="DIR", help="folder for files (default: a temporary one)")
    return parser


def _write(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


def _describe_behavior() -> str:
    """Return every setting of the behavior with its values in one line, the default first."""
    default = Behavior()
    lines = []
    for name, words in allowed_values().items():
        first = getattr(default, name)
        others = [word for word in words if word != first]
        lines.append(f"{name}={'|'.join([str(first), *others])}")
    return "; ".join(lines)


def _allow_many_connections() -> None:
    """Raise this process's own limit of open files to what the system allows; a connection takes one."""
    try:
        import resource
    except ImportError:  # there is none on Windows, and no such limit
        return
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main(arguments: list[str] | None = None) -> int:
    """Run the simulator until it is interrupted or terminated, and return the exit code: 2 if it cannot run.

    :param arguments: the command line without the program's name; None for that of this process.
    """
    try:
        # Not at the top: a missing extra is a sentence, not a traceback.
        from magic_hour_provider.simulator import Simulator
        from magic_hour_provider.simulator.server import DEFAULT_API_KEY
    except ModuleNotFoundError as missing:
        print(f"Error: {missing}", file=sys.stderr)
        return 2
    options = _parser(DEFAULT_API_KEY).parse_args(arguments)
    try:
        simulator = Simulator(
            speed=options.speed,
            port=options.port,
            api_key=options.api_key,
            credits=options.credits,
            tier=options.tier,
            seed=options.seed,
            host=options.host,
            storage=options.storage,
            log=None if options.quiet else _write,
            manual_clock=options.manual_clock,
            duration_jitter=options.duration_jitter,
            usage_based=options.usage_based,
            behavior=parse_behavior(options.behavior),
            webhook=options.webhook,
            webhook_secret=options.webhook_secret,
        )
    except ValueError as bad:
        print(f"Error: {bad}", file=sys.stderr)
        return 2
    _allow_many_connections()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        simulator.start()
    except OSError as bad:
        simulator.close()
        reason = bad.strerror or str(bad)
        print(f"Error: cannot listen on {options.host} port {options.port}: {reason}.", file=sys.stderr)
        return 2
    if options.host not in _LOCAL:
        print(f"Warning: listening on {options.host}, so other machines can reach it.", file=sys.stderr, flush=True)
    speed = "manual clock" if options.manual_clock else f"{options.speed:g} x real time"
    key = "the default key" if options.api_key == DEFAULT_API_KEY else "the key given"
    print(
        f"Magic Hour simulator on {simulator.url} - {speed}, {options.credits} credits, {key}. Ctrl+C stops it.",
        flush=True,
    )
    stop.wait()
    simulator.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
