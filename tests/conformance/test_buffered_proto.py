"""test.test_asyncio.test_buffered_proto: a protocol that owns the buffer which is read into."""

from .loading import bind

CLASSES = ["BufferedProtocolSelectorTests"]

globals().update(
    bind(
        "test_buffered_proto",
        {"loop": CLASSES, "patch": CLASSES},
        unbound={"BufferedProtocolProactorTests": "Windows only"},
    )
)
