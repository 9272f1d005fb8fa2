"""The way back for a person, in words: where an instruction is given, and what is entered there."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any

from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_2_PLUS

from magic_hour_provider.ledger.record import ADOPT, NOT_KEPT, REGENERATE, describe_download, describe_task_state

COMMAND = "airflow magic-hour" if AIRFLOW_V_3_2_PLUS else "python -m magic_hour_provider"


def name_for_command(ti: Any) -> str:
    """Return the arguments by which the commands know a task instance, quoted for a shell.

    :param ti: Airflow's task instance, or anything else with its four names.
    """
    index = () if ti.map_index is None or ti.map_index < 0 else ("--map-index", str(ti.map_index))
    return shlex.join((ti.dag_id, ti.run_id, ti.task_id, *index))


@dataclass(frozen=True)
class Directions:
    """Where the instructions of one task instance are given.

    :param folder: of its files; None: Airflow's task state store.
    :param has_tab: whether the Media tab gives them too.
    :param is_discarded: whether a clear discards them, unless it is asked to keep them.
    :param target: :func:`name_for_command` of the task instance; empty: not known.
    :param is_kept: whether there is such a place; without one a task can only pay again.
    """

    folder: str | None = None
    has_tab: bool = True
    is_discarded: bool = False
    target: str = ""
    is_kept: bool = True

    def locate(self, key: str) -> str:
        """Name a key's place."""
        return describe_task_state(key) if self.folder is None else f"the file '{self.folder}/{key}'"

    @property
    def clear(self) -> str:
        """What a person does after an instruction was given by hand."""
        return 'clear the task with "Keep task state" ticked' if self.is_discarded else "clear the task"

    def choose(self, job_id: str | None = None) -> str:
        """Say how to resume a job or to make a new one, as whole sentences.

        :param job_id: the job, if it is known.
        """
        if not self.is_kept:
            return f"{NOT_KEPT} {describe_download(job_id)}"
        tab = self._tab("paste the id or library address of the job, or ask for a new one")
        commands = self._commands(self._adopt_command(job_id), self._regenerate_command)
        by_hand = f"By hand: {self._adopt(job_id)}; for a new one {self._regenerate()}; then {self.clear}."
        return f"{tab}{commands}{by_hand}"

    def adopt(self, job_id: str) -> str:
        """Say how to resume a job that is known, as whole sentences."""
        if not self.is_kept:
            return f"{NOT_KEPT} {describe_download(job_id)}"
        command = self._commands(self._adopt_command(job_id))
        return f"{self._tab(f'paste {job_id}')}{command}By hand: {self._adopt(job_id)}, and {self.clear}."

    def regenerate(self) -> str:
        """Say how to make a new job, as whole sentences."""
        if not self.has_tab:
            return f"For a new one {self._regenerate()}, and {self.clear}."
        command = self._commands(self._regenerate_command)
        return f"For a new one open the task's Media tab. {command}By hand: {self._regenerate()}, and {self.clear}."

    def _tab(self, what: str) -> str:
        return f"Open the task's Media tab: {what}. " if self.has_tab else ""

    def _commands(self, *commands: str) -> str:
        """Return lines to paste into a shell where the API server runs, which reaches what its tab reaches."""
        return f"On the command line: {'; or '.join(commands)}. " if self.has_tab and self.target else ""

    def _adopt_command(self, job_id: str | None) -> str:
        return f"{COMMAND} adopt {self.target} {job_id or 'JOB'}"

    @property
    def _regenerate_command(self) -> str:
        return f"{COMMAND} regenerate {self.target}"

    def _adopt(self, job_id: str | None) -> str:
        if self.folder is not None:
            what = f"{job_id} (or the job's library address)" if job_id else "the job's id or library address"
            return f"to resume the job put {what} into {self.locate(ADOPT)}"
        value = f'"{job_id}", with the quotes' if job_id else 'its id in double quotes, as in "abc123"'
        return (
            f"to resume the job, under Storage → Task State Store → Add, enter key {ADOPT}, value {value} (its library "
            "address works as well)"
        )

    def _regenerate(self) -> str:
        if self.folder is not None:
            return f"put true into {self.locate(REGENERATE)}"
        return f"enter key {REGENERATE}, value true, under Storage → Task State Store → Add"
