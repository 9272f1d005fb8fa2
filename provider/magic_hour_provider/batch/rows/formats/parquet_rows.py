"""Rows of Parquet, read in small batches. pyarrow is an extra of this package."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.batch.rows.formats.row import Row
from magic_hour_provider.inputs.fields import shorten, strip_blanks

_ROWS = 64  # held at a time: a cell may be long


class Nanoseconds:
    """Stands for a time that Python has no value for; as any other time, it cannot be sent."""


def read_parquet_rows(file: Any) -> Iterator[Row]:
    """Yield the rows of a Parquet file; null is not given, in structs too. Numbers are places, from 1.

    :param file: open for reading bytes anywhere.
    :raises InvalidInputError: pyarrow is not installed, or two columns have one name.
    """
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise InvalidInputError(
            "Parquet is read by pyarrow, which is not installed",
            next_step="pip install 'airflow-provider-magic-hour[parquet]', or give the rows as .jsonl or .csv.",
        ) from None
    try:
        parquet = ParquetFile(file)
        names = [strip_blanks(name) for name in parquet.schema_arrow.names]
        for name in names:
            if names.count(name) > 1:
                raise InvalidInputError(f"it has two columns {shorten(name)}")
        number = 0
        for batch in parquet.iter_batches(batch_size=_ROWS, use_threads=False):
            columns = [_read_values(column) for column in batch.columns]
            for index in range(batch.num_rows):
                number += 1
                cells = {name: _without_nulls(column[index]) for name, column in zip(names, columns, strict=True)}
                yield Row(number, {name: cell for name, cell in cells.items() if cell is not None})
    except ArrowException as error:
        raise InvalidInputError(f"it is no Parquet that can be read ({shorten(str(error), 300)})") from error


def _read_values(column: Any) -> list[Any]:
    try:
        values: list[Any] = column.to_pylist()
        return values
    except ValueError:
        return [_read_value(cell) for cell in column]


def _read_value(cell: Any) -> Any:
    try:
        return cell.as_py()
    except ValueError:
        return Nanoseconds()


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(inner) for name, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value
