"""The answer table, and reading answers leniently."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import httpx
import pytest

from magic_hour_provider.api import errors, protocol
from magic_hour_provider.api.catalog import Tool, get_tool
from magic_hour_provider.api.errors import Charge, RequestFailure
from magic_hour_provider.api.models import Download, Job, JobReference, library_url, parse_library_url
from magic_hour_provider.api.responses import Response, classify_failure, job_error, retry_after

JSON = {"content-type": "application/json"}


def answer(status: int, body: object = None, headers: dict[str, str] | None = None) -> Response:
    """Make an answer; a body that is no text is sent as JSON."""
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    return Response(status, httpx.Headers(JSON if headers is None else headers), raw)


@pytest.mark.parametrize(
    ("outcome", "error", "retryable"),
    [
        (httpx.ConnectError("refused"), errors.ConnectionFailedError, True),
        (httpx.ConnectTimeout("slow"), errors.ConnectionFailedError, True),
        (httpx.ProxyError("no tunnel"), errors.ConnectionFailedError, True),
        (httpx.PoolTimeout("busy"), errors.ConnectionFailedError, True),
        (httpx.ReadError("reset"), errors.SubmissionUnknownError, False),
        (httpx.ReadTimeout("silence"), errors.SubmissionUnknownError, False),
        (httpx.WriteError("pipe"), errors.SubmissionUnknownError, False),
        (httpx.WriteTimeout("slow"), errors.SubmissionUnknownError, False),
        (httpx.RemoteProtocolError("closed"), errors.SubmissionUnknownError, False),
        (httpx.DecodingError("gzip"), errors.SubmissionUnknownError, False),
        (answer(400, {"message": "no"}), errors.RequestRejectedError, False),
        (answer(401, {"message": "no"}), errors.AuthenticationError, False),
        (answer(402, {"message": "no"}), errors.InsufficientCreditsError, False),
        (answer(403, {"message": "no"}), errors.InsufficientCreditsError, False),
        (answer(404, {"message": "no"}), errors.NotFoundError, False),
        (answer(413), errors.RequestRejectedError, False),
        (answer(422, {"message": "no"}), errors.RequestRejectedError, False),
        (answer(307), errors.RequestRejectedError, False),
        (answer(429, {"message": "slow"}), errors.RateLimitedError, True),
        (answer(408), errors.SubmissionUnknownError, False),
        (answer(409), errors.SubmissionUnknownError, False),
        (answer(500, {"message": "oops"}), errors.SubmissionUnknownError, False),
        (answer(502), errors.SubmissionUnknownError, False),
        (answer(502, {"message": "no job was made"}), errors.SubmissionUnknownError, False),
        (answer(502, {"id": "job1"}), errors.SubmissionUnknownError, False),
        (answer(503), errors.SubmissionUnknownError, False),
        (answer(504, b"<html>"), errors.SubmissionUnknownError, False),
        (answer(200, {}), errors.SubmissionUnknownError, False),
        (answer(200, {"id": ""}), errors.SubmissionUnknownError, False),
        (answer(200, {"id": 7.5}), errors.SubmissionUnknownError, False),
        (answer(200, {"id": "../account"}), errors.SubmissionUnknownError, False),
        (answer(200, [1]), errors.SubmissionUnknownError, False),
        (answer(200), errors.SubmissionUnknownError, False),
        (answer(200, b"<html>ok</html>", {"content-type": "text/html"}), errors.SubmissionUnknownError, False),
    ],
)
def test_what_a_create_came_to(outcome, error, retryable):
    """Each way in which a create can end is exactly one of: never delivered, rejected, unknown; and says the charge."""
    with pytest.raises(errors.MagicHourError) as caught:
        protocol.read_create(outcome, "text-to-video")
    assert type(caught.value) is error
    assert caught.value.retryable is retryable
    failure = RequestFailure.UNKNOWN_OUTCOME if error is errors.SubmissionUnknownError else RequestFailure.REJECTED
    failure = RequestFailure.NEVER_DELIVERED if error is errors.ConnectionFailedError else failure
    assert (caught.value.failure, classify_failure(outcome)) == (failure, failure)
    charge = Charge.UNKNOWN if failure is RequestFailure.UNKNOWN_OUTCOME else Charge.NONE
    assert caught.value.charge is charge
    assert str(caught.value).count(charge.sentence) == 1
    claimed = isinstance(outcome, Response) and outcome.status == 502 and b"no job was made" in outcome.body
    assert getattr(caught.value, "not_created_per_docs", False) is claimed


@pytest.mark.parametrize(
    ("body", "headers", "own"),
    [
        ({"message": "upstream"}, JSON, True),
        ({"code": "bad_gateway", "message": "upstream"}, {"content-type": "application/json; charset=utf-8"}, True),
        ({"message": "upstream"}, {"content-type": "text/html"}, False),
        ({"message": "upstream"}, {}, False),
        (b"<html>", {"content-type": "text/html"}, False),
        (b"<html>", JSON, False),
        ({"message": "upstream", "id": "abc"}, JSON, False),
        ({"message": "upstream", "id": None}, JSON, False),
        ({"message": {"text": "x"}}, JSON, False),
        ({"message": ""}, JSON, False),
        ({"error": {"message": "x"}}, JSON, False),
        ([{"message": "x"}], JSON, False),
        ({"message": "Internal server error"}, JSON, False),
        ({"message": "upstream"}, {**JSON, "x-amzn-ErrorType": "InternalServerErrorException"}, False),
        ({"message": "An invalid response was received from the upstream server"}, JSON, False),
        ({"message": "x", "request_id": "7"}, JSON, False),
        ({"statusCode": 502, "message": "x"}, JSON, False),
    ],
)
def test_only_the_services_own_502_claims_that_no_job_was_made(body, headers, own):
    """A page or JSON of a gateway says nothing of what became of the request."""
    with pytest.raises(errors.SubmissionUnknownError) as caught:
        protocol.read_create(answer(502, body, headers), "text-to-video")
    assert caught.value.not_created_per_docs is own


@pytest.mark.parametrize("headers", [JSON, {}, {"content-type": "text/plain"}])
@pytest.mark.parametrize(
    ("body", "credits"),
    [
        ({"id": "abc", "credits_charged": 5}, 5),
        ({"id": "abc"}, None),
        ({"id": "abc", "credits_charged": "many", "new": {"x": 1}}, None),
    ],
)
def test_a_create_needs_only_an_id(body, credits, headers):
    """A paid job is never lost to a missing content type, a missing field or a new one."""
    made = protocol.read_create(answer(201, body, headers), "text-to-video")
    assert (made.id, made.kind, made.credits_charged) == ("abc", "video", credits)


def test_an_unexpected_answer_is_kept_short_and_without_secrets():
    """HTML in place of JSON is shown to the person, but no key and no signature."""
    page = b"<html>mhk_live_secret https://s3.example/f.png?X-Signature=abc " + b"x" * 5000
    with pytest.raises(errors.InvalidResponseError) as caught:
        protocol.read_job(answer(200, page, {"content-type": "text/html"}), "video", "abc")
    text = str(caught.value)
    assert "<html>" in text
    assert "text/html" in text
    assert len(text) < 800
    assert "secret" not in text
    assert "X-Signature" not in text


@pytest.mark.parametrize(
    ("given", "words"), [(answer(200, None, {}), "an empty body"), (answer(200, b"hello", {}), "no content type")]
)
def test_an_empty_answer_is_named(given, words):
    """An empty body and a missing content type are said, not guessed around."""
    with pytest.raises(errors.InvalidResponseError, match=words):
        protocol.read_account(given)


def test_a_job_is_read_leniently():
    """Unknown fields and statuses, nulls and wrong types never raise."""
    body = {
        "id": "abc",
        "status": "paused",
        "downloads": [{"url": "https://x/y.mp4"}, {"no": 1}, 3],
        "error": "none",
        "new": [],
    }
    job = protocol.read_job(answer(200, body), "video", "abc")
    assert job.status == "paused"
    assert not job.ended
    assert job.downloads == (Download("https://x/y.mp4"), None, None)
    assert "https://x" not in repr(job)


def test_a_deleted_job_is_gone():
    """``enabled: false`` means deleted, whatever the status says."""
    assert protocol.read_job(answer(200, {"status": "complete", "enabled": False}), "image", "a").status == "gone"


@pytest.mark.parametrize("job_id", ["", "../account", "a/b", "a?b", "a b", "-x", "x" * 200, None, 7])
def test_an_id_is_checked_before_it_goes_into_a_path(job_id):
    """No id reaches another route."""
    with pytest.raises(errors.InvalidInputError, match="is not a Magic Hour job id"):
        protocol.get_job_request("video", job_id)


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("video", "/v1/video-projects/a1"),
        ("image", "/v1/image-projects/a1"),
        ("audio", "/v1/audio-projects/a1"),
        ("face-detection", "/v1/face-detection/a1"),
    ],
)
def test_the_kind_decides_the_route(kind, path):
    """An id alone does not say by which route to poll."""
    assert protocol.get_job_request(kind, "a1").path == path


def test_an_unknown_kind_is_refused():
    """A kind we do not know is an error, not a route."""
    with pytest.raises(errors.InvalidInputError, match="not a kind"):
        protocol.get_job_request("text", "a1")


@pytest.mark.parametrize("request_body", [None, [], "text", 3])
def test_a_request_must_be_an_object(request_body):
    """A request that is no dict never leaves."""
    with pytest.raises(errors.InvalidInputError, match="must be a dict"):
        protocol.create_request("text-to-video", request_body)


@pytest.mark.parametrize("value", [float("nan"), object(), {1, 2}, "\ud800"])
def test_a_request_must_be_json(value):
    """What cannot be written as JSON never leaves."""
    with pytest.raises(errors.InvalidInputError, match="is no JSON"):
        protocol.create_request("text-to-video", {"x": value})


@pytest.mark.parametrize("key", [None, "", "  ", "mhk live", "mhk\nlive", "schlüssel"])
def test_a_key_that_cannot_be_right_is_refused(key):
    """Blank, broken and non-ASCII keys are named before anything is sent, without being shown."""
    with pytest.raises(errors.InvalidInputError) as caught:
        protocol.check_api_key(key)
    assert "nothing was charged" in str(caught.value)
    assert not key or key.strip() not in str(caught.value) or not key.strip()


@pytest.mark.parametrize("url", ["", "api.magichour.ai", "ftp://x", "https://", "https://[::1"])
def test_an_address_that_cannot_be_right_is_refused(url):
    """The base URL is checked before anything is sent."""
    with pytest.raises(errors.InvalidInputError, match="is not an address"):
        protocol.check_base_url(url)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5", 5.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("Mon, 23 Nov 2026 00:00:30 GMT", 30.0),
        ("soon", None),
        ("", None),
        ("2592000", 3600.0),
        ("inf", 3600.0),
        ("Wed, 23 Dec 2026 00:00:00 GMT", 3600.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(text, seconds):
    """Both forms of the header are understood, anything else is nothing; more than an hour is not believed."""
    now = datetime(2026, 11, 23, tzinfo=UTC).timestamp()
    assert retry_after({"retry-after": text}, now=now) == seconds


@pytest.mark.parametrize(
    ("code", "retryable"),
    [
        ("unknown_error", True),
        ("processing_timeout", True),
        ("something_new", True),
        (None, True),
        ("no_source_face", False),
        ("invalid_image_path", False),
        ("invalid_anything_new", False),
        ("content_policy_violation", False),
        ("insufficient_credits", False),
        ("text_too_long", False),
    ],
)
def test_which_job_failures_a_retry_can_fix(code, retryable):
    """Input, policy and balance end for good; unknown codes are bounded by the user's retries."""
    failure = job_error(Job("abc", "video", "error", error_code=code), tool="lip-sync")
    assert failure.retryable is retryable
    assert failure.charge is Charge.REFUNDED
    assert "videoId=abc" in str(failure)


