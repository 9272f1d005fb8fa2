"""Zero-copy inputs: what is given as a link, what is uploaded after all, and that no link is written anywhere."""

from __future__ import annotations

import json
import logging
import signal
from typing import Any
from urllib.parse import unquote

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException, TaskDeferred
from airflow.sdk.execution_time.task_runner import _serialize_rendered_fields

from helpers import presigned_process
from helpers.attempts import Connected, TaskInstance
from helpers.samples import PHOTO
from helpers.strict_s3 import StrictS3
from helpers.waiting import HANG_S
from magic_hour_provider.api.catalog import FileField
from magic_hour_provider.api.errors import InvalidInputError, SubmissionUnknownError
from magic_hour_provider.decorators import magic_hour_batch_task, magic_hour_task
from magic_hour_provider.execution.payment.preflight import read_input_transfer
from magic_hour_provider.hooks import masking
from magic_hour_provider.inputs import presigned
from magic_hour_provider.inputs.fields import Input
from magic_hour_provider.inputs.presigned import PresignedInputs, is_private_host
from magic_hour_provider.operators.batch import MagicHourBatchOperator
from magic_hour_provider.operators.image import MagicHourAIImageUpscalerOperator
from magic_hour_provider.operators.magic_hour import MagicHourOperator
from magic_hour_provider.simulator import Simulator
from magic_hour_provider.storage.paths import open_path

pytestmark = pytest.mark.behavior(input_links="fetched")

SIZE = 3_000_000
MAGIC_HOUR = "https://api.magichour.ai"
FIELD = FileField("assets.image_file_path", ("image",))


def upscale(uri: object) -> dict[str, Any]:
    """Return a request with one file."""
    return {"assets": {"image_file_path": uri}, "scale_factor": 2}


def operator(airflow: Connected, uri: object, **options: Any) -> MagicHourOperator:
    """Return a task that gives its file as a link."""
    return airflow.operator("ai-image-upscaler", upscale(uri), **{"input_transfer": "presign"} | options)


def counts(airflow: Connected) -> tuple[int, int, int]:
    """Return how many jobs were paid for, how many links were fetched whole, and how many files were uploaded."""
    stats = airflow.sim.stats()
    return stats["creates"]["accepted"], stats["input_links"]["fetched"], stats["uploads"]


# -- given as a link ---------------------------------------------------------------------------------------------------


def test_magic_hour_fetches_the_file_and_the_worker_does_not(airflow, strict_s3):
    """One create, no upload; every byte goes from the storage to Magic Hour, and none of them to us."""
    result = airflow.attempt(operator(airflow, strict_s3.put("a b/é #1.PNG", SIZE)), TaskInstance())
    assert result["status"] == "complete"
    assert counts(airflow) == (1, 1, 0)
    assert airflow.sim.stats()["input_links"]["bytes"] == strict_s3.by_link == SIZE
    assert strict_s3.by_sdk == 0
    assert strict_s3.statuses == [416, 200]  # ours, which asks for nothing, and Magic Hour's


@pytest.mark.parametrize("way", ["setting", "argument", "typed", "decorator"])
def test_every_way_to_ask_for_it(airflow, strict_s3, way):
    """By the setting, an argument of the operator or of a typed one, or the decorator's."""
    uri, options = strict_s3.put("a.png", SIZE), {"output_path": str(airflow.output / "out")}
    if way == "setting":
        airflow.setting("input_transfer", "Presign")
        task = operator(airflow, uri, input_transfer=None)
    elif way == "argument":
        airflow.setting("input_transfer", "upload")
        task = operator(airflow, uri)
    elif way == "typed":
        task = MagicHourAIImageUpscalerOperator(task_id="make", input_transfer="presign", **upscale(uri), **options)
    else:

        @magic_hour_task(tool="ai-image-upscaler", input_transfer="presign", **options)
        def make() -> dict[str, Any]:
            return upscale(uri)

        task = make().operator
        task.render_template_fields(TaskInstance().context(task))
    assert airflow.attempt(task, TaskInstance())["status"] == "complete"
    assert counts(airflow) == (1, 1, 0)


