"""The values of one attempt: what the user asked for, and what is left to wait for in the triggerer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

from magic_hour_provider.api.catalog import PollingClass, Tool
from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.api.validation import (
    Findings,
    check_request,
    find_unsendable,
    normalize_request,
    to_json_values,
)
from magic_hour_provider.execution.deadline import Deadline
from magic_hour_provider.inputs.fields import Input, find_inputs, with_values
from magic_hour_provider.inputs.sources import input_fingerprint, input_location
from magic_hour_provider.ledger.fingerprint import compute_fingerprint, describe_item, field_of
from magic_hour_provider.ledger.record import Record
from magic_hour_provider.triggers.ending.task_end import TaskEnd

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger


@dataclass(frozen=True)
class PreparedRequest:
    """A rendered request, read once: its body, its files, and what is wrong with it.

    :param body: the JSON body, ``extra_request`` merged in; files are still the paths and results that were given.
    :param inputs: the files in it.
    :param findings: what is wrong with it; matters only if it is sent.
    """

    body: Mapping[str, Any]
    inputs: Sequence[Input]
    findings: Findings


def prepare_request(
    tool: Tool, request: Mapping[str, Any], extra: Mapping[str, Any], errors: Sequence[str] = ()
) -> PreparedRequest:
    """Read a rendered request.

    :param extra: merged deeply over it (lists replaced) and never checked.
    :param errors: what is known to be wrong with it already; comes first in the findings.
    :raises InvalidInputError: it is nested more deeply than can be read, or holds itself.
    """
    try:
        return _prepare_request(tool, request, extra, errors)
    except RecursionError:
        raise InvalidInputError(f"The request of {tool.slug} is nested too deeply, or holds itself.") from None
    except ValueError as error:  # a number of thousands of digits, which Python does not write
        raise InvalidInputError(f"The request of {tool.slug} cannot be read: {error}.") from None


def _prepare_request(
    tool: Tool, request: Mapping[str, Any], extra: Mapping[str, Any], errors: Sequence[str]
) -> PreparedRequest:
    body, inputs = _with_uris(tool, normalize_request(tool, request, rendered=True))
    findings = check_request(tool, body, extra=extra, rendered=True)
    if extra:
        body, inputs = _with_uris(tool, merge_request(body, to_json_values(extra)))
    unsendable = find_unsendable(body, {one.path for one in inputs})
    found = _once_each(errors, unsendable, findings.errors)
    return PreparedRequest(body, inputs, findings._replace(errors=found))


def _once_each(*sources: Iterable[str]) -> tuple[str, ...]:
    """Return all errors but those of a field that a source before has named: its cause is said already."""
    found: dict[str, None] = {}
    for source in sources:
        named = {error.split("` ")[0] for error in found}
        found.update((error, None) for error in source if error.split("` ")[0] not in named)
    return tuple(found)


def _with_uris(tool: Tool, request: Mapping[str, Any]) -> tuple[dict[str, Any], list[Input]]:
    inputs = find_inputs(tool, request)
    return with_values(request, [(one, one.value) for one in inputs]), inputs


def merge_request(request: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return a request with another one merged deeply over it; lists are replaced.

    :param over: whose values count where both have one.
    """
    result = dict(request)
    for name, value in over.items():
        before = result.get(name)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            value = merge_request(before, value)
        result[name] = value
    return result


@dataclass(frozen=True)
class JobSpec:
    """What the user asked of the operator, rendered.

    :param output_path: folder for files, or empty.
    :param wait_for_completion: False: submit, record, return.
    :param deferrable: False: wait on the worker.
    :param timeout: seconds this attempt waits; None: what fits the tool.
    :param on_unknown_submission: ``fail`` or ``resubmit``.
    :param on_clear: ``reuse`` or ``regenerate``.
    :param max_credits: the most that the job may cost by its estimate; None: there is no limit.
    :param max_credits_unknown: ``refuse`` or ``allow``: a job of which nobody knows what it costs, under a limit.
    :param max_credits_per_run: the most that all tasks of the run together may pay; None: what DAG or setting says.
    :param input_transfer: ``upload`` or ``presign``: how stored files reach Magic Hour; None: as the setting says.
    :param execution_timeout: Airflow's limit of one attempt; None: there is none.
    :param may_store_nothing: False: nobody said that ``output_path`` should be empty.
    :param is_own_field: of a mapped task: whether a field of the fingerprint differs by map index.
    :param item_arguments: digest of what a function was given for its map index; None: not known, or there is none.
    """

    tool: Tool
    request: PreparedRequest
    conn_id: str
    output_path: str
    wait_for_completion: bool
    deferrable: bool
    timeout: float | None
    on_unknown_submission: str
    on_clear: str
    max_credits: int | None = None
    max_credits_unknown: str = "refuse"
    max_credits_per_run: int | None = None
    input_transfer: str | None = None
    execution_timeout: timedelta | None = None
    may_store_nothing: bool = True
    is_own_field: Callable[[str], bool] = lambda field: False  # noqa: ARG005
    item_arguments: str | None = None

    @property
    def polling_class(self) -> PollingClass:
        """How the job is polled."""
        return self.tool.polling_class(self.request.body)

    def fingerprint(self, host: str) -> dict[str, str]:
        """Return what makes the request another one than that of an earlier attempt, with its files' identities.

        That of a mapped task also has what its item is known by when its files cannot be read.

        :param host: base URL of the client.
        """
        identities = [(one, input_fingerprint(one)) for one in self.request.inputs]
        body = with_values(self.request.body, identities)
        made = compute_fingerprint(body, connection=self.conn_id, host=host, tool=self.tool.slug)
        own = [name for name in made if self.is_own_field(name)]
        return made | describe_item(own, self._sources(), self.item_arguments) if own else made

    def _sources(self) -> dict[str, str]:
        """Return digests of where the request's files are, by the field that they are in."""
        inputs = self.request.inputs
        located = compute_fingerprint(with_values(self.request.body, [(one, input_location(one)) for one in inputs]))
        return {name: located[name] for one in inputs if one.uri is not None and (name := field_of(one.path))}

    @property
    def timeout_s(self) -> float:
        """How long this attempt waits, in seconds."""
        return self.timeout if self.timeout is not None else self.polling_class.timeout_s


class Stoppable(Protocol):
    """The attempt that runs, as ``on_kill`` sees it."""

    def describe_stop(self) -> str | None:
        """Say what becomes of the job when the attempt is killed; None: it has none."""


class JobTask(Protocol):
    """The operator, as an attempt sees it."""

    output_path: str
    """Folder for files, rendered; or empty."""
    output_template: str
    """The same before it was rendered."""
    attempt: Stoppable | None
    """The attempt that runs; set by it."""

    @property
    def log(self) -> FilteringBoundLogger:
        """The task's log."""

    def job_spec(self) -> JobSpec:
        """Return what the user asked for.

        It is called when the ledger has been read, not before: what is wrong with the request must not hide what was
        paid for.

        :raises InvalidInputError: an argument cannot work.
        """


@dataclass(frozen=True)
class Deferral:
    """The end of a worker's part: the job is still active, and the triggerer continues to poll it.

    :param record: of the job.
    :param conn_id: the connection whose key finds it.
    :param deadline: when to give up.
    :param polling: name of the polling class, where it is not the one that tool and kind have by default.
    :param task_end: for the trigger, where it may end the task; None: a worker ends it.
    """

    record: Record
    conn_id: str
    deadline: Deadline
    polling: str | None
    task_end: TaskEnd | None = None
