"""Makes jobs from requests, and applies the faults of a job."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from magic_hour_provider.api.catalog import Tool
from magic_hour_provider.simulator.behavior import Behavior
from magic_hour_provider.simulator.errors import ApiError
from magic_hour_provider.simulator.faults.catalog import Fault, unknown_effect
from magic_hour_provider.simulator.jobs.dimensions import clip_range, image_count, image_size
from magic_hour_provider.simulator.jobs.facts import FREE_MODELS, format_api_time, main_text, searchable_text, text_at
from magic_hour_provider.simulator.jobs.inputs import InputResolver
from magic_hour_provider.simulator.jobs.job import FPS, JobOutcome, SimulatedJob
from magic_hour_provider.simulator.jobs.prices import credits_for
from magic_hour_provider.simulator.jobs.validation import validate_create

_FACES = 2


@dataclass(frozen=True)
class JobFactory:
    """Makes jobs.

    :param speed: jobs run at so many x real time; above 0.
    :param duration_jitter: largest deviation of a duration from the median, as a part of it, from 0 to 1.
    :param seed: one seed and id give the same duration.
    :param tier: the account's tier.
    :param behavior: how a model beyond the plan and a missing file are answered.
    :param inputs: resolves the input files.
    """

    speed: float
    duration_jitter: float
    seed: int
    tier: str
    behavior: Behavior
    inputs: InputResolver

    def make(self, tool: Tool, request: object, job_id: str, now: float) -> SimulatedJob:
        """Return the job that a request makes; the account's balance does not matter.

        :param request: the JSON body.
        :param job_id: the id of the job.
        :param now: the time, in seconds since 1970 on the simulator's clock.
        :raises ApiError: the request is refused.
        """
        known = validate_create(tool, request, self.behavior)
        self._check_plan(tool, known)
        count = image_count(known) if tool.kind == "image" else 1
        start, end = clip_range(tool, known)
        inputs, failure = self.inputs.resolve(tool, known, now)
        if failure is not None and self.behavior.missing_file == "refused":
            raise ApiError(422, "unprocessable_entity", failure.message)
        rendered_fps = min(FPS, known.get("max_fps_limit") or FPS)
        price, final = (
            credits_for(tool, known, images=count, seconds=end - start, fps=fps) for fps in (None, rendered_fps)
        )
        return SimulatedJob(
            id=job_id,
            tool=tool,
            request=request if isinstance(request, dict) else {},
            name=known.get("name") or f"{tool.title} - {format_api_time(now)}",
            caption=main_text(known),
            text=searchable_text(known),
            created=now,
            duration=self._duration(tool, known, job_id),
            price=price,
            final_price=final,
            files=_FACES if tool.kind == "face-detection" else count,
            extension=_extension(tool, known),
            size=image_size(known),
            start=start,
            end=end,
            outcome=failure or JobOutcome(),
            inputs=inputs,
        )

    def _duration(self, tool: Tool, request: Mapping[str, Any], job_id: str) -> float:
        median = tool.median_s or tool.polling_class(request).median_s
        rng = random.Random(f"{self.seed}/duration/{job_id}")  # noqa: S311 - no secret
        return median * (1 + self.duration_jitter * rng.uniform(-1, 1)) / self.speed

    def _check_plan(self, tool: Tool, request: Mapping[str, Any]) -> None:
        model, free = text_at(request, "model"), FREE_MODELS.get(tool.slug)
        if self.tier != "free" or not free or not model or model in free:
            return
        sentence = f"The model {model} is not in the plan {self.tier}: use one of {', '.join(sorted(free))}."
        if self.behavior.plan_limit == "forbidden":
            raise ApiError(403, "forbidden", sentence)
        raise ApiError(402, "plan_upgrade_required", sentence)


def apply_job_fault(job: SimulatedJob, fault: Fault) -> None:
    """Let a fault decide how long a job takes, or how it ends."""
    if fault.fault == "job-duration":
        job.duration = float(fault.seconds or 0)
    elif fault.fault == "job-outcome":
        code = fault.code or "unknown_error"
        message = fault.message or f"An injected fault ended this job with {code}."
        job.outcome = JobOutcome(str(fault.status), code, message, fault.immediately)
    else:
        raise unknown_effect(fault)


def _extension(tool: Tool, request: Mapping[str, Any]) -> str:
    if tool.slug == "ai-gif-generator":
        wanted = request.get("output_format")
        return wanted if wanted in ("mp4", "webm") else "gif"
    return {"video": "mp4", "audio": "wav"}.get(tool.kind, "png")
