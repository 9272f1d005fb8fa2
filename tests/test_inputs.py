"""Which values are files, and what becomes of them."""

from __future__ import annotations

import pytest

from magic_hour_provider.api.catalog import TOOLS, get_tool
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.api.errors import BadInputError
from magic_hour_provider.inputs import find_inputs, replaced
from magic_hour_provider.media import open_path
from magic_hour_provider.sources import identity
from support import KEY, PHOTO, handed_over

SWAP = {
    "assets": {
        "image_file_path": "https://example.com/a.png",
        "video_file_path": "api-assets/x/1.mp4",
        "face_mappings": [{"new_face": "a.png", "original_face": "p"}, {"new_face": {"kind": "image", "id": "j1"}}],
    }
}


def test_every_file_field_of_every_tool_is_found():
    """The catalog's roles decide, also inside lists; 32 tools, no guess from names."""
    for tool in TOOLS.values():
        for field in tool.files:
            request: object = "https://example.com/x"
            for part in reversed(field.field.split(".")):
                request = {part.removesuffix("[]"): [request] if part.endswith("[]") else request}
            found = find_inputs(tool, request)
            assert len(found) == 1, (tool.slug, field.field)
            assert replaced(request, [(found[0], "new")]) != request


def test_where_inputs_stand():
    """Each input knows its field by the name a person would use."""
    found = find_inputs(get_tool("face-swap"), SWAP)
    assert [one.where for one in found] == [
        "assets.image_file_path",
        "assets.video_file_path",
        "assets.face_mappings[0].new_face",
        "assets.face_mappings[1].new_face",
    ]
    assert [one.uri for one in found] == [None, None, "a.png", None]
    assert found[3].result == ("image", "j1")


def test_missing_and_null_files_are_not_ours_to_judge():
    """Only what is there is looked at."""
    assert find_inputs(get_tool("face-swap"), {}) == []
    assert find_inputs(get_tool("face-swap"), {"assets": {"image_file_path": None, "face_mappings": None}}) == []
    assert find_inputs(get_tool("face-swap"), {"assets": "odd"}) == []


def test_the_request_given_is_not_changed(sim):
    """Inputs are replaced in a copy: the next attempt starts from what the user wrote."""
    request = {"assets": {"image_file_paths": (str(PHOTO),)}, "style": {"prompt": "x"}}
    tool = get_tool("ai-image-editor")
    with MagicHourClient(api_key=KEY, base_url=sim.url) as client:
        sent = handed_over(client, tool, request)
    assert request["assets"]["image_file_paths"] == (str(PHOTO),)
    assert sent["assets"]["image_file_paths"][0].startswith("api-assets/")
    assert sim.stats()["uploads"] == 1


@pytest.mark.parametrize("scheme", ["file://", "memory://photos"])
def test_a_storage_uri_is_streamed_from_its_storage(sim, tmp_path, scheme):
    """Any ``ObjectStoragePath`` URI is an input, and an entry of a result's ``media`` list is one too."""
    uri = f"{scheme}{tmp_path}/a photo ü.png"
    path = open_path(uri)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(PHOTO.read_bytes())
    tool = get_tool("ai-image-editor")
    request = {"assets": {"image_file_paths": [uri, {"uri": uri, "index": 0}]}, "style": {"prompt": "x"}}
    size, checksum = identity(find_inputs(tool, request)[0])
    assert (size, len(checksum)) == (PHOTO.stat().st_size, 64)
    with MagicHourClient(api_key=KEY, base_url=sim.url) as client:
        sent = handed_over(client, tool, request)
    assert all(path.startswith("api-assets/") for path in sent["assets"]["image_file_paths"])
    assert sim.stats()["uploads"] == 1


def test_a_gif_only_where_it_is_allowed():
    """GIF is taken by the face swap's video field, as video, and refused elsewhere."""
    request = {"assets": {"video_file_path": "a.gif", "image_file_path": "b.gif"}}
    image, video = find_inputs(get_tool("face-swap"), request)
    assert video.upload_as() == ("video", "gif")
    with pytest.raises(BadInputError, match=r"assets\.image_file_path takes image files"):
        image.upload_as()


def test_webm_is_what_its_field_takes():
    """One extension of two kinds follows the field's role."""
    audio, video = find_inputs(
        get_tool("lip-sync"), {"assets": {"audio_file_path": "a.webm", "video_file_path": "b.webm"}}
    )
    assert (audio.upload_as(), video.upload_as()) == (("audio", "webm"), ("video", "webm"))
