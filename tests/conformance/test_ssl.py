"""test.test_asyncio.test_ssl: TLS connections, start_tls(), shutdown, and how they meet threads that block."""

from .loading import bind

CLASSES = ["TestSSL"]

globals().update(bind("test_ssl", {"loop": CLASSES, "patch": CLASSES}))
