"""The fields that belong to one map index: what ``.expand()`` or a mapped task group fills, and nothing shared.

Where it cannot be known what becomes of a value that an index is given, every field counts as the index's own: an
argument of a user's own class may build any of the request, and so may what templates and hooks read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from inspect import signature
from typing import Any

from airflow.providers.common.compat.sdk import BaseOperator

from magic_hour_provider.ledger.fingerprint import field_of
from magic_hour_provider.operators.arguments import PARAMS, ArgumentPath

_FACTS = {
    "(connection)": "magic_hour_conn_id",
    "(tool)": "tool",
}  # of a fingerprint, and the arguments that they are of
_REQUEST = ("request", "extra_request")
# Arguments of Airflow's that templates and hooks read, or that are a hook; of the others that they may read, Airflow
# maps none.
_DATA = {"params", "pre_execute", "doc", "doc_md", "doc_json", "doc_yaml", "doc_rst"}


def find_mapped_fields(operator: Any, paths: tuple[tuple[ArgumentPath, str], ...]) -> Callable[[str], bool]:
    """Return a function that says whether a field of the fingerprint differs by map index.

    :param operator: the rendered task.
    :param paths: of :func:`.arguments.find_mapped_paths`: of the values that differ by map index where each stands,
        and its task group.
    """
    group, expansion = operator.get_closest_mapped_task_group(), _find_expansion(operator)
    if group is None and expansion is None:
        return lambda field: False  # noqa: ARG005 (not mapped)
    if operator.has_computed_request:
        given_facts = {path[0] for path, _ in paths}
        return lambda field: not field.startswith("(") or _FACTS.get(field) in given_facts
    groups = {"", group.group_id if group is not None else ""}
    if expansion is not None and expansion.may_hold("params"):
        groups.add(PARAMS)
    own_paths = [path for path, its_group in paths if its_group in groups]
    filled = [field_of(path[1:]) for path in own_paths if path[0] in _REQUEST]
    names = {str(path[0]) for path in own_paths}
    understood = _understood_arguments(operator)
    if not names <= understood or (expansion is not None and _may_build(operator, expansion, understood)):
        return _is_of_request

    def is_given(name: str) -> bool:
        return expansion is not None and expansion.may_hold(name)

    fields = getattr(operator, "request_fields", None)

    def is_mapped(field: str) -> bool:
        if field.startswith("("):
            return field in _FACTS and (_FACTS[field] in names or is_given(_FACTS[field]))
        if any(_is_within(field, one) or _is_within(one, field) for one in filled):
            return True
        extra = operator.extra_request
        if isinstance(extra, Mapping) and extra:
            if _holds(extra, field):
                return is_given("extra_request")
            if is_given("extra_request") and not _holds(operator.request, field):
                return True
        # A typed operator's fields are arguments of their own; what it does not know comes from extra_request.
        top = field.split(".", 1)[0]
        name = "request" if fields is None else top if top in fields else "extra_request"
        return is_given(name)

    return is_mapped


def _is_of_request(field: str) -> bool:
    return field in _FACTS or not field.startswith("(")


@dataclass(frozen=True)
class _Expansion:
    """What ``.expand()`` or ``.expand_kwargs()`` gives.

    :param names: of its arguments; None: only the worker learns them.
    :param shared: names of the arguments that it cannot give.
    """

    names: frozenset[str] | None
    shared: frozenset[str] | None

    def may_hold(self, name: str) -> bool:
        """Whether an argument may be one of them."""
        return name not in self.shared if self.shared is not None else name in (self.names or ())


def _find_expansion(operator: Any) -> _Expansion | None:
    dag = operator.get_dag()
    mapped = None if dag is None else dag.task_dict.get(operator.task_id)  # a mapped task stays in its DAG
    expand_input = getattr(mapped, "expand_input", None)
    if mapped is None or expand_input is None:
        return None
    given = expand_input.value
    if isinstance(given, Mapping):
        return _Expansion(frozenset(given), None)
    # Of .expand_kwargs() nobody knows before it runs which arguments come: all that .partial() has not, and with
    # strict=False those too. Also those of a list in the DAG file: at the attempt before it may have been another.
    shared = frozenset(mapped.partial_kwargs) if getattr(mapped, "_disallow_kwargs_override", True) else frozenset()
    is_known = isinstance(given, list | tuple) and all(isinstance(one, Mapping) for one in given)
    return _Expansion(frozenset().union(*given) if is_known else None, shared)


def _may_build(operator: Any, expansion: _Expansion, understood: frozenset[str]) -> bool:
    """Whether something is given of which nobody knows what it becomes in the request."""
    if expansion.names is not None:
        return not expansion.names <= understood
    # Arguments that only the worker learns: a class of ours takes none that are not its own, but a hook reads params.
    return any(_users_classes(operator)) or operator._pre_execute_hook is not None


def _understood_arguments(operator: Any) -> frozenset[str]:
    """Return the arguments of which it is known what they become in the request: one of its fields, or nothing."""
    ours = [one for one in type(operator).mro() if _is_ours(one)]
    known = {name for one in (*ours, BaseOperator) for name in _parameters(one)} - _DATA
    # An argument of the same name that a user's own class takes may become something else as well.
    theirs = {name for one in _users_classes(operator) if "__init__" in vars(one) for name in _parameters(one)}
    return frozenset(known - theirs)


def _users_classes(operator: Any) -> Iterator[type]:
    """Yield the classes that a user made from one of ours."""
    for one in type(operator).mro():
        if _is_ours(one):
            return
        yield one


def _is_ours(one: type) -> bool:
    return one.__module__.split(".")[0] == __name__.split(".", 1)[0]


def _parameters(one: Any) -> list[str]:
    return [name for name, given in signature(one.__init__).parameters.items() if given.kind is not given.VAR_KEYWORD]


def _is_within(field: str, other: str) -> bool:
    return not other or field == other or field.startswith(f"{other}.")


def _holds(body: Any, field: str) -> bool:
    for name in field.split("."):
        if not isinstance(body, Mapping) or name not in body:
            return False
        body = body[name]
    return True
