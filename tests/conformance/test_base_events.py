"""test.test_asyncio.test_base_events: scheduling, running, debugging, error handling, and how connections are made."""

import types
from asyncio import base_events
from typing import Any

from .binding import IMPLEMENTATION, TYPES
from .loading import bind

CLASSES = [
    "BaseEventLoopTests",
    "RunningLoopTests",
    "BaseEventLoopWithSelectorTests",
    "BaseLoopSockSendfileTests",
]


def adapt(module: types.ModuleType) -> None:
    if IMPLEMENTATION == "stock":
        return  # The suite's own setUp makes a BaseEventLoop with a mock for a selector, which these tests look into.
    module_any: Any = module
    # Some tests derive a loop from BaseEventLoop, or make one more in a thread.
    module_any.base_events = types.SimpleNamespace(**{**vars(base_events), "BaseEventLoop": TYPES.Loop})
    base = module_any.BaseEventLoopTests

    def set_up(self: Any) -> None:
        super(base, self).setUp()
        self.loop = TYPES.Loop()
        self.set_event_loop(self.loop)

    base.setUp = set_up
    sendfile = module_any.BaseLoopSockSendfileTests

    def sendfile_set_up(self: Any) -> None:
        self.loop = TYPES.Loop()
        # Without sendfile(2): these tests are of what is done in its place.
        self.loop._sock_sendfile_native = types.MethodType(
            base_events.BaseEventLoop._sock_sendfile_native, self.loop
        )
        self.set_event_loop(self.loop)
        self.file = open(module_any.os_helper.TESTFN, "rb")
        self.addCleanup(self.file.close)
        super(sendfile, self).setUp()

    sendfile.setUp = sendfile_set_up


globals().update(
    bind(
        "test_base_events",
        {"loop": CLASSES, "patch": CLASSES},
        adapt=adapt,
        unbound={
            "BaseEventTests": "helper functions of asyncio.base_events, no loop",
            "TestSelectorUtils": "helper functions of asyncio.base_events, no loop",
        },
    )
)
