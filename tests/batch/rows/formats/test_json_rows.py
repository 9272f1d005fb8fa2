"""JSON lines and JSON lists."""

from __future__ import annotations

import io
import json
import math
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.rows import parse
from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.batch.rows.formats.json_rows import read_json_rows, read_jsonl_rows
from magic_hour_provider.batch.rows.formats.row import Row
from magic_hour_provider.batch.rows.formats.text import open_text


def test_lines():
    """Each line is an object; empty lines are none, and the last one needs no end. A byte order mark is passed over."""
    data = b'\xef\xbb\xbf{"a": 1}\r\n\n  \n{"a": {"b": [null, "\xc3\xbc\\n"]}}'
    assert parse(read_jsonl_rows, data) == [Row(1, {"a": 1}), Row(4, {"a": {"b": [None, "ü\n"]}})]
    assert parse(read_jsonl_rows, b"") == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b'{"a": "x', "it is no JSON (Unterminated string starting at, at character 7)"),
        (b'{"a": 1} {"a": 2}', "something follows its object"),
        (b'{"a": {"b": 1, "b": 1}}', "`b` stands in it twice"),
        (b'{"a": "M\xfcller"}', "bytes that are not UTF-8"),
        (b'{"a": ' + b"9" * 5000 + b"}", "it cannot be read"),
        (b"[" * 100_000, "nested too deeply"),
        (b"{'a': 1}", "it is no JSON"),
    ],
    ids=["cut", "two", "twice", "encoding", "digits", "deep", "quotes"],
)
def test_a_bad_line(line, words):
    """It hides no other line."""
    rows = parse(read_jsonl_rows, b'{"a": 1}\n' + line + b'\n{"a": 3}\n')
    assert [row.number for row in rows] == [1, 2, 3]
    assert words in rows[1].problem
    assert (rows[0], rows[2]) == (Row(1, {"a": 1}), Row(3, {"a": 3}))


def test_no_number():
    """What only Python's JSON has is read, so that its field can be named."""
    (row,) = parse(read_jsonl_rows, b'{"a": NaN}')
    assert math.isnan(row.values["a"])


def test_a_list_named_as_lines():
    """It is said how to name it."""
    with pytest.raises(InvalidInputError, match="begins with a list") as caught:
        parse(read_jsonl_rows, b'[{"a": 1}]')
    assert caught.value.next_step == "If the whole file is one JSON list, name it .json."


def test_a_line_that_never_ends():
    """Is not read into memory."""
    with pytest.raises(InvalidInputError, match="line 2 has more than 8,388,608 characters"):
        parse(read_jsonl_rows, b'{"a": 1}\n{"a": "' + b"x" * 9_000_000)


def test_a_list():
    """Rows are counted from 1; what else than an object is in the list is said where rows are checked."""
    data = b'\xef\xbb\xbf [ {"a": 1},\n\n {"a": 1, "a": 2}, 17,"x" ,{"a": "M\xfc"}]\n\n'
    rows = parse(read_json_rows, data)
    assert [row.number for row in rows] == [1, 2, 3, 4, 5]
    assert [row.values for row in rows[:4]] == [{"a": 1}, {"a": 2}, 17, "x"]
    problems = [row.problem for row in rows]
    assert problems == [None, "`a` stands in it twice", None, None, "it holds bytes that are not UTF-8"]
    assert parse(read_json_rows, b" [\n] ") == []


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "it is empty"),
        (b'{"requests": []}', "it is no JSON list"),
        (b'[{"a": 1}, {"a"', r"its row 2 is no JSON \(.*, on line 1\)"),
        (b'[{"a": 1},\n{"a": 2}', r"its row 2 is no JSON \(a comma or the list's end is missing"),
        (b'[{"a": 1}\n{"a": 2}]', r"a comma or the list's end is missing after it, on line 2"),
        (b'[{"a": 1},]', r"its row 2 is no JSON \(Expecting value, on line 1\)"),
        (b"[", r"its row 1 is no JSON"),
        (b'[{"a": 1}]\n]', "something follows its list, on line 2"),
        (b'[{"a": 1}, {"a": ' + b"9" * 5000 + b"}]", "its row 2 is no JSON"),
        (b"[" * 100_000, "its row 1 is nested too deeply"),
        (b'[{"a": "' + b"x" * 20_000_000, "its row 1 is no JSON"),
    ],
    ids=["empty", "dict", "cut", "cut after a row", "comma", "more", "open", "two", "digits", "deep", "long"],
)
def test_no_list(data, words):
    """What is no JSON list, or not all of one, is refused with the row and the line."""
    with pytest.raises(InvalidInputError, match=words):
        parse(read_json_rows, data)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(VALUES, max_size=6), st.sampled_from([None, 1]), st.booleans())
def test_every_list_is_read(values, indent, is_ascii):
    """Element by element, the same as all at once, however it is written."""
    data = json.dumps(values, indent=indent, ensure_ascii=is_ascii).encode(errors="replace")
    assert [row.values for row in parse(read_json_rows, data)] == json.loads(data)


def test_elements_over_the_end_of_what_is_read_at_once():
    """A number is not taken for shorter than it is, nor a text for cut, where the next piece of the file begins."""
    for around in range(65_480, 65_540):
        data = json.dumps(["x" * around, 1234567, -1.5e10, "é", {"a": 12}], ensure_ascii=False)
        assert [row.values for row in parse(read_json_rows, data)][1:] == [1234567, -1.5e10, "é", {"a": 12}]


def test_a_long_list_is_not_held_in_memory():
    """Of 20 MB of rows hardly one is in memory at a time."""
    data = json.dumps([{"a": "x" * 10_000}] * 2000).encode()
    file = io.BytesIO(data)
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_json_rows(open_text(file))) == 2000
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()