@pytest.mark.parametrize(("status", "charge"), [("canceled", Charge.REFUNDED), ("gone", Charge.KEPT)])
def test_canceled_and_gone_are_final(status, charge):
    """A canceled or vanished job is never paid for again by itself."""
    failure = job_error(Job("abc", "video", status))
    assert isinstance(failure, errors.JobCanceledError)
    assert not failure.retryable
    assert failure.charge is charge


def test_library_addresses_are_read_and_written():
    """The three kinds with a page make the round trip; others are nothing."""
    for kind in ("video", "image", "audio"):
        assert parse_library_url(library_url(kind, "abc")) == (kind, "abc")
    assert library_url("face-detection", "abc") is None
    assert parse_library_url("https://example.com/my-library?videoId=abc") is None
    assert JobReference.parse("https://magichour.ai/my-library?audioId=q1") == JobReference("audio", "q1", "audio")


@pytest.mark.parametrize("value", ["abc", {"id": "abc"}, {"kind": "video", "id": "../x"}, 5, None])
def test_what_names_no_job_is_refused(value):
    """A bare id is refused with the reason: the kind decides the route."""
    with pytest.raises(errors.InvalidInputError):
        JobReference.parse(value)


def test_an_unknown_tool_names_the_nearest():
    """A slip in a slug is answered with the right one."""
    with pytest.raises(errors.InvalidInputError, match="did you mean 'text-to-video'"):
        get_tool("text_to_vidoe")


