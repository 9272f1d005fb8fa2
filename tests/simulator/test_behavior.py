"""Settings for behavior that is not established of Magic Hour."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import httpx
import pytest

from helpers.simulator import IMAGE_REQUEST, Receiver, connect
from helpers.strict_s3 import StrictS3
from magic_hour_provider.api.catalog import TOOLS
from magic_hour_provider.simulator import Behavior, Simulator, Summary
from magic_hour_provider.simulator.behavior import allowed_values, parse_behavior

CREATE = "/v1/ai-image-generator"
FREE = {"tier": "free"}


def _job(http: httpx.Client, words: str = "") -> str:
    answer = http.post(CREATE, json={"image_count": 1, "style": {"prompt": f"A lighthouse {words}"}})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def _refund(sim: Simulator, http: httpx.Client) -> object:
    job = _job(http, "[[error]]")
    sim.advance(1000)
    assert sim.summary() == Summary(creates=1)
    return http.get(f"/v1/image-projects/{job}").json()["credits_charged"]


def _poll_after_delete(sim: Simulator, http: httpx.Client) -> object:
    job = _job(http)
    sim.advance(1000)
    assert http.delete(f"/v1/image-projects/{job}").status_code == 204
    answer = http.get(f"/v1/image-projects/{job}")
    assert sim.summary() == Summary(creates=1, credits=10, polls=1, deletes=1)
    body = answer.json()
    return answer.status_code, body.get("enabled"), body.get("downloads")


def _delete_early(sim: Simulator, http: httpx.Client) -> object:
    job = _job(http)
    status = http.delete(f"/v1/image-projects/{job}").status_code
    sim.advance(1000)
    return status, http.get(f"/v1/image-projects/{job}").status_code, sim.summary().credits


def _wrong_kind(sim: Simulator, http: httpx.Client) -> object:
    status = http.get(f"/v1/video-projects/{_job(http)}").status_code
    assert sim.summary().creates == 1
    return status


def _two_uploads(sim: Simulator, http: httpx.Client) -> object:
    link = _upload_link(http)
    statuses = [http.put(link, content=b"x").status_code for _ in range(2)]
    assert sim.summary() == Summary(uploads=statuses.count(200))
    return statuses


def _late_upload(sim: Simulator, http: httpx.Client) -> object:
    link = _upload_link(http)
    sim.advance(899)
    early = http.put(link, content=b"x").status_code
    sim.advance(1)
    return early, http.put(link, content=b"x").status_code


def _upload_link(http: httpx.Client) -> str:
    answer = http.post("/v1/files/upload-urls", json={"items": [{"type": "image", "extension": "png"}]})
    return str(answer.json()["items"][0]["upload_url"])


def _create(*changes: dict[str, Any]) -> Any:
    request: dict[str, Any] = {**IMAGE_REQUEST}
    for change in changes:
        request |= change

    def answer(sim: Simulator, http: httpx.Client) -> object:
        made = http.post(CREATE, json=request)
        assert sim.summary().creates == (made.status_code == 200)
        return made.status_code, made.json().get("code")

    return answer


def _missing_file(sim: Simulator, http: httpx.Client) -> object:
    made = http.post("/v1/photo-colorizer", json={"assets": {"image_file_path": "api-assets/nobody/0.png"}})
    sim.advance(1000)
    assert sim.summary() in (Summary(creates=1), Summary(refused=1))
    return made.status_code


def _error_body(sim: Simulator, http: httpx.Client) -> object:
    answers = [http.get("/v1/image-projects/x"), http.get("/v1/what"), http.post(CREATE, json={})]
    answers.append(httpx.get(f"{sim.url}/v1/account"))
    sim.inject_fault("status", endpoint="account", status=500)
    answers.append(http.get("/v1/account"))
    assert sim.summary() == Summary(polls=1, refused=1)
    (keys,) = {tuple(answer.json()) for answer in answers}
    return keys


def _large_body(sim: Simulator, http: httpx.Client) -> object:
    status = http.post(CREATE, json={**IMAGE_REQUEST, "name": "x" * 1000}).status_code
    assert sim.summary().creates == (status == 200)
    return status


def _large_upload(sim: Simulator, http: httpx.Client) -> object:
    whole = http.put(_upload_link(http), content=b"x" * 2000).status_code
    in_parts = http.put(_upload_link(http), content=iter([b"x" * 1000, b"x" * 1000])).status_code
    assert sim.summary().uploads == [whole, in_parts].count(200)
    return whole, in_parts


def _many_polls(sim: Simulator, http: httpx.Client) -> object:
    path = f"/v1/image-projects/{_job(http)}"
    first = [http.get(path) for _ in range(5)]
    sim.inject_fault("latency", endpoint="get-job", seconds=0)  # past the fast path the limit is the same
    last = http.get(path)
    sim.advance(1)
    assert [http.get(path).status_code for _ in range(2)] == [200, 200]
    answered = sum(answer.status_code == 200 for answer in (*first, last)) + 2
    assert sim.summary() == Summary(creates=1, credits=10, polls=answered)
    return [answer.status_code for answer in first].count(429), last.status_code, last.headers.get("retry-after")


def _delivered(sim: Simulator, http: httpx.Client) -> object:
    with Receiver() as receiver:
        sim.add_webhook(receiver.url)
        _job(http)
        sim.advance(1000)
        sim.wait_for_deliveries()
    assert sim.summary() == Summary(creates=1, credits=10, deliveries=len(receiver.requests))
    last = receiver.bodies[-1]
    job = last.get("payload") or last["object"]
    return receiver.events, sorted(last), "total_frame_cost" in job


def _repeated(sim: Simulator, http: httpx.Client) -> object:
    with Receiver(lambda number, _: 503 if number < 3 else 200) as receiver:
        sim.add_webhook(receiver.url, events=["image.completed"])
        _job(http)
        for seconds in (1000, 1, 2):
            sim.advance(seconds)
            sim.wait_for_deliveries()
    assert sim.summary() == Summary(creates=1, credits=10, deliveries=3)
    return [len({headers[name] for headers, _ in receiver.requests}) for name in SIGNED]


SIGNED = ("magic-hour-event-timestamp", "magic-hour-event-signature")
BOTH = ["image.started", "image.completed"]


def _four_jobs(sim: Simulator, http: httpx.Client) -> object:
    """Submit four jobs at once; when the time of one is over, return what has become of each."""
    made = [http.post(CREATE, json=IMAGE_REQUEST) for _ in range(4)]
    sim.advance(TOOLS["ai-image-generator"].median_s or 0)
    ids = [one.json()["id"] for one in made if one.status_code == 200]
    assert sim.summary().creates == len(ids)
    return [one.status_code for one in made], [http.get(f"/v1/image-projects/{one}").json()["status"] for one in ids]


def _given_link(sim: Simulator, http: httpx.Client) -> object:
    """Give links of a storage on this machine and of elsewhere; return how each job ended, and what was fetched."""
    with StrictS3(closed=True) as server:
        server.put("a.png", 5)
        links = [f"{server.url}/{path}" for path in ("media/a.png?X-Amz-Credential=a&X-Amz-Signature=b", "media/a", "")]
        ids = [
            http.post("/v1/ai-image-upscaler", json={"assets": {"image_file_path": link}, "scale_factor": 2}).json()[
                "id"
            ]
            for link in (*links, "https://host.example/a.png")
        ]
    sim.advance(1000)
    ends = [http.get(f"/v1/image-projects/{one}").json() for one in ids]
    assert sim.summary() == Summary(creates=4, credits=50 * [end["status"] for end in ends].count("complete"), polls=4)
    return [(end["error"] or {}).get("code") for end in ends], sim.stats()["input_links"]


def _quote(sim: Simulator, http: httpx.Client) -> object:
    """Ask for a quote in an envelope; return the response's code and whether the account says that it may."""
    clip = {"assets": {"image_file_path": "https://host/a.png"}, "end_seconds": 5}
    envelope = clip | {"dry_run": True, "max_credits": 999, "idempotency_key": "key"}
    answer = http.post("/v1/image-to-video", json={"budgeted_request": envelope})
    assert sim.summary().creates == 0
    return answer.status_code, "capabilities" in http.get("/v1/account").json()


