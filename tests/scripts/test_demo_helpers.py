"""What the demo counts as proof."""

from __future__ import annotations

from pathlib import Path

import av
import pytest
from PIL import Image

from demo import DemoError, MediaFile, decode, local_path, table


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for shade in range(0, 200, 10):
            picture = Image.new("RGB", (64, 64), (shade, 0, 0))
            container.mux(stream.encode(av.VideoFrame.from_image(picture)))
        container.mux(stream.encode())
    return path


def test_a_clip_is_decoded(clip: Path) -> None:
    """Twenty frames at ten a second last two seconds."""
    file = decode(clip, "video/mp4")
    assert file.seconds == pytest.approx(2, abs=0.2)
    assert file.size == clip.stat().st_size


def test_a_picture_is_decoded(tmp_path: Path) -> None:
    """A picture has no duration."""
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    assert decode(tmp_path / "a.png", "image/png").seconds is None


@pytest.mark.parametrize("content_type", ["image/png", "video/mp4"])
@pytest.mark.parametrize("content", [None, b"", b"not a picture" * 100], ids=["missing", "empty", "text"])
def test_what_does_not_decode_is_an_error(tmp_path: Path, content: bytes | None, content_type: str) -> None:
    """Being there is not enough, and the message names the file."""
    path = tmp_path / "file"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DemoError, match=str(path)):
        decode(path, content_type)


def test_a_truncated_picture_is_an_error(tmp_path: Path) -> None:
    """Its header is fine; only decoding finds that the rest is missing."""
    path = tmp_path / "cut.png"
    Image.effect_noise((64, 64), 90).save(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DemoError, match="does not decode"):
        decode(path, "image/png")


@pytest.mark.parametrize(
    ("uri", "path"), [("/a/b c.mp4", "/a/b c.mp4"), ("file:///a/b%20c.mp4", "/a/b c.mp4")], ids=["path", "URI"]
)
def test_local_uris(uri: str, path: str) -> None:
    """Plain paths and file URIs name the same file."""
    assert local_path(uri) == Path(path)


def test_remote_uris_are_refused() -> None:
    """The demo writes to this machine and says so when something else happens."""
    with pytest.raises(DemoError, match="s3://bucket/x"):
        local_path("s3://bucket/x")


def test_the_table() -> None:
    """Paths are short, numbers stand in columns, and a picture has no seconds."""
    files = [
        MediaFile(Path("/root/out/a.png"), 1234, "image/png", None),
        MediaFile(Path("/elsewhere/b.mp4"), 1234567, "video/mp4", 5.04),
    ]
    assert table(files, Path("/root")).splitlines() == [
        "file                  bytes  type       seconds",
        "-" * 47,
        "out/a.png             1,234  image/png",
        "/elsewhere/b.mp4  1,234,567  video/mp4      5.0",
    ]
