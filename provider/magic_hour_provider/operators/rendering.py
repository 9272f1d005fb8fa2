"""Rendering of an operator's template fields: as Airflow does, where it would not send something that nobody wrote.

Airflow renders every text with Jinja. That turns ``class Prompt(str, Enum)`` into ``Prompt.DAWN``, None into ``None``,
and, with ``render_template_as_native_obj``, a text such as ``2024`` into a number: each would be paid for.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from enum import Enum
from functools import wraps
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, cast

from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.operators.arguments import ArgumentPath, format_argument

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context

_MAX_SHOWN = 80  # characters of a template that a message shows
# Jinja's filters that make the text "None" of None.
_TEXT_FILTERS = (
    *("capitalize", "center", "e", "escape", "forceescape", "format", "indent", "join", "lower", "replace", "safe"),
    *("string", "striptags", "title", "trim", "truncate", "upper", "urlencode", "wordwrap"),
)


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
        from airflow.providers.common.compat.sdk import XComNotFound
        from jinja2 import TemplateError, Undefined, nodes
        from jinja2.nativetypes import NativeEnvironment

        self._undefined = Undefined
        self._nodes = nodes
        # A TypeError is what arithmetic with a value that is None gives.
        self._template_errors = TemplateError, TypeError
        self._xcom_error = XComNotFound
        self.errors: list[str] = []
        """What must not be sent, in words."""
        self.failure: InvalidInputError | None = None
        """A template that has no value at all: nothing can be done with its field."""
        self._context = context
        self._resolved = resolved
        self._render_other = render_other
        self._nones = 0
        self._nones_in_text = False
        self._markers = [env.block_start_string, env.variable_start_string, env.comment_start_string]
        self._markers += [prefix for prefix in (env.line_statement_prefix, env.line_comment_prefix) if prefix]
        self._native = isinstance(env, NativeEnvironment)
        finalize = env.finalize
        self._env = env.overlay(finalize=lambda value: self._finalize(finalize(value) if finalize else value))
        self._env.filters = {
            name: self._watch(name, function) if name in _TEXT_FILTERS else function
            for name, function in env.filters.items()
        }

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
        try:
            return without_enums(self._render_other(value))
        except self._xcom_error as error:
            words = str(error).rstrip("!.")
            self.failure = self.failure or InvalidInputError(
                f"`{format_argument(path)}` has no value, as the earlier task has pushed none: {words}.",
                next_step="Let that task return it (with multiple_outputs, if it is a key of its result); clear both.",
            )
            return None

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
        self._nones, self._nones_in_text = 0, False
        template = self._compile(text)
        # As Airflow's own (airflow/sdk/definitions/context.py): the context stays lazy.
        values = cast("dict[str, Any]", copy.copy(self._context))
        values |= {name: value for name, value in template.globals.items() if name not in values}
        parts = list(template.root_render_func(template.new_context(values, shared=True)))
        # A filter's text may serve a comparison alone.
        shown = self._nones_in_text and "none" in "".join(map(str, parts)).casefold()
        if (self._nones or shown) and path != ("extra_request",):
            template_text = repr(_shorten(text))
            self.errors.append(f"`{format_argument(path)}` is None, as its template {template_text} has no value here")
        if self._native and len(parts) == 1 and not isinstance(parts[0], str | self._undefined):
            return parts[0]
        # Jinja's own native rendering would now read the text as a Python literal, also where it is a prompt.
        return "".join(map(str, parts))

    def _compile(self, text: str) -> jinja2.Template:
        """Compile a template in which ``a ~ b`` joins what the filter ``string`` makes of them: that one is watched."""
        tree = self._env.parse(text)
        for joined in tree.find_all(self._nodes.Concat):
            parts = joined.nodes
            joined.nodes = [
                self._nodes.Filter(part, "string", [], [], None, None, lineno=part.lineno) for part in parts
            ]
        tree.set_environment(self._env)
        template_class = self._env.template_class
        return template_class.from_code(self._env, self._env.compile(tree), self._env.make_globals(None))

    def _watch(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a filter that also notices None among what it makes text of, which never reaches finalize."""
        takes_context = hasattr(function, "jinja_pass_arg")

        @wraps(function)  # with what Jinja notes on it
        def watched(*args: Any, **kwargs: Any) -> Any:
            context, values = (args[:1], list(args[1:])) if takes_context else ((), list(args))
            if name == "join" and values and not isinstance(values[0], str):
                values[0] = list(values[0])
            made_text = {"join": values[0], "format": (*values, *kwargs.values())}.get(name, values[:1])
            self._nones_in_text |= any(value is None for value in made_text)
            return function(*context, *values, **kwargs)

        return watched

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
