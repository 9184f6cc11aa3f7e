"""The process that runs one target: `python -m benchmarks.worker TARGET`.

It reads one JSON object a line from stdin, `{"operation": NAME, "iterations": N}`, runs one sample, and answers with one
line: `{"value": TOTAL}` in the unit of the operation, or `{"error": TEXT}`. The first line, before any request, says what
was loaded. It ends with its stdin.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from . import core  # noqa: F401 (fills OPERATIONS)
from .registry import OPERATIONS, Operation
from .targets import Target, belongs, load


class WrongResult(Exception):
    """An operation returned something else than it must."""


def type_name(obj: Any) -> str:
    kind = type(obj)  # not obj.__class__, which a native type may answer with the stock class
    return f"{kind.__module__}.{kind.__qualname__}"


def describe(target: Target) -> dict[str, str]:
    """Run a trivial task and return which classes do the work, so that the report can prove what was measured."""

    async def look() -> dict[str, str]:
        loop = asyncio.get_running_loop()
        if not belongs(target.name, loop):
            raise RuntimeError(f"the loop of target {target.name} is of class {type_name(loop)}")
        return {
            "version": target.version,
            "loop": type_name(loop),
            "task": type_name(asyncio.create_task(asyncio.sleep(0))),
            "future": type_name(loop.create_future()),
            "sleep": str(getattr(asyncio.sleep, "__module__", None) or type_name(asyncio.sleep)),
        }

    return target.run(look())


def sample(operation: Operation, n: int, target: Target) -> int:
    """Run `operation` `n` times on `target` and return the total, in ns or bytes.

    Raises WrongResult if the operation did not return what it must.
    """
    if operation.on_loop:
        with asyncio.Runner(loop_factory=target.new_loop) as runner:
            value, result = runner.run(sample_on_loop(operation, n))
    else:
        operation.function(1, target)
        gc.collect()
        start = time.perf_counter_ns()
        result = operation.function(n, target)
        value = time.perf_counter_ns() - start
    expected = operation.expect(n)
    if result != expected:
        raise WrongResult(f"returned {short(result)}, expected {short(expected)}")
    return value


async def sample_on_loop(operation: Operation, n: int) -> tuple[int, Any]:
    if operation.alone:
        gc.collect()
        return await operation.function(n)
    # The first iteration on a new loop also pays for what is made once: threads, free lists.
    await operation.function(1)
    # The collector stays on, as in a program; each sample starts from the same state of it.
    gc.collect()
    start = time.perf_counter_ns()
    result = await operation.function(n)
    return time.perf_counter_ns() - start, result


def short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else text[:97] + "..."


def error_text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def open_answers() -> Callable[[dict[str, Any]], None]:
    """Return a function that answers the parent; what the code under test prints goes to stderr from now on."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def answer(message: dict[str, Any]) -> None:
        answers.write(json.dumps(message) + "\n")

    return answer


def main() -> None:
    answer = open_answers()
    try:
        target = load(sys.argv[1])
        answer(describe(target))
    except Exception as error:  # noqa: BLE001 (the parent reports it, whatever it is)
        answer({"error": error_text(error)})
        return
    for line in sys.stdin:
        request = json.loads(line)
        try:
            value = sample(OPERATIONS[request["operation"]], request["iterations"], target)
            answer({"value": value})
        except Exception as error:  # noqa: BLE001 (the same)
            answer({"error": error_text(error)})


if __name__ == "__main__":
    main()
