"""test.test_asyncio.test_events: the loop as a user sees it. Transports are not part of this yet."""

import types
from typing import Any

from .binding import TYPES
from .loading import bind

SCHEDULING = (
    "test_run_until_complete.*|test_call_.*|test_run_in_executor.*|test_(reader|writer)_callback.*"
    "|test_add_signal_handler|test_signal_handling_.*|test_timeout_rounding|test_(add|remove)_fds_after_closing"
    "|test_close|test_close_running_event_loop"
)


def adapt(module: types.ModuleType) -> None:
    module_any: Any = module

    class EventLoopTests(module_any.EventLoopTestsMixin, module_any.test_utils.TestCase):  # type: ignore[misc]
        def create_event_loop(self) -> Any:
            return TYPES.Loop()

    # The suite itself has one such class per selector; this one stands for all of them.
    EventLoopTests.__module__ = module.__name__
    module_any.EventLoopTests = EventLoopTests


CLASSES = ["EventLoopTests", "TestCGetEventLoop", "TestAbstractServer"]

globals().update(
    bind(
        "test_events",
        {"loop": [*CLASSES, "TestPyGetEventLoop"], "patch": CLASSES},
        adapt=adapt,
        only={"EventLoopTests": SCHEDULING},
        unbound={
            "SelectEventLoopTests": "the same tests as EventLoopTests",
            "PollEventLoopTests": "the same tests as EventLoopTests",
            "EPollEventLoopTests": "the same tests as EventLoopTests",
            "HandleTests": "constructs asyncio.Handle with a mock for a loop",
            "TimerTests": "constructs asyncio.TimerHandle with a mock for a loop",
            "AbstractEventLoopTests": "the abstract class",
            "PolicyTests": "asyncio's own policy classes",
            "TestServer": "needs servers",
            "UnixPipeObjectSupportTests": "needs pipe transports",
        },
    )
)
