"""test.test_asyncio.test_futures2: awaiting futures and tasks, their tracebacks and recursive reprs."""

from .loading import bind

globals().update(
    bind(
        "test_futures2",
        {
            "types": ["CFutureTests"],
            "native": ["CFutureTests"],
            "loop": ["CFutureTests", "PyFutureTests", "FutureReprTests"],
            "patch": ["CFutureTests", "FutureReprTests"],
        },
    )
)
