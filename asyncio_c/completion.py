"""as_completed: asyncio's, with what runs for each future in C."""

from __future__ import annotations

import inspect
import sys
from asyncio import coroutines, events, futures, tasks
from typing import Any

from . import _core

__all__ = ["as_completed"]

_stock: Any = tasks.as_completed  # at import, before patch() puts ours there


def _iterate(fs: Any, timeout: Any) -> Any:
    if events._get_running_loop() is None:
        return _stock(fs, timeout=timeout)
    awaitables = set(fs)
    iterator = _core._as_completed(awaitables, timeout)
    return _stock(awaitables, timeout=timeout) if iterator is None else iterator


if sys.version_info >= (3, 13):

    def as_completed(fs: Any, *, timeout: Any = None) -> Any:
        """Return an iterator over awaitables of which each gives the next result, in the order in which they are done.

        With `async for` it gives the futures and tasks themselves. TimeoutError is raised if they are not done within timeout
        seconds.

        Mirrors asyncio.as_completed() ("Coroutines and Tasks", "Waiting Primitives").
        """
        if inspect.isawaitable(fs):
            raise TypeError(f"expects an iterable of awaitables, not {type(fs).__name__}")
        return _iterate(fs, timeout)

else:

    def as_completed(fs: Any, *, timeout: Any = None) -> Any:
        """Yield awaitables of which each gives the next result, in the order in which they are done.

        TimeoutError is raised if they are not done within timeout seconds.

        Mirrors asyncio.as_completed() ("Coroutines and Tasks", "Waiting Primitives").
        """
        if futures.isfuture(fs) or coroutines.iscoroutine(fs):
            raise TypeError(f"expect an iterable of futures, not {type(fs).__name__}")
        for awaitable in _iterate(fs, timeout):  # noqa: UP028 - what is sent to the generator goes nowhere, as in asyncio
            yield awaitable


as_completed.__annotations__ = {}  # asyncio's has none, and inspect.signature() shows them
