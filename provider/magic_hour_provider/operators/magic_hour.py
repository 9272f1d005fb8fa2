"""One operator that runs any tool of Magic Hour. Parsing a DAG needs only this and what checks a request."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NoReturn

from airflow.providers.common.compat.sdk import BaseOperator, conf

from magic_hour_provider import DEFAULT_CONN_ID
from magic_hour_provider.airflow_internals import MissingInternalError
from magic_hour_provider.api.catalog import Tool, get_tool
from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.hooks.exceptions import one_clear_error
from magic_hour_provider.hooks.masking import mask_link_secrets
from magic_hour_provider.links import MagicHourLink
from magic_hour_provider.operators.arguments import (
    check_body,
    check_conn_id,
    check_credit_limits,
    check_given,
    check_options,
    find_mapped_paths,
    find_missing_xcoms,
    find_xcom_paths,
    refuse_request_fields,
    to_seconds,
)
from magic_hour_provider.storage.folders import clean_folder

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.definitions.mappedoperator import OperatorPartial

    from magic_hour_provider.execution.spec import Deferral, JobSpec, Stoppable

_OWN_TASK = (
    "Make it a task of its own in the DAG, give it what a @task returns (request=build_request()), and for several "
    "jobs map it: MagicHourOperator.partial(...).expand(request=build_requests())."
)
_TEMPLATED = ("request", "extra_request", "output_path", "magic_hour_conn_id")


class MagicHourOperator(BaseOperator):
    """Runs one Magic Hour tool: submits the paid job once, waits without holding a worker, stores its files.

    The task returns one JSON object, pushed whole and key by key: ``id``, ``kind``, ``tool``, ``name``, ``status``,
    ``credits_charged``, ``library_url``, ``file``, ``files``, ``media`` (``uri``, ``index``, ``content_type``, ``size``
    in bytes, ``sha256``, and of the file's header ``width``, ``height``, ``duration_s``). It can be given as a file
    field of a later task, which then uses the job's output by reference. Of its ``outlets``, an ``AssetAlias`` gets
    each file as an ``Asset``, and an ``Asset`` gets the result as the extra of its event.

    :param tool: slug of the tool, as in Magic Hour's documentation (``text-to-video``), or a
        :class:`~magic_hour_provider.api.catalog.Tool` for one newer than this package.
    :param request: JSON body of the tool's create endpoint (https://docs.magichour.ai/api-reference). File fields take
        a public URL, a Magic Hour reference, a path, any ``ObjectStoragePath`` or its URI, an ``Asset``, or an earlier
        task's result (its first file; ``{**result, "index": 2}`` is the third).
    :param magic_hour_conn_id: the connection; may be a template. A job is resumed with the one it was paid for with.
    :param output_path: folder for the files: any ``ObjectStoragePath`` (``s3://conn@bucket/x``). Default: the setting
        ``[magic_hour] output_path``; empty: nothing is downloaded. A template over the run, such as
        ``s3://conn@bucket/{{ run_id }}/{{ task.task_id }}/``; no ``..``, also not from a template. ``ds``, ``ts`` and
        all others of a date are undefined in runs without a logical date, such as those that an asset triggers:
        ``run_id`` is always there. Nothing there is overwritten. ``<tool>-<id>.json`` beside the files says what they
        are (``[magic_hour] sidecar``).
    :param wait_for_completion: False: submit, record, return.
    :param deferrable: False: wait on the worker instead of in the triggerer.
    :param timeout: how long this attempt waits, in seconds or as a timedelta; by default what fits the tool. The job
        outlives it, and a retry resumes waiting for the same job. Airflow's ``execution_timeout`` counts as well,
        deferred or not: the earlier of the two ends the attempt.
    :param extra_request: merged deeply over the request (lists replaced) and never checked: for fields newer than
        this package.
    :param on_unknown_submission: what to do when the response to the paid request was lost: ``fail``, or ``resubmit``,
        which accepts the risk of paying twice: the next attempt sends it again, once. Each lost response may be a paid
        job; ``retries`` bound them.
    :param on_clear: what a cleared task does with the job it has paid for: ``reuse`` it, or ``regenerate``, which
        makes and pays for a new one. A retry never does.
    :param max_credits: a job whose estimate is above is refused before it is paid for; None: no limit. See
        :mod:`magic_hour_provider.api.prices`. A job that is then charged more is kept, with a warning.
    :param max_credits_unknown: what a limit means for a job of which nobody knows what it costs: ``refuse`` it, or
        ``allow`` it. The same holds for a limit of the run, and for tasks of it whose payments cannot be read.
    :param max_credits_per_run: a job is refused if with it all tasks of the DAG run together would have paid and
        reserved more; None: the DAG's param of this name, or the setting ``[magic_hour] max_credits_per_run``, if there
        is one. Tasks that submit in the same moment do not see each other.
    :param input_transfer: how files in S3, Google Cloud Storage and Azure reach Magic Hour: ``upload``, through the
        worker, or ``presign``: by a link that opens the file for 24 hours, so that no byte passes through the worker.
        None: as ``[magic_hour] input_transfer`` says.
    :param multiple_outputs: whether the result is pushed key by key as well, as XComs of their own.
    :raises InvalidInputError: (when the DAG is parsed) the tool, the request or an option cannot work.
    :raises AirflowFailException: (when it runs) a failure that a retry cannot fix.
    :raises AirflowException: (when it runs) one that a retry may fix, without paying for a second job.
    """

    template_fields: Sequence[str] = ("request", "output_path", "extra_request", "magic_hour_conn_id")
    template_fields_renderers = {"request": "json", "extra_request": "json"}
    operator_extra_links = (MagicHourLink(),)
    ui_color = "#e9e2ff"
    submits_jobs: ClassVar[bool] = True
    """Whether tasks of this class pay for jobs: other tasks of the run count them."""
    has_computed_request: ClassVar[bool] = False
    """Whether a function of the user's own makes the request when the task runs."""
    is_batch: ClassVar[bool] = False
    """Whether they say what they have paid in the XCom of a batch."""

    # Of the class, as setting an attribute of a task is slow. No lists: Airflow copies a task shallowly for each run.
    attempt: Stoppable | None = None
    _result: dict[str, Any] | None = None
    _init_error: InvalidInputError | None = None
    _argument_errors: tuple[str, ...] = ()
    _render_errors: tuple[str, ...] = ()

    def __init__(
        self,
        *,
        tool: str | Tool,
        request: Mapping[str, Any],
        magic_hour_conn_id: str = DEFAULT_CONN_ID,
        output_path: str | None = None,
        wait_for_completion: bool = True,
        deferrable: bool = True,
        timeout: float | timedelta | None = None,
        extra_request: Mapping[str, Any] | None = None,
        on_unknown_submission: Literal["fail", "resubmit"] = "fail",
        on_clear: Literal["reuse", "regenerate"] = "reuse",
        max_credits: int | None = None,
        max_credits_unknown: Literal["refuse", "allow"] = "refuse",
        max_credits_per_run: int | None = None,
        input_transfer: Literal["upload", "presign"] | None = None,
        multiple_outputs: bool = True,
        **kwargs: Any,
    ) -> None:
        refuse_request_fields(tool, kwargs)
        super().__init__(multiple_outputs=multiple_outputs, **kwargs)
        self.request = request
        self.magic_hour_conn_id = magic_hour_conn_id
        self.output_path = clean_folder(output_path) if output_path is not None else _configured_output_path()
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.timeout = timeout
        self.extra_request = extra_request
        self.on_unknown_submission = on_unknown_submission
        self.on_clear = on_clear
        self.max_credits = max_credits
        self.max_credits_unknown = max_credits_unknown
        self.max_credits_per_run = max_credits_per_run
        self.input_transfer = input_transfer
        self.output_template = self.output_path  # rendering replaces the attribute
        self._may_store_nothing = isinstance(output_path, str) and not self.output_path
        templates = {name: getattr(self, name) for name in _TEMPLATED}
        self._xcom_paths = tuple(find_xcom_paths(templates))
        self._mapped_paths = tuple(find_mapped_paths(templates)) if self._xcom_paths else ()
        # Airflow makes a mapped task on the worker, where an error here would be retried: there execute says it, once
        # it knows what was paid for, and fails for good.
        mapped = getattr(self, "_BaseOperator__from_mapped", False)
        try:
            self.tool = get_tool(tool)
            check_options({**vars(self), "output_path": output_path})
        except InvalidInputError as error:
            if not mapped:
                raise
            self._init_error = error
        if not mapped and self.has_computed_request:
            check_body(self.tool, "extra_request", extra_request or {}, rendered=False)
        elif not mapped:
            check_given(self.tool, self.request, extra_request)

    @classmethod
    def partial(cls, **kwargs: Any) -> OperatorPartial:
        """Begin a mapped task, as Airflow's own; what is given is checked as in a task of its own."""
        try:
            from magic_hour_provider.operators.mapping import make_checked_partial
        except MissingInternalError:  # then it is checked when it runs
            return super().partial(**kwargs)
        return make_checked_partial(cls, super().partial, kwargs)

    @classmethod
    def find_argument_errors(cls, arguments: Mapping[str, Any], *, mapped: bool) -> list[str]:  # noqa: ARG003 (typed ones need them)
        """Name the arguments that this operator does not have, with the nearest ones it has.

        :param mapped: also those that a mapped task may not be given as None.
        """
        return []

    @classmethod
    def has_custom_init(cls) -> bool:
        """Whether a constructor of the user's own may bring what is missing."""
        return cls.__init__ is not MagicHourOperator.__init__

    @classmethod
    def given_request(cls, arguments: Mapping[str, Any]) -> Any:
        """Return the request among the arguments of a task that is still to be made; None: not given."""
        return arguments.get("request")

    def render_template(
        self, content: Any, context: Context, jinja_env: Any = None, seen_oids: set[int] | None = None
    ) -> Any:
        """Render as Airflow does, except where that sends what nobody wrote; see :class:`TemplateRenderer`.

        What opens the user's own signed links is kept out of Airflow's UI and logs.
        """
        from magic_hour_provider.operators.rendering import TemplateRenderer

        mask_link_secrets(content)  # first: Airflow logs a template that cannot be rendered
        env, resolved, airflow = jinja_env or self.get_template_env(), seen_oids or set(), super().render_template
        renderer = TemplateRenderer(context, env, resolved, lambda other: airflow(other, context, env, resolved))
        field = next((name for name in self.template_fields if getattr(self, name, None) is content), "")
        # Also what was put into the attribute after the constructor.
        fields = getattr(self, "request_fields", ())
        mapped = find_mapped_paths(content, ("request", field) if field in fields else (field,)) if field else ()
        self._mapped_paths += tuple(mapped)
        value = renderer.render(content, (field,))
        if field == "output_path":
            value = clean_folder(value)
        elif field == "magic_hour_conn_id" and renderer.errors:
            self._init_error = self._init_error or InvalidInputError(f"{renderer.errors[0]}.")
        self._render_errors += tuple(renderer.errors)
        self._init_error = self._init_error or renderer.failure
        mask_link_secrets(value)
        return value

    @one_clear_error
    def execute(self, context: Context) -> dict[str, Any]:
        """Submit the job, or resume the one that an earlier attempt paid for."""
        from magic_hour_provider.execution.attempt import run
        from magic_hour_provider.hooks.own_task import check_own_task, refuse_iteration

        check_own_task(self, context, _OWN_TASK)
        refuse_iteration(self, context)
        return self._finish(run(self, context), context)

    @one_clear_error
    def execute_complete(
        self,
        context: Context,
        event: Mapping[str, Any],
        deadline: float | None = None,
        by_execution_timeout: bool = False,
    ) -> dict[str, Any]:
        """Resume after the trigger's event. It only says that a poll is worthwhile; the worker polls itself."""
        from magic_hour_provider.execution.attempt import resume
        from magic_hour_provider.execution.deadline import Deadline

        limit = None if deadline is None else Deadline(deadline, by_execution_timeout)
        return self._finish(resume(self, context, event, limit), context)

    def job_spec(self) -> JobSpec:
        """Return what the user asked for, from the rendered arguments.

        :raises InvalidInputError: an argument cannot work.
        """
        from magic_hour_provider.execution.spec import JobSpec, prepare_request
        from magic_hour_provider.operators.mapped_fields import find_mapped_fields

        if self._init_error is not None:
            raise self._init_error
        extra = self.extra_request or {}
        check_body(self.tool, "request", self.request, rendered=True)
        check_body(self.tool, "extra_request", extra, rendered=True)
        missing = find_missing_xcoms(self._xcom_paths, {name: getattr(self, name) for name in _TEMPLATED})
        check_credit_limits(vars(self))
        errors = (*self._argument_errors, *self._render_errors, *missing)
        return JobSpec(
            tool=self.tool,
            request=prepare_request(self.tool, self.request, extra, errors),
            conn_id=check_conn_id(self.magic_hour_conn_id),
            output_path=str(clean_folder(self.output_path) or ""),
            wait_for_completion=self.wait_for_completion,
            deferrable=self.deferrable,
            timeout=to_seconds(self.timeout) if self.timeout is not None else None,
            on_unknown_submission=self.on_unknown_submission,
            on_clear=self.on_clear,
            max_credits=self.max_credits,
            max_credits_unknown=self.max_credits_unknown,
            max_credits_per_run=self.max_credits_per_run,
            input_transfer=self.input_transfer,
            execution_timeout=self.execution_timeout,
            may_store_nothing=self._may_store_nothing,
            is_own_field=find_mapped_fields(self, self._mapped_paths),
        )

    def _finish(self, outcome: dict[str, Any] | Deferral, context: Context) -> dict[str, Any]:
        from magic_hour_provider.outputs.assets import emit_outlet_events

        if not isinstance(outcome, dict):
            self._defer(outcome)
        self._result = outcome
        emit_outlet_events(self.outlets, context, outcome)
        return outcome

    def _defer(self, deferral: Deferral) -> NoReturn:
        # Imported here: airflow.triggers belongs to airflow-core, which a worker that never defers need not load.
        from magic_hour_provider import clock
        from magic_hour_provider.triggers.job import MagicHourJobTrigger

        record, deadline, now = deferral.record, deferral.deadline, clock.current().now()
        trigger = MagicHourJobTrigger(
            kind=record.kind,
            job_id=record.job_id or "",
            tool=record.tool,
            conn_id=deferral.conn_id,
            submitted_at=record.submitted_at if record.submitted_at is not None else now,
            deferred_at=now,
            deadline=deadline.at,
            polling=deferral.polling,
            needs_files=bool(self.output_path),
            task_end=deferral.task_end.to_text() if deferral.task_end is not None else None,
        )
        self.defer(trigger=trigger, method_name="execute_complete", kwargs=deadline.to_kwargs())

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:  # noqa: ARG002
        """Return what OpenLineage's provider asks for: the files given and stored, and the job."""
        from magic_hour_provider.inputs.fields import find_inputs
        from magic_hour_provider.outputs.lineage import lineage_of_result

        request = self.request if isinstance(self.request, Mapping) else {}
        return lineage_of_result(
            [one.value for one in find_inputs(self.tool, request)], self._result, request.get("model")
        )

    def on_kill(self) -> None:
        """Say what becomes of the job: it keeps running, as there is no cancel API."""
        message = self.attempt.describe_stop() if self.attempt is not None else None
        if message is not None:
            self.log.warning(message)


def _configured_output_path() -> str:
    return _read_output_path(os.environ.get("AIRFLOW__MAGIC_HOUR__OUTPUT_PATH"))


@lru_cache(maxsize=1)
def _read_output_path(variable: str | None) -> str:  # noqa: ARG001 (what Airflow reads first)
    """Read the setting once for a file of many tasks: Airflow searches all its places each time."""
    return str(conf.get("magic_hour", "output_path", fallback="") or "").strip()