def test_an_upload_is_what_happens_unless_somebody_chose_a_link(airflow, strict_s3):
    """A private object is given to a third party by choice alone, also where the setting says otherwise."""
    airflow.attempt(operator(airflow, strict_s3.put("a.png", SIZE), input_transfer=None), TaskInstance())
    assert (counts(airflow), strict_s3.links) == ((1, 0, 1), [])
    airflow.setting("input_transfer", "presign")
    airflow.attempt(operator(airflow, strict_s3.put("b.png", SIZE), input_transfer="upload"), TaskInstance())
    assert (counts(airflow), strict_s3.links) == ((2, 0, 2), [])


@pytest.mark.parametrize("make", [MagicHourOperator, MagicHourBatchOperator, magic_hour_task, magic_hour_batch_task])
def test_another_word_is_an_error_before_anything_runs(make):
    """When the DAG is parsed, or, of the setting, before anything is paid for."""
    options: dict[str, Any] = {"tool": "ai-image-upscaler", "output_path": "/x", "input_transfer": "presigned"}
    if make is MagicHourOperator:
        options |= {"task_id": "make", "request": upscale("a.png")}
    elif make is MagicHourBatchOperator:
        options |= {"task_id": "make", "requests": []}
    with pytest.raises(InvalidInputError, match=r"input_transfer must be one of None, 'upload', 'presign'; it is 'pre"):
        make(**options)


def test_a_setting_of_another_word_fails_before_it_costs_anything(airflow, strict_s3):
    """The message names the setting; an empty one is none."""
    airflow.setting("input_transfer", "signed")
    with pytest.raises(
        AirflowFailException, match=r"\[magic_hour\] input_transfer is 'signed'.*one of upload, presign"
    ):
        airflow.attempt(operator(airflow, strict_s3.put("a.png", SIZE), input_transfer=None), TaskInstance())
    assert counts(airflow) == (0, 0, 0)
    airflow.setting("input_transfer", " ")
    assert read_input_transfer() == "upload"


def test_a_file_that_is_too_large_for_the_plan_is_refused_before_it_is_given(airflow, strict_s3):
    """The size is known from the storage, so that no job fails for it."""
    uri = strict_s3.put("film.png", 200_000_000_000)
    with pytest.raises(
        AirflowFailException, match=r"too large: it has 200,000\.0 MB, and the account's plan 'creator'"
    ):
        airflow.attempt(operator(airflow, uri), TaskInstance())
    assert counts(airflow) == (0, 0, 0)


def test_a_file_that_is_not_there_is_named_and_costs_nothing(airflow, strict_s3):
    """As where it would be uploaded."""
    strict_s3.put("a.png", SIZE)
    with pytest.raises(AirflowFailException, match=r"assets\.image_file_path: the file 's3://.*b\.png' cannot be read"):
        airflow.attempt(operator(airflow, f"s3://{strict_s3.conn_id}@media/b.png"), TaskInstance())
    assert counts(airflow) == (0, 0, 0)


# -- paid once ---------------------------------------------------------------------------------------------------------


def test_the_fingerprint_is_the_object_and_not_the_way_it_takes(airflow, strict_s3):
    """A retry that gives a link where the attempt before it uploaded resumes the job it has paid for."""
    airflow.setting("inline_wait_seconds", "0")
    ti, uri = TaskInstance(), strict_s3.put("a.png", SIZE)
    ti.next_attempt()
    assert isinstance(airflow.start(operator(airflow, uri, input_transfer="upload", retries=1), ti), TaskDeferred)
    before = ti.record["fingerprint"]
    result = airflow.attempt(operator(airflow, uri), ti)  # its worker died; a retry
    assert (result["status"], ti.record["fingerprint"]) == ("complete", before)
    assert (counts(airflow), strict_s3.links) == ((1, 0, 1), [])
    other = TaskInstance("other")
    airflow.attempt(operator(airflow, uri, task_id="other"), other)
    assert other.record["fingerprint"] == before
    assert counts(airflow) == (2, 1, 1)


def test_an_attempt_whose_request_never_arrived_is_followed_by_one_that_signs_again(airflow, strict_s3):
    """Each attempt makes a link of its own, and one job is paid for."""
    ti, uri = TaskInstance(), strict_s3.put("a.png", SIZE)
    airflow.sim.inject_fault("status", endpoint="create", status=429, count=50)
    with pytest.raises(AirflowException, match="nothing was charged"):
        airflow.attempt(operator(airflow, uri), ti)
    airflow.sim.clear_faults()
    refused = len(strict_s3.links)
    assert airflow.attempt(operator(airflow, uri), ti)["status"] == "complete"
    assert len(strict_s3.links) == refused + 2
    assert counts(airflow)[0::2] == (1, 0)


