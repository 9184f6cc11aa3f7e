"""Streams: asyncio's, with their state and what runs for each read and write in C.

The C type comes first in the order of inheritance. What runs once for each connection, representation and all that is odd is
asyncio's, as this Python does it.
"""

from __future__ import annotations

import abc
import types
from asyncio import streams
from typing import Any

from . import _core

__all__ = [
    "StreamReader",
    "StreamReaderProtocol",
    "StreamWriter",
    "open_connection",
    "open_unix_connection",
    "start_server",
    "start_unix_server",
]


class _AsStock(abc.ABCMeta):
    """What is asyncio's own is an instance, too, for those who ask late, among them asyncio's StreamWriter.

    An abstract base class cannot do that: a class from which it derives is refused as one of its virtual subclasses.
    """

    def __subclasscheck__(cls, subclass: Any) -> bool:
        stock = cls.__dict__.get("_stock")
        # That first: ABCMeta remembers what it has denied, and isinstance() does not ask here again.
        return (stock is not None and issubclass(subclass, stock)) or super().__subclasscheck__(subclass)


class StreamReader(_core.StreamReader, streams.StreamReader, metaclass=_AsStock):
    """What comes by a stream: read(), readline(), readuntil(), readexactly(), async for.

    Mirrors asyncio.StreamReader ("Streams"). limit, in bytes, is of a line; reading stops while twice as much waits.
    """

    _stock = streams.StreamReader


class StreamReaderProtocol(_core.StreamReaderProtocol, streams.StreamReaderProtocol, metaclass=_AsStock):
    """The protocol that gives what a transport receives to a StreamReader.

    Mirrors asyncio.StreamReaderProtocol ("Streams").
    """

    _stock = streams.StreamReaderProtocol


class StreamWriter(_core.StreamWriter, streams.StreamWriter, metaclass=_AsStock):
    """What is sent by a stream: write(), drain(), close().

    Mirrors asyncio.StreamWriter ("Streams").
    """

    _stock = streams.StreamWriter


# In logs and reports they are what they are in asyncio's.
for _class in (StreamReader, StreamReaderProtocol, StreamWriter):
    _class.__module__ = "asyncio.streams"
del _class


def _with_our_classes(function: Any) -> Any:
    """Return asyncio's own function, of this Python, with our classes in place of asyncio's."""
    names = {name: globals()[name] for name in __all__[:3]}
    copy = types.FunctionType(
        function.__code__, {**function.__globals__, **names}, function.__name__, function.__defaults__
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    copy.__doc__ = function.__doc__
    return copy


open_connection = _with_our_classes(streams.open_connection)
open_unix_connection = _with_our_classes(streams.open_unix_connection)
start_server = _with_our_classes(streams.start_server)
start_unix_server = _with_our_classes(streams.start_unix_server)
