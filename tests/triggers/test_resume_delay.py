"""The delay before a deferred task may be resumed."""

from __future__ import annotations

from magic_hour_provider.triggers.resume_delay import resume_delay_s


def test_the_wait_before_an_event():
    """Ten seconds after the deferral, at the least; a worker's clock ahead of ours is clamped to that."""
    assert resume_delay_s(1000, 1000) == 10
    assert resume_delay_s(1000, 1004) == 6
    assert resume_delay_s(1000, 2000) == 0
    assert resume_delay_s(9_999_999, 1000) == 10
