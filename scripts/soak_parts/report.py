"""What a soak was and showed, as Markdown."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import psutil

from soak_parts.check import MadeJob, StoredResult, latencies, percentile
from soak_parts.usage import UsageByProgram

_MB = 2**20
_KINDS = ("scheduler", "triggerer", "worker", "api-server", "dag-processor", "postgresql", "redis", "simulator")
NOT_AIRFLOW = ("postgresql", "redis", "simulator")


@dataclass
class Soak:
    """What was run, and what became of it.

    :param jobs: how many single jobs, and rows of the batch, were asked for.
    :param rows: the same of the batch.
    :param seconds: how long it took, from the first trigger to the last end, recovery included.
    :param events: what was done to it, with the second.
    :param made: all jobs.
    :param results: what became of each request.
    :param tries: of task instances, by number of tries.
    :param restarts: how often a component ended by itself.
    :param adopted: how many unknown submissions were recovered with a job, and without one.
    :param regenerated: the same without one.
    :param violations: what was not kept.
    """

    jobs: int
    rows: int
    seconds: float = 0.0
    events: list[tuple[float, str]] = field(default_factory=list)
    made: Sequence[MadeJob] = ()
    results: Sequence[StoredResult] = ()
    tries: Counter[int] = field(default_factory=Counter)
    restarts: Counter[str] = field(default_factory=Counter)
    adopted: int = 0
    regenerated: int = 0
    violations: list[str] = field(default_factory=list)


def is_airflow(name: str) -> bool:
    """Whether a program is one of Airflow's."""
    return name not in NOT_AIRFLOW


def describe(soak: Soak, usage: UsageByProgram, versions: Mapping[str, str]) -> str:
    """Return the report."""
    singles = [one for one in soak.results if not one.identity.startswith("batch ")]
    rows = [one for one in soak.results if one.identity.startswith("batch ")]
    asked, cpu_s = soak.jobs + soak.rows, usage.cpu_s(is_airflow)
    figures = {
        "Jobs asked for": f"{soak.jobs:,} single, {soak.rows:,} in a batch",
        "Jobs paid for": f"{len(soak.made):,}",
        "Ended well": f"{sum(one.state == 'success' for one in soak.results):,}",
        "Recovered by hand": f"{soak.adopted} with their job, {soak.regenerated} without one",
        "Total time": f"{soak.seconds / 60:.1f} min",
        "Airflow's CPU": f"{cpu_s:,.0f} s, {cpu_s / asked:.2f} s per job",
        "Completion to success, single jobs": _latency(latencies(soak.made, singles)),
        "Completion to stored file, rows of the batch": _latency(latencies(soak.made, rows)),
        "Tries of task instances": ", ".join(f"{count:,} with {tries}" for tries, count in sorted(soak.tries.items())),
        "Memory of all processes, at most": f"{usage.peak_together / _MB:,.0f} MB, shared pages counted each time",
        "Machine": f"{os.cpu_count()} cores, {psutil.virtual_memory().total / 2**30:.0f} GB",
        "Versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
    }
    lines = ["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in figures.items()), ""]
    lines += ["| Component | CPU | Largest process | Ended by itself |", "| --- | --- | --- | --- |"]
    for kind in _KINDS:
        of_kind = [name for name in usage.peak if name.startswith(kind)]
        if of_kind:
            lines.append(
                f"| {kind} x {len(of_kind)} | {usage.cpu_s(_one_of(of_kind)):,.0f} s "
                f"| {max(usage.peak[name] for name in of_kind) / _MB:,.0f} MB "
                f"| {sum(soak.restarts[name] for name in of_kind)} |"
            )
    lines += ["", *(f"- {seconds:.0f} s: {what}" for seconds, what in soak.events), ""]
    lines += [f"- **{violation}**" for violation in soak.violations] or ["Every promise was kept."]
    return "\n".join(lines)


def _latency(seconds: Sequence[float]) -> str:
    if not seconds:
        return "none"
    return f"p50 {percentile(seconds, 0.5):.1f} s, p99 {percentile(seconds, 0.99):.1f} s, at most {max(seconds):.1f} s"


def _one_of(names: Sequence[str]) -> Callable[[str], bool]:
    return lambda name: name in names
