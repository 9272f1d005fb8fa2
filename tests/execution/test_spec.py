"""A rendered request is read once: its body, its files and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

from airflow.sdk import Asset

from magic_hour_provider.api.catalog import get_tool
from magic_hour_provider.execution.spec import prepare_request

EDITOR = get_tool("ai-image-editor")


def test_files_are_found_once_they_are_uris():
    """Whatever object names a file, body and inputs have its URI; the user's own objects are not changed."""
    request = {"assets": {"image_file_paths": [Path("/a.png"), Asset("s3://b/c.png")]}, "style": {"prompt": "x"}}
    prepared = prepare_request(EDITOR, request, {})
    assert prepared.body["assets"]["image_file_paths"] == ["/a.png", "s3://b/c.png"]
    assert [one.uri for one in prepared.inputs] == ["/a.png", "s3://b/c.png"]
    assert prepared.findings.errors == ()
    assert request["assets"]["image_file_paths"][0] == Path("/a.png")


def test_files_of_extra_request_count_too():
    """They replace those of the request: lists are not merged."""
    request = {"assets": {"image_file_paths": ["/a.png"]}, "style": {"prompt": "x"}}
    extra = {"assets": {"image_file_paths": (Path("/b.png"),)}, "style": {"tone": 1}}
    prepared = prepare_request(EDITOR, request, extra)
    assert prepared.body == {"assets": {"image_file_paths": ["/b.png"]}, "style": {"prompt": "x", "tone": 1}}
    assert [one.uri for one in prepared.inputs] == ["/b.png"]


def test_what_is_known_to_be_wrong_comes_first():
    """All of it is one message; what only extra_request has is never checked."""
    prepared = prepare_request(EDITOR, {"nonsense": 1}, {"newer": 1}, ("`x` is None",))
    first, *others = prepared.findings.errors
    assert first == "`x` is None"
    assert any("nonsense" in error for error in others)
    assert not any("newer" in error for error in others)
