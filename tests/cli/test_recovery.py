"""``record``, ``adopt`` and ``regenerate`` on a real database: what is shown, asked, written and paid."""

from __future__ import annotations

import getpass
import json

import pytest
import sqlalchemy as sa
from airflow.models.log import Log
from airflow.utils.session import create_session

from helpers.ending import Triggerer
from helpers.recovery import DAG_ID, RUN_ID, both_places
from magic_hour_provider.ledger.record import ADOPT, REGENERATE

TASK = (DAG_ID, RUN_ID, "make")


@pytest.fixture(autouse=True)
def no_events(metadata):
    """Forget the audit log of other tests; a command writes into it."""
    from helpers.database import airflow_at

    with airflow_at(metadata), create_session() as session:
        session.execute(sa.delete(Log))


def events():
    """Return the audit log's events, each with its user, task and command line."""
    with create_session() as session:
        rows = session.execute(sa.select(Log.event, Log.owner, Log.dag_id, Log.task_id, Log.extra)).all()
    return [(row[0], row[1], row[2], row[3], json.loads(row[4])["full_command"]) for row in rows]


def record_of(run):
    """Return what ``record`` prints for programs."""
    done = run("record", *TASK, "-o", "json")
    assert done.code == 0, done.err
    (found,) = done.rows
    return found


# -- record ------------------------------------------------------------------------------------------------------------


@both_places
def test_nothing_recorded(task, run):
    """A task that has not run has paid for nothing, and its next attempt will."""
    found = record_of(run)
    assert found["recorded"] == "nothing is paid for"
    assert found["job"] is None
    assert found["next_attempt"] == "It submits a job and pays for it."
    assert found["instruction_refused"] is not None  # it has not run yet
    assert task.creates() == 0


@both_places
def test_a_lost_response(task, run):
    """The tag and the name are shown, and that the next attempt pays nothing."""
    task.lose()
    found = record_of(run)
    assert found["record_state"] == "intent"
    assert found["tag"] == task.record.tag
    assert found["name"] == task.record.name
    assert "whose response is not known" in found["recorded"]
    assert found["next_attempt"].startswith("It fails and pays nothing")
    assert found["places"] == [f"{found['places'][0].rpartition(': ')[0]}: intent, #{task.record.tag}"]
    assert found["instruction_refused"] is None
    assert task.creates() == 1


@both_places
def test_a_delivered_job(task, run):
    """Job, credits, files and page are shown, for programs and for people."""
    assert isinstance(task.attempt(), dict)
    found = record_of(run)
    assert (found["record_state"], found["job"]) == ("delivered", task.record.job_id)
    assert found["credits_charged"] == task.record.credits_charged
    assert len(found["files"]) == len(task.record.files)
    assert found["library_url"] == task.record.page
    assert found["next_attempt"].startswith(f"It returns the result of job {task.record.job_id} and pays nothing")
    text = run("record", *TASK).text
    assert "record_state | delivered" in text
    assert task.record.job_id in text
    assert events() == []
    assert task.creates() == 1


@both_places
def test_a_job_whose_trigger_has_ended_the_task(task, run, monkeypatch):
    """It is finished, and its price is the one in the end, though the record is that of before: one create."""
    triggerer = Triggerer(task.airflow, monkeypatch)
    triggerer.ti = task.ti
    price = triggerer.settle_at_less(triggerer.operator())
    task.put("success")
    assert (task.record.state, task.record.credits_charged) == ("submitted", price + 20)
    found = record_of(run)
    job_id = task.record.job_id
    assert (found["recorded"], found["record_state"]) == (f"job {job_id}: finished", "delivered")
    assert found["credits_charged"] == price
    assert found["next_attempt"].startswith(f"It returns the result of job {job_id} and pays nothing")
    done = run("regenerate", *TASK, answers="n\n")
    assert f"The last one cost {price} credits." in done.text
    assert task.creates() == 1


@both_places
def test_instructions_that_wait(task, run):
    """They are shown with what they do, also those that cannot be read, and a void one as void."""
    job = task.lose()
    task.ti.store.set(ADOPT, job)
    found = record_of(run)
    assert found["instructions"] == [f"adopt job {job}"]
    assert found["next_attempt"] == f"It resumes job {job} and pays nothing, as an instruction asks for that."
    task.ti.store.set(ADOPT, {"job": job, "replaces": "#AAAAAAAA"})
    found = record_of(run)
    assert found["instructions"] == [f"adopt job {job} in the place of #AAAAAAAA (void: the record is another)"]
    assert found["next_attempt"].startswith("It fails and pays nothing")
    task.ti.store.delete(ADOPT)
    task.ti.store.set(REGENERATE, "perhaps")
    assert len(record_of(run)["problems"]) == 1
    assert task.creates() == 1


