"""test.test_asyncio.test_context: a context per task."""

from .loading import bind

CLASSES = ["DecimalContextTest"]

globals().update(bind("test_context", {"loop": CLASSES, "patch": CLASSES}))
