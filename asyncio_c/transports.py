"""Transports: asyncio's own, with their reading and writing in C.

The C type comes first in the order of inheritance, as in the loop: it has what runs for each read and write. Opening,
errors and the end of a connection are asyncio's, as this Python does them.
"""

from __future__ import annotations

from asyncio import selector_events
from asyncio import transports as asyncio_transports
from typing import Any

from . import _core


class StreamTransport(_core.StreamTransport, selector_events._SelectorSocketTransport):  # type: ignore[misc,name-defined]
    """Transport of a connected stream socket.

    Mirrors what loop.create_connection() returns ("Transports and Protocols").
    """

    def __init__(
        self,
        loop: Any,
        sock: Any,
        protocol: Any,
        waiter: Any = None,
        extra: Any = None,
        server: Any = None,
        context: Any = None,
    ) -> None:
        self._open(loop, sock, protocol, waiter, extra, server, context)


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
