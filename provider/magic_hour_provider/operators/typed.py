"""What the typed operators share: their request is made of attributes, each a template field of its own."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from inspect import signature
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import BaseOperator

from magic_hour_provider.api.catalog import get_tool
from magic_hour_provider.api.requests import Findings, check, normalized
from magic_hour_provider.operators.magic_hour import MagicHourOperator

if TYPE_CHECKING:
    from airflow.sdk.definitions.mappedoperator import OperatorPartial


class _Required:
    def __repr__(self) -> str:
        return "<required>"


_REQUIRED = _Required()


class MagicHourToolOperator(MagicHourOperator):
    """Base of the typed operators: the same operator, with the request's fields as its own arguments.

    Each field is an attribute and a template field by its own name: Airflow links the XComArgs of ``.partial()`` only
    then (seen on 3.3.2). The request is put together from them whenever it is asked for.

    :param given: the request's fields as the user gave them; None stands for "left out".
    :param kwargs: of :class:`~magic_hour_provider.operators.magic_hour.MagicHourOperator`.
    :raises BadInputError: (when the DAG is parsed) arguments are unknown, missing or wrong; all are named at once.
    """

    slug: ClassVar[str]
    """The tool."""
    request_fields: ClassVar[tuple[str, ...]]
    """The names of the request's fields."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        init = vars(cls).get("__init__")
        if init is not None:
            # Type checkers demand the required fields; here the check of the request does, which names all that is
            # wrong at once, knows what extra_request brings, and fails a mapped task for good where Python's own
            # TypeError would be retried.
            own = set(init.__code__.co_varnames[: init.__code__.co_kwonlyargcount + 1])  # self and the keywords
            needed = own.intersection(cls.request_fields)
            init.__kwdefaults__ = dict.fromkeys(needed, _REQUIRED) | (init.__kwdefaults__ or {})

    def __init__(self, *, given: Mapping[str, Any], **kwargs: Any) -> None:
        request = {name: value for name, value in given.items() if value is not None and value is not _REQUIRED}
        # An earlier task's output that turns out to be None was not left out by the user, so neither is it by us.
        self._given = frozenset(request)
        _refuse_unknown(type(self), request, kwargs)
        super().__init__(tool=self.slug, request=request, **kwargs)

    @property
    def request(self) -> dict[str, Any]:
        """The request's JSON body, as far as it is known now."""
        values = {name: getattr(self, name) for name in self.request_fields}
        return {name: value for name, value in values.items() if value is not None or name in self._given}

    @request.setter
    def request(self, value: Mapping[str, Any]) -> None:
        for name in self.request_fields:
            setattr(self, name, value.get(name))

    @classmethod
    def partial(cls, **kwargs: Any) -> OperatorPartial:
        """Begin a mapped task; as :meth:`MagicHourOperator.partial`."""
        _refuse_unknown(cls, cls.given_request(kwargs), kwargs, later=True)
        return super().partial(**kwargs)

    @classmethod
    def given_request(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the request among the arguments of a task that is still to be made."""
        return {name: arguments[name] for name in cls.request_fields if arguments.get(name) is not None}


@cache
def _options() -> frozenset[str]:
    """Return the arguments that are no fields of a request: ours and Airflow's."""
    names = {*signature(MagicHourOperator.__init__).parameters, *signature(BaseOperator.__init__).parameters}
    return frozenset(names - {"self", "tool", "request", "kwargs"})


def _refuse_unknown(
    operator: type[MagicHourToolOperator], request: Mapping[str, Any], kwargs: Mapping[str, Any], *, later: bool = False
) -> None:
    """Refuse arguments that neither the tool nor Airflow has, together with all else that is wrong."""
    known = _options().union(operator.request_fields)
    unknown = [name for name in kwargs if name not in known and not name.startswith("_airflow")]
    if not unknown:
        return
    sentences = []
    for name in unknown:
        near = get_close_matches(name, known, n=2, cutoff=0.7)
        hint = f": did you mean {' or '.join(f'`{one}`' for one in near)}?" if near else ""
        sentences.append(f"`{name}` is not a field of {operator.slug} or an argument of {operator.__name__}{hint}")
    tool = get_tool(operator.slug)
    found = check(tool, normalized(tool, request), extra=kwargs.get("extra_request"), rendered=False, later=later)
    Findings((*sentences, *found.errors)).refuse(tool)
