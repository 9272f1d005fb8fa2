"""What people made by hand is stored, and what our operators made is left out."""

from __future__ import annotations

from types import SimpleNamespace


def test_which_events_are_of_jobs_made_by_hand(load_example):
    """A job of this account that carries no key; not another account's, and not an event that no webhook made."""
    extra = {"kind": "video", "type": "video.completed", "conn_id": "magic_hour_default"}
    extras = [
        extra | {"id": "by-hand", "name": "waves"},
        extra | {"id": "unnamed", "name": None},
        extra | {"id": "ours", "name": "teaser.make manual #ABCDEFGH"},
        extra | {"id": "theirs", "name": "waves", "conn_id": "another"},
        {"from_rest_api": True},
        None,
    ]
    task = load_example("archive_handmade")["dag"].get_task("made_by_hand")
    events = {"asset": [SimpleNamespace(extra=extra) for extra in extras]}
    assert [job["id"] for job in task.python_callable(triggering_asset_events=events)] == ["by-hand", "unnamed"]
