"""test.test_asyncio.test_base_events: scheduling, running, debugging and error handling of the loop."""

import types
from typing import Any

from .binding import IMPLEMENTATION, TYPES
from .loading import bind

CLASSES = ["BaseEventLoopTests", "RunningLoopTests", "BaseEventLoopWithSelectorTests"]


def adapt(module: types.ModuleType) -> None:
    if IMPLEMENTATION == "stock":
        return  # The suite's own setUp makes a BaseEventLoop with a mock for a selector, which these tests look into.
    base: Any = module.BaseEventLoopTests  # type: ignore[attr-defined]

    def set_up(self: Any) -> None:
        super(base, self).setUp()
        self.loop = TYPES.Loop()
        self.set_event_loop(self.loop)

    base.setUp = set_up


globals().update(
    bind(
        "test_base_events",
        {"loop": CLASSES, "patch": CLASSES},
        adapt=adapt,
        only={
            # The rest is about connections, servers and datagrams.
            "BaseEventLoopWithSelectorTests": "test_getnameinfo|test_call_coroutine|test_log_slow_callbacks",
        },
        unbound={
            "BaseEventTests": "helper functions of asyncio.base_events, no loop",
            "BaseLoopSockSendfileTests": "asyncio's own sock_sendfile on its own loop class",
            "TestSelectorUtils": "helper functions of asyncio.base_events, no loop",
        },
    )
)
