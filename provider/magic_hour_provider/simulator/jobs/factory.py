"""From a request to a job: what it takes for Magic Hour to accept one."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from magic_hour_provider.api.catalog import Tool
from magic_hour_provider.simulator.behavior import Behavior
from magic_hour_provider.simulator.errors import ApiError
from magic_hour_provider.simulator.faults.catalog import Fault
from magic_hour_provider.simulator.jobs import dimensions as shapes
from magic_hour_provider.simulator.jobs.facts import FREE_MODELS, text_at, text_of, words_of
from magic_hour_provider.simulator.jobs.inputs import Inputs
from magic_hour_provider.simulator.jobs.job import FPS, Ending, Job, iso
from magic_hour_provider.simulator.jobs.prices import ESTIMATED_FPS, credits_for
from magic_hour_provider.simulator.jobs.validation import accepted

_FACES = 2


@dataclass(frozen=True)
class Maker:
    """Makes jobs.

    :param speed: how many times faster than Magic Hour jobs are; above 0.
    :param duration_jitter: how far durations stray from the median, as a part of it, from 0 to 1.
    :param seed: one seed and id give the same duration.
    :param tier: the account's tier.
    :param behavior: how open questions are answered.
    :param inputs: finds the input files.
    """

    speed: float
    duration_jitter: float
    seed: int
    tier: str
    behavior: Behavior
    inputs: Inputs

    def job(self, tool: Tool, request: object, job_id: str, now: float) -> Job:
        """Return the job that a request makes; the account's balance is not looked at.

        :param now: the time, in seconds since 1970 on the simulator's clock.
        :raises ApiError: the request is refused.
        """
        known = accepted(tool, request, self.behavior)
        self._check_plan(tool, known)
        count = shapes.image_count(known) if tool.kind == "image" else 1
        start, end = shapes.clip(tool, known)
        sources, failing = self.inputs.resolve(tool, known, now)
        if failing is not None and self.behavior.missing_file == "refused":
            raise ApiError(422, "unprocessable_entity", failing.message)
        made = min(FPS, known.get("max_fps_limit") or FPS)
        price, final = (
            credits_for(tool, known, images=count, seconds=end - start, fps=fps) for fps in (ESTIMATED_FPS, made)
        )
        return Job(
            id=job_id,
            tool=tool,
            request=request if isinstance(request, dict) else {},
            name=known.get("name") or f"{tool.title} - {iso(now)}",
            text=text_of(known),
            words=words_of(known),
            created=now,
            duration=self._duration(tool, known, job_id),
            price=price,
            final_price=final,
            files=_FACES if tool.kind == "face-detection" else count,
            extension=_extension(tool, known),
            size=shapes.picture_size(known),
            start=start,
            end=end,
            ending=failing or Ending(),
            sources=sources,
        )

    def _duration(self, tool: Tool, request: Mapping[str, Any], job_id: str) -> float:
        median = tool.median_s or tool.polling_class(request).median_s
        dice = random.Random(f"{self.seed}/duration/{job_id}")  # noqa: S311 - no secret
        return median * (1 + self.duration_jitter * dice.uniform(-1, 1)) / self.speed

    def _check_plan(self, tool: Tool, request: Mapping[str, Any]) -> None:
        model, free = text_at(request, "model"), FREE_MODELS.get(tool.slug)
        if self.tier != "free" or not free or not model or model in free:
            return
        sentence = f"The model {model} is not in the plan {self.tier}: use one of {', '.join(sorted(free))}."
        if self.behavior.plan_limit == "forbidden":
            raise ApiError(403, "forbidden", sentence)
        raise ApiError(402, "plan_upgrade_required", sentence)


def shape(job: Job, faults: Sequence[Fault]) -> None:
    """Let faults decide how long a job takes and how it ends; the first of each kind counts."""
    for fault in reversed(faults):
        if fault.fault == "job-duration":
            job.duration = float(fault.seconds or 0)
        elif fault.fault == "job-outcome":
            code = fault.code or "unknown_error"
            message = fault.message or f"An injected fault ended this job with {code}."
            job.ending = Ending(str(fault.status), code, message, fault.immediately)


def _extension(tool: Tool, request: Mapping[str, Any]) -> str:
    if tool.slug == "ai-gif-generator":
        wanted = request.get("output_format")
        return wanted if wanted in ("mp4", "webm") else "gif"
    return {"video": "mp4", "audio": "wav"}.get(tool.kind, "png")