NAMES = [
    *[("nowhere", RUN_ID, "make"), (DAG_ID, "no_run", "make"), (*TASK, "--map-index", "7")],
    *[("\udcff", RUN_ID, "make"), (DAG_ID, "\udcff", "make"), (DAG_ID, RUN_ID, "\udcff")],  # bytes that are no text
    ("a\0b", RUN_ID, "make"),
    *[(*TASK, "--map-index", index) for index in ("-2", str(2**31), "9" * 20)],
]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
@pytest.mark.parametrize("command", ["record", "adopt", "regenerate"])
def test_no_such_task(task, run, name, command):
    """A DAG, run, task or index that is not there, or cannot be, is one sentence with exit code 1."""
    positional = [*name[:3], *(["abc"] if command == "adopt" else []), *name[3:]]
    done = run(command, *positional, *([] if command == "record" else ["--yes"]))
    assert (done.code, done.out) == (1, "")
    assert "There is no such task instance" in done.err
    assert task.creates() == 0


def test_a_task_of_others(task, run):
    """A task that submits no jobs has nothing to recover."""
    done = run("record", DAG_ID, RUN_ID, "after")
    assert done.code == 1
    assert "submits no jobs" in done.err


# -- adopt -------------------------------------------------------------------------------------------------------------


@both_places
@pytest.mark.parametrize("as_address", [False, True])
def test_adopt(task, run, as_address):
    """The lost job is found, the task is cleared, and its next attempt resumes the job: one create in all."""
    job = task.lose()
    name = f"https://magichour.ai/my-library?imageId={job}" if as_address else job
    done = run("adopt", *TASK, name, answers="y\n")
    assert done.code == 0, done.err
    assert done.out.startswith(f"{DAG_ID}.make of {RUN_ID} was cleared. Its next attempt resumes job {job}")
    assert f"#{task.record.tag}" in done.err  # the situation is shown before the question
    assert "[y/N]" in done.err
    assert task.is_cleared
    assert task.instructions()[ADOPT] == {"job": job, "replaces": f"#{task.record.tag}"}
    result = task.attempt()
    assert result["id"] == job
    assert task.creates() == 1


def test_adopt_for_programs(task, run):
    """With ``--yes`` nothing is asked, and what a program reads is JSON alone."""
    job, tag = task.lose(), task.record.tag
    done = run("adopt", *TASK, job, "--yes", "--output", "json")
    assert done.code == 0, done.err
    (row,) = done.rows
    assert (row["job"], row["replaces"]) == (job, f"#{tag}")
    assert "[y/N]" not in done.err
    assert task.is_cleared
    assert task.creates() == 1


@pytest.mark.parametrize("answers", ["n\n", "\n", "", "yes, but\n"])
@pytest.mark.parametrize("command", ["adopt", "regenerate"])
def test_who_does_not_agree_changes_nothing(task, run, command, answers):
    """Anything but yes, and nobody there to answer, changes nothing and is exit code 1."""
    job = task.lose()
    done = run(command, *TASK, *([job] if command == "adopt" else []), answers=answers)
    assert (done.code, done.out) == (1, "")
    assert "othing was changed" in done.err
    assert not task.is_cleared
    assert task.instructions() == {}
    assert task.creates() == 1


def make_other(task, tag="ABCD2345"):
    """Make a job whose name carries another tag; return its id."""
    from helpers.recovery import REQUEST
    from helpers.samples import KEY
    from magic_hour_provider.api.client import MagicHourClient

    with MagicHourClient(api_key=KEY, base_url=task.airflow.sim.url) as client:
        return client.create("ai-image-generator", REQUEST | {"name": f"somebody else's #{tag}"}).id


@pytest.mark.parametrize(
    ("options", "answers", "agrees"),
    [
        ((), "ABCD2345\ny\n", True),
        ((), "#ABCD2345\ny\n", True),
        ((), "y\n", False),
        ((), "WRONGTAG\ny\n", False),
        (("--yes",), "", False),
        (("--yes", "--yes-other-tag", "ABCD2345"), "", True),
        (("--yes", "--yes-other-tag", "#ABCD2345"), "", True),
        (("--yes", "--yes-other-tag", "WRONGTAG"), "", False),
    ],
)
def test_another_tag(task, run, options, answers, agrees):
    """A job whose name carries another tag is adopted only by who types that tag, or gives it."""
    task.lose()
    other = make_other(task)
    done = run("adopt", *TASK, other, *options, answers=answers)
    assert "#ABCD2345" in done.err or agrees
    assert (done.code == 0, task.is_cleared, ADOPT in task.instructions()) == (agrees, agrees, agrees)
    if not agrees:
        assert "Nothing was changed" in done.err
    assert task.creates() == 2  # the lost one, and somebody else's


