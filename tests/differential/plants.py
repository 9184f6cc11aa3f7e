"""Differences planted on purpose, each of which a campaign has to find: small ones, as real ones are."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any

import asyncio_c

from . import execution


class Wrong(asyncio_c.Loop):
    """A loop with one mistake; derived classes override one method."""


def order() -> None:
    """A callback that is scheduled for the future with no delay comes a turn late."""

    class Late(Wrong):
        def call_later(self, delay: float, callback: Any, *args: Any, context: Any = None) -> Any:
            return super().call_later(delay or 1e-6, callback, *args, context=context)

    _plant(Late)


def context() -> None:
    """A callback runs in an empty context, not in a copy of the current one."""

    class Empty(Wrong):
        def call_soon(self, callback: Any, *args: Any, context: Any = None) -> Any:
            return super().call_soon(callback, *args, context=context or contextvars.Context())

    _plant(Empty)


def message() -> None:
    """The exception handler is told another message."""

    class Wordy(Wrong):
        def call_exception_handler(self, context: dict[str, Any]) -> None:
            super().call_exception_handler({**context, "message": context["message"] + "."})

    _plant(Wordy)


def cancel() -> None:
    """Cancellation loses its message if it comes before the first step of a task."""

    class Task(asyncio_c.Task):
        def cancel(self, msg: Any = None) -> bool:
            return super().cancel(msg if self._fut_waiter is not None else None)

    class Forgetful(Wrong):
        def create_task(self, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
            if self.get_task_factory() is not None:
                return super().create_task(coroutine, **options)
            return Task(coroutine, loop=self, **options)

    _plant(Forgetful)


def _plant(loop: Any) -> None:
    loop.__name__ = loop.__qualname__ = "Loop"
    execution.VARIANTS["loop_only"] = (loop, asyncio, False)


def _without_last_bytes(transport: Any) -> Any:
    write = transport.write
    transport.write = lambda data: write(data[:-1] if isinstance(data, bytes) else data)
    return transport


def bytes_lost() -> None:
    """The last byte of a write is lost."""

    class Lossy(Wrong):
        def _make_socket_transport(self, *args: Any, **options: Any) -> Any:
            return _without_last_bytes(super()._make_socket_transport(*args, **options))

    _plant(Lossy)


def secrets_lost() -> None:
    """The last byte of a write over TLS is lost."""

    class Lossy(Wrong):
        def _make_ssl_transport(self, *args: Any, **options: Any) -> Any:
            return _without_last_bytes(super()._make_ssl_transport(*args, **options))

    _plant(Lossy)


PLANTS = {plant.__name__: plant for plant in (order, context, message, cancel, bytes_lost, secrets_lost)}
