"""What parsing a DAG file with all 32 typed operators costs, beside the same file with 32 EmptyOperators.

Beside it a file with 100 tasks of ``@task.magic_hour``, and one with 100 of Airflow's ``@task``.

Measured as Airflow's best practices say, ``time python the_dag.py`` (a fresh interpreter that imports Airflow, bound
1.15), and beside it in a process that has Airflow loaded before the clock starts, as the DAG processor has: without and
with our modules loaded too. CPU seconds, medians of interleaved rounds.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "tests" / "data" / "sdk_examples.json"
ROUNDS = 5
BOUND = 1.15

CHILD = """
import sys, time
from airflow.sdk import DAG
from airflow.dag_processing.dagbag import DagBag
path, warm = sys.argv[1], sys.argv[2] == "warm"
code = compile(open(path).read(), path, "exec")
if warm:
    exec(code, {})
start = time.process_time()
bag = DagBag(path)
spent = time.process_time() - start
assert not bag.import_errors, bag.import_errors
assert len(next(iter(bag.dags.values())).tasks) in (32, 100)
print(spent)
"""


def typed_file() -> str:
    """Return the source of a DAG with every typed operator, called as the documentation shows."""
    sys.path.insert(0, str(ROOT / "scripts"))
    from magic_hour_provider.api.catalog import TOOLS
    from operator_source import class_name

    examples = json.loads(EXAMPLES.read_text("utf-8"))["examples"]
    module = {"video": "video", "audio": "audio"}
    lines = ["from airflow.sdk import DAG"]
    for slug, tool in TOOLS.items():
        lines.append(f"from magic_hour_provider.operators.{module.get(tool.kind, 'image')} import {class_name(slug)}")
    lines.append("with DAG('typed', schedule=None):")
    for slug in TOOLS:
        arguments = ", ".join(f"{name}={value!r}" for name, value in examples[slug]["kwargs"].items())
        lines.append(f"    {class_name(slug)}(task_id={slug!r}, {arguments})")
    return "\n".join(lines)


def empty_file() -> str:
    """Return the source of the same DAG with EmptyOperators."""
    lines = ["from airflow.sdk import DAG", "from airflow.providers.standard.operators.empty import EmptyOperator"]
    lines.append("with DAG('empty', schedule=None):")
    return "\n".join([*lines, *(f"    EmptyOperator(task_id='t{n}')" for n in range(32))])


def decorated_file(decorator: str) -> str:
    """Return the source of a DAG with 100 decorated tasks."""
    lines = ["from airflow.sdk import DAG, task", "with DAG('decorated', schedule=None):"]
    for number in range(100):
        lines += [f"    @{decorator}", f"    def t{number}(subject: str):"]
        lines += ["        return {'image_count': 1, 'style': {'prompt': subject}}", f"    t{number}('{number}')"]
    return "\n".join(lines)


def whole(path: Path, env: dict[str, str]) -> float:
    """Return the CPU seconds of an interpreter that runs the file, user and system."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, str(path)], check=True, env=env)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def seconds(path: Path, how: str, env: dict[str, str]) -> float:
    """Return the CPU seconds of one parse in a process of its own."""
    command = [sys.executable, "-c", CHILD, str(path), how]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    return float(done.stdout.strip().splitlines()[-1])


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        env = os.environ | {"AIRFLOW_HOME": folder, "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
        typed, empty = Path(folder, "typed.py"), Path(folder, "empty.py")
        typed.write_text(typed_file())
        empty.write_text(empty_file())
        print("| measured | ours (ms) | Airflow's (ms) | ratio | bound |\n| --- | --- | --- | --- | --- |")
        show("32 typed, python the_dag.py", [(whole(typed, env), whole(empty, env)) for _ in range(ROUNDS)], BOUND)
        for how, label in (("cold", "Airflow loaded"), ("warm", "Airflow and the operators loaded")):
            show(f"32 typed, {label}", [(seconds(typed, how, env), seconds(empty, how, env)) for _ in range(ROUNDS)])
        ours, theirs = Path(folder, "ours.py"), Path(folder, "theirs.py")
        ours.write_text(decorated_file("task.magic_hour(tool='ai-image-generator')"))
        theirs.write_text(decorated_file("task"))
        show("100 decorated, python the_dag.py", [(whole(ours, env), whole(theirs, env)) for _ in range(ROUNDS)], BOUND)
        for how, label in (("cold", "Airflow loaded"), ("warm", "Airflow and the operators loaded")):
            show(
                f"100 decorated, {label}", [(seconds(ours, how, env), seconds(theirs, how, env)) for _ in range(ROUNDS)]
            )


def show(label: str, rounds: list[tuple[float, float]], bound: float | None = None) -> None:
    """Print one row of medians."""
    ours, theirs = (statistics.median(side) * 1000 for side in zip(*rounds, strict=True))
    print(f"| {label} | {ours:.1f} | {theirs:.1f} | {ours / theirs:.2f} | {bound or ''} |", flush=True)


if __name__ == "__main__":
    main()
