"""The job that a person names is polled once, with the task's own connection, before anything is written."""

from __future__ import annotations

from dataclasses import replace

import httpx
import pytest

from helpers.samples import KEY
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.ledger.record import Record
from magic_hour_provider.ledger.tag import generate_job_name
from magic_hour_provider.plugin.recovery import job_check
from magic_hour_provider.plugin.recovery.errors import NeedsConfirmationError, RecoveryError
from magic_hour_provider.plugin.recovery.job_check import check_job, load_settings
from magic_hour_provider.plugin.recovery.situation import Situation, TaskKey
from magic_hour_provider.plugin.recovery.time_limit import TimeLimit

TASK = TaskKey("teaser", "manual", "make")
VIDEO = {"style": {"prompt": "waves"}, "end_seconds": 3}


@pytest.fixture
def situation():
    """A task whose paid request's response was lost."""
    record = Record("intent", "ai-image-generator", "image", "ABCDEFGH", {}, conn_id="magic_hour_default")
    return Situation(
        TASK,
        "id",
        "failed",
        1,
        record,
        "#ABCDEFGH",
        record.tool,
        record.kind,
        "magic_hour_default",
        True,
        ("ABCDEFGH",),
    )


def make(airflow, name="a job", tool="ai-image-generator", **more):
    """Make a job, outside of Airflow."""
    request = VIDEO if tool == "text-to-video" else {"image_count": 1, "style": {"prompt": "a lighthouse"}}
    with MagicHourClient(api_key=KEY, base_url=airflow.sim.url) as client:
        return client.create(tool, {**request, "name": name, **more}).id


def refusal(situation, job, status, **options):
    """Return the sentence with which a job is refused."""
    with pytest.raises(RecoveryError) as caught:
        check_job(situation, job, **options)
    assert caught.value.status == status
    assert KEY not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("form", ["{}", " {} ", '"{}"', "image/{}", "https://magichour.ai/my-library?imageId={}"])
def test_a_job_in_each_way_that_people_copy_it(airflow, situation, form):
    """By its id, in quotes, by its address: one poll, and nothing else."""
    job_id = make(airflow, "lighthouse #ABCDEFGH")
    polls = airflow.sim.stats()["polls"]
    assert check_job(situation, form.format(job_id)).id == job_id
    assert airflow.sim.stats()["polls"] == polls + 1
    assert airflow.creates() == 1


@pytest.mark.parametrize(
    ("job", "words"),
    [
        ("../account", "not a Magic Hour job id"),
        ("a b", "not a Magic Hour job id"),
        ("image/../account", "not a Magic Hour job id"),
        ("video/abc", "makes jobs of kind image"),
        ("https://magichour.ai/my-library?videoId=abc", "makes jobs of kind image"),
        ("https://magichour.ai/my-library?imageId=../account", "not a Magic Hour job id"),
        ("http://169.254.169.254/latest/meta-data", "not a Magic Hour job id"),
        ("missing", "finds no image job missing with the key of the connection 'magic_hour_default'"),
    ],
)
def test_what_names_no_job_of_this_task(airflow, situation, job, words):
    """A wrong id, an address elsewhere, another kind: a sentence."""
    assert words in refusal(situation, job, 400)


def test_a_job_of_another_kind(airflow, situation):
    """Its id alone does not say of which kind it is: Magic Hour finds none of this task's kind."""
    assert "finds no image job" in refusal(situation, make(airflow, tool="text-to-video"), 400)


def test_another_accounts_job(airflow, situation):
    """The task's own key decides, not that of another connection."""
    job_id = make(airflow)
    airflow.connect(password="mhk_live_another0123456789")
    said = refusal(situation, job_id, 502)
    assert "magic_hour_default" in said
    assert "mhk_live_another" not in said


@pytest.mark.parametrize("name", ["a job", "x #ABCDEFGH", f"{generate_job_name(TASK)} #ZZZZ2222"])
def test_a_name_that_may_be_this_tasks(airflow, situation, name):
    """Without a tag, with the record's, or with the name that only this task gives."""
    assert check_job(situation, make(airflow, name)).name == name


def test_another_tag_is_confirmed(airflow, situation):
    """It may be another task's job: the person confirms that very tag, or nothing is done."""
    job_id = make(airflow, "another task's #ZZZZ2222")
    for confirmed in (None, "ABCDEFGH"):
        with pytest.raises(NeedsConfirmationError, match="#ZZZZ2222") as caught:
            check_job(situation, job_id, confirmed_tag=confirmed)
        assert (caught.value.tag, caught.value.status) == ("ZZZZ2222", 409)
    assert check_job(situation, job_id, confirmed_tag="ZZZZ2222").id == job_id
    past = replace(situation, tags=("ABCDEFGH", "ZZZZ2222"))
    assert check_job(past, job_id).id == job_id


