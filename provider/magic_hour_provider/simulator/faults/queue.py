"""The faults on order: which strikes next, and how many times each has struck."""

from __future__ import annotations

import random
import re
import threading
from collections import Counter
from dataclasses import dataclass
from typing import Any

from magic_hour_provider.simulator.faults.catalog import Fault


@dataclass(eq=False)
class Order:
    """A fault on order.

    :param fault: what was ordered.
    :param left: how many times it will still strike; None for every time.
    :param dice: decides whether a fault with a probability strikes.
    :param struck: how many times it has struck.
    :param cancelled: whether it has been cleared.
    :param met: how many requests that fit it has met.
    """

    fault: Fault
    left: int | None
    dice: random.Random
    struck: int = 0
    cancelled: bool = False
    met: int = 0

    def fits(
        self, stages: tuple[str, ...], endpoint: str, tool: str | None, words: str | None, event: str | None
    ) -> bool:
        """Say whether it may strike a request; see :meth:`FaultBook.take`."""
        fault = self.fault
        if fault.stage not in stages or fault.endpoint != endpoint or fault.tool not in (None, tool):
            return False
        if fault.event not in (None, event):
            return False
        if fault.prompt is not None and (words is None or not re.search(fault.prompt, words, re.IGNORECASE)):
            return False
        self.met += 1
        if self.met % fault.every:
            return False
        return fault.probability >= 1 or self.dice.random() < fault.probability


class FaultBook:
    """The faults on order. Safe to use from several threads.

    :param seed: one seed gives the same strikes of faults with a probability.
    """

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._orders: list[Order] = []
        self._made = 0
        self._lock = threading.Lock()
        self._struck: Counter[str] = Counter()

    def concern(self, endpoint: str) -> bool:
        """Say whether a fault on order may strike at an endpoint."""
        return any(order.fault.endpoint == endpoint for order in tuple(self._orders))

    def add(self, fault: Fault) -> None:
        """Put a fault on order, behind those already there."""
        with self._lock:
            self._made += 1
            # A seed of its own, so that one order's dice do not depend on what else is on order.
            dice = random.Random(f"{self._seed}/fault/{self._made}")  # noqa: S311 - no secret
            self._orders.append(Order(fault, fault.count, dice))

    def clear(self) -> None:
        """Cancel every order."""
        with self._lock:
            for order in self._orders:
                order.cancelled = True
            self._orders.clear()

    def listed(self) -> list[dict[str, Any]]:
        """Return what is on order, the oldest first, with how often each has struck and will still strike."""
        with self._lock:
            return [
                order.fault.order() | {"remaining": order.left, "triggered": order.struck} for order in self._orders
            ]

    def struck(self) -> dict[str, int]:
        """Return how many times each kind of fault has struck."""
        with self._lock:
            return {name: count for name, count in sorted(self._struck.items()) if count}

    def take(
        self,
        stages: tuple[str, ...],
        endpoint: str,
        tool: str | None,
        words: str | None,
        *,
        name: str | None = None,
        event: str | None = None,
        prompted: bool = False,
    ) -> Order | None:
        """Return the oldest order that fits a request, and count it down; None when none fits.

        :param stages: when the fault may strike.
        :param endpoint: where the request goes.
        :param tool: slug of the tool that the request is about, if there is one.
        :param words: the words of the request or of its job; None while they are not known, which passes over
            the orders that look for some.
        :param name: the only kind of fault wanted; None for any.
        :param event: the event of a webhook's delivery, such as ``completed``.
        :param prompted: whether only orders that look for words are wanted.
        """
        if not self._orders:
            return None
        with self._lock:
            for order in self._orders:
                if prompted and order.fault.prompt is None:
                    continue
                if name in (None, order.fault.fault) and order.fits(stages, endpoint, tool, words, event):
                    order.struck += 1
                    self._struck[order.fault.fault] += 1
                    if order.left is not None:
                        order.left -= 1
                        if order.left == 0:
                            self._orders.remove(order)
                    return order
        return None

    def put_back(self, order: Order) -> None:
        """Undo a :meth:`take`: the request failed by itself and the fault has not struck."""
        with self._lock:
            order.struck -= 1
            order.met -= 1
            self._struck[order.fault.fault] -= 1
            if order.left is not None:
                order.left += 1
                if order.left == 1 and not order.cancelled:
                    self._orders.insert(0, order)

    def note(self, fault: Fault) -> None:
        """Note a strike of a fault that was ordered by words in the request itself."""
        with self._lock:
            self._struck[fault.fault] += 1
