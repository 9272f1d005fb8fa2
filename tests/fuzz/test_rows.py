"""Any file of rows: its items, or an error of ours that names the file; before anything is paid for."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from helpers.fuzz import anything, assert_linear, fuzz, one_of_these, texts, write
from helpers.rows import bodies, reading
from magic_hour_provider.api.errors import InvalidInputError, MagicHourError

SHARED = {"style": {"prompt": "On a beach"}, "image_count": 1}
TOOL = "ai-image-generator"
NAMES = ("sku", "style.prompt", "image_count", "style", "name", "style.prompt.x", "a.0.b", "a.1", "a[0]", "x" * 200, "")
NAMES += ("a.999999.b", "style..prompt", '"', "sep=;", "٣", ".".join("a" * 3000), "0", "a[9999999]")
CELLS = (
    "a cat",
    "5",
    "5.0",
    "1e400",
    "9" * 6000,
    "nan",
    '{"a": 1}',
    "[" * 5000,
    "TRUE",
    " ",
    '"',
    'x"y',
    "\r",
    "x" * 9000,
)
cell = st.one_of(one_of_these(CELLS), texts)
name = st.one_of(one_of_these(NAMES), one_of_these(NAMES[:4]), texts)


def write_csv(header: list[str], rows: list[list[str]], marks: tuple[str, str, bool], encoding: str) -> bytes:
    """Return a file, with or without quotes around its cells."""
    delimiter, end, is_quoted = marks
    cells = [[f'"{one.replace(chr(34), chr(34) * 2)}"' if is_quoted else one for one in row] for row in [header, *rows]]
    return end.join(map(delimiter.join, cells)).encode(encoding, "surrogatepass")


MARKS = st.tuples(st.sampled_from(list(",;\t|")), st.sampled_from(["\n", "\r\n", "\r"]), st.booleans())
ENCODINGS = st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
CSV = st.builds(
    write_csv, st.lists(name, max_size=4), st.lists(st.lists(cell, max_size=5), max_size=4), MARKS, ENCODINGS
)
ROW = st.dictionaries(name, st.one_of(cell, anything), max_size=3)
JSON = st.builds(write, st.one_of(st.lists(st.one_of(ROW, ROW, anything), max_size=3), anything), ENCODINGS)
LINES = st.lists(st.builds(write, st.one_of(ROW, anything)), max_size=3).map(b"\n".join)


def read(data: bytes, form: str, item_id: str | None) -> list[dict[str, Any]]:
    """Return what is sent for the rows of a file; none where it is refused."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"rows.{form}"
        path.write_bytes(data)
        try:
            with reading(str(path), tool=TOOL, request=SHARED, item_id=item_id) as items:
                assert len(items) + items.duplicates == items.rows
                return bodies(items)
        except InvalidInputError as error:
            assert "rows." in str(error) or "requests" in str(error), error
            assert len(str(error).encode()) < 60_000
            return []


@fuzz(
    file=st.one_of(
        st.tuples(st.one_of(CSV, CSV, CSV, st.binary(max_size=80)), st.just("csv")),
        st.tuples(st.one_of(JSON, st.binary(max_size=40)), st.just("json")),
        st.tuples(st.one_of(LINES, st.binary(max_size=40)), st.just("jsonl")),
    ),
    item_id=st.one_of(st.none(), one_of_these(["sku", "name", "style.prompt"])),
)
def test_any_file_of_rows(file: tuple[bytes, str], item_id: str | None) -> None:
    """Each row is a request that is JSON and can be sent, or the file is refused: no storage is to blame."""
    for body in read(*file, item_id):
        json.dumps(body, allow_nan=False, ensure_ascii=False).encode()


@fuzz(rows=st.lists(st.one_of(ROW, ROW, anything), max_size=3), item_id=st.one_of(st.none(), st.just("sku")))
def test_any_list_of_rows(rows: list[Any], item_id: str | None) -> None:
    """What an earlier task returns, of any shape: requests, or a refusal in words."""
    try:
        with reading(rows, tool=TOOL, request=SHARED, item_id=item_id) as items:
            for body in bodies(items):
                json.dumps(body, allow_nan=False, ensure_ascii=False).encode()
    except MagicHourError as error:
        str(error).encode()


def csv_of(header: str, *rows: str) -> bytes:
    """Return a file of lines."""
    return "\n".join([header, *rows, ""]).encode()


SIZES = {
    "rows": lambda n: csv_of("sku,style.prompt", *(f"{i},a cat" for i in range(n))),
    "columns": lambda n: csv_of(",".join(f"x{i}" for i in range(n)), ",".join("5" for _ in range(n))),
    "elements": lambda n: csv_of(",".join(f"a.{i}" for i in range(n)), ",".join("5" for _ in range(n))),
    "quotes": lambda n: csv_of("sku,x", '"' * n),
    "one cell": lambda n: csv_of("sku,x", f'1,"{"y, " * n}"'),
    "blank lines": lambda n: b"\n" * n + csv_of("sku,x", "1,2"),
    "depth": lambda n: csv_of(".".join("a" * n), "1"),
    "brackets": lambda n: csv_of("a" + "[1" * n, "1"),
    "bad rows": lambda n: csv_of("sku,x", *(f'{i},"x"y' for i in range(n))),
}


@pytest.mark.parametrize("make", SIZES.values(), ids=SIZES)
def test_a_file_of_any_size_is_linear_work(make):
    """Eight times as many rows, columns or characters are about eight times the work."""
    assert_linear(lambda data: read(data, "csv", None), make, 100)
