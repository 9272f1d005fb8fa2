"""What the typed operators share: their request is made of attributes, each a template field of its own."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from inspect import signature
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import BaseOperator

from magic_hour_provider.api.catalog import get_tool
from magic_hour_provider.api.validation import (
    Findings,
    check_request,
    format_hint,
    normalize_request,
    suggest_fields,
)
from magic_hour_provider.operators.magic_hour import MagicHourOperator

if TYPE_CHECKING:
    from airflow.sdk.definitions.mappedoperator import OperatorPartial


class _NotGiven:
    """Stands for an argument that was not given."""

    def __init__(self, shown: str) -> None:
        self._shown = shown

    def __repr__(self) -> str:
        return self._shown


_WHOLE_REQUEST = {
    "request": "its fields are arguments of their own here: give a dict as **request, or use "
    "MagicHourOperator(tool='{slug}', request=...)",
    "tool": "it is always '{slug}' here",
}
"""Arguments of the operator that runs any tool, and what stands for them in a typed one."""

_REQUIRED, _OPTIONAL = _NotGiven("<required>"), _NotGiven("None")


class MagicHourToolOperator(MagicHourOperator):
    """Base of the typed operators: the same operator, with the request's fields as its own arguments.

    Each field is an attribute and a template field by its own name: Airflow links the XComArgs of ``.partial()`` only
    then (seen on 3.3.2). The request is put together from them whenever it is asked for.

    :param given: the request's fields as the user gave them; None stands for "left out".
    :param kwargs: of :class:`~magic_hour_provider.operators.magic_hour.MagicHourOperator`.
    :raises InvalidInputError: (when the DAG is parsed) arguments are unknown, missing or wrong; all are named at once.
    """

    slug: ClassVar[str]
    """The tool."""
    request_fields: ClassVar[tuple[str, ...]]
    """The names of the request's fields."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "request_fields" in vars(cls):
            # Type checkers demand the required fields; here the check of the request does, which names all that is
            # wrong at once, knows what extra_request brings, and fails a mapped task for good where Python's own
            # TypeError would be retried. And a field that was not given is distinguished from one that was given None.
            init = vars(cls)["__init__"]
            given = init.__kwdefaults__ or {}
            defaults = {name: _OPTIONAL if name in given else _REQUIRED for name in cls.request_fields}
            init.__kwdefaults__ = {**given, **defaults}

    def __init__(self, *, given: Mapping[str, Any], **kwargs: Any) -> None:
        given = {name: value for name, value in given.items() if not isinstance(value, _NotGiven)}
        request = {name: value for name, value in given.items() if value is not None}
        mapped = getattr(self, "_BaseOperator__from_mapped", False)
        argument_errors = self.find_argument_errors({**kwargs, **given}, mapped=mapped)
        if argument_errors and not mapped:
            _refuse(self.slug, argument_errors, request, kwargs.get("extra_request"), later="request" in kwargs)
        known = _arguments(type(self))
        super().__init__(tool=self.slug, request=request, **{name: kwargs[name] for name in kwargs if name in known})
        self._argument_errors = tuple(argument_errors)  # of a mapped task: raised by execute, not retried

    @property
    def request(self) -> dict[str, Any]:
        """The request's JSON body, as far as it is known now."""
        values = {name: getattr(self, name) for name in self.request_fields}
        return {name: value for name, value in values.items() if value is not None}

    @request.setter
    def request(self, value: Mapping[str, Any]) -> None:
        for name in self.request_fields:
            setattr(self, name, value.get(name))

    @classmethod
    def partial(cls, **kwargs: Any) -> OperatorPartial:
        """Begin a mapped task; as :meth:`MagicHourOperator.partial`."""
        if argument_errors := cls.find_argument_errors(kwargs, mapped=False):
            _refuse(cls.slug, argument_errors, cls.given_request(kwargs), kwargs.get("extra_request"), later=True)
        return super().partial(**kwargs)

    @classmethod
    def given_request(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the request among the arguments of a task that is still to be made."""
        return {name: arguments[name] for name in cls.request_fields if arguments.get(name) is not None}

    @classmethod
    def find_argument_errors(cls, arguments: Mapping[str, Any], *, mapped: bool) -> list[str]:
        """Name the arguments that this operator does not have, with the nearest ones it has.

        :param mapped: also those that a mapped task may not be given as None.
        """
        known, argument_errors = _arguments(cls), []
        for name in arguments:
            if name not in known:
                argument_errors.append(_unknown_argument(cls, name))
            elif mapped and arguments[name] is None and name in cls.request_fields:
                # On the worker nobody could tell it from an earlier task's missing output.
                argument_errors.append(
                    f"`{name}` of a mapped task is None, so Magic Hour's default would be paid for (to leave it out "
                    "for some of the tasks, map over dicts with .expand_kwargs() and leave its key out)"
                )
        return argument_errors

    @classmethod
    def has_custom_init(cls) -> bool:
        """Whether a constructor of the user's own may bring what is missing."""
        made = next(owner for owner in cls.mro() if "request_fields" in vars(owner))
        return cls.__init__ is not made.__init__  # type: ignore[misc]


@cache
def _arguments(operator: type[MagicHourToolOperator]) -> frozenset[str]:
    """Return every argument that the operator takes: its fields, ours, Airflow's, and those of a user's own classes."""
    names = {"_airflow_from_mapped", "_airflow_mapped_validation_only"}
    for owner in operator.mro():
        if issubclass(owner, BaseOperator) and "__init__" in vars(owner):
            names.update(signature(owner.__init__).parameters)
    return frozenset(names - {"self", "given", "tool", "request", "kwargs"})


def _unknown_argument(operator: type[MagicHourToolOperator], name: str) -> str:
    """Say that the operator has no such argument, and what may be meant."""
    from difflib import get_close_matches  # only needed where something is wrong

    tool = get_tool(operator.slug)
    hint = _WHOLE_REQUEST.get(name)
    if hint is None:
        fields = suggest_fields(tool, name)
        # The field of this very name, or what is nearest among the fields and all other arguments.
        exact = [one for one in fields if one.rpartition(".")[2] == name]
        hint = format_hint(exact or get_close_matches(name, _arguments(operator), n=2, cutoff=0.7) or fields)
    wrong = f"`{name}` is not a field of {operator.slug} or an argument of {operator.__name__}"
    return wrong + (f" ({hint.format(slug=operator.slug)})" if hint else "")


def _refuse(
    slug: str, argument_errors: list[str], request: Mapping[str, Any], extra: Any, *, later: bool = False
) -> None:
    """Refuse wrong arguments, together with all else that is wrong with the request."""
    tool, found = get_tool(slug), Findings()
    if isinstance(extra or {}, Mapping):
        found = check_request(tool, normalize_request(tool, request), extra=extra, rendered=False, later=later)
    Findings((*argument_errors, *found.errors)).raise_errors(tool)
