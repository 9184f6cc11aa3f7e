"""Transports: asyncio's own, with their reading and writing in C.

The C type comes first in the order of inheritance, as in the loop: it has what runs for each read and write. Opening,
errors and the end of a connection are asyncio's, as this Python does them.
"""

from __future__ import annotations

import sys
from asyncio import base_events, futures, selector_events
from typing import Any

from . import _core


class StreamTransport(_core.StreamTransport, selector_events._SelectorSocketTransport):
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
        keywords = {"context": context} if sys.version_info >= (3, 15) else {}
        selector_events._SelectorTransport.__init__(self, loop, sock, protocol, extra, server, **keywords)
        base_events._set_nodelay(sock)
        loop.call_soon(protocol.connection_made, self, context=context)
        # Data comes after connection_made(), and whoever opened the connection goes on after both.
        loop.call_soon(self._add_reader, self._sock_fd, self._read_ready, context=context)
        if waiter is not None:
            loop.call_soon(futures._set_result_unless_cancelled, waiter, None, context=context)
