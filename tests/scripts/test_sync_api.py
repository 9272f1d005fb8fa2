"""The generated files are in step with the installed SDK, and a newer one is reported by name."""

from __future__ import annotations

import dataclasses
import inspect
import tomllib

import pytest
from airflow.sdk import BaseOperator

import sdk_schemas
import sync_api
from magic_hour_provider.api.catalog import TOOLS

FACTS = tomllib.loads(sync_api.FACTS.read_text("utf-8"))


@pytest.mark.skipif(
    "retry_policy" not in inspect.signature(BaseOperator.__init__).parameters,
    reason="typed operators are generated with all task arguments of Airflow 3.3, such as retry_policy",
)
def test_generated_files_are_what_the_script_makes():
    """Nobody edited them by hand, and nothing they are made from changed since."""
    assert [path.name for path, text in sync_api.files().items() if path.read_text("utf-8") != text] == []


def test_nothing_of_the_installed_sdk_is_missing():
    """Every tool and every field, at any depth, of the SDK is in the catalog."""
    missing = []
    for method in sdk_schemas.methods():
        slug = method.path.removeprefix("/v1/")
        if method.name != "create" or slug == "files/upload-urls":
            continue
        ours = {path for path, _ in sync_api.walk(dict(TOOLS[slug].schema), "")} if slug in TOOLS else set()
        theirs = {path for path, _ in sync_api.walk(sdk_schemas.body_schema(method.body), "")}
        missing += [f"{slug}: {path}" for path in sorted(theirs - ours)]
    assert missing == []


def test_a_newer_sdk_is_reported_by_name():
    """A new tool, a new field and a vanished tool are named, so that a person knows what to describe."""
    sdk = [one for one in sdk_schemas.methods() if one.path != "/v1/lip-sync"]
    some = next(one for one in sdk if one.path == "/v1/text-to-video")
    sdk.append(dataclasses.replace(some, path="/v1/dream-to-video"))
    with pytest.raises(sync_api.OutOfStepError) as caught:
        sync_api.make_catalog(sdk, FACTS)
    assert "tool 'dream-to-video' is new" in str(caught.value)
    assert "tool 'lip-sync' is gone" in str(caught.value)


def test_a_field_without_description_is_reported_by_name():
    """A new field of a known tool needs words of our own before it is released; a vanished one leaves none behind."""
    facts = tomllib.loads(sync_api.FACTS.read_text("utf-8"))
    facts["tools"]["lip-sync"]["fields"].pop("max_fps_limit")
    facts["tools"]["lip-sync"]["fields"]["old_field"] = {"description": "x"}
    with pytest.raises(sync_api.OutOfStepError) as caught:
        sync_api.make_catalog(sdk_schemas.methods(), facts)
    assert "lip-sync: 'max_fps_limit' needs a description" in str(caught.value)
    assert "lip-sync: no field 'old_field'" in str(caught.value)