@pytest.mark.parametrize("moment", [presigned_process.BEFORE, presigned_process.AFTER])
def test_a_worker_killed_around_the_create_pays_once(airflow, strict_s3, moment, tmp_path):
    """Before the intent nothing was sent, and the next attempt pays; after it the job is unknown, and it does not."""
    ledger = tmp_path / "ledger"
    airflow.setting("ledger_path", str(ledger))
    uri = strict_s3.put("a.png", SIZE)
    with presigned_process.start(moment, ledger, uri) as worker:
        assert worker.wait(HANG_S) == -signal.SIGKILL
    ti = presigned_process.instance(ledger)
    if moment == presigned_process.BEFORE:
        assert counts(airflow)[0] == 0
        assert airflow.attempt(operator(airflow, uri), ti)["status"] == "complete"
    else:
        assert counts(airflow)[0] == 1
        with pytest.raises(AirflowFailException, match="unknown whether"):
            airflow.attempt(operator(airflow, uri), ti)
    assert counts(airflow)[0] == 1
    assert not [path for path in ledger.rglob("*") if path.is_file() and "X-Amz" in path.read_text()]


# -- uploaded after all ------------------------------------------------------------------------------------------------


def reason(caplog: pytest.LogCaptureFixture) -> str:
    """Return the one line that says why a file is uploaded."""
    (line,) = [one.getMessage() for one in caplog.records if one.name == presigned.__name__]
    assert line.startswith("assets.image_file_path: the file ")
    assert line.endswith("This is said once for all files that it holds for.")
    return line.partition("although input_transfer is 'presign': ")[2]


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """The log, with the lines that tell."""
    caplog.set_level(logging.INFO, presigned.__name__)
    return caplog


def test_a_local_file_is_uploaded(airflow, said):
    """It has no address."""
    assert airflow.attempt(operator(airflow, str(PHOTO)), TaskInstance())["status"] == "complete"
    assert counts(airflow) == (1, 0, 1)
    assert "a file of file:// has no such link, only those of S3, Google Cloud Storage and Azure have" in reason(said)


def test_a_link_that_does_not_open_is_not_given(airflow, strict_s3, said):
    """A policy that lets only its own network in, say: the job would fail for it."""
    strict_s3.closed = True
    assert airflow.attempt(operator(airflow, strict_s3.put("a.png", SIZE)), TaskInstance())["status"] == "complete"
    assert counts(airflow) == (1, 0, 1)
    assert "answers to its link with HTTP 403" in reason(said)
    assert strict_s3.statuses == [403]


def test_a_connection_may_say_that_it_cannot_be_reached_from_outside(airflow, strict_s3, said, monkeypatch):
    """By an extra of the storage's own connection; another word there is an error."""
    uri = strict_s3.put("a.png", SIZE)
    monkeypatch.setenv(
        f"AIRFLOW_CONN_{strict_s3.conn_id.upper()}", strict_s3.connection(magic_hour_input_transfer="upload")
    )
    assert airflow.attempt(operator(airflow, uri), TaskInstance())["status"] == "complete"
    assert (counts(airflow), strict_s3.links) == ((1, 0, 1), [])
    assert "the extra 'magic_hour_input_transfer' of its connection 'aws_" in reason(said)
    monkeypatch.setenv(
        f"AIRFLOW_CONN_{strict_s3.conn_id.upper()}", strict_s3.connection(magic_hour_input_transfer="never")
    )
    with pytest.raises(AirflowFailException, match=r"'aws_\w+' must be 'upload' or 'presign'; it is 'never'"):
        airflow.attempt(operator(airflow, uri), TaskInstance())
    assert counts(airflow)[0] == 1


def find_link(strict_s3: StrictS3, base_url: str = MAGIC_HOUR, wait_s: float = 1800, key: str = "a.png") -> str | None:
    """Return the link of an object, or None; nothing but the storage is asked."""
    uri = strict_s3.put(key, SIZE)
    return PresignedInputs(base_url, wait_s).find_link(Input(("f",), FIELD, uri), open_path(uri), SIZE, "etag")


