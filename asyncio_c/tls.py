"""TLS: asyncio's own protocol and transport, with their reading and writing in C.

The C types come first in the order of inheritance, as in the loop and the transports: they have what runs for each read and
write. Handshake, shutdown, timeouts, errors and logs are asyncio's, as this Python does them, on the attributes that the
C types have under asyncio's names. The SSLObject is what the context's wrap_bio() makes, and answers every question.

ASYNCIO_C_TLS chooses what encrypts: `openssl`, the default, OpenSSL itself where that can be proven to be safe, else as
`object`; `object`, the methods of the SSLObject; `asyncio`, asyncio's protocol.

Of `ssl` this module holds no name, for gevent warns of modules that do when it replaces what is in it: asyncio's module has
it, or None on a Python without OpenSSL.
"""

from __future__ import annotations

import os
from asyncio import sslproto, streams
from typing import TYPE_CHECKING, Any

from . import _core, transports

if TYPE_CHECKING:
    from ssl import SSLContext

ENGINES = ("asyncio", "object", "openssl")
DEFAULT_ENGINE = "openssl"
# Taken when we are imported: who replaces it in asyncio wants all protocols to be of another class.
_ASYNCIO_PROTOCOL = sslproto.SSLProtocol


def wanted_engine() -> str:
    """Return what ASYNCIO_C_TLS asks for. Raises ValueError if that is nothing."""
    engine = os.environ.get("ASYNCIO_C_TLS") or DEFAULT_ENGINE
    if engine not in ENGINES:
        raise ValueError(f"ASYNCIO_C_TLS is {engine!r}, and must be one of {', '.join(ENGINES)}")
    return engine


class SSLProtocolTransport(_core.TLSTransport, sslproto._SSLProtocolTransport):
    """Transport of a protocol over TLS.

    Mirrors what loop.create_connection(ssl=...) returns ("Transports and Protocols").
    """

    def _test__append_write_backlog(self, data: bytes) -> None:
        self._ssl_protocol._append_backlog(data)


class SSLProtocol(_core.TLSProtocol, sslproto.SSLProtocol):
    """The protocol between a socket's transport and a protocol over TLS: asyncio's, on one of our engines."""

    max_size = 0  # asyncio's constructor makes a buffer of this size, for which the C type has no use

    def __init__(self, engine: str, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        openssl = engine == "openssl" and getattr(self._sslcontext, "_msg_callback", None) is None
        self._start_session(openssl)

    def _get_app_transport(self) -> Any:
        if self._app_transport is None:
            if self._app_transport_created:
                raise RuntimeError("Creating _SSLProtocolTransport twice")
            self._app_transport = SSLProtocolTransport(self._loop, self)
            self._app_transport_created = True
        return self._app_transport

    def connection_made(self, transport: Any) -> None:
        if self._incoming.pending:
            # From 3.14 on start_tls() has put there what had been read before; OpenSSL does not look there.
            self._feed(self._incoming.read())
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._drop_outgoing()
        super().connection_lost(exc)

    # What has been written and waits for the end of the callback goes first.

    def _start_shutdown(self) -> None:
        self._flush_all()
        super()._start_shutdown()

    def _set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._flush()
        super()._set_write_buffer_limits(high, low)

    def _abort(self, *exc: Any) -> None:
        self._flush()
        super()._abort(*exc)

    def _fatal_error(self, exc: BaseException, message: str = "Fatal error on transport") -> None:
        self._flush()
        super()._fatal_error(exc, message)


def is_native(loop: Any) -> bool:
    """Return whether TLS connections of `loop` are ours: asyncio's where that is asked for, or somebody looks closely."""
    return (
        loop._tls_engine != "asyncio"
        and not loop._debug
        and sslproto.SSLProtocol is _ASYNCIO_PROTOCOL
        and sslproto.ssl is not None
    )


def can_start(loop: Any, transport: Any, sslcontext: Any) -> bool:
    """Return whether start_tls() of `loop` is ours; asyncio's has the words for arguments that are wrong."""
    return (
        is_native(loop)
        and isinstance(sslcontext, sslproto.ssl.SSLContext)
        and getattr(transport, "_start_tls_compatible", False)
    )


def new_protocol(loop: Any, *args: Any, **keywords: Any) -> Any:
    """Return the TLS protocol for a connection of `loop`; the arguments are those of asyncio's class."""
    if not is_native(loop):
        stock = sslproto.SSLProtocol
        protocol = transports.TLSProtocol if stock is _ASYNCIO_PROTOCOL else stock
        return protocol(loop, *args, **keywords)
    return SSLProtocol(loop._tls_engine, loop, *args, **keywords)


async def start_tls(
    loop: Any, transport: Any, protocol: Any, sslcontext: SSLContext, server_side: bool, **keywords: Any
) -> Any:
    """Put TLS between `transport` and `protocol`, as loop.start_tls(); the arguments have been looked at."""
    waiter = loop.create_future()
    tls_protocol = SSLProtocol(
        loop._tls_engine,
        loop,
        protocol,
        sslcontext,
        waiter,
        server_side,
        call_connection_made=False,
        **keywords,
    )
    transport.pause_reading()  # until connection_made() has been called
    if server_side and isinstance(protocol, streams.StreamReaderProtocol):
        # A client may have sent its greeting together with the last it had to say in plain, and then the reader has it.
        # asyncio knows that from 3.14 on.
        reader = protocol._stream_reader
        if reader is not None and reader._buffer:
            tls_protocol._feed(reader._buffer)
            reader._buffer.clear()
    transport.set_protocol(tls_protocol)
    made = loop.call_soon(tls_protocol.connection_made, transport)
    resumed = loop.call_soon(transport.resume_reading)
    try:
        await waiter
    except BaseException:
        transport.close()
        made.cancel()
        resumed.cancel()
        waiter = None  # which has the exception, which has this frame
        raise
    return tls_protocol._app_transport
