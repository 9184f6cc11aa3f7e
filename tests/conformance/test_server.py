"""test.test_asyncio.test_server: serving, closing and waiting for servers, and the socket files of Unix servers."""

from .loading import bind

CLASSES = ["SelectorStartServerTests", "TestServer2", "UnixServerCleanupTests"]

globals().update(
    bind(
        "test_server",
        {"loop": CLASSES, "patch": CLASSES},
        unbound={"ProactorStartServerTests": "Windows only"},
    )
)
