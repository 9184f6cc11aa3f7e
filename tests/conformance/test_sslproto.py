"""test.test_asyncio.test_sslproto: start_tls(), and the handshake of the TLS protocol on the loop."""

import asyncio
import types
from typing import Any
from unittest import mock

from .binding import IMPLEMENTATION, TLS_BINDINGS
from .loading import bind

CLASSES = ["SslProtoHandshakeTests", "SelectorStartTLSTests"]


class ProtocolMaker(types.SimpleNamespace):
    """asyncio.sslproto, whose SSLProtocol is what the loop would make: the tests make theirs by hand."""

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio.sslproto, name)

    def SSLProtocol(self, loop: Any, *args: Any, **keywords: Any) -> Any:
        from asyncio_c import tls

        return tls.new_protocol(loop, *args, **keywords)


def adapt(module: types.ModuleType) -> None:
    module_any: Any = module
    set_up = module_any.SslProtoHandshakeTests.setUp

    def wrapper(self: Any) -> None:
        set_up(self)
        if IMPLEMENTATION == "native":
            self.enterContext(mock.patch.object(module, "sslproto", ProtocolMaker()))

    module_any.SslProtoHandshakeTests.setUp = wrapper


globals().update(
    bind(
        "test_sslproto",
        dict.fromkeys(("loop", "patch", *TLS_BINDINGS), CLASSES),
        adapt=adapt,
        unbound={"ProactorStartTLSTests": "Windows only"},
    )
)
