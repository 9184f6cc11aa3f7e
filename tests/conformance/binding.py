"""Bindings: which names of asyncio stand for the implementation under test while a test is loaded and while it runs.

CPython's suite reaches what it tests through a few names: tasks._CTask and futures._CFuture for the accelerated types,
asyncio.SelectorEventLoop and the default policy's loop factory for the loop. A binding rebinds them, and puts everything
back: it compares the namespaces of asyncio's modules before and after, so that a test which rebinds names itself and
fails before it restores them cannot spoil the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import sys
from asyncio import (
    base_events,
    events,
    futures,
    locks,
    queues,
    runners,
    streams,
    taskgroups,
    tasks,
    timeouts,
    unix_events,
)
from collections.abc import Iterator
from typing import Any

# Ours, asyncio's own, or another event loop's, by the name that benchmarks/targets.py has for it.
IMPLEMENTATION = os.environ.get("ASYNCIO_C_CONFORMANCE_BINDING", "native")

_MODULES = [
    asyncio,
    base_events,
    events,
    futures,
    locks,
    queues,
    runners,
    streams,
    taskgroups,
    tasks,
    timeouts,
    unix_events,
]
# Whose _c_ twins follow when patch() rebinds the public name.
_ACCELERATED = [events, futures, tasks]

_DefaultPolicy: Any = getattr(
    unix_events, "_UnixDefaultEventLoopPolicy", getattr(unix_events, "_DefaultEventLoopPolicy", None)
)
_set_policy: Any = getattr(events, "_set_event_loop_policy", None) or asyncio.set_event_loop_policy


@dataclasses.dataclass(frozen=True)
class Types:
    """The implementation under test. `patch` and `unpatch` rebind the public names of asyncio."""

    Task: type
    Future: type
    Loop: type
    patch: Any
    unpatch: Any


def _implementation() -> Types:
    if IMPLEMENTATION == "stock":
        return Types(tasks.Task, futures.Future, asyncio.SelectorEventLoop, lambda: None, lambda: None)
    if IMPLEMENTATION != "native":
        from benchmarks import targets

        loop = targets.load(IMPLEMENTATION).new_loop()
        loop.close()
        return Types(tasks.Task, futures.Future, type(loop), lambda: None, lambda: None)
    import asyncio_c

    return Types(asyncio_c.Task, asyncio_c.Future, asyncio_c.Loop, asyncio_c.patch, asyncio_c.unpatch)


TYPES = _implementation()


@dataclasses.dataclass(frozen=True)
class Binding:
    """What is under test: the accelerated Task, the accelerated Future, the loop; or everything, by patch().

    `tls` is what its loops encrypt by, where that is not left to the default.
    """

    name: str
    task: bool = False
    future: bool = False
    loop: bool = False
    patched: bool = False
    tls: str | None = None

    def _rebind(self) -> None:
        if self.patched:
            TYPES.patch()
            # Some tests rebind a name to its accelerated twin; under patch() that twin is the native one.
            for module in _ACCELERATED:
                for twin in [name for name in vars(module) if name.startswith("_c_")]:
                    # _c_current_task is of current_task, _c_enter_task of _enter_task.
                    name = twin.removeprefix("_c_")
                    setattr(module, twin, getattr(module, name, None) or getattr(module, f"_{name}"))
        if self.task:
            tasks._CTask = TYPES.Task  # type: ignore[attr-defined]
        if self.future:
            futures._CFuture = TYPES.Future  # type: ignore[attr-defined]
        if self.loop:
            for module in (asyncio, unix_events):
                for name in ("SelectorEventLoop", "EventLoop"):
                    if hasattr(module, name):
                        setattr(module, name, TYPES.Loop)
            _DefaultPolicy._loop_factory = TYPES.Loop

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Rebind asyncio's names for the time of a with block, and leave asyncio as it was found."""
        before = [dict(vars(module)) for module in _MODULES]
        factory = _DefaultPolicy._loop_factory
        engine = os.environ.get("ASYNCIO_C_TLS")
        try:
            if self.tls is not None:
                os.environ["ASYNCIO_C_TLS"] = self.tls
            self._rebind()
            yield
        finally:
            # Through the accelerated setter itself: a test may have left another one in its place.
            sys.modules["_asyncio"]._set_running_loop(None)
            _set_policy(None)
            if self.patched:
                TYPES.unpatch()
            _DefaultPolicy._loop_factory = factory
            os.environ.pop("ASYNCIO_C_TLS", None)
            if engine is not None:
                os.environ["ASYNCIO_C_TLS"] = engine
            for module, names in zip(_MODULES, before, strict=True):
                _restore(vars(module), names)
            _set_policy(None)


def _restore(namespace: dict[str, Any], before: dict[str, Any]) -> None:
    for name in namespace.keys() - before.keys():
        del namespace[name]
    for name, value in before.items():
        if namespace.get(name) is not value:
            namespace[name] = value


BINDINGS = {
    binding.name: binding
    for binding in (
        # Native tasks and futures on asyncio's loop: they must work on a foreign one.
        Binding("types", task=True, future=True),
        # A native task that awaits asyncio's C futures, and asyncio's C task that awaits native ones.
        Binding("task", task=True),
        Binding("future", future=True),
        # Everything native, and asyncio's names as they are.
        Binding("native", task=True, future=True, loop=True),
        # The native loop alone: asyncio's names stay stock, and create_task() of the loop is native.
        Binding("loop", loop=True),
        # What `python -m asyncio_c` does to a script.
        Binding("patch", task=True, future=True, loop=True, patched=True),
        # The native loop, whose TLS is by one of our engines, or asyncio's.
        Binding("sslproto", loop=True, tls="asyncio"),
        Binding("object", loop=True, tls="object"),
        Binding("openssl", loop=True, tls="openssl"),
    )
}
TLS_BINDINGS = tuple(name for name, binding in BINDINGS.items() if binding.tls is not None)
