"""test.test_asyncio.test_free_threading: tasks, futures and loops in several threads at once (from Python 3.14 on)."""

from .loading import bind

CLASSES = ["TestCFreeThreading", "TestEagerCFreeThreading"]
PURE_PYTHON = "the pure-Python Task and the pure-Python registry"

globals().update(
    bind(
        "test_free_threading",
        {"native": CLASSES, "loop": CLASSES, "patch": CLASSES},
        unbound={"TestPyFreeThreading": PURE_PYTHON, "TestEagerPyFreeThreading": PURE_PYTHON},
    )
)
