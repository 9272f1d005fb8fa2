"""What a batch has come to, in numbers: for the log, the XCom and the end."""

from __future__ import annotations

from dataclasses import dataclass, field

from magic_hour_provider.api.errors import describe_credits
from magic_hour_provider.times import format_duration


@dataclass
class Counts:
    """The items of a batch by what has become of them. Keys, as far as single items have to be named.

    :param items: how many there are.
    :param complete: how many are complete.
    :param failed: those that have failed.
    :param unknown: those of which nobody knows whether a job was made.
    :param disputed: those of them whose records contradict each other: for these nothing is ever sent again by itself.
    :param running: those whose job was still under way when it was given up.
    :param unpaid: what is wrong with those that could not be sent, by their keys.
    :param retryable: whether another attempt may do better with one of them.
    """

    items: int
    complete: int = 0
    failed: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    disputed: set[str] = field(default_factory=set)
    running: set[str] = field(default_factory=set)
    unpaid: dict[str, str] = field(default_factory=dict)
    retryable: bool = False

    def describe(self, *, active: int, waiting: int, left: int, credits: int, seconds_left: float | None) -> str:
        """Return one line of the log.

        :param active: jobs under way.
        :param waiting: items that other workers are about to pay for.
        :param left: items that are still to be paid for.
        :param credits: charged to this task so far.
        :param seconds_left: expected until the end; None: not known.
        """
        end = "" if seconds_left is None else f", expected to end in {format_duration(seconds_left)}"
        unknown = f", {len(self.unknown)} unknown" if self.unknown else ""
        others = f", {waiting} with other workers" if waiting else ""
        return (
            f"Of {self.items} items {self.complete} are complete, {len(self.failed)} failed{unknown}, {active} under "
            f"way{others}, {left} left; {describe_credits(credits)} charged{end}."
        )
