"""What ``airflow magic-hour`` adds to every ``airflow`` command: its definition is imported where the parser is built.

In a fresh interpreter, as each command is one: the time in which Airflow imports its own commands and builds its
parser, and in it that of our definition. The ratio of the two, the median of several processes; bound 1.01.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

ROUNDS = 5
BOUND = 1.01

CHILD = """
import json, time
start = time.perf_counter()
import airflow.cli.cli_config
before = time.perf_counter()
from magic_hour_provider.cli.definition import get_magic_hour_cli_commands
get_magic_hour_cli_commands()
after = time.perf_counter()
from airflow.cli.cli_parser import get_parser
get_parser()
print(json.dumps([after - before, time.perf_counter() - start]))
"""


def measure() -> tuple[float, float]:
    """Return the seconds of our definition, and of all that ``airflow --help`` does before it prints."""
    done = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=True)
    ours, whole = json.loads(done.stdout.strip().splitlines()[-1])
    return ours, whole


def main() -> int:
    """Print the figures; return 1 if the bound is missed."""
    rounds = [measure() for _ in range(ROUNDS)]
    ratio = statistics.median(whole / (whole - ours) for ours, whole in rounds)
    ours, whole = (statistics.median(column) for column in zip(*rounds, strict=True))
    print(f"airflow's parser {whole:.2f} s, of it our commands {1000 * ours:.1f} ms: x{ratio:.4f} (at most {BOUND})")
    return int(ratio > BOUND)


if __name__ == "__main__":
    sys.exit(main())
