"""The way back for a person, in words: where an instruction is given, and what is entered there."""

from __future__ import annotations

from dataclasses import dataclass

from magic_hour_provider.ledger.record import ADOPT, REGENERATE, describe_task_state


@dataclass(frozen=True)
class Directions:
    """Where the instructions of one task instance are given.

    :param folder: of its files; None: Airflow's task state store.
    :param has_tab: whether the Media tab gives them too.
    :param is_discarded: whether a clear discards them, unless it is asked to keep them.
    """

    folder: str | None = None
    has_tab: bool = True
    is_discarded: bool = False

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
        return (
            f"{self._tab('paste the id or library address of the job, or ask for a new one')}"
            f"{self._adopt(job_id)}; for a new one {self._regenerate()}; then {self.clear}."
        )

    def adopt(self, job_id: str) -> str:
        """Say how to resume a job that is known, as whole sentences."""
        return f"{self._tab(f'paste {job_id}')}{self._adopt(job_id)}, and {self.clear}."

    def regenerate(self) -> str:
        """Say how to make a new job, as whole sentences."""
        tab = "open the task's Media tab; or by hand " if self.has_tab else ""
        return f"For a new one {tab}{self._regenerate()}, and {self.clear}."

    def _tab(self, what: str) -> str:
        return f"Open the task's Media tab: {what}. By hand: " if self.has_tab else "By hand: "

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