UNKNOWN_FIELD = {"brand_new": 1}
UNKNOWN_MODEL = {"model": "next-week"}
PAID_MODEL = {"model": "nano-banana-pro"}
CODE = ("code", "message")

CASES: list[tuple[Any, dict[str, Any], dict[str, Any], object]] = [
    (_refund, {}, {}, 0),
    (_refund, {"refunded_credits": "negative"}, {}, -10),
    (_refund, {"refunded_credits": "unchanged"}, {}, 10),
    (_poll_after_delete, {}, {}, (404, None, None)),
    (_poll_after_delete, {"deleted_job": "disabled"}, {}, (200, False, [])),
    (_delete_early, {}, {}, (422, 200, 10)),
    (_delete_early, {"delete_active": "removed"}, {}, (204, 404, 10)),
    (_delete_early, {"delete_active": "canceled"}, {}, (204, 404, 0)),
    (_delete_early, {"delete_active": "canceled", "deleted_job": "disabled"}, {}, (204, 200, 0)),
    (_wrong_kind, {}, {}, 404),
    (_wrong_kind, {"wrong_kind": "details"}, {}, 200),
    (_two_uploads, {}, {}, [200, 200]),
    (_two_uploads, {"upload_link_reuse": "refused"}, {}, [200, 403]),
    (_late_upload, {}, {}, (200, 403)),
    (_late_upload, {"upload_link_seconds": 60}, {}, (403, 403)),
    (_create(UNKNOWN_FIELD), {}, {}, (200, None)),
    (_create(UNKNOWN_FIELD), {"unknown_fields": "refused"}, {}, (400, "invalid_request")),
    (_create(UNKNOWN_MODEL), {}, {}, (422, "unprocessable_entity")),
    (_create(UNKNOWN_MODEL), {"unknown_values": "accepted"}, {}, (200, None)),
    (_create({"image_count": 99}), {"unknown_values": "accepted"}, {}, (422, "unprocessable_entity")),
    (_missing_file, {}, {}, 200),
    (_missing_file, {"missing_file": "refused"}, {}, 422),
    (_given_link, {}, {}, ([None] * 4, {"fetched": 0, "failed": 0, "bytes": 0})),
    (
        _given_link,
        {"input_links": "fetched"},
        {},
        (["invalid_image_path"] * 3 + [None], {"fetched": 0, "failed": 3, "bytes": 0}),
    ),
    (_create(PAID_MODEL), {}, {}, (200, None)),
    (_create(PAID_MODEL), {}, FREE, (403, "forbidden")),
    (_create({"model": "default"}), {}, FREE, (200, None)),
    (_create(PAID_MODEL), {"plan_limit": "payment_required"}, FREE, (402, "plan_upgrade_required")),
    (_error_body, {}, {}, CODE),
    (_error_body, {"error_code": "omitted"}, {}, ("message",)),
    (_delivered, {}, {}, (BOTH, ["payload", "type"], True)),
    (_delivered, {"image_started": "skipped"}, {}, (BOTH[1:], ["payload", "type"], True)),
    (_delivered, {"webhook_envelope": "object"}, {}, (BOTH, ["object", "type"], True)),
    (_delivered, {"webhook_deprecated": "omitted"}, {}, (BOTH, ["payload", "type"], False)),
    (_repeated, {}, {}, [3, 3]),
    (_repeated, {"webhook_repeats": "original"}, {}, [1, 1]),
    (_large_body, {}, {}, 200),
    (_large_body, {"body_limit_bytes": 1000}, {}, 413),
    (_large_upload, {}, {}, (200, 200)),
    (_large_upload, {"upload_limit_bytes": 1999}, {}, (413, 413)),
    (_many_polls, {}, {}, (0, 200, None)),
    (_many_polls, {"polls_per_second": 3}, {}, (2, 429, "1")),
    (_many_polls, {"polls_per_second": 3, "retry_after": "omitted"}, {}, (2, 429, None)),
    (_quote, {}, {}, (400, False)),
    (_quote, {"budgeted_requests": "accepted"}, {}, (200, True)),
    (_four_jobs, {}, {}, ([200] * 4, ["complete"] * 4)),
    (_four_jobs, {"concurrent_jobs": 3}, {}, ([200] * 4, ["complete", "complete", "complete", "queued"])),
    (
        _four_jobs,
        {"concurrent_jobs": 3, "concurrent_jobs_beyond": "refused"},
        {},
        ([200] * 3 + [429], ["complete"] * 3),
    ),
]


