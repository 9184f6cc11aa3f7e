"""test.test_asyncio.test_threads: to_thread."""

from .loading import bind

CLASSES = ["ToThreadTests"]

globals().update(bind("test_threads", {"loop": CLASSES, "patch": CLASSES}))
