"""The fields that belong to one map index: what ``.expand()`` or a mapped task group fills, and nothing shared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

_FACTS = {
    "(connection)": "magic_hour_conn_id",
    "(tool)": "tool",
}  # of a fingerprint, and the arguments that they are of


def find_mapped_fields(operator: Any, paths: tuple[tuple[tuple[str | int, ...], str], ...]) -> Callable[[str], bool]:
    """Return a function that says whether a field of the fingerprint differs by map index.

    :param operator: the rendered task.
    :param paths: of the values that a mapped task group fills, or a task in one: where each stands, and its group; of
        what the group itself is given that is empty.
    """
    group = operator.get_closest_mapped_task_group()
    groups = () if group is None else ("", group.group_id)
    filled = [_to_field(path) for path, its_group in paths if path[0] != "output_path" and its_group in groups]
    arguments = _find_mapped_arguments(operator)
    fields = getattr(operator, "request_fields", None)

    def is_mapped(field: str) -> bool:
        if field.startswith("("):
            return field in _FACTS and arguments(_FACTS[field])
        if any(_is_within(field, one) or _is_within(one, field) for one in filled):
            return True
        extra = operator.extra_request
        if isinstance(extra, Mapping) and extra:
            if _holds(extra, field):
                return arguments("extra_request")
            if arguments("extra_request") and not _holds(operator.request, field):
                return True
        # A typed operator's fields are arguments of their own; what it does not know comes from extra_request.
        top = field.split(".", 1)[0]
        name = "request" if fields is None else top if top in fields else "extra_request"
        return arguments(name)

    return is_mapped


def _find_mapped_arguments(operator: Any) -> Callable[[str], bool]:
    """Return a function that says whether an argument is one of those that ``.expand()`` fills."""
    dag = operator.get_dag()
    mapped = None if dag is None else dag.task_dict.get(operator.task_id)  # a mapped task stays in its DAG
    expand_input = getattr(mapped, "expand_input", None)
    if mapped is None or expand_input is None:
        return lambda name: False  # noqa: ARG005 (not mapped)
    if isinstance(expand_input.value, Mapping):
        given = frozenset(expand_input.value)
        return lambda name: name in given
    # Of .expand_kwargs() nobody knows before it runs which arguments come: all that .partial() has not, and with
    # strict=False those too.
    shared = frozenset(mapped.partial_kwargs) if getattr(mapped, "_disallow_kwargs_override", True) else frozenset()
    return lambda name: name not in shared


def _to_field(path: tuple[str | int, ...]) -> str:
    """Return the field of the fingerprint in which a value stands: a list is one field."""
    names = []
    for part in path[1:]:  # the first is the argument
        if not isinstance(part, str):
            break
        names.append(part)
    return ".".join(names)


def _is_within(field: str, other: str) -> bool:
    return not other or field == other or field.startswith(f"{other}.")


def _holds(body: Any, field: str) -> bool:
    for name in field.split("."):
        if not isinstance(body, Mapping) or name not in body:
            return False
        body = body[name]
    return True