@pytest.mark.parametrize(("ask", "chosen", "options", "expected"), CASES)
def test_setting(ask: Any, chosen: dict[str, Any], options: dict[str, Any], expected: object) -> None:
    """Each setting changes what it says, and the credits add up."""
    with Simulator(manual_clock=True, behavior=Behavior(**chosen), **options) as sim, connect(sim) as http:
        assert ask(sim, http) == expected
        money = sim.stats()["credits"]
        assert money["balance"] == money["start"] - money["charged"] + money["refunded"]


def test_every_value_is_tested() -> None:
    """Each value of each setting is in the cases above, and documented."""
    default = Behavior()
    tested = {(name, value) for _, chosen, _, _ in CASES for name, value in chosen.items()}
    words = {(name, word) for name, all_words in allowed_values().items() for word in all_words}
    assert words - tested == {
        (name, getattr(default, name)) for name, all_words in allowed_values().items() if all_words
    }
    assert {field.name for field in fields(Behavior)} - {name for name, _ in tested} == set()
    for name, all_words in allowed_values().items():
        assert f":param {name}:" in (Behavior.__doc__ or "")
        assert all(f"``{word}``" in (Behavior.__doc__ or "") for word in all_words)


def test_on_the_command_line() -> None:
    """Settings are read as NAME=VALUE, with dashes or underscores."""
    assert parse_behavior([]) == Behavior()
    read = parse_behavior(["deleted-job=disabled", "upload_link_seconds=60"])
    assert read == Behavior(deleted_job="disabled", upload_link_seconds=60)


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("colour=red", "There is no behavior 'colour'"),
        ("deleted_job", "not_found or disabled"),
        ("deleted_job=maybe", "not_found or disabled"),
        ("upload_link_seconds=soon", "a whole number"),
        ("upload_link_seconds=-1", "a whole number"),
        ("upload_link_seconds=", "a whole number"),
    ],
)
def test_bad_settings(assignment: str, words: str) -> None:
    """A setting that makes no sense is refused with what would."""
    with pytest.raises(ValueError, match=words):
        parse_behavior([assignment])
