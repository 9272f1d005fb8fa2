"""What a person asks for by hand: how it is written, and for which record it counts."""

from __future__ import annotations

import pytest

from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.ledger.instruction import Instruction, name_record
from magic_hour_provider.ledger.record import ADOPT, REGENERATE, Record

ADDRESS = "https://magichour.ai/my-library?imageId=cuid1"
INTENT = Record("intent", "ai-image-generator", "image", "ABCD2345", {})
PAID = Record("submitted", "ai-image-generator", "image", "ABCD2345", {}, job_id="cuid1")


@pytest.mark.parametrize(
    ("key", "value", "read"),
    [
        (ADOPT, "cuid1", Instruction("adopt", "cuid1")),
        (ADOPT, ' "cuid1" \n', Instruction("adopt", "cuid1")),
        (ADOPT, ADDRESS, Instruction("adopt", ADDRESS)),
        (ADOPT, {"job": ADDRESS, "replaces": "#ABCD2345"}, Instruction("adopt", ADDRESS, "#ABCD2345")),
        (ADOPT, {"job": "cuid1"}, Instruction("adopt", "cuid1")),
        (ADOPT, None, None),
        (ADOPT, "", None),
        (ADOPT, False, None),
        (REGENERATE, True, Instruction("regenerate")),
        (REGENERATE, '"True"', Instruction("regenerate")),
        (REGENERATE, {"regenerate": True, "replaces": "cuid1"}, Instruction("regenerate", None, "cuid1")),
        (REGENERATE, {"regenerate": False, "replaces": "cuid1"}, None),
        (REGENERATE, "false", None),
        (REGENERATE, None, None),
    ],
)
def test_what_is_asked_for(key, value, read):
    """An id, an address or true, with or without quotes, or our own JSON; false is nothing."""
    assert Instruction.read(key, value, "here") == read


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (ADOPT, True),
        (ADOPT, 7),
        (ADOPT, "../account"),
        (ADOPT, ["cuid1"]),
        (ADOPT, {"id": "cuid1"}),
        (ADOPT, {"job": "cuid1", "replaces": 7}),
        (REGENERATE, "yes please"),
        (REGENERATE, 1),
        (REGENERATE, {"job": "cuid1"}),
    ],
)
def test_nonsense_is_refused(key, value):
    """It is never taken for nothing; the message names the place."""
    with pytest.raises(InvalidInputError, match=r"(?i)the place"):
        Instruction.read(key, value, "the place")


@pytest.mark.parametrize("replaces", [None, "cuid1", "#ABCD2345", "nothing"])
@pytest.mark.parametrize("one", [Instruction("adopt", "cuid2"), Instruction("regenerate")])
def test_it_is_read_back(one, replaces):
    """Both kinds, written by hand or by us."""
    one = Instruction(one.action, one.job, replaces)
    assert Instruction.read(one.key, one.to_json(), "here") == one


def test_it_is_void_once_the_record_is_another():
    """Also where an intent was completed meanwhile; what was written by hand counts whatever the record is."""
    records = {"nothing": None, "#ABCD2345": INTENT, "cuid1": PAID}
    for name, record in records.items():
        assert name_record(record) == name
        assert Instruction("regenerate").counts_for(record)
        for replaces in records:
            assert Instruction("regenerate", replaces=replaces).counts_for(record) == (replaces == name)
