"""test.test_asyncio.test_sslproto: start_tls(), and the handshake of asyncio's TLS protocol on the loop."""

from .loading import bind

CLASSES = ["SslProtoHandshakeTests", "SelectorStartTLSTests"]

globals().update(
    bind(
        "test_sslproto",
        {"loop": CLASSES, "patch": CLASSES},
        unbound={"ProactorStartTLSTests": "Windows only"},
    )
)
