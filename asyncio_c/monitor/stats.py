"""What a loop has counted: the snapshots that loop.stats() returns."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from .. import _core

if TYPE_CHECKING:
    from ..loop import Loop

# What there is at the moment; all else counts up.
_PRESENT = {"tasks", "timers", "descriptors"}


@dataclass(frozen=True)
class Stats:
    """A snapshot of what a loop has counted since it was made.

    `later - earlier` is what was counted between two snapshots of a loop, with the tasks, timers and descriptors of the
    later one.
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
    """What transports and the sock_* coroutines have received. Sockets of others' making are not counted."""
    bytes_out: int
    """What they have sent."""

    @property
    def utilisation(self) -> float:
        """The part of its time that the loop worked: 0.0 to 1.0, and 0.0 if it has not run."""
        seconds = self.seconds_waiting + self.seconds_working
        return self.seconds_working / seconds if seconds else 0.0

    def __sub__(self, earlier: Stats) -> Stats:
        if not isinstance(earlier, Stats):
            return NotImplemented
        names = [field.name for field in fields(self) if field.name not in _PRESENT]
        return replace(self, **{name: getattr(self, name) - getattr(earlier, name) for name in names})


def of(loop: Loop) -> Stats:
    """Return what a loop has counted until now."""
    found = Stats(*_core._counted(loop))
    if loop._has_left_poller:
        watched = loop._selector.get_map() if not loop.is_closed() else None
        # Without the socket by which threads wake the loop.
        return replace(found, descriptors=max(0, len(watched) - 1) if watched is not None else 0)
    return found
