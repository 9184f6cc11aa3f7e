"""What a loop has counted: the snapshots that loop.stats() returns, and their histograms."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from .. import _core

if TYPE_CHECKING:
    from ..loop import Loop

# What there is at the moment; all else counts up.
_PRESENT = {"tasks", "timers", "descriptors"}
_NS_PER_S = 10**9


class Histogram:
    """How often durations of each size were seen, in buckets of which each is at most a 32nd of the durations in it wide.

    It does not change. Histograms are added, of several loops or times, and an earlier one of the same loop is subtracted.
    Iterating gives (low, high, count) of each bucket that has anything in it, in seconds, from low up to but without high.
    """

    __slots__ = ("_buckets", "_max_ns", "_sum_ns", "count")

    count: int
    """How many durations there are."""

    def __init__(
        self, count: int = 0, sum_ns: int = 0, max_ns: int = 0, buckets: Iterable[tuple[int, int, int]] = ()
    ) -> None:
        """Make one of (lowest, highest, count) of buckets in ascending order, in nanoseconds."""
        self.count = count
        self._sum_ns, self._max_ns, self._buckets = sum_ns, max_ns, tuple(buckets)

    @property
    def sum(self) -> float:
        """The sum of the durations, in seconds."""
        return self._sum_ns / _NS_PER_S

    @property
    def max(self) -> float:
        """The longest of them, in seconds, and 0.0 if there is none. That of a difference is known as its bucket is."""
        return self._max_ns / _NS_PER_S

    def percentile(self, percent: float) -> float:
        """Return the duration, in seconds, that `percent` percent of the durations do not exceed; 0.0 if there are none.

        It is the end of the bucket in which that is, so that it may be a 32nd too long. Raises ValueError if percent is
        not between 0 and 100.
        """
        if not 0 <= percent <= 100:
            raise ValueError(f"a percentile is between 0 and 100, not {percent}")
        rank, seen = max(1, math.ceil(self.count * percent / 100)), 0
        for _, highest, count in self._buckets:
            seen += count
            if seen >= rank:
                return min(highest, self._max_ns) / _NS_PER_S
        return 0.0

    def __iter__(self) -> Iterator[tuple[float, float, int]]:
        for lowest, highest, count in self._buckets:
            yield lowest / _NS_PER_S, (highest + 1) / _NS_PER_S, count

    def _combined(self, other: Histogram, sign: int) -> list[tuple[int, int, int]]:
        counts: dict[tuple[int, int], int] = {(low, high): count for low, high, count in self._buckets}
        for low, high, count in other._buckets:
            counts[low, high] = counts.get((low, high), 0) + sign * count
        if any(count < 0 for count in counts.values()):
            raise ValueError("only an earlier histogram of the same loop can be subtracted")
        return [(*bounds, count) for bounds, count in sorted(counts.items()) if count]

    def __add__(self, other: Histogram) -> Histogram:
        if not isinstance(other, Histogram):
            return NotImplemented
        buckets = self._combined(other, 1)
        most_ns = max(self._max_ns, other._max_ns)
        return Histogram(self.count + other.count, self._sum_ns + other._sum_ns, most_ns, buckets)

    def __sub__(self, other: Histogram) -> Histogram:
        if not isinstance(other, Histogram):
            return NotImplemented
        buckets = self._combined(other, -1)
        most_ns = min(buckets[-1][1], self._max_ns) if buckets else 0
        return Histogram(self.count - other.count, self._sum_ns - other._sum_ns, most_ns, buckets)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Histogram):
            return NotImplemented
        return self._buckets == other._buckets and (self._sum_ns, self._max_ns) == (
            other._sum_ns,
            other._max_ns,
        )

    def __hash__(self) -> int:
        return hash((self._sum_ns, self._max_ns, self._buckets))

    def __repr__(self) -> str:
        if not self.count:
            return "<Histogram of nothing>"
        median, late = self.percentile(50), self.percentile(99)
        return f"<Histogram of {self.count}: median {median:.6f} s, 99 % {late:.6f} s, max {self.max:.6f} s>"


@dataclass(frozen=True)
class Stats:
    """A snapshot of what a loop has counted since it was made.

    `later - earlier` is what was counted between two snapshots of a loop, with the tasks, timers and descriptors of the
    later one. What is not measured is None: loop.measure() switches that on.
    """

    turns: int
    """How many turns have begun."""
    callbacks: int
    """What was taken from the queue to run in the turns that have ended: callbacks, task steps and cancelled handles."""
    steps: int
    """How often a task's coroutine was resumed. asyncio's own tasks, which a task factory may make, are not counted."""
    polls: int
    """How often the kernel, or a selector, was asked what is ready."""
    seconds_waiting: float
    """How long the loop waited for something to do."""
    seconds_working: float
    """How long it ran without waiting."""
    tasks: int
    """Native tasks of this loop that are not done."""
    timers: int
    """Timers that are set: of call_later(), sleep(), timeout() and others."""
    descriptors: int
    """Files, sockets and pipes that are watched."""
    bytes_in: int
    """What transports and the ``sock_*`` coroutines have received. Sockets of others' making are not counted."""
    bytes_out: int
    """What they have sent."""
    lag: Histogram | None = None
    """How long after its deadline each timer ran; None unless it is measured."""
    callback_times: Histogram | None = None
    """How long each callback and task step took; None unless it is measured."""

    @property
    def utilisation(self) -> float:
        """The part of its time that the loop worked: 0.0 to 1.0, and 0.0 if it has not run."""
        seconds = self.seconds_waiting + self.seconds_working
        return self.seconds_working / seconds if seconds else 0.0

    @property
    def longest_callback(self) -> float | None:
        """How many seconds the longest callback or task step took; None unless it is measured."""
        return None if self.callback_times is None else self.callback_times.max

    def __sub__(self, earlier: Stats) -> Stats:
        if not isinstance(earlier, Stats):
            return NotImplemented
        changes = {}
        for name in [field.name for field in fields(self) if field.name not in _PRESENT]:
            ours, theirs = getattr(self, name), getattr(earlier, name)
            # What was not measured then has begun since.
            changes[name] = ours if ours is None or theirs is None else ours - theirs
        return replace(self, **changes)


def of(loop: Loop) -> Stats:
    """Return what a loop has counted until now."""
    histograms = [Histogram(*measured) for measured in _core._measured(loop) or ()]
    found = Stats(*_core._counted(loop), *histograms)
    if loop._has_left_poller:
        watched = loop._selector.get_map() if not loop.is_closed() else None
        # Without the socket by which threads wake the loop.
        return replace(found, descriptors=max(0, len(watched) - 1) if watched is not None else 0)
    return found
