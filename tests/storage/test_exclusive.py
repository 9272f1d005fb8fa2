"""Small files that are created only where their name is free."""

from __future__ import annotations

import errno
import os

import pytest

from magic_hour_provider.storage.exclusive import NotExclusiveError, create_file
from magic_hour_provider.storage.paths import open_path


def test_a_taken_name_is_refused(place):
    """Nothing is changed then; where the storage cannot refuse, nothing is written and the caller is told."""
    path = open_path(f"{place.uri}/one")
    if place.taken == "unable":
        with pytest.raises(NotExclusiveError):
            create_file(path, b"first")
        assert place.names() == []
        return
    if place.taken == "replaced":
        pytest.skip("a storage that replaces it in silence is known by the proof of each batch alone")
    create_file(path, b"first")
    with pytest.raises(FileExistsError):
        create_file(path, b"second")
    assert place.read("one") == b"first"
    assert place.names() == ["one"]


def test_a_disk_without_hard_links(tmp_path, monkeypatch):
    """There the name itself is created exclusively."""

    def unsupported(*_):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", unsupported)
    path = open_path(str(tmp_path / "folder" / "one"))
    create_file(path, b"first")
    with pytest.raises(FileExistsError):
        create_file(path, b"second")
    assert [(one.name, one.read_bytes()) for one in (tmp_path / "folder").iterdir()] == [("one", b"first")]


def test_a_file_in_the_folders_place(tmp_path):
    """It is no taken name: the folder cannot be made."""
    (tmp_path / "folder").write_text("in the way")
    with pytest.raises(NotADirectoryError):
        create_file(open_path(str(tmp_path / "folder" / "one")), b"first")
