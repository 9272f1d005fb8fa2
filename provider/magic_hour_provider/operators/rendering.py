"""Rendering of an operator's template fields: as Airflow does, where it would not send something that nobody wrote.

Airflow renders every text with Jinja. That turns ``class Prompt(str, Enum)`` into ``Prompt.DAWN``, None into ``None``,
and, with ``render_template_as_native_obj``, a text such as ``2024`` into a number: each would be paid for.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from enum import Enum
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, cast

from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.operators.arguments import ArgumentPath, format_argument

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context

_MAX_SHOWN = 80  # characters of a template that a message shows


class TemplateRenderer:
    """Renders one template field.

    :param context: Airflow's context.
    :param env: Airflow's Jinja environment of the DAG; a native one renders one expression to its value.
    :param resolved: ids of values that Airflow has resolved already: data, which is never rendered.
    :param render_other: Airflow's own rendering, for what is neither text nor a plain container.
    """

    def __init__(
        self, context: Context, env: jinja2.Environment, resolved: set[int], render_other: Callable[[Any], Any]
    ) -> None:
        # Here, as Airflow has loaded it by now; parsing a DAG file need not.
        from jinja2 import TemplateSyntaxError, Undefined, UndefinedError
        from jinja2.nativetypes import NativeEnvironment

        self._undefined = Undefined
        self._template_errors = TemplateSyntaxError, UndefinedError
        self.errors: list[str] = []
        """What must not be sent, in words."""
        self.failure: InvalidInputError | None = None
        """A template that has no value at all: nothing can be done with its field."""
        self._context = context
        self._resolved = resolved
        self._render_other = render_other
        self._nones = 0
        self._markers = [env.block_start_string, env.variable_start_string, env.comment_start_string]
        self._markers += [prefix for prefix in (env.line_statement_prefix, env.line_comment_prefix) if prefix]
        self._native = isinstance(env, NativeEnvironment)
        finalize = env.finalize
        self._env = env.overlay(finalize=lambda value: self._finalize(finalize(value) if finalize else value))

    def render(self, value: Any, path: ArgumentPath) -> Any:
        """Return the value with its templates rendered.

        :param path: where it stands, the field first; errors name it.
        """
        if isinstance(value, Enum):
            value = value.value
        if id(value) in self._resolved:
            return without_enums(value)
        if isinstance(value, PurePath) and path == ("output_path",):
            value = str(value)
        if isinstance(value, str):
            return self._render_text(value, path) if any(marker in value for marker in self._markers) else value
        if value.__class__ in (list, tuple):
            return value.__class__([self.render(element, (*path, index)) for index, element in enumerate(value)])
        if value.__class__ is dict:
            return {name: self.render(inner, (*path, name)) for name, inner in value.items()}
        return without_enums(self._render_other(value))

    def _render_text(self, text: str, path: ArgumentPath) -> Any:
        try:
            return self._render_template(text, path)
        except self._template_errors as error:
            # As a retry would fail too. It is raised when the ledger has been read: it must not hide what was paid for.
            self.failure = self.failure or InvalidInputError(
                f"`{format_argument(path)}` cannot be rendered: in its template {_shorten(text)!r} "
                f"{str(error)[:_MAX_SHOWN]}.",
                next_step="Fix the template in the DAG, and clear the task.",
            )
            return text

    def _render_template(self, text: str, path: ArgumentPath) -> Any:
        self._nones = 0
        template = self._env.from_string(text)
        # As Airflow's own (airflow/sdk/definitions/context.py): the context stays lazy.
        values = cast("dict[str, Any]", copy.copy(self._context))
        values |= {name: value for name, value in template.globals.items() if name not in values}
        parts = list(template.root_render_func(template.new_context(values, shared=True)))
        if self._nones and path != ("extra_request",):
            template_text = repr(_shorten(text))
            self.errors.append(f"`{format_argument(path)}` is None, as its template {template_text} has no value here")
        if self._native and len(parts) == 1 and not isinstance(parts[0], str | self._undefined):
            return parts[0]
        # Jinja's own native rendering would now read the text as a Python literal, also where it is a prompt.
        return "".join(map(str, parts))

    def _finalize(self, value: Any) -> Any:
        if value is None:
            self._nones += 1
        return value.value if isinstance(value, Enum) else value


def _shorten(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"


def without_enums(value: Any) -> Any:
    """Return JSON's containers with the values of the enums in them; what holds none is returned as it is."""
    if isinstance(value, Enum):
        return value.value
    if value.__class__ is dict:
        changed = {name: without_enums(inner) for name, inner in value.items()}
        return changed if any(changed[name] is not value[name] for name in value) else value
    if value.__class__ in (list, tuple):
        elements = [without_enums(element) for element in value]
        same = all(new is old for new, old in zip(elements, value, strict=True))
        return value if same else value.__class__(elements)
    return value
