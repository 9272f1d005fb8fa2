"""``@task.magic_hour_batch``: a function returns the rows of a batch, and the task is the batch operator's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, cast

from airflow.providers.common.compat.sdk import TaskDeferred, task_decorator_factory

from magic_hour_provider.api.catalog import Tool, get_tool
from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.decorators.function import FunctionTask
from magic_hour_provider.hooks.exceptions import one_clear_error
from magic_hour_provider.hooks.masking import mask_link_secrets
from magic_hour_provider.operators.arguments import check_options
from magic_hour_provider.operators.batch import MagicHourBatchOperator

if TYPE_CHECKING:
    from datetime import timedelta
    from typing import Unpack

    from airflow.sdk import Asset, Context
    from airflow.sdk.bases.decorator import Task

    from magic_hour_provider.batch.spec import BatchSpec, Passage
    from magic_hour_provider.operators.shapes import AirflowOptions

    Rows = Iterable[Mapping[str, Any]] | PathLike[str] | Asset
    """Rows, or a file of them; text is its path or URI."""

    class BatchOptions(AirflowOptions, total=False):
        """Options of MagicHourBatchOperator, and Airflow's."""

        request: Mapping[str, Any] | None
        item_id: str | None
        magic_hour_conn_id: str
        max_active_jobs: int
        max_credits: int | None
        max_credits_per_run: int | None
        canary: int
        item_retries: int
        max_failed_items: float | None
        on_changed: Literal["new", "keep"]
        on_unknown_submission: Literal["fail", "resubmit"]
        deferrable: bool
        timeout: float | timedelta | None
        extra_request: Mapping[str, Any] | None
        input_transfer: Literal["upload", "presign"] | None


_P = ParamSpec("_P")
_MASKED = 100  # rows: more than Airflow shows


class MagicHourBatchDecoratedOperator(FunctionTask, MagicHourBatchOperator):
    """The batch operator whose rows a function returns, once per attempt: a worker that resumes it reads them.

    :param python_callable: the user's function.
    :param kwargs: of :class:`~magic_hour_provider.operators.batch.MagicHourBatchOperator`, without ``requests``.
    """

    custom_operator_name = "@task.magic_hour_batch"
    template_fields: Sequence[str] = (
        *FunctionTask.template_fields,
        *(name for name in MagicHourBatchOperator.template_fields if name != "requests"),  # they are data
    )
    template_fields_renderers = {
        **FunctionTask.template_fields_renderers,
        **MagicHourBatchOperator.template_fields_renderers,
    }

    def __init__(self, *, python_callable: Callable[..., Any], **kwargs: Any) -> None:
        self.check_function(python_callable)
        super().__init__(python_callable=python_callable, requests=(), **kwargs)
        self._context: Context | None = None
        self._has_rows = False
        self._kept: str | None = None

    @one_clear_error
    def execute(self, context: Context) -> dict[str, Any]:
        """Run the operator; it asks for the rows when it needs them."""
        self._context = context
        return self._removing_rows(lambda: MagicHourBatchOperator.execute(self, context))

    @one_clear_error
    def execute_complete(
        self,
        context: Context,
        event: Mapping[str, Any],
        started_at: float | None = None,
        stop_reason: str | None = None,
        is_stop_retryable: bool = False,
        has_changes: bool = False,
        conn_id: str | None = None,
        waiting_since: float | None = None,
        output_path: str | None = None,
        rows: str | None = None,
        kept_rows: str | None = None,
    ) -> dict[str, Any]:
        """Resume after the trigger's event, without the function, unless its rows could not be kept.

        :param rows: the file that the function returned: the user's own.
        :param kept_rows: the file that the rows it returned are kept in.
        """
        self._context, self._kept = context, kept_rows or self._kept
        if given := rows or kept_rows:
            self.requests, self._has_rows = given, True
        passage = started_at, stop_reason, is_stop_retryable, has_changes, conn_id, waiting_since, output_path
        return self._removing_rows(lambda: MagicHourBatchOperator.execute_complete(self, context, event, *passage))

    def batch_spec(self) -> BatchSpec:
        """Return what the user asked for; the function is called here, once."""
        if not self._has_rows and self._init_error is None and self._context is not None:
            self.requests, self._has_rows = self._call(self._context), True
        return super().batch_spec()

    def _call(self, context: Context) -> Any:
        from magic_hour_provider.batch.rows.kept import to_plain_rows
        from magic_hour_provider.inputs.fields import to_uri

        rows = to_uri(self.call_function(context))
        if isinstance(rows, str):
            return rows  # a file of them
        if isinstance(rows, bytes | bytearray | Mapping) or not isinstance(rows, Iterable):
            raise InvalidInputError(
                f"The function {self.function_name} must return or yield the rows of the batch, dicts, or return the "
                f"path or storage URI of a file of them. It returned {type(rows).__name__}."
            )
        plain = to_plain_rows(rows)
        mask_link_secrets(plain[:_MASKED])
        return plain

    def passage_kwargs(self, passage: Passage, spec: BatchSpec) -> dict[str, Any]:
        """Return what the next worker of this attempt is given: where the rows are, too."""
        from magic_hour_provider.batch.records.folder import results_folder
        from magic_hour_provider.batch.records.owner import Owner
        from magic_hour_provider.batch.rows.kept import keep_rows

        given = super().passage_kwargs(passage, spec)
        if self._kept is None and isinstance(self.requests, list) and self._context is not None:
            self._kept = keep_rows(self.requests, results_folder(spec.output_path, Owner.of(self._context["ti"])))
        if self._kept is not None:
            return {**given, "kept_rows": self._kept}
        return {**given, "rows": self.requests} if isinstance(self.requests, str) else given

    def _removing_rows(self, run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Run a part of the attempt; at its end nothing needs its rows any more."""
        from magic_hour_provider.batch.rows.kept import remove_rows

        is_deferred = False
        try:
            return run()
        except TaskDeferred:
            is_deferred = True
            raise
        finally:
            if self._kept is not None and not is_deferred:
                remove_rows(self._kept)


def magic_hour_batch_task(
    python_callable: None = None,
    *,
    tool: str | Tool,
    output_path: str,
    **options: Unpack[BatchOptions],
) -> Callable[[Callable[_P, Rows]], Task[_P, Rows]]:
    """Make a task of a function that returns the rows of a batch: ``@task.magic_hour_batch``, with its types.

    The task is :class:`MagicHourBatchOperator`: each row is paid for once. The function returns or yields dicts, or
    returns a file of rows; no text in them is rendered as a template. It is called once per attempt: for workers that
    resume a deferred task its rows are kept beside the batch's results until the attempt ends.

    :param python_callable: never given: the decorator needs its tool.
    :param tool: slug of the tool, or a :class:`~magic_hour_provider.api.catalog.Tool`.
    :param output_path: folder for files and records; may be a template.
    :param options: of :class:`MagicHourBatchOperator`, and Airflow's.
    :raises InvalidInputError: (when the DAG is parsed) the tool or an option cannot work.
    """
    get_tool(tool)
    check_options({**options, "output_path": output_path})
    decorated = task_decorator_factory(
        python_callable=python_callable,
        decorated_operator_class=MagicHourBatchDecoratedOperator,
        tool=tool,
        output_path=output_path,
        **options,
    )
    return cast("Callable[[Callable[_P, Rows]], Task[_P, Rows]]", decorated)
