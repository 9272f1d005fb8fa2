"""One operator that runs any tool of Magic Hour."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NoReturn

from airflow.providers.common.compat.sdk import AirflowException, BaseOperator, conf

from magic_hour_provider.api.catalog import Tool, get_tool
from magic_hour_provider.api.errors import BadInputError, MagicHourError
from magic_hour_provider.api.jobs import check_id
from magic_hour_provider.api.requests import check, normalized, plain
from magic_hour_provider.api.waiting import CLOCK, TIMEOUT, Clock
from magic_hour_provider.hooks.magic_hour import DEFAULT_CONN_ID, MagicHourHook, airflow_error
from magic_hour_provider.ledger import Ledger
from magic_hour_provider.links import MagicHourLink
from magic_hour_provider.operators.run import Active, JobRun, Wishes, merged
from magic_hour_provider.record import Record

if TYPE_CHECKING:
    from airflow.sdk import Context

_NOTHING = "Nothing was sent and nothing was charged."


class MagicHourOperator(BaseOperator):
    """Runs one Magic Hour tool: submits the paid job once, waits without holding a worker, stores its files.

    The task returns one JSON object, pushed whole and key by key: ``id``, ``kind``, ``tool``, ``name``, ``status``,
    ``credits_charged``, ``library_url``, ``file``, ``files``, ``media`` (``uri``, ``index``, ``content_type``,
    ``size`` in bytes, ``sha256``). It can be given as a file field of a later task, which then uses the job's output
    by reference.

    :param tool: slug of the tool, as in Magic Hour's documentation (``text-to-video``), or a
        :class:`~magic_hour_provider.api.catalog.Tool` for one newer than this package.
    :param request: JSON body of the tool's create endpoint (https://docs.magichour.ai/api-reference). File fields take
        a public URL, a Magic Hour reference, a path, any ``ObjectStoragePath`` URI or an earlier task's result.
    :param magic_hour_conn_id: the connection.
    :param output_path: folder for the files: any ``ObjectStoragePath`` (``s3://conn@bucket/x``). Default: the setting
        ``[magic_hour] output_path``; empty: nothing is downloaded.
    :param wait_for_completion: False: submit, record, return.
    :param deferrable: False: wait on the worker instead of in the triggerer.
    :param timeout: how long this attempt waits, in seconds or as a timedelta; by default what fits the tool. The job
        outlives it, and a retry goes on waiting for the same job.
    :param extra_request: merged deeply over the request (lists replaced) and never checked: for fields newer than
        this package.
    :param on_unknown_submission: what to do when the answer to the paid request was lost: ``fail``, or ``resubmit``,
        which accepts the risk of paying twice.
    :param on_clear: what a cleared task does with the job it has paid for: ``reuse`` it, or ``regenerate``, which
        makes and pays for a new one. A retry never does.
    :raises BadInputError: (when the DAG is parsed) the tool, the request or an option cannot work.
    :raises AirflowFailException: (when it runs) a failure that another try cannot mend.
    :raises AirflowException: (when it runs) one that a retry may mend, without paying for a second job.
    """

    template_fields: Sequence[str] = ("request", "output_path", "extra_request")
    template_fields_renderers = {"request": "json", "extra_request": "json"}
    operator_extra_links = (MagicHourLink(),)
    ui_color = "#e9e2ff"
    clock: ClassVar[Clock] = CLOCK

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
        self.tool = get_tool(tool)
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
        self._job: Record | None = None
        _check_choice("on_unknown_submission", on_unknown_submission, ("fail", "resubmit"))
        _check_choice("on_clear", on_clear, ("reuse", "regenerate"))
        if timeout is not None and _seconds(timeout) <= 0:
            raise BadInputError(f"timeout must be above 0 seconds; it is {timeout!r}.")
        self._check_body("request", request)
        self._check_body("extra_request", extra_request or {})
        given = self.request
        if isinstance(given, Mapping) and isinstance(extra_request or {}, Mapping):
            check(self.tool, given, extra=extra_request, rendered=False).refuse(self.tool)

    def _check_body(self, name: str, body: Any, *, rendered: bool = False) -> None:
        """Refuse what is no JSON object; before rendering it may still be a template or an earlier task's output."""
        still_open = not rendered and (hasattr(body, "resolve") or (isinstance(body, str) and "{" in body))
        if not isinstance(body, Mapping) and not still_open:
            raise BadInputError(
                f"{name} of {self.tool.slug} must be a dict, the JSON body of Magic Hour's documentation; it is "
                f"{type(body).__name__}. {_NOTHING}"
            )

    def _wishes(self) -> Wishes:
        self._check_body("request", self.request, rendered=True)
        self._check_body("extra_request", self.extra_request or {}, rendered=True)
        given = normalized(self.tool, self.request)
        findings = check(self.tool, given, extra=self.extra_request, rendered=True)
        request = merged(given, plain(self.extra_request or {}))
        timeout = _seconds(self.timeout) if self.timeout is not None else self.tool.polling_class(request).timeout_s
        return Wishes(
            tool=self.tool,
            request=request,
            conn_id=self.magic_hour_conn_id,
            output_path=str(self.output_path or ""),
            deferrable=self.deferrable,
            timeout=timeout,
            findings=findings,
            on_unknown_submission=self.on_unknown_submission,
            on_clear=self.on_clear,
        )

    def execute(self, context: Context) -> dict[str, Any]:
        """Submit the job, or go on with the one that an earlier attempt paid for."""
        with self._opened(context) as run:
            record, new = run.submit_or_resume()
            self._job = record
            if not self.wait_for_completion:
                return run.submitted(record, new=new)
            outcome = run.wait(record, look_now=not new)
        return outcome if isinstance(outcome, dict) else self._defer(outcome)

    def execute_complete(
        self, context: Context, event: Mapping[str, Any], deadline: float | None = None
    ) -> dict[str, Any]:
        """Go on after the trigger's event. The event only says that a look is worthwhile; the worker looks itself."""
        with self._opened(context) as run:
            record = run.ledger.read()
            if record is None or record.job_id is None:
                # Nothing keeps a record here: the event itself carries the job.
                record = Record(
                    "submitted", self.tool.slug, self.tool.kind, "", {}, job_id=check_id(event["id"]), submitted_at=0.0
                )
            self._job = record
            run.report.go_on()
            outcome = run.wait(
                record, look_now=True, deadline=self.clock.now() if event["status"] == TIMEOUT else deadline
            )
        return outcome if isinstance(outcome, dict) else self._defer(outcome)

    @contextmanager
    def _opened(self, context: Context) -> Iterator[JobRun]:
        record: Record | None = None
        try:
            ledger = Ledger.of(context, self.clock, str(self.output_path or ""), self._output_template)
            record = ledger.read()
            wishes = self._wishes()
            client = MagicHourHook(self.magic_hour_conn_id).get_conn()
        except MagicHourError as error:
            if record is not None and record.job_id is not None:
                # A hiccup of Airflow's API also looks like a missing connection: a paid job is worth a retry.
                raise AirflowException(
                    f"{error} That is about this attempt: Magic Hour job {record.job_id} was paid for before and goes "
                    f"on. A retry goes on with it and pays nothing. See {record.page or 'Magic Hour'}"
                ) from error
            raise airflow_error(error) from error
        with client:
            run = JobRun(wishes, context["ti"], ledger, client, self.log)
            with run.speaking():
                yield run

    def _defer(self, active: Active) -> NoReturn:
        # Imported here: airflow.triggers belongs to airflow-core, which parsing a DAG need not load.
        from magic_hour_provider.triggers.job import MagicHourJobTrigger

        record, now = active.record, self.clock.now()
        trigger = MagicHourJobTrigger(
            kind=record.kind,
            job_id=record.job_id or "",
            tool=record.tool,
            conn_id=self.magic_hour_conn_id,
            submitted_at=record.submitted_at if record.submitted_at is not None else now,
            deferred_at=now,
            deadline=active.deadline,
        )
        self.defer(trigger=trigger, method_name="execute_complete", kwargs={"deadline": active.deadline})

    def on_kill(self) -> None:
        """Say that the job goes on: there is no cancel API."""
        if self._job is not None:
            self.log.warning(
                "Stopped waiting for Magic Hour job %s. It goes on and may still be charged; the next attempt goes on "
                "with it. A video can be canceled by hand at %s",
                self._job.job_id,
                self._job.page or "magichour.ai",
            )


def _configured_output_path() -> str:
    return str(conf.get("magic_hour", "output_path", fallback="") or "")


def _seconds(timeout: float | timedelta) -> float:
    return timeout.total_seconds() if isinstance(timeout, timedelta) else float(timeout)


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise BadInputError(f"{name} must be one of {', '.join(map(repr, choices))}; it is {value!r}.")