@pytest.mark.parametrize(
    ("job", "words"),
    [
        ("abcdefghijk", "finds no image job"),
        ("../account", "is not a Magic Hour job id"),
        ("https://magichour.ai/my-library?videoId=abc", "kind video"),
    ],
)
def test_a_job_that_cannot_be_adopted(task, run, job, words):
    """It is refused in a sentence, and nothing has changed."""
    task.lose()
    done = run("adopt", *TASK, job, "--yes")
    assert (done.code, done.out) == (1, "")
    assert words in done.err
    assert not task.is_cleared
    assert task.instructions() == {}
    assert task.creates() == 1


@pytest.mark.parametrize("state", ["running", "queued", "scheduled", "deferred", None])
@pytest.mark.parametrize("command", ["adopt", "regenerate"])
def test_a_task_that_runs_is_refused(task, run, command, state):
    """Its process could pay meanwhile: nothing is polled, written or cleared."""
    job = task.lose()
    task.put(state)
    polls = task.airflow.sim.summary().polls
    done = run(command, *TASK, *([job] if command == "adopt" else []), "--yes")
    assert (done.code, done.out) == (1, "")
    assert "ask" in done.err
    assert task.instructions() == {}
    assert task.airflow.sim.summary().polls == polls
    assert task.creates() == 1


def test_two_people_at_once(task, run, monkeypatch):
    """Who answers after somebody else has cleared the task is refused: one instruction, one create."""
    job = task.lose()
    asked = []

    def answer() -> str:
        if not asked:
            asked.append(True)
            assert run("regenerate", *TASK, "--yes").code == 0
        return "y"

    monkeypatch.setattr("builtins.input", answer)
    done = run("adopt", *TASK, job)
    assert (done.code, done.out) == (1, "")
    assert "meanwhile" in done.err or "is about to run" in done.err
    assert task.instructions().keys() == {REGENERATE}
    assert task.creates() == 1


def test_a_run_that_was_deleted_meanwhile(task, run, monkeypatch):
    """It is one sentence, and nothing is written."""
    job = task.lose()

    def answer() -> str:
        task.delete_run()
        return "y"

    monkeypatch.setattr("builtins.input", answer)
    done = run("adopt", *TASK, job)
    assert (done.code, done.out) == (1, "")
    assert "deleted meanwhile" in done.err
    assert task.creates() == 1


# -- regenerate --------------------------------------------------------------------------------------------------------


@both_places
def test_regenerate(task, run):
    """What the last job cost is said before the question; the next attempt makes exactly one new job."""
    assert isinstance(task.attempt(), dict)
    before = task.record
    done = run("regenerate", *TASK, answers="yes\n")
    assert done.code == 0, done.err
    assert f"The last one cost {before.credits_charged} credits" in done.err
    assert task.instructions()[REGENERATE] == {"regenerate": True, "replaces": before.job_id}
    result = task.attempt()
    assert result["id"] != before.job_id
    assert task.instructions() == {}
    assert task.creates() == 2


def test_regenerate_without_a_price(task, run):
    """Of a lost response the price is not known, which is said."""
    task.lose()
    done = run("regenerate", *TASK, "--yes", "-o", "json")
    assert done.code == 0, done.err
    assert "What it will cost is not known" in done.err
    assert done.rows[0]["job"] is None
    assert task.creates() == 1


# -- the audit log -----------------------------------------------------------------------------------------------------


def test_every_use_is_in_the_audit_log(task, run):
    """Both commands leave a line with the person, the task and the command line, also where they were refused."""
    job = task.lose()
    assert run("adopt", *TASK, "nonsense/../id", "--yes").code == 1
    assert run("adopt", *TASK, job, "--yes").code == 0
    assert run("regenerate", *TASK, "--yes").code == 1  # it is cleared by now
    found = events()
    assert [event[0] for event in found if event[0].startswith("cli_")] == [
        "cli_magic_hour_adopt",
        "cli_magic_hour_adopt",
        "cli_magic_hour_regenerate",
    ]
    for _, owner, dag_id, task_id, command in found:
        assert (owner, dag_id, task_id) == (getpass.getuser(), DAG_ID, "make")
        assert RUN_ID in command
    assert job in found[1][4]
    assert task.creates() == 1


def test_a_database_without_tables(run, connected, tmp_path):
    """An Airflow whose database was never made is a sentence, not a traceback."""
    from helpers.database import airflow_at

    with airflow_at(f"sqlite:///{tmp_path / 'empty.db'}"):
        done = run("record", *TASK)
    assert (done.code, done.out) == (1, "")
    assert "Airflow's database" in done.err
    assert "Nothing" in done.err
