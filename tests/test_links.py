"""The link asks Airflow only for what its task can have reported: of a missing XCom Airflow logs an error."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from magic_hour_provider import links
from magic_hour_provider.links import LIBRARY, MagicHourLink
from magic_hour_provider.operators.batch import MagicHourBatchOperator
from magic_hour_provider.operators.magic_hour import MagicHourOperator

PAGE = "https://magichour.ai/my-library?imageId=abc"


@pytest.mark.parametrize(
    ("operator_class", "key", "reported", "address"),
    [
        (MagicHourOperator, "magic_hour_job", {"library_url": PAGE}, PAGE),
        (MagicHourOperator, "magic_hour_job", {"library_url": None}, ""),
        (MagicHourOperator, "magic_hour_job", None, ""),
        (MagicHourBatchOperator, "magic_hour_batch", {"items": 2}, LIBRARY),
        (MagicHourBatchOperator, "magic_hour_batch", None, ""),
    ],
)
@pytest.mark.parametrize("is_mapped", [False, True])
def test_one_xcom_is_read(monkeypatch, operator_class, key, reported, address, is_mapped):
    """That of a job, or that of a batch, also where the task is mapped."""
    asked: list[str] = []

    def get_value(*, ti_key: object, key: str) -> object:
        asked.append(key)
        return reported

    monkeypatch.setattr(links, "XCom", SimpleNamespace(get_value=get_value))
    operator = SimpleNamespace(operator_class=operator_class) if is_mapped else operator_class.__new__(operator_class)
    assert MagicHourLink().get_link(operator, ti_key=None) == address
    assert asked == [key]
