"""Operator: an agent that may use Magic Hour, and pay for it within limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from airflow.providers.common.ai.operators.agent import AgentOperator
from airflow.providers.common.ai.toolsets.hook import HookToolset
from airflow.providers.common.compat.sdk import get_current_context
from airflow.sdk import Context

from magic_hour_provider import DEFAULT_CONN_ID
from magic_hour_provider.agents.paying_task import PayingTask
from magic_hour_provider.hooks.magic_hour import MagicHourHook
from magic_hour_provider.links import MagicHourLink

FREE_METHODS = ("get_account", "list_saved_items", "describe_tool", "estimate", "get_job")
"""The hook's methods that cost nothing: also for a ``HookToolset`` of one's own."""


class MagicHourAgentHook(MagicHourHook):
    """The free methods of the hook, and one that pays, for the agent of a :class:`MagicHourAgentOperator`."""

    def make(self, tool: str, request: dict[str, Any]) -> dict[str, Any]:
        """Make pictures, clips or sound with a tool of Magic Hour, which costs credits, and return where the files are.
        The same request again returns the same files and costs nothing. See describe_tool for what a request may hold.

        :param tool: name of the tool, such as ai-image-generator.
        :param request: the JSON body that is sent to the tool. Where it takes a file, give a public link, or a file
            that was returned before.
        :returns: ``status``: ``complete`` with ``files``; ``failed`` or ``refused`` with a ``message``, and nothing is
            charged for it; or ``running``: the same request again waits for it.
        :raises AirflowException: the agent is stopped.
        """
        task = get_current_context()["task"]
        if not isinstance(task, PayingTask):
            raise TypeError("Only the agent of a MagicHourAgentOperator may pay.")
        return task.make(tool, request)


class MagicHourAgentOperator(PayingTask, AgentOperator):
    """Runs an agent that may use Magic Hour: free methods of the hook, and one that makes media and pays for it.

    Each request is recorded under ``output_path``, as an item of a batch is: asked for again, by this attempt, a retry
    or another run with the same folder, it returns the job that is paid for. If it is unknown whether a request has
    made a job, the agent is stopped, and so is every attempt after it, until a person says what to do.

    :param tools: slugs of the tools that it may use.
    :param output_path: folder for files and records: any ``ObjectStoragePath``; may be a template.
    :param max_credits: limit in credits of what this task instance is charged, over all its tries.
    :param magic_hour_conn_id: the connection; may be a template.
    :param extra_request: merged deeply over each request and never checked: what the agent may not choose.
    :param timeout: how long a job is waited for, in seconds or as a timedelta, with the worker held. A job that takes
        longer keeps running, and the same request waits for it again.
    :param toolsets: more of what the agent may use.
    :param kwargs: of ``AgentOperator``.
    :raises InvalidInputError: (when the DAG is parsed) an argument cannot work.
    """

    template_fields: Sequence[str] = (*AgentOperator.template_fields, "output_path", "magic_hour_conn_id")
    operator_extra_links = (*AgentOperator.operator_extra_links, MagicHourLink())

    def __init__(
        self,
        *,
        tools: Sequence[str],
        output_path: str,
        max_credits: int,
        magic_hour_conn_id: str = DEFAULT_CONN_ID,
        extra_request: Mapping[str, Any] | None = None,
        timeout: float | timedelta = 900.0,
        toolsets: Sequence[Any] | None = None,
        **kwargs: Any,
    ) -> None:
        hook = MagicHourAgentHook(magic_hour_conn_id)
        own = HookToolset(hook, allowed_methods=["make", *FREE_METHODS], tool_prefix="magic_hour")
        super().__init__(toolsets=[*(toolsets or ()), own], **kwargs)
        self.tools = tools
        self.output_path = output_path
        self.max_credits = max_credits
        self.magic_hour_conn_id = magic_hour_conn_id
        self.extra_request = extra_request
        self.timeout = timeout
        self.check_arguments()

    def execute(self, context: Context) -> Any:
        """Run the agent."""
        with self.paying(context):
            return super().execute(context)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Run the rest of it, after a person's approval, say."""
        with self.paying(context):
            return super().resume_execution(next_method, next_kwargs, context)

    def on_kill(self) -> None:
        """Stop the agent, and let it pay for nothing more."""
        self.stop_paying()
        super().on_kill()
