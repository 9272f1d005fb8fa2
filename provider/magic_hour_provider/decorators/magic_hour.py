"""``@task.magic_hour``: a function returns the request of one paid job, and the task is the operator's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, ParamSpec, cast

from airflow.providers.common.compat.sdk import task_decorator_factory

from magic_hour_provider.api.catalog import Tool, get_tool
from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.decorators.function import FunctionTask
from magic_hour_provider.hooks.exceptions import one_clear_error
from magic_hour_provider.hooks.masking import mask_link_secrets
from magic_hour_provider.ledger.fingerprint import digest_arguments
from magic_hour_provider.operators.arguments import check_options
from magic_hour_provider.operators.magic_hour import MagicHourOperator

if TYPE_CHECKING:
    from typing import Unpack

    from airflow.sdk import Context
    from airflow.sdk.bases.decorator import Task

    from magic_hour_provider.execution.spec import JobSpec
    from magic_hour_provider.operators.shapes import OperatorOptions

_P = ParamSpec("_P")


class MagicHourDecoratedOperator(FunctionTask, MagicHourOperator):
    """The operator whose request a function returns, once per attempt: not again when a deferred task is resumed.

    :param python_callable: the user's function.
    :param kwargs: of :class:`~magic_hour_provider.operators.magic_hour.MagicHourOperator`, without ``request``.
    """

    custom_operator_name = "@task.magic_hour"
    template_fields: Sequence[str] = (
        *FunctionTask.template_fields,
        *(name for name in MagicHourOperator.template_fields if name != "request"),  # it is data
    )
    template_fields_renderers = {
        **FunctionTask.template_fields_renderers,
        "extra_request": MagicHourOperator.template_fields_renderers["extra_request"],
    }
    has_computed_request: ClassVar[bool] = True
    _make_request: Callable[[], Mapping[str, Any]] | None = None

    def __init__(self, *, python_callable: Callable[..., Any], **kwargs: Any) -> None:
        self.check_function(python_callable)
        super().__init__(python_callable=python_callable, request={}, **kwargs)

    @one_clear_error
    def execute(self, context: Context) -> dict[str, Any]:
        """Run the operator; it asks for the request when the ledger has been read."""
        self._make_request = lambda: self._call(context)
        return MagicHourOperator.execute(self, context)

    @one_clear_error
    def execute_complete(
        self,
        context: Context,
        event: Mapping[str, Any],
        deadline: float | None = None,
        by_execution_timeout: bool = False,
    ) -> dict[str, Any]:
        """Resume after the trigger's event, with the request that the first half has reported."""
        from magic_hour_provider.execution.report import read_reported_request

        self.request = read_reported_request(context["ti"])
        return super().execute_complete(context, event, deadline, by_execution_timeout)

    def job_spec(self) -> JobSpec:
        """Return what the user asked for; the function is called here, on the way to what may pay."""
        arguments = self._digest_item_arguments()  # first: the function may change what it is given
        if self._make_request is not None and self._init_error is None:
            self.request, self._make_request = self._make_request(), None
        return replace(super().job_spec(), item_arguments=arguments)

    def _digest_item_arguments(self) -> str | None:
        """Return what the function is given for its map index; None: it is not mapped, or that is not known."""
        dag = self.get_dag()
        mapped = None if dag is None else dag.task_dict.get(self.task_id)  # a mapped task stays in its DAG
        if not hasattr(mapped, "expand_input") and self.get_closest_mapped_task_group() is None:
            return None
        return digest_arguments([list(self.op_args), dict(self.op_kwargs)])

    def _call(self, context: Context) -> Mapping[str, Any]:
        from magic_hour_provider.operators.rendering import without_enums

        request = without_enums(self.call_function(context))
        if not isinstance(request, Mapping):
            raise InvalidInputError(
                f"The function {self.function_name} must return the request of {self.tool.slug}, a dict: the JSON "
                f"body of Magic Hour's documentation. It returned {type(request).__name__}."
            )
        mask_link_secrets(request)
        return request


def magic_hour_task(
    python_callable: None = None,
    *,
    tool: str | Tool,
    **options: Unpack[OperatorOptions],
) -> Callable[[Callable[_P, Mapping[str, Any]]], Task[_P, Mapping[str, Any]]]:
    """Make a task of a function that returns the request of one paid job: ``@task.magic_hour``, with its types.

    The task pays, waits, stores files and returns as :class:`MagicHourOperator`. What the function returns is data: no
    text in it is rendered as a template. It is called once per attempt, and not again when a deferred task is resumed;
    its request is what a later attempt is compared with, so that a clear makes a new job only where it returns another.

    :param python_callable: never given: the decorator needs its tool.
    :param tool: slug of the tool, or a :class:`~magic_hour_provider.api.catalog.Tool`.
    :param options: of :class:`MagicHourOperator`, and Airflow's.
    :raises InvalidInputError: (when the DAG is parsed) the tool or an option cannot work.
    """
    get_tool(tool)
    check_options(options)
    options.setdefault("multiple_outputs", True)
    decorated = task_decorator_factory(
        python_callable=python_callable,
        decorated_operator_class=MagicHourDecoratedOperator,
        tool=tool,
        **options,
    )
    return cast("Callable[[Callable[_P, Mapping[str, Any]]], Task[_P, Mapping[str, Any]]]", decorated)
