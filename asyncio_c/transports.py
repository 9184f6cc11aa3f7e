"""Transports: asyncio's own, with their reading and writing in C.

The C type comes first in the order of inheritance, as in the loop: it has what runs for each read and write. Opening,
errors and the end of a connection are asyncio's, as this Python does them.
"""

from __future__ import annotations

from asyncio import selector_events, unix_events
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


class ReadPipeTransport(_core.ReadPipeTransport, unix_events._UnixReadPipeTransport):  # type: ignore[name-defined,misc]
    """Transport of the reading end of a pipe.

    Mirrors what loop.connect_read_pipe() returns ("Transports and Protocols").
    """


class WritePipeTransport(_core.WritePipeTransport, unix_events._UnixWritePipeTransport):  # type: ignore[name-defined,misc]
    """Transport of the writing end of a pipe.

    Mirrors what loop.connect_write_pipe() returns ("Transports and Protocols").
    """
