"""The official Python SDK against the simulator: every method it has, and no answer that it cannot parse."""

from __future__ import annotations

import asyncio
import copy
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import magic_hour
import pytest
from make_api_request import ApiError
from pydantic import BaseModel

from helpers.simulator import KEY
from magic_hour_provider.api.catalog import TOOLS, Tool
from magic_hour_provider.simulator import Simulator

EXAMPLES = json.loads((Path(__file__).parent.parent / "data" / "sdk_examples.json").read_text())["examples"]
# The SDK sends these as they are: see its generate() methods.
NOT_UPLOADED = ("end_image_file_path", "background_image_file_path")
KINDS = {"png": "image", "jpg": "image", "mp4": "video", "mp3": "audio"}


@dataclass(frozen=True)
class World:
    """A simulator in which jobs take no time, the SDK, and one local file of each kind with its upload's path."""

    sim: Simulator
    sdk: magic_hour.Client
    local: dict[str, str]
    uploaded: dict[str, str]

    def accepted(self) -> int:
        """How many creates the simulator accepted."""
        return int(self.sim.stats()["creates"]["accepted"])

    def resource(self, tool: Tool) -> Any:
        """The SDK's client of a tool."""
        return getattr(self.sdk.v1, tool.slug.replace("-", "_"))

    def example(self, tool: Tool, *, local: bool = False) -> dict[str, Any]:
        """The documentation's example of a tool, its input files replaced by ones that exist."""

        def real(value: Any, key: str = "") -> Any:
            if isinstance(value, dict):
                return {name: real(inner, name) for name, inner in value.items()}
            if isinstance(value, list):
                return [real(inner, key) for inner in value]
            if isinstance(value, str) and (file := re.fullmatch(r"api-assets/.*\.(\w+)", value)):
                files = self.local if local and key not in NOT_UPLOADED else self.uploaded
                return files[KINDS[file[1]]]
            return value

        return dict(real(copy.deepcopy(EXAMPLES[tool.slug]["kwargs"])))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = str(tmp_path_factory.mktemp("files"))
    with pytest.MonkeyPatch.context() as patch, Simulator(speed=1e6) as sim:
        patch.setenv("MAGIC_HOUR_POLL_INTERVAL", "0.001")
        sdk = magic_hour.Client(token=KEY, base_url=sim.url)
        made = {
            "image": sdk.v1.ai_qr_code_generator.generate(
                content="hello", style={"art_style": "plain"}, download_directory=folder
            ),
            "video": sdk.v1.text_to_video.generate(
                end_seconds=1, style={"prompt": "a wave"}, download_directory=folder
            ),
            "audio": sdk.v1.ai_voice_generator.generate(
                style={"prompt": "hi", "voice_name": "Elon Musk"}, download_directory=folder
            ),
        }
        local = {kind: result.downloaded_paths[0] for kind, result in made.items()}
        uploaded = {kind: sdk.v1.files.upload_file(path) for kind, path in local.items()}
        yield World(sim, sdk, local, uploaded)


def test_create_and_get() -> None:
    """The asynchronous create() and get() of every tool parse the documentation's example, queued and ended."""

    async def run(sim: Simulator) -> None:
        v1, ended = magic_hour.AsyncClient(token=KEY, base_url=sim.url).v1, set()
        for number, tool in enumerate(TOOLS.values()):
            made = await getattr(v1, tool.slug.replace("-", "_")).create(**EXAMPLES[tool.slug]["kwargs"])
            assert isinstance(made, BaseModel)  # what it cannot parse at all is a str
            job = sim.jobs()[-1]
            assert (made.id, made.credits_charged, tool.slug) == (job["id"], job["credits_charged"], job["tool"])
            assert sim.summary().creates == number + 1
            jobs = v1.face_detection if tool.kind == "face-detection" else getattr(v1, f"{tool.kind}_projects")
            assert (await jobs.get(id=made.id)).status == "queued"
            sim.advance(4 * 3600)
            # An example may name an upload that is not there.
            ended.add((await jobs.get(id=made.id)).status)
        assert ended == {"complete", "error"}

    with Simulator(manual_clock=True, credits=10**7) as sim:
        asyncio.run(run(sim))
        assert (sim.summary().creates, sim.summary().refused) == (32, 0)


