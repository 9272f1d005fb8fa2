"""Runs the tests on every Airflow and Python that the package supports, and prints what was run as a table.

Each pair has an environment of its own, ``.venv-AIRFLOW-PYTHON``, from ``constraints/airflow-AIRFLOW.txt``. The system
tests, which start real Airflow processes, run once for each Airflow. A pair whose Python is not on this machine is
skipped, and the table says so.

    python scripts/matrix.py                             every pair
    python scripts/matrix.py --airflow 3.2 --python 3.12 one pair
    python scripts/matrix.py --airflow newest            the newest pre-release, with the newest official SDK
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
AIRFLOWS = ("3.1", "3.2", "3.3")
PYTHONS = ("3.11", "3.12", "3.13")
NEWEST = "newest"
# Of these the newest pre-release is taken, where the tests are to run on it; of others never.
AIRFLOW_PACKAGES = ("apache-airflow", "apache-airflow-core", "apache-airflow-task-sdk")


def main() -> int:
    """Run what was asked for; return 1 where a test failed or a pair could not be installed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--airflow", action="append", choices=[*AIRFLOWS, NEWEST], help="only this one; may be repeated"
    )
    parser.add_argument("--python", action="append", choices=PYTHONS, help="only this one; may be repeated")
    parser.add_argument(
        "--skip", action="append", default=[], metavar="AIRFLOW-PYTHON", help="a pair that was run before"
    )
    parser.add_argument("--system", choices=["once", "never"], default="once", help="the system tests of each Airflow")
    options = parser.parse_args()
    rows, failed = [], False
    for airflow in options.airflow or AIRFLOWS:
        without_system_tests = options.system == "never"
        for python in options.python or PYTHONS:
            if f"{airflow}-{python}" in options.skip:
                without_system_tests = True
                continue
            interpreter = find_interpreter(python)
            if interpreter is None:
                rows.append([airflow, python, f"skipped: no Python {python} on this machine", ""])
                continue
            print(f"== Airflow {airflow}, Python {python}", flush=True)
            try:
                environment = install(airflow, python, interpreter)
            except subprocess.CalledProcessError:
                rows.append([airflow, python, "could not be installed", ""])
                failed = True
                continue
            numbers, one_failed = run_tests(
                environment, "not system and not long" if without_system_tests else "not long"
            )
            without_system_tests = True
            failed |= one_failed
            rows.append([*versions(environment), *numbers])
    print(table(rows))
    return int(failed)


def find_interpreter(python: str) -> str | None:
    """Return the path of an interpreter of that version, or None: from ``PATH``, else the newest that pyenv has."""
    installed = Path.home().glob(f".pyenv/versions/{python}.*/bin/python{python}")
    by_patch = sorted(
        installed, key=lambda path: [int(part) for part in re.findall(r"\d+", path.parts[-3])], reverse=True
    )
    for candidate in [shutil.which(f"python{python}"), *map(str, by_patch)]:
        # A shim of pyenv is on PATH also where its version is not chosen.
        if candidate and subprocess.run([candidate, "-c", ""], capture_output=True).returncode == 0:
            return candidate
    return None


def install(airflow: str, python: str, interpreter: str) -> Path:
    """Bring the pair's environment up to date; return its Python.

    :raises subprocess.CalledProcessError: the packages do not fit together, or could not be had
    """
    folder = ROOT / f".venv-{airflow}-{python}"
    environment = folder / "bin" / "python"
    if not environment.exists():
        subprocess.run([interpreter, "-m", "venv", "--without-pip", str(folder)], check=True)
    command = [uv(), "pip", "install", "--quiet", "--python", str(environment), "-e", f"{ROOT}[simulator]"]
    # The extra agents needs packages that older Airflows do not go with; its tests say so where they are skipped.
    for group in ("dev", "agents") if airflow == AIRFLOWS[-1] else ("dev",):
        command += ["--group", f"{ROOT / 'pyproject.toml'}:{group}"]
    if airflow != NEWEST:
        subprocess.run([*command, "-c", str(ROOT / "constraints" / f"airflow-{airflow}.txt")], check=True)
        return environment
    command += [f"--prerelease-package={name}=allow" for name in AIRFLOW_PACKAGES]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as overrides:
        overrides.write("magic-hour\n")  # whatever version pyproject.toml names
        overrides.flush()
        subprocess.run([*command, "--upgrade", "--overrides", overrides.name], check=True)
    return environment


def uv() -> str:
    """Return the path of uv: this environment's, as ``make`` installs it, or the one on ``PATH``."""
    beside = Path(sys.executable).parent / "uv"
    return str(beside) if beside.exists() else "uv"


def run_tests(environment: Path, marked: str) -> tuple[tuple[str, str], bool]:
    """Run the tests with these marks side by side; return what was counted, and whether anything failed."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [environment, "-m", "pytest", "-q", *side_by_side(), "-m", marked, f"--junit-xml={report}"]
        done = subprocess.run(command, cwd=ROOT)
        if not report.exists():
            return ("did not start", ""), True
        return counted(report.read_text("utf-8")), done.returncode != 0


def counted(report: str) -> tuple[str, str]:
    """Return the numbers of a report in JUnit's format, such as ``3100 passed, 4 skipped``: unit and system tests."""
    unit, system = Counter[str](), Counter[str]()
    for test in ElementTree.fromstring(report).iter("testcase"):
        ended = {child.tag for child in test} & {"failure", "error", "skipped"}
        name = "failed" if ended & {"failure", "error"} else "skipped" if ended else "passed"
        (system if test.attrib["classname"].startswith("tests.system.") else unit)[name] += 1
    return _listed(unit), _listed(system)


def _listed(numbers: Counter[str]) -> str:
    return ", ".join(f"{numbers[name]:,} {name}" for name in ("passed", "failed", "skipped") if numbers[name])


def versions(environment: Path) -> list[str]:
    """Return the exact versions of Airflow and Python in an environment."""
    script = "import platform; from importlib.metadata import version as of"
    script += "; print(of('apache-airflow'), platform.python_version())"
    return subprocess.run([environment, "-c", script], capture_output=True, text=True, check=True).stdout.split()


def side_by_side() -> list[str]:
    """Return pytest's arguments for as many processes as ``make test`` uses."""
    return ["-n", str(1 + min(4, os.cpu_count() or 1))]


def table(rows: list[list[str]]) -> str:
    """Return the rows as a Markdown table."""
    lines = [["Airflow", "Python", "Unit tests", "System tests"], ["---"] * 4, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
