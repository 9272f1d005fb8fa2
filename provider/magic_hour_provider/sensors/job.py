"""Waits for a job that something else submitted: another task, another system, a person in the web app."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, cast

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from magic_hour_provider import DEFAULT_CONN_ID, clock
from magic_hour_provider.api.catalog import KINDS
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.api.errors import InvalidInputError, MagicHourError, NotFoundError
from magic_hour_provider.api.models import COMPLETE, GONE, Job, JobReference
from magic_hour_provider.api.responses import job_error
from magic_hour_provider.execution.deadline import Deadline
from magic_hour_provider.execution.failures import report_failure
from magic_hour_provider.execution.report import Report
from magic_hour_provider.hooks.exceptions import find_cause, one_clear_error, to_airflow_error
from magic_hour_provider.hooks.magic_hour import MagicHourHook
from magic_hour_provider.hooks.masking import LinkSecretMasking
from magic_hour_provider.hooks.own_task import check_own_task
from magic_hour_provider.links import MagicHourLink
from magic_hour_provider.outputs.assets import emit_outlet_events
from magic_hour_provider.outputs.download import store_outputs
from magic_hour_provider.outputs.lineage import lineage_of_result
from magic_hour_provider.polling.progress import describe_failed_poll
from magic_hour_provider.polling.schedule import REFUSED, TIMEOUT, Outcome, PollState, Schedule
from magic_hour_provider.storage.folders import check_given_folder, check_location, clean_folder
from magic_hour_provider.times import parse_time
from magic_hour_provider.triggers.resume_delay import min_resume_delay_s

if TYPE_CHECKING:
    from airflow.sdk import Context


_SECOND_LOOK_S = 10.0


class MagicHourJobSensor(LinkSecretMasking, BaseSensorOperator):
    """Waits until a Magic Hour job ends, stores its files, and returns the same object as the operators.

    It never pays for anything. Files are stored as ``<tool>-<id>-<n>.<ext>``, or ``<kind>-<id>-<n>.<ext>`` where the
    tool is not known.

    :param job: a task's result (with ``wait_for_completion=False``, say), ``{"kind": ..., "id": ...}``, or the job's
        address in the web library.
    :param magic_hour_conn_id: the connection.
    :param output_path: folder for the files, as of the operator; default: the setting ``[magic_hour] output_path``.
    :param deferrable: wait in the triggerer, without holding a worker. Default: True, unless a ``mode`` is given.
    :param mode: ``poke`` or ``reschedule``, as of every sensor.
    :param multiple_outputs: whether the result is pushed key by key as well, as XComs of their own.
    :param kwargs: of every sensor: ``poke_interval`` (seconds; at least 10 in reschedule mode, as Airflow
        may fail a task that returns sooner), ``timeout`` (seconds), ``soft_fail`` and so on. ``soft_fail``
        skips where the job itself failed or the time is up; other trouble fails, and ``retries`` count.
    :raises AirflowFailException: the job failed, was canceled or is not found, or the input cannot work.
    :raises AirflowSensorTimeout: the sensor's ``timeout`` ended; the job keeps running.
    :raises AirflowTaskTimeout: its ``execution_timeout`` ended; the job keeps running.
    """

    template_fields: Sequence[str] = ("job", "output_path", "magic_hour_conn_id")
    template_fields_renderers = {"job": "json"}
    operator_extra_links = (MagicHourLink(),)
    ui_color = "#e9e2ff"

    def __init__(
        self,
        *,
        job: Any,
        magic_hour_conn_id: str = DEFAULT_CONN_ID,
        output_path: str | None = None,
        deferrable: bool | None = None,
        mode: str | None = None,
        multiple_outputs: bool = True,
        **kwargs: Any,
    ) -> None:
        # Arguments of their own, as Airflow fills in default_args by the names of the signature.
        deferrable = mode is None if deferrable is None else deferrable
        super().__init__(mode=mode or "poke", multiple_outputs=multiple_outputs, **kwargs)
        if self.reschedule:
            # A sensor that comes back while its supervisor still closes the last run is marked as failed by Airflow.
            self.poke_interval = max(self.poke_interval, min_resume_delay_s())
        self.job = job
        self.magic_hour_conn_id = magic_hour_conn_id
        output_path = clean_folder(output_path)
        self.output_path = (
            output_path if output_path is not None else conf.get("magic_hour", "output_path", fallback="")
        )
        self._may_store_nothing = output_path == ""
        if isinstance(deferrable, str):
            raise InvalidInputError(f"deferrable must be True or False; it is the text {deferrable!r}.")
        if not getattr(self, "_BaseOperator__from_mapped", False):
            check_given_folder(output_path)
        self.deferrable = deferrable
        self._poll_state: PollState | None = None
        self._deadline: float | None = None
        self._observation: Job | MagicHourError | None = None
        self._has_job_failed = False
        self._result: dict[str, Any] | None = None

    def _reference(self) -> JobReference:
        reference = JobReference.parse(self.job)
        if reference.kind not in KINDS:
            raise InvalidInputError(
                f"{reference.kind!r} is not a kind of Magic Hour job: use one of {', '.join(KINDS)}."
            )
        return reference

    @property
    def _folder(self) -> str:
        return str(self.output_path or "").strip()

    def poke(self, context: Context) -> PokeReturnValue:
        """Poll once. A poll that fails is tolerated: the sensor's timeout bounds them."""
        return self._poke(context)

    def _poke(self, context: Context, *, tolerate_invalid: bool = True) -> PokeReturnValue:
        try:
            result = self._poll_job(context, tolerate_invalid=tolerate_invalid)
        except MagicHourError as error:
            report_failure(context["ti"], error)
            raise to_airflow_error(error) from find_cause(error)
        return PokeReturnValue(result is not None, result)

    def _poll_job(self, context: Mapping[str, Any], *, tolerate_invalid: bool) -> dict[str, Any] | None:
        """Return the task's result, or None while the job is active."""
        reference = self._reference()
        check_location(self._folder)
        report = Report(context["ti"], reference.tool, {})
        with MagicHourHook(self.magic_hour_conn_id).get_conn() as client:
            observation = self._observation = _observe(client, reference)
            if self._poll_state is None:
                # It decides whether the wait has ended, not when to poll again: that is the sensor's own interval.
                self._poll_state = PollState(
                    Schedule(1, 1, 1),
                    submitted_at=self._started(context),
                    deadline=float("inf"),
                    tolerate_invalid=tolerate_invalid,
                    needs_files=bool(self._folder),
                )
            now = clock.current().now()
            outcome = self._poll_state.next_action(observation, now).outcome
            if outcome is None and isinstance(observation, NotFoundError) and not self._is_task_result():
                # A job may be too new for its route, but not for long; an id that nobody has submitted is never found.
                clock.current().sleep(_SECOND_LOOK_S)
                observation = self._observation = _observe(client, reference)
                now = clock.current().now()
                is_missing = isinstance(observation, NotFoundError)
                outcome = Outcome(GONE) if is_missing else self._poll_state.next_action(observation, now).outcome
            if outcome is None and self._gives_up_on_links(observation, context, now):
                outcome = Outcome(COMPLETE)  # the files that have a link are stored, and the others named
            if outcome is None:
                status = observation.status if isinstance(observation, Job) else None
                news = status or describe_failed_poll(cast(MagicHourError, observation), reference.id)
                self.log.info("Magic Hour job %s: %s.", reference.id, news)
                report.push_job(reference.id, reference.kind, status or "pending")
                return None
            if isinstance(observation, MagicHourError) and outcome.status != GONE:
                raise observation
            job = observation if isinstance(observation, Job) else Job.gone(reference.kind, reference.id)
            report.push_job(job.id, job.kind, job.status)
            if outcome.status != COMPLETE:
                failure = job_error(job, tool=reference.tool, paid_here=False)
                self._has_job_failed = isinstance(observation, Job)
                failure.retryable = False  # another poll would see the same: only a person can help
                report.push_end(job.status, credits_charged=job.credits_charged)
                raise failure
            result = store_outputs(client, job, reference.tool, self._folder, may_be_empty=self._may_store_nothing)
            report.push_end(job.status, credits_charged=job.credits_charged)
        self._result = result
        emit_outlet_events(self.outlets, context, result)
        return result

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:  # noqa: ARG002
        """Return what OpenLineage's provider asks for: the job, and the files stored."""
        job = {name: self._result[name] for name in ("kind", "id")} if self._result else self.job
        return lineage_of_result([job], self._result)

    def _is_task_result(self) -> bool:
        """Whether the job was named by the result of the task that submitted it: it surely exists."""
        return isinstance(self.job, Mapping) and "status" in self.job

    def _gives_up_on_links(self, observation: Job | MagicHourError, context: Mapping[str, Any], now: float) -> bool:
        """Whether a complete job has links that are missing, and the time is up in which it is polled for them."""
        if not isinstance(observation, Job) or not observation.missing_files:
            return False
        return now >= (self._deadline if self._deadline is not None else self._started(context) + self.timeout)

    def _started(self, context: Mapping[str, Any]) -> float:
        ti = context["ti"]
        first = (ti.get_first_reschedule_date(context) if self.reschedule else None) or ti.start_date
        return first.timestamp() if first is not None else clock.current().now()

    def _get_next_poke_interval(self, *arguments: Any, **named: Any) -> float:
        """Wait as long as every sensor does, and no shorter than Magic Hour asks for."""
        usual: float = super()._get_next_poke_interval(*arguments, **named)
        asked = self._observation.retry_after if isinstance(self._observation, MagicHourError) else None
        return max(usual, asked or 0.0)

    @one_clear_error
    def execute(self, context: Context) -> Any:
        """Wait: in the triggerer, or as the sensor's ``mode`` says."""
        with self._failing_on_trouble():
            return self._execute_deferrable(context) if self.deferrable else super().execute(context)

    @one_clear_error
    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume after a deferral, as Airflow does, but for what ``soft_fail`` skips."""
        with self._failing_on_trouble():
            return super().resume_execution(next_method, next_kwargs, context)

    @contextmanager
    def _failing_on_trouble(self) -> Iterator[None]:
        """Fail where Airflow's ``soft_fail`` would skip although neither the job failed nor the time is up."""
        try:
            yield
        except AirflowTaskTimeout as error:
            if self.soft_fail or self.never_fail:
                raise AirflowSkipException("Skipped, as execution_timeout has ended.") from error
            raise
        except AirflowSkipException as skip:
            cause = skip.__cause__
            in_time = cause is not None and not isinstance(cause, AirflowSensorTimeout | AirflowTaskTimeout)
            if self.soft_fail and in_time and not self._has_job_failed and cause is not None:
                raise cause from None
            raise

    def _execute_deferrable(self, context: Context) -> Any:
        check_own_task(self, context, "Make it a task of its own in the DAG, or give it deferrable=False.")
        try:
            found = self.poke(context)
        except AirflowException as error:
            if self.soft_fail or self.never_fail:
                raise AirflowSkipException("Skipped, as soft_fail or never_fail is set.") from error
            raise
        if found.is_done:
            return found.xcom_value
        return self._defer(Deadline.of(self.timeout, self.execution_timeout, context["ti"]))

    def execute_complete(
        self,
        context: Context,
        event: Mapping[str, Any],
        deadline: float | None = None,
        by_execution_timeout: bool = False,
    ) -> dict[str, Any]:
        """Resume after the trigger's event; the worker polls itself."""
        self._poll_state = None
        self._deadline = clock.current().now() if event["status"] == TIMEOUT else deadline
        found = self._poke(context, tolerate_invalid=event["status"] != REFUSED)
        if found.is_done and isinstance(found.xcom_value, dict):
            return found.xcom_value
        is_over = event["status"] == TIMEOUT
        if deadline is None:
            limit = Deadline.of(0.0 if is_over else self.timeout, self.execution_timeout, context["ti"])
        else:
            limit = Deadline(deadline, by_execution_timeout)
        if not is_over:
            return self._defer(limit)
        by_airflow = limit.by_execution_timeout
        timeout = "the task's execution_timeout" if by_airflow else f"the sensor's timeout of {self.timeout:g} s"
        raise (AirflowTaskTimeout if by_airflow else AirflowSensorTimeout)(
            f"Magic Hour job {event['id']} had not ended when {timeout} did. The job keeps running; nothing was paid "
            "by this task."
        )

    def _defer(self, deadline: Deadline) -> NoReturn:
        # Imported here: airflow.triggers belongs to airflow-core, which parsing a DAG need not load.
        from magic_hour_provider.triggers.job import MagicHourJobTrigger

        reference, now = self._reference(), clock.current().now()
        trigger = MagicHourJobTrigger(
            kind=reference.kind,
            job_id=reference.id,
            tool=reference.tool,
            conn_id=self.magic_hour_conn_id,
            submitted_at=self._submitted_at(now),
            deferred_at=now,
            deadline=deadline.at,
            needs_files=bool(self._folder),
        )
        self.defer(trigger=trigger, method_name="execute_complete", kwargs=deadline.to_kwargs())

    def _submitted_at(self, now: float) -> float:
        """Return when the job was submitted, as its age decides the polling interval; now, if that is not known."""
        submitted_at = parse_time(self._observation.created_at) if isinstance(self._observation, Job) else None
        return now if submitted_at is None else min(now, submitted_at)


def _observe(client: MagicHourClient, reference: JobReference) -> Job | MagicHourError:
    try:
        return client.get_job(reference.kind, reference.id)
    except MagicHourError as error:
        return error
