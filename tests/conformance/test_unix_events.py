"""test.test_asyncio.test_unix_events: signals, Unix sockets, sendfile(2), readers and writers, and fork."""

from .binding import TLS_BINDINGS
from .loading import bind, only_over_tls

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
        {
            "loop": CLASSES,
            "patch": CLASSES,
            **dict.fromkeys(TLS_BINDINGS, ["SelectorEventLoopUnixSocketTests"]),
        },
        only=only_over_tls("SelectorEventLoopUnixSocketTests"),
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
