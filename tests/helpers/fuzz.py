"""Values that nobody means to send, and tests that try hundreds of them; the long ones ten thousand."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

FEW, MANY = 100, int(os.environ.get("MAGIC_HOUR_EXAMPLES", "10000"))


def fuzz(*, few: int = FEW, **values: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a test of a check: with the same few examples each time, and with ten thousand others in the long tests.

    :param few: examples of the short one.
    :param values: strategies by parameter of the check.
    """

    def make_test(check: Callable[..., None]) -> Callable[..., None]:
        @pytest.mark.parametrize(
            "examples", [pytest.param(few, id="few"), pytest.param(MANY, id="many", marks=pytest.mark.long)]
        )
        def test(examples: int) -> None:
            limits = settings(
                max_examples=examples,
                deadline=None,
                database=None,
                derandomize=examples == few,
                phases=(Phase.generate, Phase.shrink),
                suppress_health_check=list(HealthCheck),
            )
            limits(given(**values)(check))()

        test.__name__, test.__doc__ = check.__name__, check.__doc__
        return test

    return make_test


ODD_TEXTS = (
    "",
    " ",
    "\0",
    "\ud800",
    "\udc80 and \ud83d",
    "\u202e\ufeff🦄",
    "x" * 5000,
    "9" * 400,
    "9" * 5000,
    "nan",
    "-Infinity",
    "1e400",
    "../account",
    "a\r\nb",
    "https://user:secret@host.example/a?Signature=abcdef",
    "2026-01-31T09:30:00Z",
    "9999-12-31T23:59:59+99:99",
    "0000-00-00T00:00:00Z",
    "\u0663\u00b2",
)
ODD_NUMBERS = (0, -1, 2**31, 2**63, 2**64, 10**400, -(10**4000), 10**4299, 1e308, -0.0)


def one_of_these(values: Sequence[Any]) -> st.SearchStrategy[Any]:
    """Return a strategy of some values that, unlike Hypothesis's own, does not write all of them into its name."""
    return st.integers(0, len(values) - 1).map(values.__getitem__)


texts = st.one_of(one_of_these(ODD_TEXTS), st.text(st.characters(), max_size=20))
numbers = st.one_of(st.integers(), st.floats(), one_of_these(ODD_NUMBERS))
plain = st.one_of(st.none(), st.booleans(), numbers, texts)


def nested(depth: int, name: str | None = None) -> Any:
    """Return lists in each other, or objects of one name."""
    value: Any = 1
    for _ in range(depth):
        value = [value] if name is None else {name: value}
    return value


deep = st.builds(nested, st.integers(1, 300), st.sampled_from([None, "", "a", "a.b"]))
anything = st.one_of(
    plain,
    st.recursive(
        plain, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=12
    ),
    deep,
)


def objects(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Return objects in which each field is missing, as it should be, or anything; and a field of any name."""
    each = {name: st.one_of(usual, usual, anything) for name, usual in fields.items()}
    more = st.one_of(st.just({}), st.dictionaries(texts, anything, max_size=2))
    return st.builds(lambda known, other: {**other, **known}, st.fixed_dictionaries({}, optional=each), more)


def write(value: Any, encoding: str = "utf-8", is_ascii: bool = True) -> bytes:
    """Return JSON as odd writers do: also with NaN, in UTF-16, with halves of characters."""
    return json.dumps(value, ensure_ascii=is_ascii).encode(encoding, "surrogatepass")


def _damage(body: bytes, cut: int, put: bytes, at: int) -> bytes:
    body = body[: len(body) - cut] if cut else body
    return body[:at] + put + body[at:]


_HUGE = (b"[" * 20_000, b'{"":' * 20_000, b"9" * 6000, b'{"id":"a1","n":' + b"9" * 6000 + b"}")


def bodies(value: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    """Return bodies that hold the JSON of a value in some encoding; some are cut or damaged, or all noise."""
    whole = st.builds(
        write, value, st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-32-le"]), st.booleans()
    )
    damaged = st.builds(_damage, whole, st.integers(0, 5), st.binary(max_size=4), st.integers(0, 40))
    return st.one_of(whole, whole, damaged, st.binary(max_size=60), one_of_these(_HUGE))


def count_work(work: Callable[[], object]) -> int:
    """Return how many lines of Python a function executes, in all modules: unlike time, it is the same each time."""
    lines = 0

    def trace(frame: Any, event: str, argument: object) -> Any:
        nonlocal lines
        lines += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return lines


def assert_linear(work: Callable[[Any], object], make: Callable[[int], Any], size: int) -> None:
    """Assert that eight times as much takes at most sixteen times the work; what is quadratic takes 64 times."""
    few, many = make(size), make(8 * size)
    work(few)  # caches are filled
    less, more = count_work(lambda: work(few)), count_work(lambda: work(many))
    assert more <= 16 * max(less, 200), (less, more)
