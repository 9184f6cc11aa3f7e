"""test.test_asyncio.test_unix_events: signals, Unix sockets, sendfile(2), readers and writers, and fork."""

from .loading import bind

CLASSES = [
    "SelectorEventLoopSignalTests",
    "SelectorEventLoopUnixSocketTests",
    "SelectorEventLoopUnixSockSendfileTests",
    "TestFunctional",
    "TestFork",
    "PidfdChildWatcherTests",
]
PIPES = "asyncio's own pipe transport, made by hand on a loop without descriptors"
WATCHERS = "asyncio's own child watchers on a loop without descriptors"

globals().update(
    bind(
        "test_unix_events",
        {"loop": CLASSES, "patch": CLASSES},
        unbound={
            "UnixReadPipeTransportTests": PIPES,
            "UnixWritePipeTransportTests": PIPES,
            "AbstractChildWatcherTests": WATCHERS,
            "BaseChildWatcherTests": WATCHERS,
            "SafeChildWatcherTests": WATCHERS,
            "FastChildWatcherTests": WATCHERS,
            "PolicyTests": "the child watchers of asyncio's own policy",
        },
    )
)
