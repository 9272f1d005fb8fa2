"""Writers: a file appears whole or not at all, and never over another one."""

from __future__ import annotations

import os

import pytest

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
