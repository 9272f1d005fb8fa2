"""Which requests have one price: all of the catalog's fields, and beside what the simulator charges."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.samples import KEY
from magic_hour_provider.api.catalog import TOOLS, Tool
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.api.prices import UNKNOWN_PRICE, estimate
from magic_hour_provider.api.prices.priced_fields import PricedFields, find_priced_fields
from magic_hour_provider.ledger.fingerprint import UNREADABLE, find_readable

LENGTHS = ("end_seconds", "duration")
# Of two values each: what no price depends on, and what one may depend on.
FREE = {"text": ("a lighthouse", "two lighthouses at sea"), "file": ("s3://b/1.mp4", "https://host/2.mp4")}


def samples(schema: dict[str, Any], path: str, files: set[str]) -> tuple[str, list[Any]]:
    """Return what a field of a schema is, and two values of it."""
    if path in files:
        return "file", list(FREE["file"])
    if "enum" in schema:
        return "value", list(schema["enum"][:2])
    if schema.get("format") == "uri":
        return "link", ["https://youtu.be/1", "https://youtu.be/2"]
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if "boolean" in kinds:
        return "value", [True, False]
    return ("value", [20, 30]) if {"number", "integer"} & set(kinds) else ("text", list(FREE["text"]))


def variants(tool: Tool) -> tuple[dict[str, Any], list[tuple[str, str, dict[str, Any]]]]:
    """Return a request with all fields of a tool, and one with another value for each: its path and what it is."""
    files = {one.field for one in tool.files}
    changes: list[tuple[str, str, tuple[Any, ...], Any]] = []

    def build(schema: dict[str, Any], path: str, place: tuple[Any, ...]) -> Any:
        if "properties" in schema:
            return {
                name: build(inner, f"{path}.{name}".lstrip("."), (*place, name))
                for name, inner in schema["properties"].items()
            }
        if schema.get("type") == "array":
            return [build(schema["items"], f"{path}[]", (*place, 0))]
        what, values = samples(schema, path, files)
        if len(values) > 1:
            changes.append((path, what, place, values[1]))
        return values[0]

    def changed(value: Any, place: tuple[Any, ...], other: Any) -> Any:
        if not place:
            return other
        copy = list(value) if isinstance(value, list) else dict(value)
        copy[place[0]] = changed(value[place[0]], place[1:], other)
        return copy

    body = build(dict(tool.schema), "", ())
    return body, [(path, what, changed(body, place, other)) for path, what, place, other in changes]


@pytest.mark.parametrize("slug", TOOLS)
def test_every_field_counts_but_text_files_and_names(slug):
    """Of all tools: another value of any field makes another price, unless it is free text, a file or a name."""
    tool = TOOLS[slug]
    body, others = variants(tool)
    fingerprint = {one.field.partition("[]")[0]: "the same" for one in tool.files}
    before = find_priced_fields(tool, body, fingerprint)
    assert before.digest is not None
    assert find_priced_fields(tool, body, fingerprint) == before
    has_length = any(name in body for name in LENGTHS)
    for path, what, other in others:
        after = find_priced_fields(tool, other, fingerprint)
        counts = what == "value" or (what == "link" and not has_length)
        assert (after.digest != before.digest) == counts, path
        is_spoken = what == "text" and path != "name" and tool.kind == "audio" and not has_length
        assert (after.characters != before.characters) == is_spoken, path


def test_how_many_there_are_counts():
    """One file more, or one face more, makes another price; which files they are does not."""
    tool = TOOLS["ai-image-editor"]
    one, two, other = (
        find_priced_fields(tool, {"assets": {"image_file_paths": paths}, "style": {"prompt": "x"}})
        for paths in (["a.png"], ["a.png", "b.png"], [{"kind": "image", "id": "abc", "files": []}])
    )
    assert one == other != two


def test_a_field_that_is_left_out_is_another_price():
    """What the service puts in its place is its own choice, and may change."""
    tool = TOOLS["text-to-video"]
    body = {"end_seconds": 5, "style": {"prompt": "x"}}
    assert find_priced_fields(tool, body) != find_priced_fields(tool, body | {"resolution": "480p"})
    assert find_priced_fields(tool, body) == find_priced_fields(tool, body | {"end_seconds": 5.0})
    assert find_priced_fields(tool, body) != find_priced_fields(TOOLS["image-to-video"], body)


def test_the_length_that_is_asked_for_is_what_counts():
    """A request that says where its clip ends has a known length, whatever the file is."""
    tool = TOOLS["lip-sync"]
    assets = {"video_file_path": "a.mp4", "audio_file_path": "a.mp3"}
    body = {"assets": assets, "start_seconds": 0, "end_seconds": 10}
    other = body | {"assets": {"video_file_path": "b.mp4", "audio_file_path": "b.mp3"}}
    assert find_priced_fields(tool, body) == find_priced_fields(tool, other)
    assert find_priced_fields(tool, body) != find_priced_fields(tool, body | {"start_seconds": 5})


def test_a_file_of_unknown_length_has_an_unknown_price():
    """Where nothing says how long the output is, only the very same file is known to be as long."""
    tool = TOOLS["lip-sync"]
    body = {"assets": {"video_file_path": "a.mp4"}, "start_seconds": 0}
    assert find_priced_fields(tool, body).digest is None
    assert find_priced_fields(tool, body, find_readable({"assets.video_file_path": UNREADABLE})).digest is None
    first, again, other = (
        find_priced_fields(tool, body, {"assets.video_file_path": identity}) for identity in ("one", "one", "two")
    )
    assert first == again
    assert first.digest is not None
    assert other.digest not in (None, first.digest)
    assert find_priced_fields(tool, body | {"end_seconds": None}).digest is None


def test_a_tool_newer_than_this_package():
    """Without a schema every value counts but that of names that hold text; of its files each is another price."""
    tool = Tool("new", "video", "/v1/new")
    body = {"name": "n", "quality": "best", "style": {"prompt": "x", "glow": 1}, "assets": {"video_file_path": "a.mp4"}}
    before = find_priced_fields(tool, body)
    assert find_priced_fields(tool, body | {"name": "m", "style": {"prompt": "y", "glow": 1}}) == before
    assert find_priced_fields(tool, body | {"quality": "good"}) != before
    assert find_priced_fields(tool, body | {"style": {"prompt": "x", "glow": 2}}) != before
    assert find_priced_fields(tool, body | {"assets": {"video_file_path": "b.mp4"}}) != before


def test_what_is_no_json_has_an_unknown_price():
    """A number of thousands of digits, in a field that nothing checks; it is refused where it would be sent."""
    body = {"style": {"prompt": "a lighthouse"}, "x": 10**5000}
    assert find_priced_fields(TOOLS["ai-image-generator"], body) == PricedFields(None)
    assert estimate("ai-image-generator", body) == UNKNOWN_PRICE


def test_fields_that_this_package_does_not_know():
    """What extra_request brings counts too, and what is no JSON is only another value."""
    tool = TOOLS["ai-image-generator"]
    body = {"image_count": 1, "style": {"prompt": "x"}}
    assert find_priced_fields(tool, body) != find_priced_fields(tool, body | {"upscale": "4x"})
    assert find_priced_fields(tool, body | {"odd": {1, 2}}) == find_priced_fields(tool, body | {"odd": {1, 2}})
    assert find_priced_fields(tool, body | {"seed": True}) != find_priced_fields(tool, body | {"seed": 1})


PAIRS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "ai-image-generator": (
        {"image_count": 4, "style": {"prompt": "a cat"}},
        {"image_count": 4, "style": {"prompt": "a dog in the rain"}, "name": "dog"},
    ),
    "text-to-video": (
        {"end_seconds": 5, "resolution": "720p", "style": {"prompt": "a cat"}},
        {"end_seconds": 5.0, "resolution": "720p", "style": {"prompt": "a dog in the rain"}},
    ),
    "lip-sync": (
        {
            "assets": {
                "video_source": "file",
                "video_file_path": "https://h/a.mp4",
                "audio_file_path": "https://h/a.mp3",
            },
            "start_seconds": 0,
            "end_seconds": 7,
        },
        {
            "assets": {
                "video_source": "file",
                "video_file_path": "https://h/b.mp4",
                "audio_file_path": "https://h/b.mp3",
            },
            "start_seconds": 0,
            "end_seconds": 7,
        },
    ),
    "ai-voice-generator": (
        {"style": {"prompt": "one two three four five", "voice_name": "Morgan Freeman"}},
        {"style": {"prompt": "five four three two one", "voice_name": "Morgan Freeman"}},
    ),
}


@pytest.mark.parametrize("slug", PAIRS)
def test_what_one_was_charged_is_what_the_next_is(sim, slug):
    """Two requests with the same priced fields are charged the same, and a longer text no less."""
    client = MagicHourClient(api_key=KEY, base_url=sim.url)
    first, second = PAIRS[slug]
    assert find_priced_fields(TOOLS[slug], first) == find_priced_fields(TOOLS[slug], second) != PricedFields(None)
    charged = [client.create(slug, body).credits_charged for body in (first, second)]
    assert charged[0] == charged[1] != 0
    creates = 2
    if TOOLS[slug].kind == "audio":
        longer = {"style": first["style"] | {"prompt": first["style"]["prompt"] * 9}}
        known, other = find_priced_fields(TOOLS[slug], first), find_priced_fields(TOOLS[slug], longer)
        assert (known.digest, known.characters * 9) == other
        assert client.create(slug, longer).credits_charged > charged[0]
        creates = 3
    assert sim.summary().creates == creates
