"""test.test_asyncio.test_subprocess: subprocesses and their pipes."""

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

globals().update(
    bind(
        "test_subprocess",
        {"loop": CLASSES, "patch": CLASSES},
        unbound={"MultiLoopChildWatcherTests": "the deprecation of one of asyncio's own child watchers"},
    )
)
