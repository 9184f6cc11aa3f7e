"""test.test_asyncio.test_events: the loop as a user sees it: callbacks, connections, servers, datagrams, pipes, processes."""

import asyncio
import types
from typing import Any
from unittest import mock

from .binding import TLS_BINDINGS, TYPES
from .loading import ONE_PER_SELECTOR, bind, merge_loop_classes, only_over_tls


class HandleMaker(types.SimpleNamespace):
    """asyncio, with a Handle and a TimerHandle that come from the loop under test.

    HandleTests and TimerTests make theirs by hand, with a mock for a loop.
    """

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)

    def Handle(self, callback: Any, args: Any, loop: Any) -> Any:
        return self._make(loop, "call_soon", callback, *args)

    def TimerHandle(self, when: float, callback: Any, args: Any, loop: Any) -> Any:
        return self._make(loop, "call_at", when, callback, *args)

    def _make(self, mocked: Any, method: str, *args: Any) -> Any:
        loop = TYPES.Loop()
        loop.set_debug(bool(mocked.get_debug()))
        loop.call_exception_handler = mocked.call_exception_handler
        handle = getattr(loop, method)(*args)
        loop.close()
        if handle._source_traceback:
            # They expect their own line to have created it: not this one, nor the one in Handle().
            del handle._source_traceback[-2:]
        return handle


def adapt(module: types.ModuleType) -> None:
    module_any: Any = module
    for case in (module_any.HandleTests, module_any.TimerTests):
        case.setUp = _with_handle_maker(module, case.setUp)
    module_any.TestCase = module_any.test_utils.TestCase
    merge_loop_classes(module, "EventLoopTestsMixin", "SubprocessTestsMixin", "TestCase")


def _with_handle_maker(module: types.ModuleType, set_up: Any) -> Any:
    def wrapper(self: Any) -> None:
        set_up(self)
        self.enterContext(mock.patch.object(module, "asyncio", HandleMaker()))

    return wrapper


CLASSES = [
    "EventLoopTests",
    "HandleTests",
    "TimerTests",
    "TestCGetEventLoop",
    "TestServer",
    "TestAbstractServer",
    "UnixPipeObjectSupportTests",
]

globals().update(
    bind(
        "test_events",
        {
            "loop": [*CLASSES, "TestPyGetEventLoop"],
            "patch": CLASSES,
            **dict.fromkeys(TLS_BINDINGS, ["EventLoopTests"]),
        },
        only=only_over_tls("EventLoopTests"),
        adapt=adapt,
        unbound={
            **ONE_PER_SELECTOR,
            "AbstractEventLoopTests": "the abstract class",
            "PolicyTests": "asyncio's own policy classes",
        },
    )
)
