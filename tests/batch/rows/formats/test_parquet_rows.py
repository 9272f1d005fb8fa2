"""Rows of Parquet."""

from __future__ import annotations

import io
import sys
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow
import pytest
from pyarrow.parquet import write_table

from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.batch.rows.formats.parquet_rows import Nanoseconds, read_parquet_rows
from magic_hour_provider.batch.rows.formats.row import Row


def stored(table: pyarrow.Table, **options: Any) -> io.BytesIO:
    """Return a file that holds a table."""
    file = io.BytesIO()
    write_table(table, file, **options)
    file.seek(0)
    return file


def test_rows():
    """Cells have their types; null is not given, inside structs too; in a list it is an element."""
    table = pyarrow.table(
        {
            " sku ": [7, None],
            "style": [{"prompt": "a cat", "mode": None}, None],
            "count": [Decimal("1.50"), None],
            "day": [date(2030, 1, 2), None],
            "names": [["a", None], []],
        }
    )
    assert list(read_parquet_rows(stored(table))) == [
        Row(
            1,
            {
                "sku": 7,
                "style": {"prompt": "a cat"},
                "count": Decimal("1.50"),
                "day": date(2030, 1, 2),
                "names": ["a", None],
            },
        ),
        Row(2, {"names": []}),
    ]


def test_more_rows_than_are_read_at_once():
    """Every row comes once, in order, over the ends of batches and row groups."""
    table = pyarrow.table({"n": list(range(1000))})
    rows = list(read_parquet_rows(stored(table, row_group_size=77)))
    assert [(row.number, row.values["n"]) for row in rows] == [(n + 1, n) for n in range(1000)]


def test_times_to_the_nanosecond():
    """Python has none: what can be read is a time, the rest a value that cannot be sent either."""
    table = pyarrow.table({"at": pyarrow.array([1000, 1, None], pyarrow.timestamp("ns"))})
    first, second, third = [row.values for row in read_parquet_rows(stored(table))]
    assert (first, third) == ({"at": datetime(1970, 1, 1, 0, 0, 0, 1)}, {})
    assert isinstance(second["at"], Nanoseconds)


def test_two_columns_of_one_name():
    """Only one of them would be sent."""
    table = pyarrow.table([pyarrow.array([1]), pyarrow.array([2])], names=["a", "a "])
    with pytest.raises(InvalidInputError, match="two columns 'a'"):
        list(read_parquet_rows(stored(table)))


@pytest.mark.parametrize("data", [b"", b"PAR1" + b"x" * 100, b"a,b\n1,2\n"])
def test_what_is_no_parquet(data):
    """Is refused in one sentence."""
    with pytest.raises(InvalidInputError, match="it is no Parquet that can be read"):
        list(read_parquet_rows(io.BytesIO(data)))


def test_a_file_that_was_cut():
    """The end is missing, where Parquet has its table of contents."""
    data = stored(pyarrow.table({"n": list(range(1000))})).getvalue()
    with pytest.raises(InvalidInputError, match="it is no Parquet that can be read"):
        list(read_parquet_rows(io.BytesIO(data[:-10])))


def test_without_pyarrow(monkeypatch):
    """It is said how to install it."""
    for name in ("pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InvalidInputError, match="pyarrow, which is not installed") as caught:
        list(read_parquet_rows(io.BytesIO()))
    assert "pip install 'airflow-provider-magic-hour[parquet]'" in str(caught.value)
