"""``account`` and ``job``: what Magic Hour says, for people and for programs."""

from __future__ import annotations

import json

import pytest

from helpers.samples import KEY
from helpers.simulator import IMAGE_REQUEST
from magic_hour_provider.api.client import MagicHourClient


@pytest.fixture
def image(connected):
    """A finished image of the account."""
    with MagicHourClient(api_key=KEY, base_url=connected.url) as client:
        job = client.create("ai-image-generator", IMAGE_REQUEST | {"name": "A lighthouse [draft] #ABCD2345"})
    connected.advance(3_600)
    return job


def test_account(connected, run):
    """A program gets plan and credits with their types, a person one line each."""
    done = run("account", "-o", "json")
    assert done.code == 0
    (account,) = done.rows
    assert account["connection"] == "magic_hour_default"
    assert account["address"] == connected.url
    assert (account["plan"], account["credits"], account["usage_based"]) == ("creator", 100_000, False)
    assert "credits | 100000" in run("account").text
    assert "credits 100000" in run("account", "-o", "plain").text
    assert "credits: 100000" in run("account", "-o", "yaml").text


def test_a_wrong_key(connected, run, monkeypatch):
    """It is said in a sentence with exit code 1, without the key."""
    key = "mhk_live_wrong_key_of_nobody"
    connection = {"conn_type": "magic_hour", "host": connected.url, "password": key}
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps(connection))
    done = run("account", "--conn-id", "other")
    assert (done.code, done.out) == (1, "")
    assert "401" in done.err
    assert "nothing was charged" in done.err
    assert key not in done.text


@pytest.mark.parametrize("as_address", [False, True])
def test_job(connected, run, image, as_address):
    """One poll says all that is known, by kind and id or by the address in the library; a poll creates nothing."""
    before = connected.summary().creates
    name = f"https://magichour.ai/my-library?imageId={image.id}" if as_address else f"image/{image.id}"
    done = run("job", name, "--output", "json")
    assert done.code == 0
    (job,) = done.rows
    assert (job["status"], job["kind"], job["id"], job["files"]) == ("complete", "image", image.id, 1)
    assert job["name"] == "A lighthouse [draft] #ABCD2345"
    assert job["credits_charged"] == image.credits_charged
    assert job["library_url"] == f"https://magichour.ai/my-library?imageId={image.id}"
    assert connected.summary().creates == before == 1


def test_a_job_for_people(connected, run, image):
    """A person sees each property in a line of its own, brackets included, and no signed link."""
    text = run("job", f"image/{image.id}").text
    assert "status | complete" in text
    assert "A lighthouse [draft] #ABCD2345" in text
    assert "files | 1" in text
    assert "faces" not in text
    assert "error_code" not in text
    assert "X-Amz" not in text
    assert "?sig" not in text.lower()


@pytest.mark.parametrize("name", ["abc", "picture/abc", "image/", "image/../account", "", "https://example.com/abc"])
def test_no_job(connected, run, name):
    """What names no job is refused before anything is asked, and the sentence says how it is done."""
    done = run("job", name)
    assert (done.code, done.out) == (1, "")
    assert "No job was created and nothing was charged." in done.err
    assert not connected.stats()["requests"]


def test_a_job_that_is_not_there(connected, run):
    """A job of another account or kind is a sentence with exit code 1."""
    done = run("job", "video/abcdef")
    assert done.code == 1
    assert "404" in done.err
    assert "another kind or another account" in done.err