def test_a_private_address_is_not_given_to_a_service_outside(strict_s3, said):
    """The endpoint of the connection is on this machine; a simulator there reaches it, and Magic Hour does not."""
    assert find_link(strict_s3) is None
    assert "Magic Hour cannot reach 127.0.0.1, which is an address of a private network" in said.text
    assert strict_s3.links == []  # not even tried
    assert find_link(strict_s3, "http://127.0.0.1:8765") is not None


@pytest.mark.parametrize(
    ("host", "is_private"),
    [
        *(("127.0.0.1", True), ("10.1.2.3", True), ("169.254.1.1", True), ("::1", True), ("fd00::1", True)),
        *(("localhost", True), ("minio", True), ("minio.storage.svc.cluster.local", True), ("s3.corp.", True)),
        *(("media.vpce-0a1b.s3.eu-west-1.vpce.amazonaws.com", True), ("storage-x.p.googleapis.com", True)),
        *(("account.privatelink.blob.core.windows.net", True), ("", True)),
        *(("52.219.1.1", False), ("2600:1fa0::1", False), ("media.s3.eu-west-1.amazonaws.com", False)),
        *(("storage.googleapis.com", False), ("account.blob.core.windows.net", False), ("minio.example.com", False)),
    ],
)
def test_which_hosts_are_private(host, is_private):
    """By the name or address alone: no name is resolved, as it may have another address outside."""
    assert is_private_host(host) == is_private


def test_an_address_without_tls_is_not_given_to_a_service_outside(strict_s3, said, monkeypatch):
    """Whoever listens on the way would have the link."""
    monkeypatch.setattr(presigned, "sign_path", lambda *_: "http://media.example.com/a.png?X-Amz-Signature=abcdef")
    assert find_link(strict_s3) is None
    assert "media.example.com is reached without TLS" in said.text
    monkeypatch.setattr(presigned, "sign_path", lambda *_: "https://media.example.com/a?X-Amz-Signature=abcdef")
    assert find_link(strict_s3) is None
    assert "its link does not end in the file's name" in said.text


def test_a_storage_that_does_not_answer_is_asked_once(strict_s3, said, monkeypatch):
    """A batch must not wait for it at every row."""
    monkeypatch.setattr(presigned, "sign_path", lambda path, _: f"http://127.0.0.1:9/{path.path}?sig=abcdef")
    inputs = PresignedInputs("http://127.0.0.1:1", 1800)
    tried: list[str] = []
    monkeypatch.setattr(presigned, "new_client", lambda real=presigned.new_client, **k: tried.append("x") or real(**k))
    for number in range(3):
        uri = strict_s3.put(f"{number}.png", SIZE)
        assert inputs.find_link(Input(("f",), FIELD, uri), open_path(uri), SIZE, "etag") is None
    assert len(tried) == 1
    assert said.text.count("127.0.0.1:9 does not answer to its link") == 1
    assert "sig=" not in said.text


def test_what_a_job_whose_link_did_not_open_says(airflow, strict_s3, monkeypatch):
    """Our own try has opened it, and Magic Hour's cannot: refunded, and the message says what to do."""
    monkeypatch.setattr(PresignedInputs, "_try", lambda *_: None)
    strict_s3.closed = True
    with pytest.raises(
        AirflowFailException, match=r"invalid_image_path.*cannot reach their storage from outside, say"
    ) as e:
        airflow.attempt(operator(airflow, strict_s3.put("a.png", SIZE)), TaskInstance())
    assert "input_transfer='upload'" in str(e.value)
    assert airflow.sim.summary().credits == 0
    assert counts(airflow)[0] == 1
    monkeypatch.undo()


