"""The user's function behind a decorated task: when it is called, with what, and what its arguments are rendered to."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, cast

from airflow.providers.common.compat.sdk import AirflowSkipException, BaseOperator, DecoratedOperator, determine_kwargs

from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.hooks.masking import mask_link_secrets

if TYPE_CHECKING:
    from airflow.sdk import Context


class FunctionTask(DecoratedOperator):
    """Base of the decorated tasks. What the function is given is rendered as Airflow does; what it returns, never."""

    _renders_arguments = False

    @staticmethod
    def check_function(function: Callable[..., Any]) -> None:
        """Refuse a function that a worker cannot call; no constructor, as each of them costs every parse.

        :raises InvalidInputError: it is asynchronous.
        """
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            raise InvalidInputError(
                f"The function {_name_of(function)} is asynchronous, and a task of Magic Hour calls it on a worker: "
                "use def."
            )

    @property
    def function_name(self) -> str:
        """What people call the function."""
        return _name_of(self.python_callable)

    def render_template(
        self, content: Any, context: Context, jinja_env: Any = None, seen_oids: set[int] | None = None
    ) -> Any:
        """Render the function's arguments as in every ``@task``, and all else as the operator does.

        None, an enum or a number stays what it is: only the function knows what becomes of it.
        """
        if not (self._renders_arguments or content is self.op_args or content is self.op_kwargs):
            return super().render_template(content, context, jinja_env, seen_oids)
        if isinstance(content, Enum):
            return content  # one that is text is never a template, and Jinja would make it Style.DAWN
        before, self._renders_arguments = self._renders_arguments, True  # Airflow's own calls this for what is inside
        try:
            mask_link_secrets(content)  # first: Airflow logs a template that cannot be rendered
            value = BaseOperator.render_template(self, content, context, jinja_env, seen_oids)
            mask_link_secrets(value)
            return value
        finally:
            self._renders_arguments = before

    def call_function(self, context: Context) -> Any:
        """Call the function with its arguments, and those of Airflow's context that it names.

        What it raises is raised as it is, so that it may skip the task or fail it for good.
        """
        known = cast("dict[str, Any]", copy.copy(context))
        known.update(self.op_kwargs)
        arguments: Mapping[str, Any] = determine_kwargs(self.python_callable, self.op_args, known)
        try:
            return self.python_callable(*self.op_args, **arguments)
        except AirflowSkipException:
            raise
        except Exception:
            self.log.error(
                "The function %s failed, and nothing is sent after that. What was paid for before, the next "
                "attempt resumes where it is recorded.",
                self.function_name,
            )
            raise


def _name_of(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", repr(function))
