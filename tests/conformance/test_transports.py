"""test.test_asyncio.test_transports: the abstract transports."""

from .loading import bind

CLASSES = ["TransportTests"]

globals().update(bind("test_transports", {"loop": CLASSES, "patch": CLASSES}))