# -- secret ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["complete", "rejected", "failed"])
def test_a_link_is_written_nowhere(airflow, strict_s3, caplog, capfd, monkeypatch, ending):
    """In no log at any level, XCom, record, file, trigger, rendered field, lineage or error, however the job ends."""
    for name in (None, "httpx", "httpcore", "botocore", "aiobotocore", "s3fs", "fsspec", "urllib3", "asyncio"):
        caplog.set_level(logging.DEBUG, name)  # Airflow keeps some of them quiet, and a user may not
    airflow.setting("inline_wait_seconds", "0")
    echoed: list[str] = []
    if ending == "rejected":
        _echo_links(airflow, monkeypatch, echoed)
    elif ending == "failed":
        message = "The file https://media.example/a.png?X-Amz-Signature=echoed0123456789 was not found."
        airflow.sim.inject_fault("job-outcome", status="error", code="invalid_image_path", message=message)
    masked: list[str] = []
    monkeypatch.setattr(
        presigned, "mask_link_secrets", lambda link: masked.append(link) or masking.mask_link_secrets(link)
    )
    ti, task = TaskInstance(), operator(airflow, strict_s3.put("a.png", SIZE))
    task.render_template_fields(ti.context(task))
    written = [str(_serialize_rendered_fields(task))]
    ti.next_attempt()
    try:
        outcome = airflow.start(task, ti)
        assert isinstance(outcome, TaskDeferred)
        written += [str(outcome.trigger.serialize()), str(outcome.kwargs), repr(outcome)]
        written.append(str(airflow.resume(task, ti, outcome)))
    except AirflowException as error:
        written += [str(error), repr(error), repr(error.__cause__)]
    facets = task.get_openlineage_facets_on_complete(ti)
    written += [str(facets), json.dumps(ti.xcoms), json.dumps(ti.store.rows), json.dumps(ti.store.writes)]
    written += [str(airflow.events), caplog.text, *capfd.readouterr()]
    written += [path.read_text(errors="replace") for path in airflow.output.rglob("*") if path.is_file()]
    signatures = {*strict_s3.links, "echoed0123456789"}
    assert len(strict_s3.links) >= 1
    assert masked
    assert all(signature in masked[0] for signature in strict_s3.links)
    for secret in signatures:
        assert [text[:300] for text in written if secret in text or secret in unquote(text)] == []
    assert counts(airflow)[0] == (ending != "rejected")


def _echo_links(airflow: Connected, monkeypatch: pytest.MonkeyPatch, echoed: list[str]) -> None:
    """Let the service refuse each request with its own words in the message, the link among them."""
    from magic_hour_provider.simulator.errors import ApiError

    def refuse(tool: object, request: dict[str, Any], *_: object) -> None:
        echoed.append(request["assets"]["image_file_path"])
        raise ApiError(422, "unprocessable_entity", f"There is no file at {echoed[-1]}, or it is none.")

    monkeypatch.setattr(airflow.sim._service, "create", refuse)


def test_a_lost_response_says_nothing_of_the_link(airflow, strict_s3, caplog):
    """The one error that a person reads twice."""
    caplog.set_level(logging.DEBUG)
    airflow.sim.inject_fault("close-after-accept")
    with pytest.raises(AirflowFailException) as caught:
        airflow.attempt(operator(airflow, strict_s3.put("a.png", SIZE)), TaskInstance())
    assert isinstance(caught.value.__cause__, SubmissionUnknownError) or "unknown" in str(caught.value)
    assert counts(airflow)[0] == 1
    assert all(link not in f"{caplog.text} {caught.value}" for link in strict_s3.links)


def test_a_batch_masks_some_links_and_not_thousands(strict_s3, monkeypatch):
    """Each masked text makes every line of the log slower; a batch writes no link anywhere, masked or not."""
    masked: list[str] = []
    monkeypatch.setattr(presigned, "mask_link_secrets", masked.append)
    monkeypatch.setattr(PresignedInputs, "_try", lambda *_: None)
    inputs = PresignedInputs("http://127.0.0.1:1", 1800)
    for number in range(presigned._MAX_MASKED + 5):
        uri = strict_s3.put(f"{number}.png", SIZE)
        assert inputs.find_link(Input(("f",), FIELD, uri), open_path(uri), SIZE, "etag") is not None
    assert len(masked) == presigned._MAX_MASKED


def test_a_file_of_several_rows_is_signed_once(strict_s3, monkeypatch):
    """For some minutes; then again, and at once where the object is another one."""
    from magic_hour_provider.clock import SimulatedClock, override

    with Simulator(manual_clock=True) as sim, override(SimulatedClock(sim)):
        inputs, uri = PresignedInputs("http://127.0.0.1:1", 1800), strict_s3.put("a.png", SIZE)
        one, path = Input(("f",), FIELD, uri), open_path(uri)
        first = [inputs.find_link(one, path, SIZE, "etag") for _ in range(3)]
        assert (len(set(first)), len(strict_s3.links)) == (1, 1)
        inputs.find_link(one, path, SIZE, "another")
        assert len(strict_s3.links) == 2
        sim.advance(presigned._REUSE_S + 1)
        inputs.find_link(one, path, SIZE, "etag")
        assert len(strict_s3.links) == 3
