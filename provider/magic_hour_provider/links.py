"""The link from a task to its job in Magic Hour's library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperatorLink, XCom

from magic_hour_provider.xcoms import BATCH_XCOM, JOB_XCOM, LINK_NAME, LINK_XCOM

if TYPE_CHECKING:
    from airflow.sdk.types import TaskInstanceKey


LIBRARY = "https://magichour.ai/my-library"


class MagicHourLink(BaseOperatorLink):
    """Opens the job's page, where a person can also cancel a video; of a batch, the library with all of its jobs."""

    name = LINK_NAME
    xcom_key = LINK_XCOM

    def get_link(self, operator: Any, *, ti_key: TaskInstanceKey) -> str:
        """Return the job's library address, or nothing while there is no job.

        Airflow asks on the worker when an attempt ends and keeps the address under :attr:`xcom_key`; while the job
        runs, the operator has put it there itself.
        """
        # Only the one that there can be: Airflow logs an error for an XCom that is missing.
        is_batch = getattr(getattr(operator, "operator_class", operator), "is_batch", False)
        reported = XCom.get_value(ti_key=ti_key, key=BATCH_XCOM if is_batch else JOB_XCOM)
        if not isinstance(reported, dict):
            return ""
        return LIBRARY if is_batch else reported.get("library_url") or ""
