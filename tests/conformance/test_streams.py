"""test.test_asyncio.test_streams: StreamReader and StreamWriter on TCP, Unix and TLS connections."""

from .loading import bind

CLASSES = ["StreamTests"]

globals().update(bind("test_streams", {"loop": CLASSES, "patch": CLASSES}))
