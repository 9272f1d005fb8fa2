"""What a trigger pushes for a task that it ends itself: what a worker would have pushed, key by key."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from magic_hour_provider import clock
from magic_hour_provider.api.models import Job
from magic_hour_provider.outputs.result import task_result
from magic_hour_provider.times import format_time
from magic_hour_provider.xcoms import JOB_XCOM, LINK_XCOM, RETURN_XCOM, settled_xcom


@dataclass(frozen=True)
class TaskEnd:
    """What a worker knows of its task as it defers it, for the trigger that ends it.

    :param report: the XCom of the job as the worker has pushed it; its ``run_credits`` are those without this job.
    :param charged: credits that the job was charged when it was submitted; None: not known.
    :param max_credits: the limit of the job: one that was charged more is the worker's to report; None: there is none.
    :param multiple_outputs: whether the result is pushed key by key as well.
    :param warns: whether nobody said that nothing should be stored, so that the log says it.
    :param operator: name of the task's class, as Airflow's metrics have it.
    :param tags: of Airflow's metrics of the task.
    :param started_at: start of the attempt, in seconds since 1970; None: not known.
    """

    report: dict[str, Any]
    charged: int | None = None
    max_credits: int | None = None
    multiple_outputs: bool = True
    warns: bool = False
    operator: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    started_at: float | None = None

    @classmethod
    def read(cls, text: str) -> Self:
        """Read what a trigger's arguments hold; what a newer version has put there is left out."""
        value = json.loads(text)
        return cls(**{name: value[name] for name in cls.__dataclass_fields__ if name in value})

    def to_text(self) -> str:
        """Return what a trigger's arguments hold; :meth:`read` reads it back.

        A text, as the report has the user's request in it: numbers beyond 64 bits, names that Airflow keeps for itself
        and deep nesting are JSON, but no arguments of a trigger, and a task that cannot be deferred has paid already.
        """
        return json.dumps(asdict(self))

    def settle(self, job: Job) -> int | None:
        """Return what a complete job was charged, in credits; None: that is a worker's to find out."""
        charged = job.credits_charged if job.credits_charged is not None else self.charged
        if charged is None or (self.max_credits is not None and charged > max(self.max_credits, self.charged or 0)):
            return None
        return charged

    def make_xcoms(self, job: Job, tool: str, charged: int) -> dict[str, Any]:
        """Return the XComs of a complete job, in the order in which they are pushed.

        :param tool: slug of the tool.
        :param charged: as :meth:`settle` has returned it.
        """
        result = task_result(job, tool, ())
        run = self.report["run_credits"]
        report = {
            **self.report,
            "polls": self.report["polls"] + 1,  # the one that saw the end, as a worker would have polled once
            "status": job.status,
            "run_credits": {**run, "paid": run["paid"] + max(0, charged)},
            "ended_at": format_time(clock.current().now()),
        }
        if job.credits_charged is not None:
            report["credits_charged"] = job.credits_charged
        xcoms = {settled_xcom(job.id, charged): {"tool": tool}, JOB_XCOM: report}
        xcoms |= result if self.multiple_outputs else {}
        # Last, as whoever finds it there may use it; but for the link, which Airflow keeps at the very end.
        return xcoms | {RETURN_XCOM: result, LINK_XCOM: report.get("library_url") or ""}
