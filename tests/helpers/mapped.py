"""Attempts of one map index, as Airflow's worker makes them: expanded, rendered, its hook called, executed."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

from airflow.providers.common.compat.sdk import DAG

from helpers.attempts import Connected, TaskInstance


def attempt_index(airflow: Connected, ti: TaskInstance, make: Callable[[], Any], rows: Sequence[Any] = ()) -> Any:
    """Run an attempt to its end.

    :param make: makes the task in a DAG, mapped or in a mapped task group; or gives a mapped one and the arguments that
        an earlier task gives this index.
    :param rows: what ``rows`` in a template is.
    """
    with DAG(ti.dag_id, schedule=None, user_defined_macros={"rows": rows}):
        made = make()
    ti.next_attempt()
    context = ti.context(made)
    given, resolved = made if isinstance(made, tuple) else (made, None)
    if hasattr(given, "expand_input"):
        values, seen = given._expand_mapped_kwargs(context) if resolved is None else (resolved, set())
        operator = given.unmap(values)
    else:
        operator, seen = copy.copy(given), set()
    context |= {"task": operator, "task_instance": ti, "params": operator.params.dump()}
    operator._do_render_template_fields(operator, operator.template_fields, context, operator.get_template_env(), seen)
    if operator._pre_execute_hook is not None:
        operator._pre_execute_hook(context)
    return airflow.resume(operator, ti, airflow.start(operator, ti))
