"""What the tests of the money print at their end: one table of cells, each with its creates, credits and outcome."""

from __future__ import annotations

from collections.abc import Iterator

_TABLES: dict[str, dict[tuple[str, ...], tuple[str, ...]]] = {}


def note(table: str, cell: tuple[str, ...], *, creates: int, credits: int, outcome: str) -> None:
    """Keep one cell for the report.

    :param table: heading of its table.
    :param cell: what tells it from the others, from left to right.
    :param creates: paid requests that the simulator accepted.
    :param credits: credits that stay charged.
    :param outcome: how it ended, in a few words. A cell that is met again, with the other ledger, must end the same.
    """
    _keep(table, cell, (str(creates), str(credits), outcome))


def seen() -> dict[str, dict[tuple[str, ...], tuple[str, ...]]]:
    """Return everything that was noted in this process, in plain values."""
    return _TABLES


def take(tables: dict[str, dict[tuple[str, ...], tuple[str, ...]]]) -> None:
    """Keep what another process has seen."""
    for table, cells in tables.items():
        for cell, result in cells.items():
            _keep(table, cell, result)


def _keep(table: str, cell: tuple[str, ...], result: tuple[str, ...]) -> None:
    assert _TABLES.setdefault(table, {}).setdefault(cell, result) == result, (table, cell)


def lines() -> Iterator[str]:
    """Return the report, line by line; neighbours that differ only in the last word of their cell are one row."""
    for table, cells in _TABLES.items():
        yield f"{table}: cell | creates | credits | outcome"
        rows: dict[tuple[tuple[str, ...], tuple[str, ...]], list[str]] = {}
        for cell, result in cells.items():
            rows.setdefault((cell[:-1], result), []).append(cell[-1])
        texts = [(", ".join([*head, " and ".join(last)]), *result) for (head, result), last in rows.items()]
        widths = [max(len(text[column]) for text in texts) for column in range(3)]
        for text in texts:
            yield "  " + " | ".join([*(part.ljust(width) for part, width in zip(text, widths, strict=False)), text[3]])
