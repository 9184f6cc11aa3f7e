"""test.test_asyncio.test_subprocess: subprocesses and their pipes."""

import asyncio
import types
from typing import Any

from .loading import bind

# Up to 3.13 a policy has a child watcher, which a user may replace.
CLASSES = [
    "SubprocessTransportTests",
    "SubprocessThreadedWatcherTests",
    "SubprocessSafeWatcherTests",
    "SubprocessFastWatcherTests",
    "SubprocessMultiLoopWatcherTests",
    "SubprocessPidfdWatcherTests",
    "GenericWatcherTests",
]


def adapt(module: types.ModuleType) -> None:
    case: Any = getattr(module, "GenericWatcherTests", None)
    if case is None:
        return

    def set_up(self: Any) -> None:
        # On 3.12 a test expects what get_event_loop() says once set_event_loop() was called, by some test before it.
        asyncio.set_event_loop(None)
        super(case, self).setUp()

    case.setUp = set_up


globals().update(
    bind(
        "test_subprocess",
        {"loop": CLASSES, "patch": CLASSES},
        adapt=adapt,
        unbound={"MultiLoopChildWatcherTests": "the deprecation of one of asyncio's own child watchers"},
    )
)