@pytest.mark.parametrize("slug", TOOLS)
def test_generate(world: World, slug: str, tmp_path: Path) -> None:
    """generate() of every tool uploads its local files, waits, and downloads what the job made."""
    tool, before = TOOLS[slug], world.accepted()
    kwargs = world.example(tool, local=True)
    if "minimum" in tool.schema["properties"].get("end_seconds", {}):
        kwargs["end_seconds"] = 1  # rendering is what takes the time here
    result = world.resource(tool).generate(**kwargs, download_directory=str(tmp_path))
    assert world.accepted() - before == 1
    assert result.status == "complete", world.sim.jobs()[-1]
    assert result.id == world.sim.jobs()[-1]["id"]
    files = [Path(path) for path in result.downloaded_paths]
    assert all(path.stat().st_size > 100 for path in files)
    assert len(files) == len(getattr(result, "downloads", None) or result.faces) >= 1


def test_polls_deletes_and_lists(world: World) -> None:
    """get, check_result and delete of every kind, the lists and refusals are parsed, and buy nothing."""
    before, v1 = world.accepted(), world.sdk.v1
    by_kind = {"image": v1.image_projects, "video": v1.video_projects, "audio": v1.audio_projects}
    for kind, projects in by_kind.items():
        job = next(job for job in world.sim.jobs() if job["kind"] == kind)
        polls = [
            projects.get(id=job["id"]),
            projects.check_result(id=job["id"], wait_for_completion=False, download_outputs=False),
        ]
        assert [(seen.id, seen.status, seen.credits_charged) for seen in polls] == [
            (job["id"], "complete", job["credits_charged"])
        ] * 2
        projects.delete(id=job["id"])
        with pytest.raises(ApiError) as refusal:
            projects.get(id=job["id"])
        assert (refusal.value.status_code, refusal.value.body["code"]) == (404, "not_found")
    assert v1.account.list().credits == world.sim.stats()["credits"]["balance"]
    assert [item.type_ for item in v1.saved_items.list(type_="voice").items] == ["voice"]
    places = v1.files.upload_urls.create(items=EXAMPLES["files/upload-urls"]["kwargs"]["items"])
    assert [Path(place.file_path).suffix for place in places.items] == [".mp4", ".mp3"]
    assert world.accepted() == before
    assert world.sim.stats()["deletes"] == 3


def test_a_found_face_is_swapped(world: World, tmp_path: Path) -> None:
    """What face detection finds goes into a swap of single faces, with the new face uploaded from a file."""
    before, v1 = world.accepted(), world.sdk.v1
    found = v1.face_detection.create(assets={"target_file_path": world.uploaded["image"]})
    while (faces := v1.face_detection.get(id=found.id)).status != "complete":
        assert faces.status in ("queued", "rendering")
    mapping = {"original_face": faces.faces[0].path, "new_face": world.local["image"]}
    swapped = v1.face_swap_photo.generate(
        assets={
            "face_swap_mode": "individual-faces",
            "face_mappings": [mapping],
            "target_file_path": world.uploaded["image"],
        },
        download_directory=str(tmp_path),
    )
    assert swapped.status == "complete"
    assert world.accepted() - before == 2


def test_a_failed_job_is_parsed(world: World, tmp_path: Path) -> None:
    """A job that fails or is canceled is an answer like any other, and its credits come back."""
    before = world.accepted()
    for status in ("error", "canceled"):
        world.sim.inject_fault("job-outcome", status=status, code="no_source_face")
        failed = world.sdk.v1.ai_image_generator.generate(
            image_count=1, style={"prompt": "a wave"}, download_directory=str(tmp_path)
        )
        assert (failed.status, failed.downloaded_paths, failed.credits_charged) == (status, None, 0)
        assert (failed.error.code if failed.error else None) == ("no_source_face" if status == "error" else None)
    assert world.accepted() - before == 2
