"""One attempt of an operator on its worker: what it opens, runs and defers. Parsing a DAG loads none of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

from magic_hour_provider import clock
from magic_hour_provider.api.catalog import default_polling_class
from magic_hour_provider.api.errors import Charge, MagicHourError
from magic_hour_provider.api.models import check_id
from magic_hour_provider.api.validation import check_request, normalize_request, to_json_containers
from magic_hour_provider.execution.attempt import Deferral, JobAttempt, JobSpec
from magic_hour_provider.hooks.exceptions import to_airflow_error
from magic_hour_provider.hooks.magic_hour import MagicHourHook
from magic_hour_provider.inputs.fields import with_uris
from magic_hour_provider.ledger.ledger import Ledger
from magic_hour_provider.ledger.record import Record, unknown_submission
from magic_hour_provider.operators.magic_hour import check_body, find_missing_xcoms, seconds
from magic_hour_provider.outputs.assets import emit_outlet_events
from magic_hour_provider.polling.schedule import REFUSED, TIMEOUT

if TYPE_CHECKING:
    from airflow.sdk import Context

    from magic_hour_provider.operators.magic_hour import MagicHourOperator


def begin(operator: MagicHourOperator, context: Context) -> dict[str, Any]:
    """Submit the job, or resume the one that an earlier attempt paid for; return the task's result, or defer."""
    with _opened(operator, context) as run:
        record, new = run.submit_or_resume()
        outcome = run.wait(record, look_now=not new) if operator.wait_for_completion else run.submitted(record, new=new)
    return _done(operator, context, outcome, run.spec)


def go_on(
    operator: MagicHourOperator, context: Context, event: Mapping[str, Any], deadline: float | None
) -> dict[str, Any]:
    """Go on after the trigger's event; return the task's result, or defer again.

    :param deadline: when this attempt gives up, in seconds since 1970; None: after its timeout.
    """
    with _opened(operator, context) as run:
        record = run.ledger.read()
        if record is None or record.job_id is None:
            # No record is kept (Airflow before 3.3, no folder for it): the event itself carries the job.
            tool = operator.tool
            record = Record("submitted", tool.slug, tool.kind, "", {}, job_id=check_id(event["id"]), submitted_at=0.0)
        run.record = record
        run.report.go_on()
        if event["status"] == TIMEOUT:
            deadline = clock.current().now()
        outcome = run.wait(record, look_now=True, deadline=deadline, tolerate_invalid=event["status"] != REFUSED)
    return _done(operator, context, outcome, run.spec)


@contextmanager
def _opened(operator: MagicHourOperator, context: Context) -> Iterator[JobAttempt]:
    record: Record | None = None
    try:
        ledger = Ledger.open(context, str(operator.output_path or ""), operator._output_template)
        record = ledger.read()
        spec = _job_spec(operator)
        hook = MagicHourHook(operator.magic_hour_conn_id)
        settings = hook.settings()
        spec = replace(spec, webhooks=bool(settings.webhook_secrets))
        client = hook.get_conn(settings)
    except MagicHourError as error:
        if record is not None and record.job_id is not None:
            error.append(
                f"An earlier attempt has submitted Magic Hour job {record.job_id}.",
                charge=Charge.KEPT,
                next_step=f"A retry resumes the job and pays nothing. See {record.page or 'Magic Hour'}",
            )
            # A hiccup of Airflow's API also looks like a missing connection: a paid job is worth a retry.
            error.retryable = True
        elif record is not None and record.state == "intent":
            before = unknown_submission(
                record,
                "An earlier attempt ended while it was sending the paid request.",
                describe_location=ledger.describe_location,
            )
            error.append(before.message, charge=Charge.UNKNOWN, next_step=before.next_step)
        raise to_airflow_error(error) from error
    with client:
        run = operator._run = JobAttempt(spec, context["ti"], ledger, client, operator.log)
        if record is not None and record.state == "intent":
            # Airflow clears the XComs of an attempt as the next one begins, and a webhook may identify the job later.
            run.report.intent(record.tag, record.name, spec.conn_id)
        with run.translating_errors():
            yield run


def _job_spec(operator: MagicHourOperator) -> JobSpec:
    if operator._init_error is not None:
        raise operator._init_error
    tool = operator.tool
    check_body(tool, "request", operator.request, rendered=True)
    check_body(tool, "extra_request", operator.extra_request or {}, rendered=True)
    rendered = {name: getattr(operator, name) for name in ("request", "extra_request", "output_path")}
    broken = find_missing_xcoms(operator._xcom_paths, rendered)
    given = normalize_request(tool, with_uris(tool, to_json_containers(operator.request)))
    request = with_uris(tool, _merged(given, to_json_containers(operator.extra_request or {})))
    findings = check_request(tool, given, extra=operator.extra_request, rendered=True)
    timeout = operator.timeout
    return JobSpec(
        tool=tool,
        request=request,
        conn_id=operator.magic_hour_conn_id,
        output_path=str(operator.output_path or ""),
        deferrable=operator.deferrable,
        timeout=seconds(timeout) if timeout is not None else tool.polling_class(request).timeout_s,
        findings=replace(findings, errors=(*operator._argument_errors, *broken, *findings.errors)),
        on_unknown_submission=operator.on_unknown_submission,
        on_clear=operator.on_clear,
    )


def _merged(request: Mapping[str, Any], extra: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return ``request`` with ``extra`` merged in deeply; lists are replaced."""
    result = dict(request)
    for name, value in (extra or {}).items():
        before = result.get(name)
        result[name] = _merged(before, value) if isinstance(before, Mapping) and isinstance(value, Mapping) else value
    return result


def _done(
    operator: MagicHourOperator, context: Context, outcome: dict[str, Any] | Deferral, spec: JobSpec
) -> dict[str, Any]:
    if isinstance(outcome, Deferral):
        _defer(operator, outcome, spec)
    emit_outlet_events(operator.outlets, context, outcome)
    return outcome


def _defer(operator: MagicHourOperator, deferral: Deferral, spec: JobSpec) -> NoReturn:
    # Imported here: airflow.triggers belongs to airflow-core, which a worker that never defers need not load.
    from magic_hour_provider.triggers.job import MagicHourJobTrigger

    record, now = deferral.record, clock.current().now()
    pace = spec.tool.polling_class(spec.request)
    trigger = MagicHourJobTrigger(
        kind=record.kind,
        job_id=record.job_id or "",
        tool=record.tool,
        conn_id=operator.magic_hour_conn_id,
        submitted_at=record.submitted_at if record.submitted_at is not None else now,
        deferred_at=now,
        deadline=deferral.deadline,
        polling=pace.name if pace != default_polling_class(record.tool, record.kind) else None,
    )
    operator.defer(trigger=trigger, method_name="execute_complete", kwargs={"deadline": deferral.deadline})
