"""test.test_asyncio.test_graph: who waits for whom, and where, as call graphs (from Python 3.14 on)."""

from .loading import bind

CLASSES = ["TestCallStackC"]

globals().update(
    bind(
        "test_graph",
        {"types": CLASSES, "native": CLASSES, "loop": CLASSES, "patch": CLASSES},
        unbound={"TestCallStackPy": "the pure-Python Task, Future and functions"},
    )
)
