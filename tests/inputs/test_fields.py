"""Which values are files, and what can be said of them before anything is sent."""

from __future__ import annotations

import json
from types import SimpleNamespace

import fsspec
import pytest
from airflow.sdk import Asset, AssetAlias, ObjectStoragePath
from airflow.sdk.definitions.asset import AssetUriRef
from airflow.sdk.io import attach, store
from fsspec.implementations.memory import MemoryFileSystem

from helpers.samples import KEY, PHOTO
from helpers.uploads import resolve_request, stored
from magic_hour_provider.api.catalog import TOOLS, get_tool
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.api.errors import InvalidInputError, TransferError
from magic_hour_provider.inputs.fields import find_inputs, to_uri, with_values
from magic_hour_provider.inputs.sources import check_inputs, input_fingerprint
from magic_hour_provider.ledger.fingerprint import UNREADABLE
from magic_hour_provider.storage.paths import open_path

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
            assert with_values(request, [(found[0], "new")]) != request


def test_where_inputs_stand():
    """Each input knows its field by the name a person would use."""
    found = find_inputs(get_tool("face-swap"), SWAP)
    assert [one.label for one in found] == [
        "assets.image_file_path",
        "assets.video_file_path",
        "assets.face_mappings[0].new_face",
        "assets.face_mappings[1].new_face",
    ]
    assert [one.uri for one in found] == [None, None, "a.png", None]
    assert found[3].result == ("image", "j1")


def test_missing_and_null_files_are_not_ours_to_judge():
    """Only what is there is checked."""
    assert find_inputs(get_tool("face-swap"), {}) == []
    assert find_inputs(get_tool("face-swap"), {"assets": {"image_file_path": None, "face_mappings": None}}) == []
    assert find_inputs(get_tool("face-swap"), {"assets": "odd"}) == []


def test_the_request_given_is_not_changed(sim):
    """Inputs are replaced in a copy: the next attempt starts from what the user wrote."""
    request = {"assets": {"image_file_paths": (str(PHOTO),)}, "style": {"prompt": "x"}}
    tool = get_tool("ai-image-editor")
    with MagicHourClient(api_key=KEY, base_url=sim.url) as client:
        sent = resolve_request(client, tool, request)
    assert request["assets"]["image_file_paths"] == (str(PHOTO),)
    assert sent["assets"]["image_file_paths"][0].startswith("api-assets/")
    assert sim.stats()["uploads"] == 1


@pytest.fixture
def forgotten(monkeypatch):
    """No file system is attached yet."""
    monkeypatch.setattr(store, "_STORE_CACHE", {})


STORAGES = ["", "file://", "memory://photos", "s3"]
NAMES = [
    "photo.png",
    "a photo ü 写真.png",
    "no#1?.png",
    "100%25 off.PNG",
    "x/../y.png",
    "a+b&c=d.png",
    'it\'s "me".png',
]


@pytest.mark.parametrize("storage", STORAGES)
def test_any_name_in_any_storage_is_uploaded(sim, tmp_path, storage, forgotten, request):
    """Each storage by its URI, S3 with its connection in it; names are used letter by letter, each file once."""
    (tmp_path / "x").mkdir()
    bucket = request.getfixturevalue("bucket") if storage == "s3" else None
    uris = [f"{bucket.uri if bucket else storage + str(tmp_path)}/{name}" for name in NAMES]
    for name, uri in zip(NAMES, uris, strict=True):
        if bucket:
            bucket.client.put_object(Bucket=bucket.name, Key=name, Body=name.encode())
        else:
            with open_path(uri).open("wb") as file:
                file.write(name.encode())
    given = [form for uri in uris for form in (uri, {"uri": uri, "index": 0}, open_path(uri), Asset(uri))]
    body, tool = {"assets": {"image_file_paths": given}, "style": {"prompt": "x"}}, get_tool("ai-image-editor")
    assert len({json.dumps(input_fingerprint(one)) for one in find_inputs(tool, body)}) == len(NAMES)
    with MagicHourClient(api_key=KEY, base_url=sim.url) as client:
        sent = resolve_request(client, tool, body)["assets"]["image_file_paths"]
    arrived = [stored(sim, reference).decode() for reference in sent]
    assert arrived == [name for name in NAMES for _ in range(4)]
    assert sim.stats()["uploads"] == len(NAMES)
    assert sim.stats()["requests"]["upload-urls"] == 1


def test_what_names_a_file(tmp_path):
    """Objects of Python and Airflow become the path or URI that they name; what names none stays what it is."""
    event = SimpleNamespace(asset=SimpleNamespace(uri="s3://b/k.png", name="photos"), extra={})
    for given, named in (
        (tmp_path / "a.png", str(tmp_path / "a.png")),
        (ObjectStoragePath("file:///a/b.png"), "file:///a/b.png"),
        (Asset("s3://conn@b/k#1.png"), "s3://conn@b/k#1.png"),
        (Asset("s3://b/k?v=1&v=2.png"), "s3://b/k?v=1&v=2.png"),
        (Asset("photos", uri="s3://b/k.png"), "s3://b/k.png"),
        (AssetUriRef("s3://b/k.png"), "s3://b/k.png"),
        (event, "s3://b/k.png"),
        ({"uri": "https://example.com/a.png", "index": 0}, "https://example.com/a.png"),
    ):
        assert to_uri(given) == named
    for other in (AssetAlias("x"), 5, {"kind": "image", "id": "j", "uri": "u"}, None):
        assert to_uri(other) is other


