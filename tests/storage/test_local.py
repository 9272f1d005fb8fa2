"""Staging files on a local disk."""

from __future__ import annotations

from magic_hour_provider.storage import local, writers


def test_a_new_staging_file_that_was_taken_for_a_stale_one(tmp_path, monkeypatch):
    """Another task removes a staging file before its writer has locked it: the writer opens another one."""
    flock, removed = local.fcntl.flock, []

    def late(file, how):
        if not removed:
            removed.extend(tmp_path.iterdir())
            local.remove_stale_staging_files(tmp_path, ".a.png.*.part")
        return flock(file, how)

    monkeypatch.setattr(local.fcntl, "flock", late)
    writer = writers.LocalWriter(tmp_path / "a.png")
    writer.write(b"whole")
    writer.commit()
    assert [path.exists() for path in removed] == [False]
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == b"whole"
