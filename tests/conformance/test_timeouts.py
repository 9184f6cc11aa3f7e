"""test.test_asyncio.test_timeouts: timeout and timeout_at."""

from .loading import bind

CLASSES = ["TimeoutTests"]

globals().update(bind("test_timeouts", {"loop": CLASSES, "patch": CLASSES}))
