"""What an operation is, and the decorator that lists one.

An operation is a function whose first argument `n` says how often to do the thing that is measured; it returns
something that proves the work was done. The same code runs on every target: it looks names up in `asyncio` at call
time, so that a patched process runs the native twins.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# The groups, in the order of the report. Each has targets of its own (see report.py).
NATIVE = "native"
OTHER = "other"
LIFECYCLE = "lifecycle"
MEMORY = "memory"
GROWTH = "growth"
OBSERVED = "observed"

GROUP_TITLES = {
    NATIVE: "tasks, callbacks, timers: native in asyncio_c",
    OTHER: "what is made of them: queues, locks, timeouts, threads",
    LIFECYCLE: "life cycle of a loop",
    MEMORY: "memory",
    GROWTH: "what must not cost more where there is more of it",
    OBSERVED: "what is the kernel's for the most part, without a target",
}


@dataclass(frozen=True)
class Operation:
    """One thing that is measured.

    `per` is how many operations one iteration holds, so that a gather of 1,000 is reported per child. `expect(n)` is
    what the function must return. A coroutine function is called as `function(n)` on a running loop, a plain one as
    `function(n, target)` outside of any loop. `unit` is "ns" for time, or "B" for bytes. One that is `alone` runs
    in a fresh process each time, once, and returns `(value, result)`, as it measures by itself.
    """

    name: str
    title: str
    group: str
    per: int
    unit: str
    alone: bool
    expect: Callable[[int], Any]
    function: Callable[..., Any]

    @property
    def description(self) -> str:
        """The operation in a sentence."""
        return " ".join((self.function.__doc__ or "").split())

    @property
    def on_loop(self) -> bool:
        """Whether the function runs on a running loop."""
        return inspect.iscoroutinefunction(self.function)


OPERATIONS: dict[str, Operation] = {}


def operation(
    title: str,
    group: str,
    *,
    expect: Callable[[int], Any],
    per: int = 1,
    unit: str = "ns",
    alone: bool = False,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """List the decorated function in `OPERATIONS` under its own name."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        name = function.__name__
        OPERATIONS[name] = Operation(name, title, group, per, unit, alone, expect, function)
        return function

    return add