def test_a_file_system_that_a_user_attached_is_theirs(forgotten):
    """``memory://`` is ours to attach only where nobody else has."""
    theirs = fsspec.filesystem("memory", skip_instance_cache=True)
    attach("memory", fs=theirs)
    assert open_path("memory://x/a.png").fs is theirs


def test_memory_after_somebody_tried_it(forgotten):
    """A path that failed before leaves an empty store behind, which is no obstacle."""
    with pytest.raises(ValueError, match="No filesystem registered"):
        _ = ObjectStoragePath("memory://x/a.png").fs
    open_path("memory://x/a.png").fs.pipe("/x/a.png", b"x")
    assert open_path("memory://x/a.png").read_bytes() == b"x"


def test_a_folder_an_empty_file_and_none_at_all(tmp_path, bucket, forgotten):
    """Each is said before anything is sent, and not tried again; what a storage says itself may pass."""
    (tmp_path / "d.png").mkdir()
    (tmp_path / "e.png").touch()
    bucket.client.put_object(Bucket=bucket.name, Key="d.png/a.png", Body=b"x")
    bucket.client.put_object(Bucket=bucket.name, Key="e.png", Body=b"")
    for value, words in (
        (f"{tmp_path}/d.png", "is a folder"),
        (f"{tmp_path}/e.png", "is empty"),
        (f"{tmp_path}/n.png", "FileNotFoundError"),
        (f"{bucket.uri}/d.png", "is a folder"),
        (f"{bucket.uri}/e.png", "is empty"),
        (f"{bucket.uri}/n.png", "FileNotFoundError"),
        ("s3://aws_test@no-such-bucket/a.png", "FileNotFoundError"),
        ("nosuch://b/a.png", "cannot be read"),
    ):
        with pytest.raises(InvalidInputError, match=rf"target_file_path: the file .*{words}.*nothing was charged"):
            check_inputs(find_inputs(get_tool("face-detection"), {"assets": {"target_file_path": value}}), 0.0)


def test_a_storage_that_does_not_answer(forgotten):
    """It may be back at the next attempt; the fingerprint takes the file for unchanged until then."""

    class Away(MemoryFileSystem):
        def info(self, path, **kwargs):
            raise ConnectionError("no route")

    attach("memory", fs=Away())
    found = find_inputs(get_tool("face-detection"), {"assets": {"target_file_path": "memory://x/a.png"}})
    with pytest.raises(TransferError, match=r"no route.*A retry may find its storage back"):
        check_inputs(found, 0.0)
    assert input_fingerprint(found[0]) == UNREADABLE


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (5, "it got int"),
        (["a.png"], "it got list"),
        ({"a": 1}, "it got dict"),
        ("", "empty text"),
        (" \n", "empty text"),
        ("{'id': 'abc', 'kind': 'image'}", "Give task.output itself"),
        ('["s3://b/k.png"]', "Give task.output itself"),
        ({"kind": "image", "id": "../account"}, "not a Magic Hour job id"),
        ("https://magichour.ai/my-library?imageId=../account", "not a Magic Hour job id"),
        ({"kind": "face-detection", "id": "abc"}, "no file to use"),
        ({"kind": "audio", "id": "abc"}, r"takes image files \(png, .*result of audio job abc"),
        ({"kind": "video", "id": "abc"}, "takes image files"),
        ("https://magichour.ai/my-library?videoId=abc", "takes image files"),
        ({"kind": "image", "id": "abc", "index": -1}, "whole number from 0"),
        ({"kind": "image", "id": "abc", "index": "1"}, "whole number from 0"),
        ({"file_path": "api-assets/x/1.mp4", "extension": "mp4"}, "got the upload of a .mp4 file"),
        ("photo", r"no extension.*takes image files \(png"),
        ("photo.gif", "takes image files .*is none"),
        ("clip.mp4", "takes image files"),
        ("/data/photo.png/", "cannot be read"),
    ],
)
def test_what_can_be_no_file_is_said_before_anything_is_sent(value, words):
    """One sentence that names the field, what it takes where that helps, and that nothing was charged."""
    found = find_inputs(get_tool("ai-image-upscaler"), {"assets": {"image_file_path": value}})
    with pytest.raises(InvalidInputError, match=words):
        check_inputs(found, 0.0)


def test_other_links_are_for_magic_hour_to_judge():
    """What we cannot read as an address is sent as it is; so is every reference."""
    given = ["https://[odd/a.png", "HTTPS://example.com/a", "api-assets/x/1.png", "saved-items/1/a.png"]
    found = find_inputs(get_tool("ai-image-editor"), {"assets": {"image_file_paths": given}})
    assert check_inputs(found, 0.0) == {}
    assert [one.job for one in found] == [None] * 4


def test_a_gif_only_where_it_is_allowed():
    """GIF is taken by the face swap's video field, as video, and refused elsewhere."""
    request = {"assets": {"video_file_path": "a.gif", "image_file_path": "b.gif"}}
    image, video = find_inputs(get_tool("face-swap"), request)
    assert video.upload_type() == ("video", "gif")
    with pytest.raises(InvalidInputError, match=r"assets\.image_file_path takes image files"):
        image.upload_type()


def test_webm_is_what_its_field_takes():
    """One extension of two kinds follows the field's role."""
    audio, video = find_inputs(
        get_tool("lip-sync"), {"assets": {"audio_file_path": "a.webm", "video_file_path": "b.webm"}}
    )
    assert (audio.upload_type(), video.upload_type()) == (("audio", "webm"), ("video", "webm"))
