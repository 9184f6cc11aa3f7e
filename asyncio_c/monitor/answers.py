"""What the monitor answers, as parts of a line of JSON: a task after the other, so that nobody waits long for the interpreter."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import asyncio_c

from . import protocol, tasks

# While it looks at tasks, the monitor gives the interpreter to the loops for that long after so many of them.
_PAUSE = 0.0005
_TASKS_AT_ONCE = 50

_T = TypeVar("_T")


def refusal(sentence: str) -> bytes:
    return protocol.encode({"version": protocol.VERSION, "error": sentence})


def to(line: bytes) -> Iterable[bytes]:
    """Return the answer to a question, in parts."""
    try:
        question = protocol.decode_question(line)
        answer = _ANSWERS.get(question.get("ask"))
        if answer is None:
            raise ValueError(f"the monitor is not asked for {question.get('ask')!r}")
        return list(answer(question))
    except Exception as error:
        return [refusal(str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}")]


def process() -> dict[str, Any]:
    return {
        "version": protocol.VERSION,
        "pid": os.getpid(),
        "command": _command(),
        "python": sys.version.split()[0],
        "asyncio_c": asyncio_c.__version__,
    }


def _command() -> str:
    return " ".join(sys.orig_argv)


def _loop(number: int, loop: Any) -> dict[str, Any]:
    return {
        "number": number,
        "class": type(loop).__qualname__,
        "thread": tasks.thread_of(loop),
        "closed": loop.is_closed(),
    }


def _paused(items: Iterable[_T]) -> Iterator[_T]:
    for index, item in enumerate(items):
        if index % _TASKS_AT_ONCE == _TASKS_AT_ONCE - 1:
            time.sleep(_PAUSE)
        yield item


def _answer_process(question: dict[str, Any]) -> Iterator[bytes]:
    yield protocol.encode({**process(), "loops": [_loop(n, loop) for n, loop in tasks.loops().items()]})


def _answer_tasks(question: dict[str, Any]) -> Iterator[bytes]:
    """Yield the process, and of each of its loops the tasks, as far as they are within the limit; those of closed ones last."""
    left = question["limit"]
    yield json.dumps(process())[:-1].encode() + b', "loops": ['
    loops = sorted(tasks.loops().items(), key=lambda item: item[1].is_closed())
    for index, (number, loop) in enumerate(loops):
        found = tasks.of_loop(loop)
        shown = found[:left]
        left -= len(shown)
        view = tasks.View(shown)
        for task in _paused(shown):
            view.link(task)
        about = {**_loop(number, loop), "task_count": len(found)}
        yield (b", " if index else b"") + json.dumps(about)[:-1].encode() + b', "tasks": ['
        for place, task in _paused(enumerate(shown)):
            yield (b", " if place else b"") + json.dumps(view.describe(task)).encode()
        yield b"]}"
    yield b"]}\n"


def _answer_counters(question: dict[str, Any]) -> Iterator[bytes]:
    """Yield what each loop has counted, and how many tasks run which coroutine."""
    loops = []
    for number, loop in tasks.loops().items():
        found = tasks.of_loop(loop)
        stats = loop.stats() if hasattr(loop, "stats") else None
        loops.append(
            {
                **_loop(number, loop),
                "task_count": len(found),
                "coroutines": tasks.count(_paused(found)),
                "stats": None if stats is None else _plain(stats),
            }
        )
    yield protocol.encode({**process(), "time": time.monotonic(), "loops": loops})


def _plain(stats: Any) -> dict[str, Any]:
    """Return the numbers of a snapshot; of a histogram, the buckets that are not empty."""
    numbers = {}
    for field in dataclasses.fields(stats):
        value = getattr(stats, field.name)
        if hasattr(value, "percentile"):
            value = [[low, high, count] for low, high, count in value if count]
        numbers[field.name] = value
    return numbers


def _answer_running(question: dict[str, Any]) -> Iterator[bytes]:
    """Yield what each loop runs right now."""
    loops = [{"number": number, "running": found} for number, found in tasks.running(tasks.loops()).items()]
    yield protocol.encode({"version": protocol.VERSION, "loops": loops})


_ANSWERS: dict[Any, Any] = {
    "process": _answer_process,
    "tasks": _answer_tasks,
    "counters": _answer_counters,
    "running": _answer_running,
}