def test_a_tool_newer_than_this_package():
    """A hand-made tool needs only slug, kind and path."""
    tool = Tool("dream", "video", "/v1/dream")
    assert get_tool(tool) is tool
    assert protocol.create_request(tool, {"a": 1}).path == "/v1/dream"
    assert tool.polling_class().name == "standard_video"


def test_a_404_that_is_not_the_apis_says_nothing_about_the_job():
    """A proxy's HTML 404 is a failed poll, not the end of a paid job."""
    with pytest.raises(errors.InvalidResponseError):
        protocol.read_job(answer(404, b"<html>", {"content-type": "text/html"}), "video", "abc")
    with pytest.raises(errors.NotFoundError):
        protocol.read_job(answer(404, {"message": "no"}), "video", "abc")


@pytest.mark.parametrize("bad", ["\\ud83d", "\\udc00", "\\u0000", "a\\ud83d\\u0000b"])
def test_texts_of_the_service_can_be_stored(bad):
    """Half a character pair and NUL, which no database takes, are replaced in every text of an answer."""
    raw = '{"id": "abc", "status": "error", "name": "x%", "error": {"code": "c%", "message": "m%"}, "created_at": "t%"}'
    job = protocol.read_job(Response(200, {}, raw.replace("%", bad).encode()), "video", "abc")
    texts = (job.name, job.error_code, job.error_message, job.created_at)
    for text in texts:
        assert "\ufffd" in text
        assert "\x00" not in text
        text.encode()
    saved, _ = protocol.read_saved_items(Response(200, {}, f'{{"items": [{{"name": ["{bad}"]}}]}}'.encode()))
    assert "\ufffd" in saved[0]["name"][0]
    with pytest.raises(errors.RequestRejectedError) as caught:
        protocol.read_account(Response(400, {}, f'{{"message": "no {bad}"}}'.encode()))
    caught.value.message.encode()
    assert "\x00" not in caught.value.message


