"""The comparison of implementations: equal traces, or an error that shows the program and the difference."""

from __future__ import annotations

import asyncio
import difflib
import random
import sys
from collections.abc import Iterable
from typing import Any

from . import execution

REPETITIONS = 30  # of asyncio, before a difference is believed


class Difference(AssertionError):
    """Two implementations disagree about a program."""


def compare(
    program: Any,
    clock: Any,
    variants: Iterable[str] = execution.OURS,
    run: type[execution.Run] = execution.Run,
) -> None:
    """Run a program on asyncio and on each of `variants`; raise Difference unless all leave the same trace."""
    expected = lines(run(program, "asyncio", clock).trace())
    for variant in variants:
        got = lines(run(program, variant, clock).trace())
        if got != expected and not recursed(expected) and not keeps_a_task(expected):
            # The order of a set of futures is that of addresses: then asyncio does not repeat itself either.
            if any(repeated(program, clock, run, number) != expected for number in range(REPETITIONS)):
                continue
            diff = "\n".join(difflib.unified_diff(expected, got, "asyncio", variant, lineterm="", n=4))
            raise Difference(f"{variant} differs from asyncio\n\n{program.source()}\n{diff}")


def repeated(program: Any, clock: Any, run: type[execution.Run], number: int) -> list[str]:
    """Run a program on asyncio once more, with futures at other addresses: left alone, memory is given out as before."""
    chance = random.Random(number)
    taken = [cls.__new__(cls) for cls in (asyncio.Future, asyncio.Task) for _ in range(64)]
    chance.shuffle(taken)
    kept = taken[: chance.randrange(len(taken))]
    taken.clear()
    try:
        return lines(run(program, "asyncio", clock).trace())
    finally:
        kept.clear()


def lines(trace: tuple[list[execution.Event], list[str]]) -> list[str]:
    events, late = trace
    return [*(" ".join(map(str, event)) for event in events), "when deleted:", *late]


def recursed(trace: list[str]) -> bool:
    """Whether asyncio reached the limit of recursion, whose place in the order of events is the interpreter's affair."""
    return any("RecursionError" in line for line in trace)


def keeps_a_task(trace: list[str]) -> bool:
    """Whether asyncio keeps, as the current task, an eager task whose context cannot be entered, as up to 3.14."""
    return (3, 12) <= sys.version_info[:2] <= (3, 14) and any(
        "cannot enter context" in line for line in trace
    )
