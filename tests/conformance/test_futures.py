"""test.test_asyncio.test_futures: Future, its callbacks, and subclasses of it."""

from .loading import bind

C_FUTURE = [
    "CFutureTests",
    "CSubFutureTests",
    "CFutureDoneCallbackTests",
    "CSubFutureDoneCallbackTests",
    "CFutureInheritanceTests",
]
PURE_PYTHON = ["PyFutureTests", "PyFutureDoneCallbackTests"]

globals().update(
    bind(
        "test_futures",
        {
            "types": C_FUTURE,
            "native": C_FUTURE,
            "loop": [*C_FUTURE, *PURE_PYTHON, "DuckTests"],
            "patch": [*C_FUTURE, "DuckTests"],
        },
        unbound={"PyFutureInheritanceTests": "the pure-Python Future, without a loop"},
    )
)
