"""A request is checked before it costs anything: names, missing fields and types are errors, values only warn."""

from __future__ import annotations

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from helpers.attempts import Connected, TaskInstance
from helpers.samples import KEY
from magic_hour_provider.api.catalog import TOOLS, Tool
from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.api.validation import check_request, normalize_request
from magic_hour_provider.simulator import Behavior, Simulator

LIP = {
    "assets": {"video_source": "file", "video_file_path": "a.mp4", "audio_file_path": {"kind": "audio", "id": "j"}},
    "start_seconds": 0,
    "end_seconds": 5,
}


def errors_of(slug: str, request: dict, *, rendered: bool = False, extra: dict | None = None) -> tuple[str, ...]:
    """Return the errors of a request."""
    return check_request(TOOLS[slug], request, extra=extra, rendered=rendered).errors


@pytest.mark.parametrize(
    ("slug", "request_", "words"),
    [
        ("lip-sync", LIP | {"end_second": 5}, "`end_second` is not a field of lip-sync (did you mean `end_seconds`?)"),
        ("lip-sync", LIP | {"prompt": "x"}, "`prompt` is not a field of lip-sync (it has `assets`"),
        ("text-to-video", {"end_seconds": 5, "prompt": "x"}, "did you mean `style.prompt`?"),
        ("text-to-video", {"end_seconds": 5, "Prompt": "x"}, "did you mean `style.prompt`?"),
        ("text-to-video", {"end_seconds": 5, "promt": "x"}, "did you mean `style.prompt`?"),
        (
            "text-to-video",
            {"style": {"end_seconds": 5}},
            "`style.end_seconds` is not a field of text-to-video (did you",
        ),
        ("face-swap", {"new_face": "x"}, "did you mean `assets.face_mappings[].new_face`?"),
        ("lip-sync", LIP | {"style": {"mode": "pro"}}, "`style.mode` is not a field"),
        ("lip-sync", {k: v for k, v in LIP.items() if k != "end_seconds"}, "`end_seconds` is missing"),
        ("lip-sync", LIP | {"assets": {"video_source": "file"}}, "`assets.audio_file_path` is missing"),
        ("lip-sync", LIP | {"end_seconds": "5"}, "`end_seconds` must be a number; it is '5'"),
        ("lip-sync", LIP | {"assets": "a.mp4"}, "`assets` must be a dict"),
        ("text-to-video", {"end_seconds": 5, "references": {"name": "x"}}, "`references` must be a list"),
        ("text-to-video", {"end_seconds": 5, "references": [{"nam": "x"}]}, "`references[0].nam` is not a field"),
        ("text-to-video", {"end_seconds": 5, "audio": "yes"}, "`audio` must be true or false"),
        ("ai-image-generator", {"image_count": None, "style": {"prompt": "x"}}, "`image_count` must be a whole number"),
    ],
)
def test_what_cannot_be_accepted(slug, request_, words):
    """Each slip is named with its field, its tool and the nearest valid name."""
    assert any(words in error for error in errors_of(slug, request_)), errors_of(slug, request_)


def test_all_problems_are_reported_at_once():
    """One message names every problem, so that a person fixes them in one go."""
    findings = check_request(TOOLS["lip-sync"], {"asset": {}, "end_seconds": "x"}, rendered=False)
    assert len(findings.errors) == 4
    with pytest.raises(InvalidInputError, match=r"asset.*nothing was charged.*extra_request"):
        findings.raise_errors(TOOLS["lip-sync"])


@pytest.mark.parametrize(
    ("slug", "request_", "words"),
    [
        ("lip-sync", LIP | {"style": {"generation_mode": "ultra"}}, "nearest known: lite, pro, standard"),
        ("lip-sync", LIP | {"end_seconds": 0}, "`end_seconds` should be at least 0.1; it is 0"),
        ("ai-voice-generator", {"style": {"prompt": "x" * 1001, "voice_name": "Adele"}}, "at most 1000 characters"),
        ("ai-voice-generator", {"style": {"prompt": "x", "voice_name": "Adelle"}}, "nearest known: Adele"),
        ("ai-image-generator", {"image_count": 17, "style": {"prompt": "x"}}, "should be at most 16"),
    ],
)
def test_what_may_be_refused_only_warns(slug, request_, words):
    """Models, voices and limits change weekly, and a refusal is free."""
    findings = check_request(TOOLS[slug], request_, rendered=True)
    assert findings.errors == ()
    assert any(words in warning for warning in findings.warnings), findings.warnings


