"""One operator that runs any tool of Magic Hour. Parsing a DAG needs only this and what checks a request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.common.compat.sdk import BaseOperator, conf

from magic_hour_provider import DEFAULT_CONN_ID
from magic_hour_provider.api.catalog import Tool, get_tool
from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.api.redaction import find_link_secrets
from magic_hour_provider.api.validation import check_request, format_path, normalize_request
from magic_hour_provider.links import MagicHourLink

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.definitions.mappedoperator import OperatorPartial

    from magic_hour_provider.execution.attempt import JobAttempt


class MagicHourOperator(BaseOperator):
    """Runs one Magic Hour tool: submits the paid job once, waits without holding a worker, stores its files.

    The task returns one JSON object, pushed whole and key by key: ``id``, ``kind``, ``tool``, ``name``, ``status``,
    ``credits_charged``, ``library_url``, ``file``, ``files``, ``media`` (``uri``, ``index``, ``content_type``,
    ``size`` in bytes, ``sha256``). It can be given as a file field of a later task, which then uses the job's output
    by reference. Of its ``outlets``, an ``AssetAlias`` gets each file as an ``Asset``, and an ``Asset`` gets the result
    as the extra of its event.

    :param tool: slug of the tool, as in Magic Hour's documentation (``text-to-video``), or a
        :class:`~magic_hour_provider.api.catalog.Tool` for one newer than this package.
    :param request: JSON body of the tool's create endpoint (https://docs.magichour.ai/api-reference). File fields take
        a public URL, a Magic Hour reference, a path, any ``ObjectStoragePath`` or its URI, an ``Asset``, or an earlier
        task's result (its first file; ``{**result, "index": 2}`` is the third).
    :param magic_hour_conn_id: the connection.
    :param output_path: folder for the files: any ``ObjectStoragePath`` (``s3://conn@bucket/x``). Default: the setting
        ``[magic_hour] output_path``; empty: nothing is downloaded. A template over the run, such as
        ``s3://conn@bucket/{{ ds }}/{{ task.task_id }}/``; no ``..``, also not from a template. Nothing there is
        overwritten. ``<tool>-<id>.json`` beside the files says what they are (``[magic_hour] sidecar``).
    :param wait_for_completion: False: submit, record, return.
    :param deferrable: False: wait on the worker instead of in the triggerer.
    :param timeout: how long this attempt waits, in seconds or as a timedelta; by default what fits the tool. The job
        outlives it, and a retry goes on waiting for the same job.
    :param extra_request: merged deeply over the request (lists replaced) and never checked: for fields newer than
        this package.
    :param on_unknown_submission: what to do when the answer to the paid request was lost: ``fail``, or ``resubmit``,
        which accepts the risk of paying twice: the next attempt sends it again, once. Each answer lost may be a paid
        job; ``retries`` bound them.
    :param on_clear: what a cleared task does with the job it has paid for: ``reuse`` it, or ``regenerate``, which
        makes and pays for a new one. A retry never does.
    :raises InvalidInputError: (when the DAG is parsed) the tool, the request or an option cannot work.
    :raises AirflowFailException: (when it runs) a failure that another try cannot mend.
    :raises AirflowException: (when it runs) one that a retry may mend, without paying for a second job.
    """

    template_fields: Sequence[str] = ("request", "output_path", "extra_request")
    template_fields_renderers = {"request": "json", "extra_request": "json"}
    operator_extra_links = (MagicHourLink(),)
    ui_color = "#e9e2ff"

    def __init__(
        self,
        *,
        tool: str | Tool,
        request: Mapping[str, Any],
        magic_hour_conn_id: str = DEFAULT_CONN_ID,
        output_path: str | None = None,
        wait_for_completion: bool = True,
        deferrable: bool = True,
        timeout: float | timedelta | None = None,
        extra_request: Mapping[str, Any] | None = None,
        on_unknown_submission: Literal["fail", "resubmit"] = "fail",
        on_clear: Literal["reuse", "regenerate"] = "reuse",
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("multiple_outputs", True)
        super().__init__(**kwargs)
        self.request = request
        self.magic_hour_conn_id = magic_hour_conn_id
        self.output_path = output_path if output_path is not None else _configured_output_path()
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.timeout = timeout
        self.extra_request = extra_request
        self.on_unknown_submission = on_unknown_submission
        self.on_clear = on_clear
        self._output_template = self.output_path  # rendering replaces the attribute
        self._run: JobAttempt | None = None
        self._init_error: InvalidInputError | None = None
        self._argument_errors: tuple[str, ...] = ()
        templates = {"request": self.request, "extra_request": extra_request, "output_path": self.output_path}
        self._xcom_paths = tuple(xcom_paths(templates))
        # Airflow makes a mapped task on the worker, where an error here would be retried: there execute says it, once
        # it knows what was paid for, and fails for good.
        mapped = getattr(self, "_BaseOperator__from_mapped", False)
        try:
            self.tool = get_tool(tool)
            check_options(vars(self))
        except InvalidInputError as error:
            if not mapped:
                raise
            self._init_error = error
        if not mapped:
            check_given(self.tool, self.request, extra_request)

    @classmethod
    def partial(cls, **kwargs: Any) -> OperatorPartial:
        """Begin a mapped task, as Airflow's own; what is given is checked as in a task of its own."""
        from magic_hour_provider.operators.mapping import checked

        return checked(cls, super().partial, kwargs)

    @classmethod
    def find_argument_errors(cls, arguments: Mapping[str, Any], *, mapped: bool) -> list[str]:  # noqa: ARG003 (typed ones look)
        """Name the arguments that this operator does not have, with the nearest ones it has.

        :param mapped: also those that a mapped task may not be given as None.
        """
        return []

    @classmethod
    def has_custom_init(cls) -> bool:
        """Whether a constructor of the user's own may bring what is missing."""
        return cls.__init__ is not MagicHourOperator.__init__

    @classmethod
    def given_request(cls, arguments: Mapping[str, Any]) -> Any:
        """Return the request among the arguments of a task that is still to be made; None: not given."""
        return arguments.get("request")

    def render_template(self, content: Any, context: Context, *args: Any, **kwargs: Any) -> Any:
        """Render as Airflow does, and keep the signatures of the user's own signed links out of its UI and logs."""
        value = super().render_template(content, context, *args, **kwargs)
        if not isinstance(content, list | tuple | dict | set):  # whose elements come here one by one
            for secret in find_link_secrets(value):
                from airflow.sdk.log import mask_secret

                mask_secret(secret)
        return value

    def execute(self, context: Context) -> dict[str, Any]:
        """Submit the job, or resume the one that an earlier attempt paid for."""
        from magic_hour_provider.operators import attempt

        return attempt.begin(self, context)

    def execute_complete(
        self, context: Context, event: Mapping[str, Any], deadline: float | None = None
    ) -> dict[str, Any]:
        """Go on after the trigger's event. The event only says that a look is worthwhile; the worker looks itself."""
        from magic_hour_provider.operators import attempt

        return attempt.go_on(self, context, event, deadline)

    def on_kill(self) -> None:
        """Say what becomes of the job: it goes on, as there is no cancel API."""
        record = self._run.record if self._run is not None else None
        if record is None:
            return
        if record.job_id is None:
            self.log.warning(
                "Stopped while the paid request #%s was under way: a job may have been made and charged. If so, the "
                "next attempt resumes it where the answer still came, and says what to do where it did not.",
                record.tag,
            )
        else:
            self.log.warning(
                "Stopped waiting for Magic Hour job %s. It keeps running and may still be charged; the next attempt "
                "resumes it. A video can be canceled by hand at %s",
                record.job_id,
                record.page or "magichour.ai",
            )


def _configured_output_path() -> str:
    return str(conf.get("magic_hour", "output_path", fallback="") or "")


def seconds(timeout: float | timedelta) -> float:
    """Return a duration in seconds.

    :raises InvalidInputError: it is none.
    """
    try:
        return timeout.total_seconds() if isinstance(timeout, timedelta) else float(timeout)
    except (TypeError, ValueError):
        raise InvalidInputError(f"timeout must be seconds or a timedelta; it is {timeout!r}.") from None


_CHOICES = {"on_unknown_submission": ("fail", "resubmit"), "on_clear": ("reuse", "regenerate")}


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse options that cannot work, as far as they are given and known.

    :raises InvalidInputError: the message names the option.
    """
    for name, choices in _CHOICES.items():
        value = options.get(name, choices[0])
        if value not in choices and not _is_xcom(value):
            raise InvalidInputError(f"{name} must be one of {', '.join(map(repr, choices))}; it is {value!r}.")
    timeout = options.get("timeout")
    if timeout is not None and not _is_xcom(timeout) and not seconds(timeout) > 0:
        raise InvalidInputError(f"timeout must be above 0 seconds; it is {timeout!r}.")


def _is_xcom(value: Any) -> bool:
    """Whether a value is an earlier task's output, known only when the task runs."""
    return hasattr(value, "resolve")


def xcom_paths(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Return where in a value earlier tasks' outputs stand."""
    if _is_xcom(value):
        yield path
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from xcom_paths(inner, (*path, name))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from xcom_paths(inner, (*path, index))


def find_missing_xcoms(paths: Iterable[tuple[str | int, ...]], rendered: Mapping[str, Any]) -> tuple[str, ...]:
    """Say which earlier tasks' outputs turned out to be None: the service's default would be paid for instead.

    :param paths: where such outputs stood.
    """
    empty = [format_path(path[1:]) or str(path[0]) for path in paths if _at(rendered, path) is None]
    return tuple(f"`{name}` is None, as the earlier task that should give it returned nothing" for name in empty)


def _at(value: Any, path: tuple[str | int, ...]) -> Any:
    for part in path:
        try:
            value = value[part]
        except (LookupError, TypeError):
            return None
    return value


def check_body(tool: Tool, name: str, body: Any, *, rendered: bool) -> None:
    """Refuse what is no JSON object; before rendering it may still be a template or an earlier task's output.

    :param name: the argument, for the message.
    :raises InvalidInputError: it is something else.
    """
    still_open = not rendered and (hasattr(body, "resolve") or (isinstance(body, str) and "{" in body))
    if not isinstance(body, Mapping) and not still_open:
        raise InvalidInputError(
            f"{name} of {tool.slug} must be a dict, the JSON body of Magic Hour's documentation; it is "
            f"{type(body).__name__}."
        )


def check_given(tool: Tool, request: Any, extra: Any, *, later: bool = False) -> None:
    """Refuse a request that cannot work, as far as it is known while the DAG is parsed.

    :param extra: what will be merged over it.
    :param later: whether its missing fields may still come, as in ``.partial()``.
    :raises InvalidInputError: the message names everything that is wrong.
    """
    check_body(tool, "request", request, rendered=False)
    check_body(tool, "extra_request", extra or {}, rendered=False)
    if isinstance(request, Mapping) and isinstance(extra or {}, Mapping):
        check_request(tool, normalize_request(tool, request), extra=extra, rendered=False, later=later).raise_errors(
            tool
        )
