"""test.test_asyncio.test_events: the loop as a user sees it: callbacks, connections, servers, datagrams, pipes, processes."""

import types
from typing import Any

from .loading import ONE_PER_SELECTOR, bind, merge_loop_classes


def adapt(module: types.ModuleType) -> None:
    module_any: Any = module
    module_any.TestCase = module_any.test_utils.TestCase
    merge_loop_classes(module, "EventLoopTestsMixin", "SubprocessTestsMixin", "TestCase")


CLASSES = ["EventLoopTests", "TestCGetEventLoop", "TestServer", "TestAbstractServer", "UnixPipeObjectSupportTests"]

globals().update(
    bind(
        "test_events",
        {"loop": [*CLASSES, "TestPyGetEventLoop"], "patch": CLASSES},
        adapt=adapt,
        unbound={
            **ONE_PER_SELECTOR,
            "HandleTests": "constructs asyncio.Handle with a mock for a loop",
            "TimerTests": "constructs asyncio.TimerHandle with a mock for a loop",
            "AbstractEventLoopTests": "the abstract class",
            "PolicyTests": "asyncio's own policy classes",
        },
    )
)
