"""New jobs of many items in the Media tab: a person gives back the number and the price that were shown."""

from __future__ import annotations

import json

import pytest
import sqlalchemy as sa
from airflow.models.log import Log
from airflow.utils.session import create_session

from helpers.airflow_rows import token
from helpers.batch_sheet import SHEET
from helpers.campaigns import ROWS

ADDRESS = f"{SHEET}/regenerate"
FAILED = {"sku": "bad", "style": {"prompt": "b [[error:no_source_face]]"}}


@pytest.fixture
def ended(sheet):
    """A campaign of four items that has ended: one of them failed."""
    sheet.campaign.attempt([*ROWS, FAILED])
    return sheet


def post(sheet, headers=None, **body):
    """Give an instruction."""
    return sheet.api.post(ADDRESS, json=body, headers=sheet.headers if headers is None else headers)


def confirmed(sheet, which="all"):
    """Return what a person gives back."""
    offer = sheet.get("/regenerate").json()[which]
    return {"which": which, **{name: offer[name] for name in ("count", "price", "replaces")}}


def test_all_that_failed(ended):
    """What is shown is what is paid for, once; it is in the audit log."""
    offer = ended.get("/regenerate").json()
    assert offer["refusal"] is None
    assert (offer["all"]["count"], offer["all"]["price"], offer["all"]["unknown"]) == (4, "40", 0)
    assert (offer["failed"]["count"], offer["failed"]["price"]) == (1, "10")
    answer = post(ended, **confirmed(ended, "failed"))
    assert answer.status_code == 200, answer.text
    assert "paid for" in answer.json()["message"]
    with create_session() as session:
        named = Log.event == "magic_hour_regenerate_items"
        line = session.scalars(sa.select(Log).where(named).order_by(Log.id.desc())).first()
    assert json.loads(line.extra)["count"] == 1
    assert ended.campaign.is_cleared
    assert ended.get("/regenerate").json()["refusal"]
    ended.campaign.attempt([*ROWS, FAILED | {"style": {"prompt": "b"}}])
    assert ended.campaign.creates() == 5


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"count": 3}, 409),
        ({"price": "unknown"}, 409),
        ({"replaces": "x"}, 409),
        ({"which": "failed"}, 409),
        ({"which": "some"}, 422),
        ({"count": "4"}, 422),
        ({"count": True}, 422),
        ({"price": ""}, 422),
        ({"more": 1}, 422),
    ],
)
def test_what_is_not_what_was_shown(ended, change, status):
    """Refused with a sentence; nothing is written or cleared."""
    answer = post(ended, **confirmed(ended) | change)
    assert answer.status_code == status
    assert answer.json()["detail"].endswith(".")
    assert (ended.campaign.is_cleared, ended.campaign.instructions()) == (False, {})
    assert ended.campaign.creates() == 4


def test_who_may_not(ended, monkeypatch, tmp_path):
    """Without a login, without the right to clear, from a foreign page, and outside the roots nothing is done."""
    body = confirmed(ended)
    viewer = {"authorization": f"Bearer {token('viewer', 'viewer')}"}
    foreign = ended.headers | {"sec-fetch-site": "cross-site"}
    for headers, status in (({}, 401), (viewer, 403), (foreign, 403)):
        assert post(ended, headers, **body).status_code == status
    monkeypatch.setenv("AIRFLOW__MAGIC_HOUR__MEDIA_ROOTS", str(tmp_path / "elsewhere"))
    answer = post(ended, **body)
    assert (answer.status_code, "--items" in answer.json()["detail"]) == (409, True)
    assert (ended.campaign.is_cleared, ended.campaign.instructions()) == (False, {})
    assert ended.campaign.creates() == 4
