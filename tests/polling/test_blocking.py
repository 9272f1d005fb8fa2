"""The worker's poll loop, in simulated time and with a client of a few lines."""

from __future__ import annotations

from magic_hour_provider import clock
from magic_hour_provider.api.catalog import TOOLS
from magic_hour_provider.api.errors import ServerError
from magic_hour_provider.api.models import Download, Job
from magic_hour_provider.polling.blocking import poll_until
from magic_hour_provider.polling.schedule import Outcome, PollState, Schedule

ACTIVE = Job("abc", "video", "rendering")
COMPLETE = Job("abc", "video", "complete", downloads=(Download("https://files.example/1.mp4"),))


class Service:
    """Has an observation for each poll, and the last of them from then on; its time begins at 0.

    :param observations: what polls see.
    """

    def __init__(self, *observations: Job | Exception) -> None:
        self.observations = list(observations)
        self.polled_at: list[int] = []
        self.time = 0.0

    def now(self) -> float:
        """Return the time."""
        return self.time

    def advance(self, seconds: float) -> None:
        """Move the time."""
        self.time += seconds

    def get_job(self, kind: str, job_id: str) -> Job:
        """Poll."""
        self.polled_at.append(round(self.time))
        observation = self.observations.pop(0) if len(self.observations) > 1 else self.observations[0]
        if isinstance(observation, Exception):
            raise observation
        return observation


def wait(service: Service, *, first: float, until: float, on_poll=lambda *_: None):
    """Poll a lip sync submitted at 0, with an hour to wait, as its service's time passes."""
    tool = TOOLS["lip-sync"]
    state = PollState(Schedule.of(tool.polling_class(), tool), submitted_at=0.0, deadline=3600.0)
    with clock.override(clock.SimulatedClock(service)):
        return poll_until(service, "video", "abc", state, first=first, until=until, on_poll=on_poll)


def test_until_the_end():
    """Each poll comes when it is due, and the end is returned with what the last one saw."""
    service = Service(ACTIVE, ServerError("It is down."), COMPLETE)
    assert wait(service, first=30, until=3600) == (COMPLETE, Outcome("complete"))
    assert service.polled_at == [30, 40, 50]


def test_until_the_worker_has_waited_long_enough():
    """No poll comes after ``until``, and the worker does not sleep up to it either."""
    service = Service(ACTIVE)
    assert wait(service, first=30, until=45) == (ACTIVE, None)
    assert (service.polled_at, round(service.time)) == ([30, 40], 40)
    assert wait(service, first=60, until=0) == (None, None)
    assert len(service.polled_at) == 2


def test_what_is_reported():
    """Every poll is reported with what it saw; a message comes with news only."""
    reported, fault = [], ServerError("It is down.")
    wait(Service(ACTIVE, ACTIVE, fault, COMPLETE), first=30, until=3600, on_poll=lambda *one: reported.append(one))
    assert [observation for observation, _ in reported] == [ACTIVE, ACTIVE, fault, COMPLETE]
    assert [message is not None for _, message in reported] == [True, False, True, True]
