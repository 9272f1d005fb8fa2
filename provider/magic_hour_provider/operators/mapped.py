"""Mapped tasks: what ``.partial()`` and ``.expand()`` are given is checked when the DAG is parsed.

Airflow itself makes a mapped task only when it runs, which is late to learn of a misspelled field.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk.definitions.mappedoperator import MappedOperator, OperatorPartial

from magic_hour_provider.api.catalog import Tool, get_tool
from magic_hour_provider.operators.magic_hour import check_given

if TYPE_CHECKING:
    from magic_hour_provider.operators.magic_hour import MagicHourOperator


def checked(
    operator: type[MagicHourOperator], make: Callable[..., OperatorPartial], arguments: dict[str, Any]
) -> OperatorPartial:
    """Begin a mapped task.

    :param make: Airflow's own ``partial``.
    :param arguments: what ``.partial()`` was given.
    :raises BadInputError: a field of the request cannot work; the message names all of them.
    """
    made = make(**arguments)
    made._expand_called = True  # it is ours from here on: Airflow need not warn that it was never mapped
    _check(operator, made.kwargs, later=True)
    return _Partial(operator_class=made.operator_class, kwargs=made.kwargs, params=made.params)


class _Partial(OperatorPartial):
    def expand(self, **mapped_kwargs: Any) -> MappedOperator:
        """Expand, as Airflow's own; the elements of lists that stand in the DAG file are checked too."""
        _check(self.operator_class, self.kwargs, later=mapped_kwargs)
        for name, values in mapped_kwargs.items():
            others = mapped_kwargs.keys() - {name}
            for value in values if isinstance(values, list | tuple) else ():
                _check(self.operator_class, {**self.kwargs, name: value}, later=others)
        return super().expand(**mapped_kwargs)

    def expand_kwargs(self, kwargs: Any, *, strict: bool = True) -> MappedOperator:
        """Expand over a list of arguments, as Airflow's own; those that stand in the DAG file are checked too."""
        for given in kwargs if isinstance(kwargs, list | tuple) else ():
            if isinstance(given, Mapping):
                _check(self.operator_class, {**self.kwargs, **given}, later=())
        return super().expand_kwargs(kwargs, strict=strict)


def _check(operator: Any, arguments: Mapping[str, Any], *, later: bool | Iterable[str]) -> None:
    """Check one request.

    :param later: names of the arguments that are still to come; True: nobody knows which.
    """
    tool = arguments.get("tool", getattr(operator, "slug", None))
    if not isinstance(tool, str | Tool):
        return
    open_names = set() if isinstance(later, bool) else set(later)
    request = operator.given_request(arguments)
    if request is None or "request" in open_names:
        return
    fields = open_names & {"extra_request", *getattr(operator, "request_fields", ())}
    missing_later = later is True or bool(fields)
    check_given(get_tool(tool), request, arguments.get("extra_request"), later=missing_later)
