"""One task for any number of requests: each is one job of Magic Hour, and is paid for once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NoReturn

from airflow.providers.common.compat.sdk import BaseOperator

from magic_hour_provider import DEFAULT_CONN_ID, clock
from magic_hour_provider.api.catalog import Tool, default_polling_class, get_tool
from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.hooks.exceptions import one_clear_error
from magic_hour_provider.hooks.masking import mask_link_secrets
from magic_hour_provider.links import MagicHourLink
from magic_hour_provider.operators.arguments import (
    check_body,
    check_conn_id,
    check_credit_limits,
    check_options,
    to_seconds,
)
from magic_hour_provider.storage.folders import check_keeps_records, clean_folder

if TYPE_CHECKING:
    from airflow.sdk import Context

    from magic_hour_provider.batch.spec import BatchDeferral, BatchSpec, Passage, StoppableBatch

_MASKED = 100  # rows: more than Airflow shows of a rendered field
_OWN_TASK = "Make it a task of its own in the DAG."


class MagicHourBatchOperator(BaseOperator):
    """Runs one Magic Hour tool for many requests as one task: each is paid for once, however often the task runs.

    What is paid for is recorded in small files under ``output_path``: a retry, a clear, another run and two runs at
    once make only what is missing there. The task returns
    ``{"items", "complete", "failed", "unknown", "left_out", "credits_charged", "results"}``;
    :func:`~magic_hour_provider.batch.run.results.read_results` reads what has become of each item. An ``Asset`` among
    the ``outlets`` gets the same as the extra of its event; an ``AssetAlias`` gets an event for each file that this
    task instance has paid for, where they are 250 at the most.

    :param tool: slug of the tool, as in Magic Hour's documentation (``text-to-video``), or a
        :class:`~magic_hour_provider.api.catalog.Tool` for one newer than this package.
    :param requests: the rows: a list of dicts, an earlier task's output, or a file: ``.jsonl``, ``.json``, ``.csv``
        (columns such as ``style.prompt``) or ``.parquet``, as a storage URI, an ``ObjectStoragePath`` or an ``Asset``.
        Rows are data: no text in them is rendered as a template. All are checked before the first payment.
    :param request: what all rows have in common; each is merged deeply over it, and its lists replace.
    :param item_id: the column that names a row's item. Without it equal requests are one item.
    :param magic_hour_conn_id: the connection; may be a template over the run. Without ``item_id`` another connection
        means other items, also on a retry.
    :param output_path: folder for files and records: any ``ObjectStoragePath`` (``s3://conn@bucket/x``). The same
        folder in the next run: only what is missing is made. It may be a template.
    :param max_active_jobs: how many jobs are at Magic Hour at the same time: at most what the plan runs at once.
    :param max_credits: limit in credits of what this task instance is charged, over all its tries, or an earlier task's
        output that is one; None: no limit.
    :param max_credits_per_run: limit in credits of what all tasks of the DAG run pay together; None: the DAG's param of
        this name, or the setting ``[magic_hour] max_credits_per_run``. While it runs a batch reserves what it may still
        spend: all that is left, unless ``max_credits`` says less.
    :param canary: how many items must be complete before any other is paid for.
    :param item_retries: new jobs per item and attempt, after failures after which another job may succeed.
    :param max_failed_items: how many items may fail while the task succeeds: a number, or below 1 a share of all.
    :param on_changed: what a row whose request has changed under the same id means, after a clear or in another run:
        ``new``, a new job beside the old files, or ``keep``. On a retry nothing is bought again.
    :param on_unknown_submission: what to do when the response to a paid request was lost: ``fail``, or ``resubmit``,
        which accepts the risk of paying twice: the next attempt sends it again, once.
    :param deferrable: False: wait on the worker instead of in the triggerer.
    :param timeout: how long a job is waited for, in seconds or as a timedelta; by default what fits the tool. The job
        outlives it, and the next attempt resumes it.
    :param input_transfer: how files in S3, Google Cloud Storage and Azure reach Magic Hour: ``upload``, through the
        worker, or ``presign``: by a link that opens the file for 24 hours, so that no byte passes through the worker.
        None: as ``[magic_hour] input_transfer`` says.
    :param extra_request: merged deeply over each request and never checked: for fields newer than this package.
    :raises InvalidInputError: (when the DAG is parsed) the tool or an option cannot work.
    :raises AirflowFailException: (when it runs) items are missing, and a retry cannot help.
    :raises AirflowException: (when it runs) items are missing, and a retry may make them.
    """

    template_fields: Sequence[str] = (
        "requests",
        "request",
        "output_path",
        "extra_request",
        "magic_hour_conn_id",
        "max_credits",
    )
    template_fields_renderers = {"request": "json", "extra_request": "json"}
    operator_extra_links = (MagicHourLink(),)
    ui_color = "#e9e2ff"
    submits_jobs: ClassVar[bool] = True
    """Whether tasks of this class pay for jobs: other tasks of the run count them."""
    is_batch: ClassVar[bool] = True
    """Whether they say what they have paid in the XCom of a batch."""

    def __init__(
        self,
        *,
        tool: str | Tool,
        requests: Any,
        output_path: str,
        request: Mapping[str, Any] | None = None,
        item_id: str | None = None,
        magic_hour_conn_id: str = DEFAULT_CONN_ID,
        max_active_jobs: int = 16,
        max_credits: int | None = None,
        max_credits_per_run: int | None = None,
        canary: int = 0,
        item_retries: int = 1,
        max_failed_items: float | None = None,
        on_changed: Literal["new", "keep"] = "new",
        on_unknown_submission: Literal["fail", "resubmit"] = "fail",
        deferrable: bool = True,
        timeout: float | timedelta | None = None,
        extra_request: Mapping[str, Any] | None = None,
        input_transfer: Literal["upload", "presign"] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.requests = requests
        self.request = request
        self.item_id = item_id
        self.magic_hour_conn_id = magic_hour_conn_id
        self.output_path = clean_folder(output_path)
        self.max_active_jobs = max_active_jobs
        self.max_credits = max_credits
        self._is_limited = max_credits is not None
        self.max_credits_per_run = max_credits_per_run
        self.canary = canary
        self.item_retries = item_retries
        self.max_failed_items = max_failed_items
        self.on_changed = on_changed
        self.on_unknown_submission = on_unknown_submission
        self.deferrable = deferrable
        self.timeout = timeout
        self.extra_request = extra_request
        self.input_transfer = input_transfer
        self._manifest: dict[str, Any] | None = None
        self.attempt: StoppableBatch | None = None
        self._init_error: InvalidInputError | None = None
        self._render_errors: tuple[str, ...] = ()  # no list: Airflow copies a task shallowly for each run
        try:
            self.tool = get_tool(tool)
            check_options(vars(self))
            check_keeps_records(self.output_path)
            _check_limits(vars(self))
            if not isinstance(request or {}, str):
                check_body(self.tool, "request", request or {}, rendered=False)
        except InvalidInputError as error:
            # Airflow makes a mapped task on the worker, where an error here would be retried.
            if not getattr(self, "_BaseOperator__from_mapped", False):
                raise
            self._init_error = error

    def render_template(
        self, content: Any, context: Context, jinja_env: Any = None, seen_oids: set[int] | None = None
    ) -> Any:
        """Render as :class:`MagicHourOperator` does; rows are data, of which no text is rendered."""
        from magic_hour_provider.operators.rendering import TemplateRenderer

        if content is self.requests and not isinstance(content, str | PurePath):
            rows = _resolve(content, context)
            mask_link_secrets(rows[:_MASKED] if isinstance(rows, list | tuple) else None)
            return rows
        mask_link_secrets(content)  # first: Airflow logs a template that cannot be rendered
        env, resolved, airflow = jinja_env or self.get_template_env(), seen_oids or set(), super().render_template
        renderer = TemplateRenderer(context, env, resolved, lambda other: airflow(other, context, env, resolved))
        field = next((name for name in self.template_fields if getattr(self, name, None) is content), "")
        value = renderer.render(content, (field,))
        if field == "magic_hour_conn_id" and renderer.errors:
            self._init_error = self._init_error or InvalidInputError(f"{renderer.errors[0]}.")
        self._render_errors += tuple(renderer.errors)
        self._init_error = self._init_error or renderer.failure
        mask_link_secrets(value)
        return clean_folder(value) if field == "output_path" else value

    @one_clear_error
    def execute(self, context: Context) -> dict[str, Any]:
        """Submit what is missing, and wait for all."""
        from magic_hour_provider.batch.run.attempt import run_batch
        from magic_hour_provider.hooks.own_task import check_own_task, refuse_iteration

        check_own_task(self, context, _OWN_TASK)
        refuse_iteration(self, context)
        return self._finish(run_batch(self, context))

    @one_clear_error
    def execute_complete(
        self,
        context: Context,
        event: Mapping[str, Any],  # noqa: ARG002 (it only says that a look at the jobs is worthwhile)
        started_at: float | None = None,  # Airflow's `dag.test()` hands on the event alone
        stop_reason: str | None = None,
        is_stop_retryable: bool = False,
        has_changes: bool = False,
        conn_id: str | None = None,
        waiting_since: float | None = None,
        output_path: str | None = None,
    ) -> dict[str, Any]:
        """Resume after the trigger's event: the worker reads the records and polls itself."""
        from magic_hour_provider import clock
        from magic_hour_provider.batch.run.attempt import run_batch
        from magic_hour_provider.batch.spec import Passage

        started_at = clock.current().now() if started_at is None else started_at
        passage = Passage(started_at, stop_reason, is_stop_retryable, has_changes, waiting_since)
        # Templates may give others by now: another account, or a folder that has no records of what is paid for.
        self.magic_hour_conn_id = conn_id or self.magic_hour_conn_id
        self.output_path = output_path or self.output_path
        return self._finish(run_batch(self, context, passage))

    def batch_spec(self) -> BatchSpec:
        """Return what the user asked for, from the rendered arguments.

        :raises InvalidInputError: an argument cannot work.
        """
        from magic_hour_provider.batch.spec import BatchSpec

        if self._init_error is not None:
            raise self._init_error
        if self._render_errors:
            raise InvalidInputError(f"What all items have in common cannot be sent: {'; '.join(self._render_errors)}.")
        check_credit_limits(vars(self))
        if self._is_limited and self.max_credits is None:
            raise InvalidInputError("max_credits is None, as the earlier task that should give it returned nothing.")
        output_path = str(clean_folder(self.output_path) or "")
        if not output_path:
            raise InvalidInputError(
                "output_path is empty: a batch keeps its records there, so [magic_hour] output_path does not take its "
                "place."
            )
        return BatchSpec(
            tool=self.tool,
            requests=self.requests,
            request=self.request or {},
            extra_request=self.extra_request or {},
            item_id=self.item_id,
            conn_id=check_conn_id(self.magic_hour_conn_id),
            output_path=output_path,
            max_active_jobs=self.max_active_jobs,
            max_credits=self.max_credits,
            max_credits_per_run=self.max_credits_per_run,
            canary=self.canary,
            item_retries=self.item_retries,
            max_failed_items=self.max_failed_items or 0,
            on_changed=self.on_changed,
            on_unknown_submission=self.on_unknown_submission,
            deferrable=self.deferrable,
            timeout=to_seconds(self.timeout) if self.timeout is not None else None,
            execution_timeout=self.execution_timeout,
            input_transfer=self.input_transfer,
        )

    def _finish(self, outcome: dict[str, Any] | BatchDeferral) -> dict[str, Any]:
        if not isinstance(outcome, dict):
            self._defer(outcome)
        self._manifest = outcome
        return outcome

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:  # noqa: ARG002
        """Return what OpenLineage's provider asks for: the file of rows, the batch's folder and its results."""
        from magic_hour_provider.inputs.fields import to_uri
        from magic_hour_provider.outputs.lineage import make_lineage

        rows, manifest = to_uri(self.requests), self._manifest or {}
        facts = {"tool": self.tool.slug, "credits": manifest.get("credits_charged"), "items": manifest.get("items")}
        outputs = (self.output_path, manifest.get("results")) if manifest else ()
        return make_lineage([rows] if isinstance(rows, str) else (), outputs, facts)

    def _defer(self, deferral: BatchDeferral) -> NoReturn:
        # Imported here: airflow.triggers belongs to airflow-core, which a worker that never defers need not load.
        from magic_hour_provider.triggers.batch import MagicHourBatchTrigger

        spec = self.batch_spec()
        polling = spec.polling_class
        trigger = MagicHourBatchTrigger(
            kind=self.tool.kind,
            tool=self.tool.slug,
            conn_id=spec.conn_id,
            jobs=deferral.jobs,
            deferred_at=clock.current().now(),
            deadline=deferral.deadline,
            wake_at=deferral.wake_at,
            wake_by=deferral.wake_by,
            polling=None if polling == default_polling_class(self.tool.slug, self.tool.kind) else polling.name,
        )
        self.defer(trigger=trigger, method_name="execute_complete", kwargs=self.passage_kwargs(deferral.passage, spec))

    def passage_kwargs(self, passage: Passage, spec: BatchSpec) -> dict[str, Any]:
        """Return what the next worker of this attempt is given."""
        return {**passage.to_kwargs(), "conn_id": spec.conn_id, "output_path": spec.output_path}

    def on_kill(self) -> None:
        """Send nothing more, and say what becomes of the jobs: they keep running, as there is no cancel API."""
        if self.attempt is not None:
            self.attempt.stop()
        self.log.warning(
            "The batch is stopped. Its jobs keep running and stay charged; the next attempt resumes them and pays for "
            "nothing twice."
        )


def _resolve(value: Any, context: Context) -> Any:
    """Return rows with the outputs of earlier tasks in the places where they stand, and nothing else changed."""
    if hasattr(value, "resolve"):
        return value.resolve(context)
    if value.__class__ in (list, tuple):
        return value.__class__([_resolve(one, context) for one in value])
    return {name: _resolve(one, context) for name, one in value.items()} if value.__class__ is dict else value


def _check_limits(options: Mapping[str, Any]) -> None:
    """Refuse numbers that cannot work.

    :raises InvalidInputError: the message names the option.
    """
    for name, least in (("max_active_jobs", 1), ("canary", 0), ("item_retries", 0)):
        value = options[name]
        if hasattr(value, "resolve"):
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise InvalidInputError(f"{name} must be a whole number, {least} or more; it is {value!r}.")
    limit = options["max_failed_items"]
    is_share = isinstance(limit, float) and (0 <= limit < 1 or (limit > 0 and limit.is_integer()))
    is_count = isinstance(limit, int) and not isinstance(limit, bool) and limit >= 0
    if limit is not None and not is_share and not is_count:
        raise InvalidInputError(
            f"max_failed_items must be a whole number, or a share below 1 such as 0.05; it is {limit!r}."
        )
    if options["on_changed"] not in ("new", "keep"):
        raise InvalidInputError(f"on_changed must be one of 'new', 'keep'; it is {options['on_changed']!r}.")
    if options["item_id"] is not None and (not isinstance(options["item_id"], str) or not options["item_id"].strip()):
        raise InvalidInputError(f"item_id must be the name of a column; it is {options['item_id']!r}.")
    if not options["output_path"]:
        raise InvalidInputError(
            "output_path must be given: a batch keeps its records there, so [magic_hour] output_path does not take its "
            "place."
        )
