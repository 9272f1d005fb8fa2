"""Writers: a file appears whole or not at all, and never over another one."""

from __future__ import annotations

import os

import pytest
from fsspec.spec import AbstractBufferedFile, AbstractFileSystem

from magic_hour_provider.storage import files, writers
from magic_hour_provider.storage.paths import open_path


@pytest.mark.parametrize("size", [3, 6 * 1024 * 1024])
def test_a_name_that_is_taken_while_the_file_comes(place, size):
    """Between the first test and the last byte somebody else may store a file: it is not overwritten either."""
    path = open_path(f"{place.uri}/ü.png")
    files.ensure_folder(path.parent)
    writer = writers.open_writer(path, "image/png")
    writer.write(bytes(size))
    place.write("ü.png", b"mine")
    with pytest.raises(FileExistsError):
        writer.commit()
    writer.abort()
    assert place.read("ü.png") == b"mine"
    assert (place.names(), place.unfinished()) == (["ü.png"], [])


@pytest.mark.parametrize("size", [1, 5 * 1024 * 1024, 11 * 1024 * 1024 + 1])
def test_a_writer_that_starts_over(place, size):
    """What was written before a restart is not in the file, whether or not it had left for the storage."""
    path = open_path(f"{place.uri}/a.bin")
    files.ensure_folder(path.parent)
    writer, data = writers.open_writer(path), os.urandom(size)
    writer.write(data[::-1] + b"more")
    writer.restart()
    for start in range(0, size, 700_001):
        writer.write(data[start : start + 700_001])
    assert "a.bin" not in place.names()
    writer.commit()
    assert place.read("a.bin") == data
    assert (place.names(), place.unfinished()) == (["a.bin"], [])


class ObjectStore(AbstractFileSystem):
    """An object store as fsspec's libraries show it: an object is there when its file is closed.

    :param exclusive: whether it can refuse a taken name itself.
    """

    cachable = False

    def __init__(self, exclusive: bool) -> None:
        super().__init__()
        self.exclusive, self.objects, self.discarded = exclusive, {}, 0

    def _open(self, path, mode="rb", block_size=None, **options):
        if mode == "xb" and not self.exclusive:
            raise ValueError(mode)
        return Upload(self, path, mode, block_size, **options)

    def exists(self, path, **options):
        """Whether there is such an object."""
        return path in self.objects


class Upload(AbstractBufferedFile):
    """One upload."""

    def _initiate_upload(self):
        self.parts = []

    def _upload_chunk(self, final=False):
        self.parts.append(self.buffer.getvalue())
        if final and self.mode == "xb" and self.path in self.fs.objects:
            raise RuntimeError("412 Precondition Failed")
        if final:
            self.fs.objects[self.path] = b"".join(self.parts)
        return True

    def discard(self):
        """Give the upload up."""
        self.fs.discarded += 1


@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize("size", [3, 5 * 1024 * 1024])
def test_an_object_of_another_store(exclusive, size):
    """It shows when it is whole, starts over with a new upload, and takes no name that another has taken."""
    store, data = ObjectStore(exclusive), os.urandom(size)
    writer = writers.ObjectWriter(store, "bucket/a.png")
    writer.write(data[::-1])
    writer.restart()
    writer.write(data)
    assert (store.objects, store.discarded) == ({}, 1)
    writer.commit()
    assert store.objects == {"bucket/a.png": data}
    late = writers.ObjectWriter(store, "bucket/a.png")
    late.write(b"another")
    with pytest.raises(FileExistsError):
        late.commit()
    late.abort()
    assert (store.objects, store.discarded) == ({"bucket/a.png": data}, 2)