@pytest.mark.parametrize(
    ("directive", "words"), [("error", "failed"), ("canceled", "was canceled"), ("deleted", "finds no image job")]
)
def test_a_job_that_has_nothing_to_resume(airflow, situation, directive, words):
    """The sentence says what became of it, and what to do."""
    job_id = make(airflow, style={"prompt": f"x [[{directive}]]"})
    airflow.sim.advance(600)
    said = refusal(situation, job_id, 400)
    assert words in said
    if directive != "deleted":
        assert said.endswith("there is nothing to resume. Make a new one.")
    assert airflow.creates() == 1


def test_a_deleted_job_whose_files_are_stored(airflow, situation):
    """The task's own: it is resumed, as nothing is missing; another task's is refused."""
    job_id = make(airflow, style={"prompt": "x [[deleted]]"})
    airflow.sim.advance(600)
    delivered = replace(situation.record, state="delivered", job_id=job_id)
    assert check_job(replace(situation, record=delivered), job_id).status == "gone"
    for other in (replace(delivered, job_id="another"), replace(delivered, state="submitted")):
        assert "finds no image job" in refusal(replace(situation, record=other), job_id, 400)
    assert airflow.creates() == 1


def test_a_task_whose_kind_is_not_known(airflow, situation):
    """An id alone is not enough then; an address is."""
    unknown = replace(situation, kind=None, tool=None)
    job_id = make(airflow)
    assert "paste the job's address" in refusal(unknown, job_id, 400)
    assert check_job(unknown, f"https://magichour.ai/my-library?imageId={job_id}").id == job_id


def test_magic_hour_does_not_answer(airflow, situation, monkeypatch):
    """A sentence after some seconds; the thread is not waited for."""
    job_id = make(airflow)
    airflow.sim.inject_fault("stall", endpoint="get-job")
    monkeypatch.setattr(job_check, "POLL", TimeLimit("poll", 1, 0.2))
    assert "did not answer in time" in refusal(situation, job_id, 502)
    assert "did not answer in time" in refusal(situation, job_id, 502)  # as the one thread is still taken
    airflow.sim.clear_faults()


def test_a_server_error(airflow, situation):
    """It says nothing of the job."""
    job_id = make(airflow)
    airflow.sim.inject_fault("status", status=500, endpoint="get-job")
    assert "could not be checked" in refusal(situation, job_id, 502)


def test_a_redirect_is_not_followed(airflow, situation, monkeypatch):
    """The key goes to the connection's own host alone."""
    job_id, seen = make(airflow), []
    original = MagicHourClient.from_options.__func__

    def answer(request):
        seen.append(request.url.host)
        return httpx.Response(302, headers={"location": "http://169.254.169.254/"})

    def from_options(cls, options):
        client = original(cls, options)
        client._api = httpx.Client(transport=httpx.MockTransport(answer), base_url=options.base_url)
        return client

    monkeypatch.setattr(MagicHourClient, "from_options", classmethod(from_options))
    refusal(situation, job_id, 502)
    assert seen == ["127.0.0.1"]


def test_a_connection_that_is_not_there(airflow, situation):
    """Or that is not Magic Hour's: the sentence names it."""
    assert "no Airflow connection 'missing'" in refusal(replace(situation, conn_id="missing"), "abc", 502)
    airflow.connect(password="two words")
    assert "magic_hour_default" in refusal(situation, "abc", 502)


def test_a_secrets_backend_that_fails(airflow, situation, monkeypatch):
    """Its own words may hold a secret: they are only logged."""
    from airflow.models.connection import Connection

    def fail(_):
        raise RuntimeError("token=s3cret")

    monkeypatch.setattr(Connection, "get_connection_from_secrets", fail)
    said = refusal(situation, "abc", 502)
    assert "cannot be read here (RuntimeError)" in said
    assert "s3cret" not in said


def test_the_key_in_the_environment(airflow, monkeypatch):
    """It stands in for the default connection, as on workers."""
    airflow.disconnect()
    monkeypatch.setenv("MAGIC_HOUR_API_KEY", KEY)
    assert load_settings("magic_hour_default").api_key == KEY
