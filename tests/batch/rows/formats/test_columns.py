"""Columns with dots become dicts and lists."""

from __future__ import annotations

import pytest

from magic_hour_provider.batch.rows.formats.columns import expand_columns, split_column


def test_dots_and_indexes():
    """Dicts and lists are made of columns in any order, with indexes as people or our messages write them."""
    row = {"assets.items[1].x": 2, "name": "n", "assets.items.0.x": 1, "assets.items.0.y": [3], "a.b.c": None}
    assert expand_columns(row) == {
        "assets": {"items": [{"x": 1, "y": [3]}, {"x": 2}]},
        "name": "n",
        "a": {"b": {"c": None}},
    }


def test_a_dict_and_its_columns():
    """A column may add to a dict that another one gives whole; what was given is not changed."""
    row = {"style": {"a": {"x": 1}}, "style.a.y": 2}
    assert expand_columns(row) == {"style": {"a": {"x": 1, "y": 2}}}
    assert row == {"style": {"a": {"x": 1}}, "style.a.y": 2}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"a.b": 1, "a[b]": 2, "a.b.c": 3}, "`a.b.c` says again"),
        ({"style": {"prompt": "x"}, "style.prompt": "y"}, "`style.prompt` says again"),
        ({"style": "x", "style.prompt": "y"}, "`style.prompt` says again"),
        ({"style.prompt": "y", "style": "x"}, "`style` says again"),
        ({"a.0": 1, "a[0]": 2}, r"`a\[0\]` says again"),
        ({"a.0": 1, "a.b": 2}, "`a.b` says again"),
        ({"a": [1], "a.1": 2}, "`a.1` says again"),
        ({"a.0": 1, "a.2": 3}, r"`a\[1\]` is missing, and `a\[2\]` is given"),
        ({"a.b.1.c": 1}, r"`a.b\[0\]` is missing"),
        ({"a..b": 1}, "`a..b` is no name"),
        ({".a": 1}, "`.a` is no name"),
        ({"a.": 1}, "`a.` is no name"),
        ({"0.a": 1}, "`0.a` is no name"),
        ({None: ["more"], "a": 1}, "no text but 'None'"),
    ],
)
def test_what_says_nothing_clear(row, words):
    """Columns that contradict each other, lists with holes and names that are none are refused, by name."""
    with pytest.raises(ValueError, match=words):
        expand_columns(row)


def test_a_huge_index_costs_nothing():
    """An index far away is a missing element, not a list of that length."""
    with pytest.raises(ValueError, match=r"`a\[0\]` is missing"):
        expand_columns({"a.999999": 1})
    assert split_column("a.9999999") == ("a", "9999999")
