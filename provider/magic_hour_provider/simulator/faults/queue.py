"""The queue of pending faults: which one a request gets, and how many times each has been injected.

The simulator has one queue. A create whose prompt has directives gets a queue of its own before it
(:meth:`FaultQueue.for_request`): the directives are one-shot entries that are taken first, by the same
:meth:`FaultQueue.take`.
"""

from __future__ import annotations

import random
import re
import threading
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from magic_hour_provider.simulator.faults.catalog import Fault, FaultStage


@dataclass(frozen=True)
class FaultTarget:
    """What a fault may be injected into: a request, or a delivery.

    :param endpoint: where it goes, one of :data:`.catalog.FAULT_ENDPOINTS`, or :data:`.catalog.WEBHOOK`.
    :param tool: slug of the tool of its job, if it has one.
    :param text: the text of the request, or of the request that made its job; None while it has not been read, which
        passes over the faults that match text.
    :param event: the event of a delivery, such as ``completed``.
    """

    endpoint: str
    tool: str | None = None
    text: str | None = None
    event: str | None = None


@dataclass(eq=False)
class QueuedFault:
    """A pending fault.

    :param fault: what is to be injected.
    :param queue: where it is pending.
    :param rng: decides whether a fault with a probability is injected.
    :param remaining: how many times it will still be injected; None for every time.
    :param triggered: how many times it has been injected.
    :param matched: how many targets it has matched, whether injected or not.
    :param cleared: whether it has been removed by :meth:`FaultQueue.clear`.
    """

    fault: Fault
    queue: FaultQueue
    rng: random.Random
    remaining: int | None
    triggered: int = 0
    matched: int = 0
    cleared: bool = False

    def should_inject(self, stages: Collection[FaultStage], target: FaultTarget) -> bool:
        """Return whether it is to be injected into a target now; a target that it matches is counted."""
        fault = self.fault
        if fault.stage not in stages or fault.endpoint != target.endpoint or fault.tool not in (None, target.tool):
            return False
        if fault.event not in (None, target.event):
            return False
        text = target.text
        if fault.prompt is not None and (text is None or not re.search(fault.prompt, text, re.IGNORECASE)):
            return False
        self.matched += 1
        if self.matched % fault.every:
            return False
        return fault.probability >= 1 or self.rng.random() < fault.probability

    def put_back(self) -> None:
        """Undo a :meth:`FaultQueue.take`: the request failed by itself, so the fault was not injected."""
        self.queue.put_back(self)


class FaultQueue:
    """The pending faults, the oldest first. Safe to use from several threads.

    :param seed: one seed injects faults with a probability into the same requests.
    :param behind: the queue whose turn it is when this one has no fault; None for the simulator's own queue.
    """

    def __init__(self, seed: int = 0, behind: FaultQueue | None = None) -> None:
        self._seed = seed
        self._behind = behind
        self._pending: list[QueuedFault] = []
        self._added = 0
        self._lock = threading.Lock()
        self._injected: Counter[str] = Counter()

    def for_request(self, directives: Iterable[Fault]) -> FaultQueue:
        """Return a queue for one request: its directives, and this queue behind them.

        Directives that answer instead of acting come before those that spoil the response, whatever their order in
        the prompt: a create that is not acted upon has no response to spoil.

        :param directives: the faults that the prompt of the request asks for.
        """
        queue = FaultQueue(self._seed, behind=self)
        for fault in sorted(directives, key=lambda fault: fault.stage is FaultStage.AFTER):
            queue.add(fault)
        return queue

    def has_faults_for(self, endpoint: str) -> bool:
        """Return whether a fault is pending for an endpoint."""
        return any(queued.fault.endpoint == endpoint for queued in tuple(self._pending))

    def add(self, fault: Fault) -> None:
        """Add a fault behind those that are pending."""
        with self._lock:
            self._added += 1
            # A seed of its own, so that what one fault decides does not depend on what else is pending.
            rng = random.Random(f"{self._seed}/fault/{self._added}")  # noqa: S311 - no secret
            self._pending.append(QueuedFault(fault, self, rng, fault.count))

    def clear(self) -> None:
        """Remove every pending fault."""
        with self._lock:
            for queued in self._pending:
                queued.cleared = True
            self._pending.clear()

    def list_pending(self) -> list[dict[str, Any]]:
        """Return the pending faults, the oldest first, each with how often it was and will still be injected."""
        with self._lock:
            return [
                queued.fault.options() | {"remaining": queued.remaining, "triggered": queued.triggered}
                for queued in self._pending
            ]

    def count_injected(self) -> dict[str, int]:
        """Return how many times each fault has been injected, by name."""
        with self._lock:
            return {name: count for name, count in sorted(self._injected.items()) if count}

    def take(
        self,
        stages: Collection[FaultStage],
        target: FaultTarget,
        *,
        name: str | None = None,
        with_prompt: bool = False,
    ) -> QueuedFault | None:
        """Return the first fault that is to be injected into a target, and count it down; None when there is none.

        :param stages: the stages that the request is at.
        :param target: what it would be injected into.
        :param name: the only fault wanted; None for any.
        :param with_prompt: only directives, and faults that match text: the others have had their turn before the
            text was read.
        """
        if self._pending:
            with self._lock:
                for queued in self._pending:
                    if with_prompt and self._behind is None and queued.fault.prompt is None:
                        continue
                    if name in (None, queued.fault.fault) and queued.should_inject(stages, target):
                        return self._count_down(queued)
        return self._behind.take(stages, target, name=name, with_prompt=with_prompt) if self._behind else None

    def put_back(self, queued: QueuedFault) -> None:
        """Undo a :meth:`take`: the request failed by itself, so the fault was not injected."""
        with self._lock:
            queued.triggered -= 1
            queued.matched -= 1
            self._count(queued.fault.fault, -1)
            if queued.remaining is not None:
                queued.remaining += 1
                if queued.remaining == 1 and not queued.cleared:
                    self._pending.insert(0, queued)

    def _count_down(self, queued: QueuedFault) -> QueuedFault:
        queued.triggered += 1
        self._count(queued.fault.fault, 1)
        if queued.remaining is not None:
            queued.remaining -= 1
            if queued.remaining == 0:
                self._pending.remove(queued)
        return queued

    def _count(self, name: str, change: int) -> None:
        if self._behind is None:
            self._injected[name] += change
        else:
            with self._behind._lock:
                self._behind._count(name, change)
