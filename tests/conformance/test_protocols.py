"""test.test_asyncio.test_protocols: the abstract protocols."""

from .loading import bind

CLASSES = ["ProtocolsAbsTests"]

globals().update(bind("test_protocols", {"loop": CLASSES, "patch": CLASSES}))
