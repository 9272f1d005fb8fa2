"""The places that files are stored in, each as tests read it past Airflow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fsspec.implementations.memory import MemoryFileSystem

PLACES = ("local", "memory", "s3")
CLOUDS = ("gs", "abfs", "s3-refused", "s3-ignored")
"""Google Cloud Storage, Azure, and S3 without conditional writes: said so, or passed over in silence."""


class PrivateMemory(MemoryFileSystem):
    """A file system in memory that shares its files with no other; before fsspec 2026.9 all of them are one."""

    cachable = False

    def __init__(self) -> None:
        super().__init__()
        self.store, self.pseudo_dirs = {}, [""]


@dataclass(frozen=True)
class Place:
    """A folder for files, empty at first.

    :param uri: as users write it.
    :param names: names what is in it, hidden files included.
    :param read: returns a file's bytes.
    :param write: puts a file there.
    :param unfinished: names uploads that were begun and not ended.
    :param taken: what the storage does with a taken name when a file is to be new: it is ``refused``, the storage says
        that it is ``unable`` to, or the file is ``replaced``.
    :param written_at: tells one writing of a file from another.
    """

    uri: str
    names: Callable[[], list[str]]
    read: Callable[[str], bytes]
    write: Callable[[str, bytes], object]
    unfinished: Callable[[], list[str]] = list
    taken: str = "refused"
    written_at: Callable[[str], object] = repr

    @classmethod
    def local(cls, folder: Path) -> Place:
        """Return a folder on this machine."""

        def write(name: str, data: bytes) -> None:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)

        return cls(
            f"file://{folder}",
            lambda: sorted(path.name for path in folder.iterdir()) if folder.exists() else [],
            lambda name: (folder / name).read_bytes(),
            write,
        )

    @classmethod
    def memory(cls, name: str) -> Place:
        """Return a folder in this process's memory."""
        import fsspec

        fs = fsspec.filesystem("memory")
        return cls(
            f"memory://{name}/out",
            lambda: sorted(path.rpartition("/")[2] for path in fs.find(f"/{name}/out")),
            lambda file: fs.cat_file(f"/{name}/out/{file}"),
            lambda file, data: fs.pipe_file(f"/{name}/out/{file}", data),
            taken="unable",
        )

    @classmethod
    def cloud(cls, uri: str, fs: Any, bucket: str, taken: str = "refused") -> Place:
        """Return a prefix of a bucket or container, by a file system that Airflow does not have."""

        def names() -> list[str]:
            fs.invalidate_cache()
            return sorted(path.removeprefix(f"{bucket}/out/") for path in fs.find(f"{bucket}/out"))

        return cls(
            uri,
            names,
            lambda name: bytes(fs.cat_file(f"{bucket}/out/{name}")),
            lambda name, data: fs.pipe_file(f"{bucket}/out/{name}", data),
            taken=taken,
            written_at=lambda name: str(fs.info(f"{bucket}/out/{name}", refresh=True)),
        )

    @classmethod
    def s3(cls, bucket: Any, taken: str = "refused") -> Place:
        """Return a prefix of a bucket."""
        return cls(
            f"{bucket.uri}/out",
            lambda: sorted(key.removeprefix("out/") for key in bucket.keys()),  # noqa: SIM118 (its own method)
            lambda name: bucket.read(f"out/{name}"),
            lambda name, data: bucket.write(f"out/{name}", data),
            bucket.unfinished,
            taken,
            lambda name: bucket.client.head_object(Bucket=bucket.name, Key=f"out/{name}")["LastModified"],
        )
