"""test.test_asyncio.test_streams: StreamReader and StreamWriter on TCP, Unix and TLS connections."""

from .binding import TLS_BINDINGS
from .loading import bind, only_over_tls

CLASSES = ["StreamTests"]

globals().update(
    bind(
        "test_streams",
        dict.fromkeys(("loop", "patch", *TLS_BINDINGS), CLASSES),
        only=only_over_tls(*CLASSES),
    )
)
