"""What a task needs so that an agent in it may pay: a folder with a record for each request, and a limit of credits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from magic_hour_provider import clock
from magic_hour_provider.api.catalog import Tool, get_tool
from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.batch.rows.checks import BadRowError, RowChecker
from magic_hour_provider.batch.rows.formats.row import Row
from magic_hour_provider.batch.run.agent_requests import AgentRequests
from magic_hour_provider.batch.spec import BatchSpec
from magic_hour_provider.hooks.exceptions import to_airflow_error
from magic_hour_provider.hooks.magic_hour import MagicHourHook
from magic_hour_provider.hooks.own_task import check_own_task, refuse_iteration, warn_of_test_run
from magic_hour_provider.inputs.fields import Input
from magic_hour_provider.inputs.saved_items import SavedItems
from magic_hour_provider.inputs.sources import check_inputs
from magic_hour_provider.operators.arguments import check_conn_id, check_options, to_seconds
from magic_hour_provider.storage.folders import check_keeps_records, clean_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.sdk import Context

_OWN_TASK = "Make it a task of its own."
_ONE_AT_A_TIME = threading.Lock()  # frameworks of agents call tools side by side, and each sees what the last one paid


class PayingTask:
    """Lets the agent of a task pay for requests, each once.

    Other tasks of the run, the Media tab and the command line see it as a batch whose items have no ids.
    """

    submits_jobs: ClassVar[bool] = True
    is_batch: ClassVar[bool] = True
    task_id: str
    log: Any
    execution_timeout: timedelta | None
    tools: Sequence[str]
    output_path: str
    max_credits: int
    extra_request: Mapping[str, Any] | None
    magic_hour_conn_id: str
    timeout: float | timedelta
    attempt: AgentRequests | None = None

    def check_arguments(self) -> None:
        """Refuse what cannot work, when the DAG is parsed.

        :raises InvalidInputError: the message names the argument.
        """
        if isinstance(self.tools, str) or not self.tools:
            raise InvalidInputError("tools must be a list with the names of the tools that the agent may use.")
        for tool in self.tools:
            get_tool(tool)
        if not self.output_path:
            raise InvalidInputError("output_path must be given: the agent's files and records are kept there.")
        check_keeps_records(clean_folder(self.output_path))
        if self.max_credits is None:
            raise InvalidInputError("max_credits must be given: an agent decides by itself what it pays for.")
        check_options(vars(self))

    @contextmanager
    def paying(self, context: Context) -> Iterator[None]:
        """Let the agent pay inside the block.

        :raises AirflowException: nothing can be paid for now, or of an earlier request it is unknown what it cost.
        """
        check_own_task(self, context, _OWN_TASK)
        refuse_iteration(self, context)
        warn_of_test_run(context, self.log, is_batch=True)
        folder = str(clean_folder(self.output_path) or "")
        attempt = AgentRequests(self.log, context, folder, self.max_credits)
        with attempt.reporting_failure():
            attempt.begin(MagicHourHook(check_conn_id(self.magic_hour_conn_id)).settings().timeout)
        self.attempt = attempt
        # adlfs, which opens Azure, leaves this thread with a loop that runs in another one: no agent can be run on it.
        asyncio.set_event_loop(None)
        try:
            yield
        finally:
            attempt.stop()  # the agent may have ended in the middle of a call: its task has a timeout, say
            with _ONE_AT_A_TIME:  # what is being sent is recorded before the process ends
                self.attempt = None
                attempt.end()

    def stop_paying(self) -> None:
        """Send nothing more: the task is killed. What is being sent is recorded, and jobs keep running."""
        if self.attempt is not None:
            self.attempt.stop()
            self.log.warning(
                "The agent is stopped. Its jobs keep running and stay charged; the next attempt pays for none of its "
                "requests twice."
            )

    def make(self, tool: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """Make what the agent asks for, or return what was made of the same request before.

        :param tool: slug of the tool.
        :param request: its JSON body.
        :returns: what the agent is answered; ``refused``, with a message, for what it can ask for in another way.
        :raises AirflowException: the agent is stopped: it is unknown what a request has cost, say.
        """
        with _ONE_AT_A_TIME:
            attempt = self.attempt  # here: a call that had to wait its turn may be left over from an agent that ended
            if attempt is None:
                raise to_airflow_error(InvalidInputError("The agent's task is not running."))
            with attempt.reporting_failure():
                try:
                    found = self._check_request(tool, request, attempt.output_path)
                except (InvalidInputError, BadRowError) as error:
                    return {"status": "refused", "message": f"Nothing was sent and nothing was charged: {error}"}
                return attempt.make(self._make_spec(found, request, attempt.output_path))

    def _check_request(self, tool: str, request: Mapping[str, Any], folder: str) -> Tool:
        """Return the tool of a request that can be sent.

        :raises InvalidInputError: it cannot, or is not allowed to.
        :raises BadRowError: the same.
        """
        if tool not in self.tools:
            raise InvalidInputError(f"the tools are {', '.join(self.tools)}; {str(tool)[:60]!r} is none of them.")
        found = get_tool(tool)
        inputs = RowChecker(found, {}, self.extra_request or {}, None).check(Row(1, request)).inputs
        for one in inputs:
            _check_place(one, folder)
        check_inputs(inputs, clock.current().now())
        if any(one.saved_item is not None for one in inputs):
            with MagicHourHook(self.magic_hour_conn_id).get_conn() as client:
                saved_items = SavedItems(client)
                for one in inputs:
                    if one.saved_item is not None:
                        saved_items.find_reference(one)
        return found

    def _make_spec(self, tool: Tool, request: Mapping[str, Any], folder: str) -> BatchSpec:
        return BatchSpec(
            tool=tool,
            requests=[request],
            request={},
            extra_request=self.extra_request or {},
            item_id=None,
            conn_id=check_conn_id(self.magic_hour_conn_id),
            output_path=folder,
            max_active_jobs=1,
            max_credits=self.max_credits,
            max_credits_per_run=None,
            canary=0,
            item_retries=1,
            max_failed_items=1,
            on_changed="new",
            on_unknown_submission="fail",
            deferrable=False,
            timeout=to_seconds(self.timeout),
            execution_timeout=self.execution_timeout,
            pays_unknown_prices=False,  # each request would be such a first one
        )


def _check_place(one: Input, folder: str) -> None:
    """Refuse a file that the agent has not made: a prompt could else have it send any file that the worker can read.

    :raises InvalidInputError: it is outside the agent's folder.
    """
    uri = one.uri
    is_inside = uri is not None and uri.startswith(f"{folder.rstrip('/')}/") and ".." not in uri.split("/")
    if uri is not None and not is_inside:
        raise InvalidInputError(
            f"{one.label} takes a public link, a saved item, a library address or a file that was made here before."
        )
