"""Transports: asyncio's own, with their reading and writing in C.

The C type comes first in the order of inheritance, as in the loop: it has what runs for each read and write, and for a
stream's opening and end. Errors and the rest are asyncio's, as this Python does them.
"""

from __future__ import annotations

import socket
import sys
import traceback
import weakref
from asyncio import selector_events, sslproto, trsock, unix_events
from asyncio import transports as asyncio_transports
from typing import Any

from . import _core


class _TransportSocket(trsock.TransportSocket):
    """The socket that get_extra_info() gives away: asyncio's, which has the transport send first what it has deferred."""

    __slots__ = ("_transport",)

    def __init__(self, sock: socket.socket, transport: StreamTransport) -> None:
        super().__init__(sock)
        self._transport = weakref.ref(transport)

    def shutdown(self, how: int) -> None:
        transport = self._transport()
        if transport is not None:
            transport.get_write_buffer_size()
        super().shutdown(how)


class _ResumeReading:
    """asyncio's resume_reading(), after whose failure, for lack of descriptors or memory, it can be called again."""

    __slots__ = ()
    _paused: bool

    def resume_reading(self) -> None:
        paused = self._paused
        try:
            super().resume_reading()  # type: ignore[misc]
        except BaseException:
            self._paused = paused  # type: ignore[misc]
            raise


class StreamTransport(_ResumeReading, _core.StreamTransport, selector_events._SelectorSocketTransport):  # type: ignore[misc,name-defined]
    """Transport of a connected stream socket.

    Mirrors what loop.create_connection() returns ("Transports and Protocols").
    """

    def _transport_socket(self, sock: socket.socket) -> trsock.TransportSocket:
        return _TransportSocket(sock, self)

    def __repr__(self) -> str:
        if self._loop is not None and not self._loop.is_closed():
            self.get_write_buffer_size()  # sends what was deferred, of which asyncio looks first whether it waits
        text: str = super().__repr__()
        return text


class TLSProtocol(sslproto.SSLProtocol):
    """asyncio's TLS, whose receive buffer of 256 KiB ends with the connection, and whose TLS object with a failed handshake.

    The exception of such a handshake and the protocol are in one cycle (everywhere in 3.11, of clients only in later
    Pythons), which waits for the garbage collector; and that comes the later, the fewer objects a connection is made of.
    """

    def _on_handshake_complete(self, handshake_exc: Any) -> None:
        if isinstance(handshake_exc, type):
            handshake_exc = handshake_exc()  # ConnectionResetError
        super()._on_handshake_complete(handshake_exc)
        if handshake_exc is not None:
            traceback.clear_frames(
                handshake_exc.__traceback__
            )  # of asyncio and ssl, which are all it has come through

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self._ssl_buffer = bytearray()
        self._ssl_buffer_view = memoryview(self._ssl_buffer)
        if "ssl_object" not in self._extra:  # the handshake has failed, and nobody has got it
            self._sslobj = None


# In logs and reports it is what it is in asyncio's.
TLSProtocol.__module__, TLSProtocol.__qualname__ = "asyncio.sslproto", "SSLProtocol"


class DatagramTransport(
    _core.DatagramTransport,
    selector_events._SelectorDatagramTransport,  # type: ignore[misc,name-defined]
    asyncio_transports.DatagramTransport,  # asyncio's own is one since 3.12
):
    """Transport of a datagram socket, connected or not.

    Mirrors what loop.create_datagram_endpoint() returns ("Transports and Protocols").
    """

    def __init__(
        self,
        loop: Any,
        sock: Any,
        protocol: Any,
        address: Any = None,
        waiter: Any = None,
        extra: Any = None,
    ) -> None:
        asyncio_init = selector_events._SelectorDatagramTransport.__init__  # type: ignore[attr-defined]
        asyncio_init(self, loop, sock, protocol, address, waiter, extra)


class ReadPipeTransport(_ResumeReading, _core.ReadPipeTransport, unix_events._UnixReadPipeTransport):  # type: ignore[name-defined,misc]
    """Transport of the reading end of a pipe.

    Mirrors what loop.connect_read_pipe() returns ("Transports and Protocols").
    """

    def _add_reader(self, fd: int, callback: Any) -> None:
        try:
            super()._add_reader(fd, callback)
        except (OSError, MemoryError) as error:
            # asyncio would leave a transport that nobody ever hears of again.
            self._fatal_error(error, "Fatal read error on pipe transport")


class WritePipeTransport(_core.WritePipeTransport, unix_events._UnixWritePipeTransport):  # type: ignore[name-defined,misc]
    """Transport of the writing end of a pipe.

    Mirrors what loop.connect_write_pipe() returns ("Transports and Protocols").
    """


class SubprocessTransport(unix_events._UnixSubprocessTransport):  # type: ignore[name-defined,misc]
    """Transport of a process.

    Mirrors what loop.subprocess_exec() returns ("Transports and Protocols"). What is here ends waits for ever of asyncio's.
    """

    _connecting = False  # the pipes, to transports of their own
    _exit_waiters: Any

    if sys.version_info < (3, 12):

        def __del__(self) -> None:
            # With asyncio's loop a thread has the transport as long as the process runs, and at the end of the interpreter
            # nobody kills that.
            if self._returncode is not None or not sys.is_finalizing():
                super().__del__()

    async def _connect_pipes(self, waiter: Any) -> None:
        self._connecting = True
        await super()._connect_pipes(waiter)
        # It may have been cancelled, which asyncio's does not let through, or this transport been closed meanwhile, which
        # knew of no pipe then: nobody else closes them, and whoever is at their other ends waits for that.
        if self._pending_calls is not None or self._closed:
            self._close_pipes()

    def close(self) -> None:
        super().close()
        if not self._connecting and self._proc is not None:
            self._close_pipes()  # the task that connects them may be cancelled before it begins

    def _close_pipes(self) -> None:
        connected = [protocol.pipe for protocol in self._pipes.values() if protocol is not None]
        for pipe in (*connected, self._proc.stdin, self._proc.stdout, self._proc.stderr):
            if pipe is not None:
                pipe.close()

    def _process_exited(self, returncode: int) -> None:
        super()._process_exited(returncode)
        waiters = self._exit_waiters
        if waiters is None or (self._finished and self._pending_calls is None):
            return  # asyncio has told, as from 3.14 on; or all is at its end, and it tells in the turn that it has for that
        # Up to 3.13 asyncio tells when the pipes have ended, too: never, if they have not been connected, and not while some
        # other process holds their other ends.
        self._exit_waiters = []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(returncode)
