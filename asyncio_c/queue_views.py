"""loop._ready and loop._scheduled: the queues of the core, as the deque and the list of handles that asyncio's loop has there.

Libraries that schedule on their own (asynkit and the like) reorder, remove and put back what is queued; debuggers and tests
look at it. src/core/queue_view.c says what becomes of an entry that is looked at. What cannot be done raises.
"""

from __future__ import annotations

import collections
import itertools
import operator
import sys
import weakref
from asyncio import events
from collections.abc import Callable, Iterable, Iterator, MutableSequence
from typing import Any

from . import _core


def _hold_instead(queue: Any, handles: Any) -> None:
    """Have a queue hold these handles; if one is refused, it holds what it held before."""
    if handles or len(queue):
        before = list(queue)
        queue.clear()
        try:
            queue.extend(handles)
        except BaseException:
            queue.clear()
            queue.extend(before)
            raise


def _order(kind: type, compare: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Make a comparison of a view, by what it shows, with a deque or list."""

    def method(self: Any, other: Any) -> Any:
        return compare(self.copy(), other.copy()) if isinstance(other, kind) else NotImplemented  # type: ignore[attr-defined]

    return method


def _orders(kind: type) -> Iterator[Callable[[Any, Any], Any]]:
    return (_order(kind, compare) for compare in (operator.lt, operator.le, operator.gt, operator.ge))


class _Operators:
    """What a deque and a list have, and MutableSequence has not, where it is that of a copy."""

    copy: Any

    def __repr__(self) -> str:
        return repr(self.copy())

    def __add__(self, other: Any) -> Any:
        return self.copy() + other

    def __mul__(self, n: Any) -> Any:
        return self.copy() * n

    __rmul__ = __mul__

    def __imul__(self, n: Any) -> Any:
        """Repeat what is held, in place."""
        count = len(self)  # type: ignore[arg-type]
        handles = self.copy()
        handles *= n
        if handles:
            self.extend(itertools.islice(handles, count, None))  # type: ignore[attr-defined]
        else:
            self.clear()  # type: ignore[attr-defined]
        return self


class ReadyQueue(_Operators, _core.ReadyQueue, MutableSequence[Any]):
    """What waits for its turn in a loop: a collections.deque of handles to all who ask."""

    __class__ = property(lambda self: collections.deque)
    __class_getitem__ = collections.deque.__class_getitem__
    __hash__ = None  # type: ignore[assignment]

    @property
    def maxlen(self) -> None:
        """None: the queue has no bound."""

    def take_over(self, handles: Any) -> None:
        """Hold these handles instead, when somebody assigns loop._ready; they leave the deque or list they are in.

        Whoever goes on using that finds it empty, and does not wait in vain for what is put there to be run.
        """
        if handles is self:
            return
        if type(handles) not in (collections.deque, list):
            raise TypeError(
                f"the ready queue takes over the handles of a deque, but cannot be a {type(handles).__name__}"
            )
        _hold_instead(self, handles)
        handles.clear()

    def __getitem__(self, index: Any) -> Any:
        if not hasattr(index, "__index__"):
            raise TypeError(f"sequence index must be integer, not '{type(index).__name__}'")
        return super().__getitem__(index)

    def __iter__(self) -> Iterator[Any]:
        return self._iterate(range(len(self)))

    def __reversed__(self) -> Iterator[Any]:
        return self._iterate(range(len(self) - 1, -1, -1))

    def _iterate(self, places: Iterable[int]) -> Iterator[Any]:
        version = self._version()
        return self._iterate_unchanged(places, version)

    def _iterate_unchanged(self, places: Iterable[int], version: Any) -> Iterator[Any]:
        for place in itertools.chain(places, (None,)):
            if self._version() != version:
                raise RuntimeError("deque mutated during iteration")
            if place is not None:
                yield super().__getitem__(place)

    def __contains__(self, handle: object) -> bool:
        return any(handle is other or handle == other for other in self)

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, collections.deque) else NotImplemented

    __lt__, __le__, __gt__, __ge__ = _orders(collections.deque)

    def __reduce__(self) -> Any:
        return self.copy().__reduce__()

    def __copy__(self) -> Any:
        return self.copy()

    def copy(self) -> collections.deque[Any]:
        """Return a deque of the handles, which is not the queue."""
        return collections.deque(self)

    def append(self, handle: Any) -> None:
        """Queue a handle behind the others."""
        self.insert(len(self), handle)

    def appendleft(self, handle: Any) -> None:
        """Queue a handle in front of the others."""
        self.insert(0, handle)

    def extend(self, handles: Iterable[Any]) -> None:
        """Queue handles behind the others."""
        for handle in list(handles) if handles is self else handles:
            self.append(handle)

    def extendleft(self, handles: Iterable[Any]) -> None:
        """Queue handles in front of the others, one after the other."""
        for handle in list(handles) if handles is self else handles:
            self.appendleft(handle)

    def __iadd__(self, handles: Iterable[Any]) -> Any:  # type: ignore[misc]
        self.extend(handles)
        return self

    def _take(self, place: int) -> Any:
        if not len(self):
            raise IndexError("pop from an empty deque")
        handle = self[place]
        del self[place]
        return handle

    def pop(self) -> Any:  # type: ignore[override]
        """Take the last handle out and return it. Raises IndexError if there is none."""
        return self._take(-1)

    def popleft(self) -> Any:
        """Take the first handle out and return it. Raises IndexError if there is none."""
        return self._take(0)

    def index(self, handle: Any, start: int = 0, stop: int = sys.maxsize, /) -> int:
        """Return where a handle is. Raises ValueError if it is not there."""
        version = self._version()
        for place in range(len(self))[start:stop]:
            other = self[place]
            if handle is other or handle == other:
                return place
            if self._version() != version:
                raise RuntimeError("deque mutated during iteration")
        return collections.deque().index(handle)  # which raises, in the words of this Python

    def remove(self, handle: Any) -> None:
        """Take a handle out. Raises ValueError if it is not there."""
        try:
            place = self.index(handle)
        except ValueError:
            return collections.deque().remove(handle)  # which raises, in the words of this Python
        del self[place]

    def rotate(self, n: int = 1) -> None:
        """Move the last n handles to the front, or for a negative n the first ones to the end."""
        if len(self) > 1:
            handles = self.copy()
            handles.rotate(n)
            self._rearrange(handles)

    def reverse(self) -> None:
        """Reverse the order."""
        self._rearrange(reversed(list(self)))

    def _rearrange(self, handles: Iterable[Any]) -> None:
        for place, handle in enumerate(list(handles)):
            self[place] = handle


_SequenceMethods: Any = MutableSequence  # which list is to type checkers, and does not derive from


class TimerQueue(_Operators, _SequenceMethods, list[Any]):  # type: ignore[misc]
    """What waits for its time in a loop: a sorted list, and so a heap, of timer handles, which stays sorted.

    heapq's functions go by the list that an object is in C, and asyncio's own call_at() calls heappush(), when a wrapper or a
    subclass has called that. So the list in C is the letter box: what is pushed there, collect() schedules.

    A timer handle of asyncio's class is carried by one of ours, which runs it.
    """

    __hash__ = None

    def __init__(self, loop: Any) -> None:
        self._timers: Any = _core.TimerQueue(loop)
        self._loop = weakref.ref(loop)
        self._carriers: dict[int, Any] = {}  # by the identity of what they carry
        self._cancelled_count = 0  # of what is carried, about

    def collect(self) -> None:
        """Schedule what was pushed. Raises TypeError for what is no timer handle."""
        while list.__len__(self):
            self.append(list.pop(self, 0))

    def take_over(self, handles: Any) -> None:
        """Hold these timer handles instead, when somebody assigns loop._scheduled."""
        if handles is not self:
            _hold_instead(self, list(handles))

    def _first(self, limit: int) -> list[Any]:
        return [carried(handle) for handle in self._timers._sorted(limit)]

    def __len__(self) -> int:
        self.collect()
        return len(self._timers)

    def __getitem__(self, index: Any) -> Any:
        return self._first(1 if isinstance(index, int) and index == 0 else len(self))[index]

    def __setitem__(self, index: Any, handle: Any) -> None:
        raise TypeError("a timer's place in the queue is that of its time: remove() one, append() another")

    def insert(self, index: Any, handle: Any) -> None:
        """Raise TypeError."""
        self[index] = handle

    def reverse(self) -> None:
        """Raise TypeError."""
        self[0] = None

    def sort(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: it is sorted."""

    def __delitem__(self, index: Any) -> None:
        found = self[index]
        for handle in found if isinstance(index, slice) else [found]:
            self._remove(handle)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._first(len(self)))

    # What list has and MutableSequence has not.
    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, list) else NotImplemented

    def __ne__(self, other: object) -> bool:
        return not self == other

    __lt__, __le__, __gt__, __ge__ = _orders(list)

    def __radd__(self, other: Any) -> Any:
        return other + list(self)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return list, (list(self),)

    def index(self, handle: Any, *limits: Any) -> int:
        """Return where a timer handle is. Raises ValueError if it is not there."""
        return list(self).index(handle, *limits)

    def copy(self) -> list[Any]:
        """Return a list of the timer handles, which is not the queue."""
        return list(self)

    def clear(self) -> None:
        """Forget all timers without running them."""
        list.clear(self)
        self._carriers.clear()
        self._timers.clear()

    def append(self, handle: Any) -> None:
        """Schedule a timer handle, one that was removed or is of asyncio's own class, for its time."""
        loop = self._loop()
        if type(handle) is _core.TimerHandle or not isinstance(handle, events.TimerHandle) or loop is None:
            self._timers._add(handle)
        elif handle._loop is not loop:  # type: ignore[attr-defined]
            raise TypeError(
                f"the timers of a loop are what its call_at() and call_later() return, not {handle!r}"
            )
        elif id(handle) in self._carriers:
            raise ValueError(f"{handle!r} is scheduled already")
        else:
            self._carriers[id(handle)] = self._timers._carry(handle._when, _run_carried, self, handle)  # type: ignore[attr-defined]

    def remove(self, handle: Any) -> None:
        """Remove a timer handle without cancelling it. Raises ValueError if it is not there."""
        equal = [other for other in self if handle is other or handle == other]
        if not equal:
            [].remove(handle)  # which raises, in the words of this Python
        self._remove(handle if any(handle is other for other in equal) else equal[0])

    def _remove(self, handle: Any) -> None:
        self._timers._remove(self._carriers.pop(id(handle), handle))

    def cancelled(self, handle: Any) -> None:
        """Take note that asyncio's own TimerHandle.cancel() is about to cancel a handle."""
        if id(handle) not in self._carriers:
            self._timers._remove(handle)
            return
        # As in asyncio it stays until its time, or until most of them are cancelled.
        self._cancelled_count += 1
        if self._cancelled_count > max(50, len(self._carriers) // 2):
            self._cancelled_count = 0
            for carrier in list(self._carriers.values()):
                if carrier._args[1]._cancelled:
                    carrier._args[1]._scheduled = False
                    self._remove(carrier._args[1])


def _run_carried(queue: TimerQueue, handle: Any) -> None:
    queue._carriers.pop(id(handle), None)
    handle._scheduled = False
    if handle._cancelled:
        queue._cancelled_count = max(0, queue._cancelled_count - 1)
    else:
        handle._run()


def carried(handle: Any) -> Any:
    """Return the timer handle of asyncio's class that `handle` carries, or `handle` itself."""
    return handle._args[1] if handle._callback is _run_carried else handle
