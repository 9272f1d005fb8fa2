"""CSV as people's programs write it."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.rows import parse
from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.batch.rows.formats.csv_rows import read_csv_rows
from magic_hour_provider.batch.rows.formats.row import Row

PLAIN = [Row(2, {"sku": "A", "style.prompt": "a cat"}), Row(3, {"sku": "B"})]


@pytest.mark.parametrize(
    "data",
    [
        b"sku,style.prompt\nA,a cat\nB,\n",
        b"sku,style.prompt\r\nA,a cat\r\nB,\r\n",
        b"sku,style.prompt\rA,a cat\rB,\r",
        b"\xef\xbb\xbfsku;style.prompt\r\nA;a cat\r\nB;\r\n;;;\r\n\r\n\r\n",
        b" sku , style.prompt \nA,a cat\nB\n",
        b'"sku"\t"style.prompt"\nA\ta cat\nB\t \n',
        b"sku,style.prompt,,\nA,a cat,,\nB,,,,,,\n",
        "sku;style.prompt\r\nA;a cat\r\nB;\r\n".encode("utf-16"),
    ],
    ids=["unix", "windows", "mac", "excel", "blanks in the header", "tabs", "columns without a name", "utf-16"],
)
def test_the_same_rows(data):
    """Delimiters, line ends, byte order marks and what is empty at the end of rows and files change nothing."""
    assert parse(read_csv_rows, data) == PLAIN


def test_excels_own_first_line():
    """Excel may name the delimiter on a line of its own, which is no header; lines are those of the file."""
    assert parse(read_csv_rows, "sep=;\r\nsku;a,b\r\nA;x\r\n") == [Row(3, {"sku": "A", "a,b": "x"})]
    assert parse(read_csv_rows, "sep=\t\r\nsku\tn\r\nA\tx\r\n") == [Row(3, {"sku": "A", "n": "x"})]


def test_quotes_and_the_lines_of_rows():
    """A quoted cell may hold delimiters, quotes and line ends of any kind; a row has the number of its first line."""
    data = 'sku,style.prompt\r\n\r\nA,"one, ""two""\r\nthree"\r\nB,5" screen\r\n'
    assert parse(read_csv_rows, data) == [
        Row(3, {"sku": "A", "style.prompt": 'one, "two"\nthree'}),
        Row(5, {"sku": "B", "style.prompt": '5" screen'}),
    ]


@pytest.mark.parametrize(
    ("data", "number", "words"),
    [
        (b"a,b\n1,2\n3,4,5\n", 3, "cell 3 has no column in the header; it is '5'"),
        (b"a,,c\n1,x,2\n", 2, "cell 2 has no column"),
        (b'a,b\n1,"x"y\n', 2, "cannot be read as CSV"),
        (b'a,b\n1,"x\n2,y\n', 2, "cannot be read as CSV"),
        (b"a,b,c\n1,2,3\n4,fo", 3, "2 cells of 3 and no line end"),
        ("a,b\n1,M\xfcller\n".encode("latin-1"), 2, "`b` holds bytes that are not UTF-8"),
    ],
)
def test_rows_that_cannot_be_read(data, number, words):
    """A row with more cells than columns, broken quotes, bytes of another encoding or a cut end is a bad row."""
    (bad,) = [row for row in parse(read_csv_rows, data) if row.problem]
    assert (bad.number, bad.values) == (number, {})
    assert words in bad.problem


def test_rows_after_a_bad_one():
    """One bad row hides no other."""
    rows = parse(read_csv_rows, 'a,b\n1,"x"y\n2,z\n3,4,5\n6,7\n')
    assert [(row.number, row.problem is None) for row in rows] == [(2, False), (3, True), (4, False), (5, True)]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "it has no header"),
        (b"\n\n , ,\n", "it has no header"),
        (b"a,b,a\n1,2,3\n", "names the column 'a' twice"),
        (b"a.0,a[0]\n1,2\n", r"names the column 'a\[0\]' twice"),
        (b"style..prompt\nx\n", "`style..prompt` is no name of a field"),
        ("M\xfcller\nx\n".encode("latin-1"), "its header holds bytes that are not UTF-8"),
        (b'a,"b"c\n1,2\n', "its header is no CSV"),
        (b'a,b\n1,"' + b"x\n" * 5_000_000, "line 2 has more than 8,388,608 characters"),
        (b"a,b\n1," + b"x" * 9_000_000, "line 2 has more than 8,388,608 characters"),
    ],
    ids=["empty", "blank", "twice", "twice, written differently", "name", "encoding", "quotes", "open quote", "long"],
)
def test_files_that_cannot_be_read(data, words):
    """A header that is none, and a row that never ends, end the reading."""
    with pytest.raises(InvalidInputError, match=words):
        parse(read_csv_rows, data)


def test_a_long_cell():
    """A cell may have a million characters: Python's own limit is 131,072."""
    cell = "x" * 1_000_000
    assert parse(read_csv_rows, f"a,b\n1,{cell}\n") == [Row(2, {"a": "1", "b": cell})]


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)


@given(st.lists(st.lists(CELLS, min_size=3, max_size=3), max_size=5), st.sampled_from(["\n", "\r\n"]))
def test_what_python_writes_is_read(rows, end):
    """Whatever text is in the cells, and whatever the lines end with."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerows([["a", "b", "c"], *rows])
    found = parse(read_csv_rows, out.getvalue())
    cells = [[cell.replace("\r\n", "\n") for cell in row] for row in rows]
    wanted = [{name: cell for name, cell in zip("abc", row, strict=True) if cell.strip()} for row in cells]
    assert [row.values for row in found] == [row for row in wanted if row]
    assert [row.problem for row in found] == [None] * len(found)
