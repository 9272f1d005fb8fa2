"""The mark that an attempt leaves as it begins: it shows that a place keeps what it is given, and how far it came."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from magic_hour_provider.xcoms import (
    INTENT_PREFIX,
    REFUNDED_PREFIX,
    RETURN_XCOM,
    SUBMITTED_PREFIX,
    UNPAID_XCOM,
    read_settled,
)

ATTEMPT = "magic_hour.attempt"


@dataclass(frozen=True)
class AttemptMark:
    """The beginning of one attempt, written beside the record.

    :param id: Airflow's id of the task instance: a retry or a clear gives it another one, the same try keeps it.
    :param try_number: 1 is the first attempt of a run.
    :param clear_number: how often something in the DAG run was cleared.
    :param tag: of the paid request that was declared; None: none was, or it was withdrawn.
    :param refused: whether it found the record of a deleted run: only a person can say what becomes of that.
    :param lost: why it took its record for lost; None: it did not. The XComs that showed it do not outlive an attempt.
    :param lost_job_ids: of the jobs that those named.
    """

    id: str
    try_number: int
    clear_number: int
    tag: str | None = None
    refused: bool = False
    lost: str | None = None
    lost_job_ids: tuple[str, ...] = ()

    @classmethod
    def of(cls, context: Mapping[str, Any], clear_number: int) -> AttemptMark:
        """Return the mark of the attempt that runs."""
        ti = context["ti"]
        return cls(str(getattr(ti, "id", "")), getattr(ti, "try_number", None) or 0, clear_number)

    @classmethod
    def read(cls, value: Any) -> AttemptMark | None:
        """Read what a place holds; None: nothing that could be a mark."""
        try:
            mark = cls(**{name: value[name] for name in cls.__dataclass_fields__ if name in value})
            return replace(mark, lost_job_ids=tuple(mark.lost_job_ids))
        except TypeError:
            return None

    def to_json(self) -> dict[str, Any]:
        """Return what a place holds of it; :meth:`read` reads it back."""
        return asdict(self) | {"lost_job_ids": list(self.lost_job_ids)}

    def finds_deleted_run(self, before: AttemptMark | None) -> bool:
        """Whether the record that this attempt finds in a file is of a run that was deleted and made again.

        A first attempt finds none of its own run, unless the same try was begun before: a resumed task does not ask,
        and every retry, clear and restored task has a higher try number (Airflow 3.3.2, ``models/dagrun.py``,
        ``schedule_tis``). ``start_date`` says nothing, as each clear of a finished run resets it.

        :param before: the mark beside the record.
        """
        if before is not None and before.refused:
            return True
        return self.try_number <= 1 and (before is None or not self.id or before.id != self.id)


@dataclass(frozen=True)
class EarlierXComs:
    """What the attempt before pushed, by its keys: Airflow names them to the next one, which removes them.

    :param tags: of the requests that it was about to pay for.
    :param job_ids: of the jobs that it had, but for those that were refunded.
    :param refunded: of those: without their record there is nothing that could be paid twice.
    :param is_known: whether Airflow names them at all.
    :param knew_unpaid: whether it knew that nothing was paid for before it that is not refunded.
    :param has_succeeded: whether that one returned a result.
    :param settled: what each job was charged, in credits, by its id, whose task a trigger has ended as it was complete
        and nothing was to be stored.
    """

    tags: tuple[str, ...] = ()
    job_ids: tuple[str, ...] = ()
    refunded: tuple[str, ...] = ()
    is_known: bool = False
    knew_unpaid: bool = False
    has_succeeded: bool = False
    settled: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, ti: Any) -> EarlierXComs:
        """Read them from what Airflow's API server said as this attempt began.

        :param ti: Airflow's task instance.
        """
        # Tested on Airflow 3.3.2; an Airflow without this attribute names none.
        keys = getattr(getattr(ti, "_ti_context_from_server", None), "xcom_keys_to_clear", None)
        if not isinstance(keys, list | tuple):
            return cls()
        refunded = tuple(_suffixes(keys, REFUNDED_PREFIX))
        job_ids = tuple(job_id for job_id in _suffixes(keys, SUBMITTED_PREFIX) if job_id not in refunded)
        return cls(
            tuple(_suffixes(keys, INTENT_PREFIX)),
            job_ids,
            refunded,
            is_known=True,
            knew_unpaid=UNPAID_XCOM in keys or bool(refunded),
            has_succeeded=RETURN_XCOM in keys,
            settled=read_settled(keys),
        )


def _suffixes(keys: Any, prefix: str) -> Iterator[str]:
    return (key.removeprefix(prefix) for key in keys if isinstance(key, str) and key.startswith(prefix))
