"""One item of a batch is resumed or made again in the Media tab, as a task of one job is; no other is touched."""

from __future__ import annotations

import json

import pytest
import sqlalchemy as sa
from airflow.models.log import Log
from airflow.utils.session import create_session

from helpers.airflow_rows import token
from helpers.batch_sheet import SHEET
from helpers.campaigns import ROWS


class ItemForm:
    """The form of one item, as a person uses it."""

    def __init__(self, sheet, item):
        self.sheet = sheet
        self.item, self.key = item, sheet.tiles()[item]["key"]
        self.address = f"{SHEET}/items/{self.key}/recovery"

    def offer(self):
        """Return what is possible."""
        answer = self.sheet.get(f"/items/{self.key}/recovery")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, action="regenerate", *, headers=None, **fields):
        """Give an instruction."""
        if "replaces" not in fields:
            fields["replaces"] = self.offer()["replaces"] if headers is None else "x"
        sent = self.sheet.headers if headers is None else headers
        return self.sheet.api.post(self.address, json={"action": action, **fields}, headers=sent)


def test_a_lost_job_is_found_again(sheet):
    """Tag and name help to search for it; its id is enough, and nothing is paid for any item."""
    job = sheet.campaign.lose()
    before, form = sheet.campaign.ids(), ItemForm(sheet, "Red shoe")
    row, offer = sheet.campaign.rows()["Red shoe"], form.offer()
    assert (offer["possible"], offer["job"], offer["price"]) == (True, None, None)
    assert (offer["lost"]["tag"], offer["lost"]["name"]) == (row["tag"], row["name"])
    assert offer["replaces"] == f"#{row['tag']}"
    assert "made and paid for" in offer["others"]
    answer = form.post("adopt", job=f"https://magichour.ai/my-library?imageId={job}")
    assert answer.status_code == 200, answer.text
    assert job in answer.json()["message"]
    assert "pays nothing" in answer.json()["message"]
    assert sheet.campaign.is_cleared
    assert form.offer()["possible"] is False
    assert sheet.campaign.attempt()["complete"] == 3
    assert sheet.campaign.ids() == before | {"Red shoe": job}
    assert sheet.campaign.creates() == 3


def test_a_new_one(sheet):
    """Of a complete item the price of the last one is said; that item alone is paid for, once."""
    sheet.campaign.attempt()
    before, form = sheet.campaign.ids(), ItemForm(sheet, "Red shoe")
    offer = form.offer()
    assert (offer["job"]["id"], offer["price"], offer["lost"]) == (before["Red shoe"], 10, None)
    answer = form.post()
    assert answer.status_code == 200, answer.text
    with create_session() as session:
        line = session.scalars(
            sa.select(Log).where(Log.event == "magic_hour_regenerate").order_by(Log.id.desc())
        ).first()
    assert json.loads(line.extra)["item"] == form.key
    assert sheet.campaign.attempt()["credits_charged"] == 40
    after = sheet.campaign.ids()
    assert after["Red shoe"] != before["Red shoe"]
    assert after | {"Red shoe": before["Red shoe"]} == before
    sheet.campaign.attempt()
    assert sheet.campaign.creates() == 4


def test_another_items_job_has_to_be_confirmed(sheet):
    """Its tag is another one's: it is adopted only by who confirms that tag."""
    sheet.campaign.lose()
    form, other = ItemForm(sheet, "Red shoe"), sheet.campaign.ids()["boot"]
    answer = form.post("adopt", job=other)
    assert (answer.status_code, bool(answer.json()["confirm_tag"])) == (409, True)
    assert not sheet.campaign.is_cleared
    assert form.post("adopt", job=other, confirmed_tag=answer.json()["confirm_tag"]).status_code == 200
    assert sheet.campaign.creates() == 3


def test_what_has_changed_since_it_was_shown(sheet):
    """An instruction that names another record than the present one is refused, and nothing is cleared."""
    sheet.campaign.attempt()
    answer = ItemForm(sheet, "boot").post(replaces="#AAAAAAAA")
    assert answer.status_code == 409
    assert "has changed since you saw it" in answer.json()["detail"]
    assert (sheet.campaign.is_cleared, sheet.campaign.instructions()) == (False, {})
    assert sheet.campaign.creates() == 3


@pytest.mark.parametrize("state", ["running", "queued", "deferred"])
def test_while_the_batch_runs(sheet, state):
    """It could pay meanwhile: what is possible later is said, and nothing is written."""
    sheet.campaign.attempt()
    form = ItemForm(sheet, "boot")
    sheet.campaign.put(state)
    assert form.offer()["possible"] is False
    assert form.offer()["refusal"]
    assert form.post().status_code == 409
    assert sheet.campaign.instructions() == {}
    assert sheet.campaign.creates() == 3


def test_who_may_not(sheet):
    """Without a login, without the right to clear, and from a foreign page nothing is shown or done."""
    sheet.campaign.attempt(ROWS[1:2])
    form = ItemForm(sheet, "boot")
    viewer = {"authorization": f"Bearer {token('viewer', 'viewer')}"}
    foreign = sheet.headers | {"sec-fetch-site": "cross-site"}
    for headers, status in (({}, 401), (viewer, 403), (foreign, 403)):
        assert form.post(headers=headers).status_code == status
    for headers, status in (({}, 401), (viewer, 403)):
        assert sheet.api.get(form.address, headers=headers).status_code == status
    assert (sheet.campaign.is_cleared, sheet.campaign.instructions()) == (False, {})
    assert sheet.campaign.creates() == 1


def test_outside_the_roots(sheet, monkeypatch, tmp_path):
    """The API server writes into no folder that no administrator has named; the command line is named instead."""
    sheet.campaign.attempt(ROWS[1:2])
    form = ItemForm(sheet, "boot")
    monkeypatch.setenv("AIRFLOW__MAGIC_HOUR__MEDIA_ROOTS", str(tmp_path / "elsewhere"))
    answer = form.post(replaces="x")
    assert (answer.status_code, "--item" in answer.json()["detail"]) == (409, True)
    assert (sheet.campaign.is_cleared, sheet.campaign.instructions()) == (False, {})
    assert sheet.campaign.creates() == 1


@pytest.mark.parametrize("key", ["nothing", "Red shoe", "%00"])
def test_what_is_no_item(sheet, key):
    """A sentence, and nothing is written."""
    sheet.campaign.attempt(ROWS[1:2])
    answer = sheet.get(f"/items/{key}/recovery")
    assert answer.status_code == 404
    assert sheet.campaign.instructions() == {}
    assert sheet.campaign.creates() == 1
