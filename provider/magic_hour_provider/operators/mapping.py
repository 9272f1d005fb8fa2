"""Mapped tasks: what ``.partial()`` and ``.expand()`` are given is checked when the DAG is parsed.

Airflow itself makes a mapped task only when it runs, which is late to learn of a misspelled field.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from magic_hour_provider.airflow_internals import MappedOperator, OperatorPartial, get_merged_defaults
from magic_hour_provider.api.catalog import Tool, get_tool
from magic_hour_provider.api.validation import Findings
from magic_hour_provider.operators.arguments import check_given, check_options

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator


def make_checked_partial(
    operator: type[BaseOperator], make: Callable[..., OperatorPartial], arguments: dict[str, Any]
) -> OperatorPartial:
    """Begin a mapped task.

    :param make: Airflow's own ``partial``.
    :param arguments: what ``.partial()`` was given.
    :raises InvalidInputError: a field of the request or an option cannot work; the message names all fields.
    """
    made = make(**arguments)
    made._expand_called = True  # it is ours from here on: Airflow need not warn that it was never mapped
    # In the request None stands for "left out"; on the worker it could not be distinguished from an earlier task's.
    # Among Airflow's own arguments None has its meaning: it undoes a default.
    fields = getattr(operator, "request_fields", ())
    kwargs = {name: value for name, value in made.kwargs.items() if value is not None or name not in fields}
    partial = _Partial(operator_class=made.operator_class, kwargs=kwargs, params=made.params)
    _check(operator, partial.known, later=True)
    return partial


class _Partial(OperatorPartial):
    @property
    def known(self) -> dict[str, Any]:
        """What the task gets: Airflow adds the defaults of DAG and task group when it makes it."""
        defaults, _ = get_merged_defaults(self.kwargs.get("dag"), self.kwargs.get("task_group"), None, None)
        return {**defaults, **self.kwargs}

    def expand(self, **mapped_kwargs: Any) -> MappedOperator:
        """Expand, as Airflow's own; the elements of lists that stand in the DAG file are checked too."""
        operator: Any = self.operator_class
        _refuse(operator, mapped_kwargs)
        _check(operator, self.known, later=mapped_kwargs)
        for name, values in mapped_kwargs.items():
            others = mapped_kwargs.keys() - {name}
            for value in values if isinstance(values, list | tuple) else ():
                _refuse(operator, {name: value})
                _check(operator, {**self.known, name: value}, later=others)
        return super().expand(**mapped_kwargs)

    def expand_kwargs(self, kwargs: Any, *, strict: bool = True) -> MappedOperator:
        """Expand over a list of arguments, as Airflow's own; those that stand in the DAG file are checked too."""
        operator: Any = self.operator_class
        for given in kwargs if isinstance(kwargs, list | tuple) else ():
            if isinstance(given, Mapping):
                _refuse(operator, given)
                _check(operator, {**self.known, **given}, later=())
        return super().expand_kwargs(kwargs, strict=strict)


def _refuse(operator: Any, arguments: Mapping[str, Any]) -> None:
    if argument_errors := operator.find_argument_errors(arguments, mapped=True):
        Findings(tuple(argument_errors)).raise_errors(get_tool(operator.slug))


def _check(operator: Any, arguments: Mapping[str, Any], *, later: bool | Iterable[str]) -> None:
    """Check the options and the request of a mapped task.

    :param later: names of the arguments that are still to come; True: nobody knows which.
    """
    check_options(arguments)
    tool = arguments.get("tool", getattr(operator, "slug", None))
    if not isinstance(tool, str | Tool):
        return
    open_names = set() if isinstance(later, bool) else set(later)
    request = operator.given_request(arguments)
    if request is None or "request" in open_names:
        return
    fields = open_names & {"extra_request", *getattr(operator, "request_fields", ())}
    missing_later = later is True or bool(fields) or operator.has_custom_init()
    check_given(get_tool(tool), request, arguments.get("extra_request"), later=missing_later)
