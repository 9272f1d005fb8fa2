"""Keys: what is paid for once, as the name of a file."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magic_hour_provider.batch.records.names import check_key
from magic_hour_provider.batch.rows.keys import clean_item_id, make_key, make_request_key

SAFE = re.compile(r"[a-z0-9](?:[a-z0-9_-]*[a-z0-9_])?")
WINDOWS = {"con", "prn", "aux", "nul", *(f"{name}{digit}" for name in ("com", "lpt") for digit in range(10))}


@pytest.mark.parametrize("item_id", ["7", "shoe-17", "img_0001", "a", "0-0", "x" * 64])
def test_short_readable_ids_stay(item_id):
    """They are their own key."""
    assert make_key(item_id) == item_id


# These may never change: a campaign that was paid for under them would be paid for again.
GOLDEN = {
    "Shoe 17": "shoe-17--v1vvfclrd4b4fk57z6p22itgnuhsyinlma",
    "../../etc/passwd": "etc-passwd--v1pzvvtkq3osqjw6pkgw4mernudtmn75zp",
    "写真": "item--v1udw5rspkkdu6lvx4vaxt7izdxmsc2xrj",
}
GOLDEN_REQUEST = "request--v1fhyn4igfh7t62i7ptfxqyizpfru5pre6"
NEAR = [
    *(
        "a",
        "A",
        "a.",
        "a ",
        "á",
        "a\u0301",
        "\uff41",
        "a/",
        "a\\",
        "a:",
        "a%",
        "a-",
        "-a",
        "_a",
        "a--b",
        "a--B",
        "A--b",
    ),
    *("..", ".", "../a", "con", "CON", "con.txt", "com1", "null", "*", "a\0", "a\n", "a_-b", "\u200d", "😀", "ß", "ss"),
    *("SS", "İ", "i", "I", "\u0131", "\ufb01", "fi", "request", "request--v1", "shoe-17--v1", make_request_key({})),
    *("x" * 64, "x" * 65, "x" * 10_000, "x" * 10_001, "a" * 31 + "-b", "a" * 31 + ".b"),
    *(make_key("A"), make_key("A").upper()),
]


def test_two_ids_never_meet():
    """Whatever a file system thinks the same: cases, normal forms, dots and blanks at the end; nor does one's key."""
    assert len(NEAR) == len(set(NEAR))
    found = [unicodedata.normalize("NFKC", make_key(one)).casefold() for one in NEAR]
    assert len(set(found)) == len(NEAR)


@given(st.text(min_size=1, max_size=80), st.text(min_size=1, max_size=80))
def test_keys_are_safe_and_tell_ids_apart(one, other):
    """Any text has a short key of safe characters, another one than any other text."""
    for text in (one, other):
        key = make_key(text) if _is_text(text) else "x"
        assert SAFE.fullmatch(key)
        assert len(key) <= 68
        assert check_key(key) == key
        assert key not in WINDOWS
        assert not key.startswith("request--")
    if one != other and _is_text(one) and _is_text(other):
        assert make_key(one) != make_key(other)


def _is_text(text: str) -> bool:
    return not re.search("[\ud800-\udfff]", text)


@given(st.from_regex(r"[a-zA-Z0-9_.-]{1,5}", fullmatch=True), st.from_regex(r"[a-zA-Z0-9_.-]{1,5}", fullmatch=True))
def test_short_ids_are_told_apart(one, other):
    """Where ids are nearly the same, as people number things."""
    assert (make_key(one) == make_key(other)) == (one == other)


def test_keys_never_change():
    """Those of a package before: what is kept in storage under them is found by every later one."""
    assert {item_id: make_key(item_id) for item_id in GOLDEN} == GOLDEN
    body = {"b": [1, "ü", None], "a": {"x": 1.5, "y": True}}
    key = make_request_key(body, connection="c", host="https://h", tool="t")
    assert key == GOLDEN_REQUEST
    assert make_request_key(dict(reversed(body.items())), tool="t", host="https://h", connection="c") == key


def test_requests_that_are_not_the_same():
    """Each fact and each value counts, and where it stands."""
    requests = [
        ({}, {}),
        ({"a": 1}, {}),
        ({"a": "1"}, {}),
        ({"a": True}, {}),
        ({"a": [1]}, {}),
        ({"a.b": 1}, {}),
        ({"a": {"b": 1}}, {}),
        ({}, {"connection": "a"}),
        ({}, {"host": "a"}),
        ({"connection": "a"}, {}),
    ]
    assert len({make_request_key(body, **facts) for body, facts in requests}) == len(requests)


@pytest.mark.parametrize(
    ("value", "text"),
    [(7, "7"), (-1, "-1"), ("7", "7"), (" A\u00a0\n", "A"), ("a\u0301", "á"), ("007", "007"), ("{{ x }}", "{{ x }}")],
)
def test_ids_as_text(value, text):
    """The same id in a spreadsheet, in JSON, and from a Mac."""
    assert clean_item_id(value) == text


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("", "is empty"),
        (" \ufeff", "is empty"),
        (1.5, "whole number; it is '1.5' .float."),
        (7.0, "whole number; it is '7.0' .float."),
        (True, "whole number; it is 'True' .bool."),
        ([1], "list"),
        ("\ud800", "cannot be written"),
    ],
)
def test_what_is_no_id(value, words):
    """Anything else than text and whole numbers."""
    with pytest.raises(ValueError, match=words):
        clean_item_id(value)


def test_a_number_of_thousands_of_digits():
    """Python does not write it."""
    with pytest.raises(ValueError, match="cannot be written"):
        clean_item_id(10**5000)