def test_a_pair_of_characters_stays():
    """What is a whole character is left as it is."""
    body = b'{"id": "abc", "status": "queued", "name": "\\ud83d\\ude00"}'
    assert protocol.read_job(Response(200, {}, body), "video", "abc").name == "\U0001f600"


@pytest.mark.parametrize(
    ("body", "job_id"),
    [
        (b'\xef\xbb\xbf{"id": "abc"}', "abc"),
        (b'{"id": "abc", "name": "caf\xe9"}', "abc"),
        (b'{"id": "abc", "name": "a\x01\nb"}', "abc"),
        ('{"id": "abc"}'.encode("utf-16"), "abc"),
        (b'{"id": 12345}', "12345"),
        (b'{"id": " abc\\n"}', "abc"),
    ],
)
@pytest.mark.parametrize("status", [200, 502])
def test_an_odd_answer_loses_no_paid_id(body, job_id, status):
    """A byte order mark, a byte that is no UTF-8, a control character or a number for an id: the id counts."""
    if status == 200:
        assert protocol.read_create(Response(status, {}, body), "lip-sync").id == job_id
        return
    with pytest.raises(errors.SubmissionUnknownError) as caught:
        protocol.read_create(Response(status, {}, body), "lip-sync")
    assert caught.value.job_id == job_id
    assert not caught.value.not_created_per_docs


@pytest.mark.parametrize("job_id", [b"true", b"1.5", b"-1", b"null", b"[1]", b'"../x"', b'""'])
def test_what_is_no_id(job_id):
    """The outcome is unknown: nothing is sent again."""
    with pytest.raises(errors.SubmissionUnknownError) as caught:
        protocol.read_create(Response(200, {}, b'{"id": %s}' % job_id), "lip-sync")
    assert caught.value.job_id is None


def test_an_error_that_is_text():
    """A job's error given as text is the reason of its failure."""
    job = protocol.read_job(answer(200, {"status": "error", "error": "The face is too small."}), "video", "abc")
    assert job.error_message == "The face is too small."
    assert "The face is too small" in str(job_error(job))


def test_retry_after_is_measured_against_the_responses_own_date():
    """Both dates are of the service's clock; ours may be another."""
    headers = {"retry-after": "Mon, 23 Nov 2020 00:00:30 GMT", "date": "Mon, 23 Nov 2020 00:00:00 GMT"}
    assert retry_after(headers) == 30
    assert retry_after(headers | {"date": "soon"}) == 0