@pytest.mark.parametrize("value", ["{{ params.seconds }}", "{% if x %}5{% endif %}", object()])
def test_what_is_still_open_is_passed_over(value):
    """While a DAG is parsed a template or an earlier task's output may still become anything; rendered it may not."""
    assert errors_of("lip-sync", LIP | {"end_seconds": value}) == ()
    assert errors_of("lip-sync", LIP | {"end_seconds": value}, rendered=True) != ()


def test_extra_request_is_never_checked_and_may_fill_in():
    """It may hold unknown names, and what it holds is not missing."""
    request = {name: value for name, value in LIP.items() if name != "end_seconds"}
    assert errors_of("lip-sync", request, extra={"end_seconds": "anything", "brand_new": 1}) == ()
    assert errors_of("lip-sync", request, extra={"brand_new": 1}) == ("`end_seconds` is missing",)


def test_a_tool_newer_than_this_package_is_not_checked():
    """A hand-made tool goes out as it is, also one that borrows a known slug."""
    assert check_request(Tool("dream", "video", "/v1/dream"), {"x": 1}, rendered=True).errors == ()
    assert check_request(Tool("lip-sync", "video", "/v2/lip-sync"), {"x": 1}, rendered=True).errors == ()


def test_rendered_text_becomes_what_the_field_takes():
    """A template renders to text; where a number or a truth value belongs it becomes one, elsewhere it stays text."""
    given = {"end_seconds": "5", "audio": "True", "style": {"prompt": "5"}, "references": ({"name": "1"},)}
    assert normalize_request(TOOLS["text-to-video"], given) == {
        "end_seconds": 5,
        "audio": True,
        "style": {"prompt": "5"},
        "references": [{"name": "1"}],
    }
    assert normalize_request(TOOLS["text-to-video"], {"end_seconds": "soon"}) == {"end_seconds": "soon"}


def test_the_sdks_names_are_the_wires():
    """What is copied from the Python SDK's documentation works as what is copied from the API's."""
    tool = TOOLS["ai-meme-generator"]
    given = {"style": {"topic": "x", "template": "Random", "search_web": True}}
    assert check_request(tool, given, rendered=False).errors == ()
    assert normalize_request(tool, given)["style"] == {"topic": "x", "template": "Random", "searchWeb": True}


def test_a_bad_request_is_an_import_error_and_a_bad_rendered_one_costs_nothing(airflow):
    """Found when the DAG is parsed; what only shows after rendering, before anything is sent."""
    with pytest.raises(InvalidInputError, match="did you mean `end_seconds`"):
        airflow.operator("text-to-video", {"end_second": 5, "style": {"prompt": "x"}})
    operator = airflow.operator("text-to-video", {"end_seconds": "{{ x }}", "style": {"prompt": "x"}})
    with pytest.raises(AirflowFailException, match="`end_seconds` must be a number"):
        airflow.attempt(operator, TaskInstance())
    assert airflow.sim.stats()["polls"] == 0
    assert airflow.creates() == 0


def test_a_warning_is_logged_and_the_request_is_sent(monkeypatch, tmp_path, capsys):
    """An unknown model is the service's to judge, and runs where the service knows it."""
    request = {"image_count": 1, "model": "brand-new-model", "style": {"prompt": "x"}}
    with Simulator(api_key=KEY, manual_clock=True, behavior=Behavior(unknown_values="accepted")) as sim:
        airflow = Connected(sim, monkeypatch, tmp_path)
        assert airflow.attempt(airflow.operator(request=request), TaskInstance())["status"] == "complete"
        assert "`model` is 'brand-new-model', which this version does not know" in capsys.readouterr().out
        assert airflow.creates() == 1
