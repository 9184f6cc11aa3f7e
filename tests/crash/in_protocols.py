"""Protocols that raise, close, resize, or are none, and sockets that vanish under their transports."""

import array
import asyncio
import gc
import os
import socket

from .table import Recorder, attempt, case, cases, connected, new_loop, pair, turns

NOT_PROTOCOLS = {
    "none": None,
    "number": 5,
    "object": object(),
    "class": asyncio.Protocol,
    "methods_that_are_numbers": type(
        "P", (), {"connection_made": 1, "data_received": 2, "connection_lost": 3}
    )(),
    "base_protocol": asyncio.BaseProtocol(),
    "buffered_base": asyncio.BufferedProtocol(),
}


@cases("protocol_is", NOT_PROTOCOLS)
def protocol_is(impl, protocol):
    with new_loop(impl) as loop:
        ours, theirs = pair()
        with ours, theirs:
            created = loop.create_task(loop.create_connection(lambda: protocol, sock=ours))
            turns(loop, 5)
            attempt(theirs.send, b"x")
            turns(loop, 5)
            theirs.close()
            turns(loop, 5)
            created.cancel()
            turns(loop, 2)
            attempt(created.exception) if not created.cancelled() else None
        gc.collect()


METHODS = "connection_made data_received eof_received connection_lost pause_writing resume_writing".split()
ACTS = {
    "raises": lambda self: 1 / 0,
    "closes": lambda self: self.transport.close(),
    "aborts": lambda self: self.transport.abort(),
    "writes": lambda self: self.transport.write(b"x" * 100_000),
    "ends": lambda self: self.transport.write_eof(),
    "pauses": lambda self: self.transport.pause_reading(),
    "swaps": lambda self: self.transport.set_protocol(asyncio.Protocol()),
    "unsets": lambda self: self.transport.set_protocol(None),
    "closes_the_socket": lambda self: os.close(os.dup2(os.open("/dev/null", 0), self.fd)),
    "forgets": lambda self: (self.__dict__.clear(), gc.collect()),
    "stops_the_loop": lambda self: self.loop.stop(),
}


class Acts(asyncio.Protocol):
    """Does `act` in each of its methods."""

    def __init__(self, loop, act):
        self.loop = loop
        self.act = act

    def connection_made(self, transport):
        self.transport = transport
        self.fd = transport.get_extra_info("socket").fileno()
        transport.set_write_buffer_limits(1000)
        self.act(self)

    def method(self, *args):
        act = getattr(self, "act", None)
        if act:
            act(self)

    data_received = eof_received = connection_lost = pause_writing = resume_writing = method


@cases("protocol", {name: act for name, act in ACTS.items() if name != "closes_the_socket"})
def protocol(impl, act):
    with new_loop(impl) as loop:
        ours, theirs = pair()
        with ours, theirs:
            created = loop.create_task(loop.create_connection(lambda: Acts(loop, act), sock=ours))
            for _ in range(3):
                turns(loop, 3)
                attempt(theirs.send, b"x")
                theirs.setblocking(False)
                attempt(theirs.recv, 1_000_000)
            attempt(theirs.shutdown, socket.SHUT_WR)
            turns(loop, 10)
            theirs.close()
            turns(loop, 10)
            transport = created.result()[0]
            transport.abort()
            turns(loop, 3)


class Buffers(asyncio.BufferedProtocol):
    """Gives the buffers that `get` returns."""

    def __init__(self, get, updated=None):
        self.get = get
        self.updated = updated
        self.lost = False

    def get_buffer(self, hint):
        return self.get(self)

    def buffer_updated(self, count):
        if self.updated:
            self.updated(self)

    def connection_made(self, transport):
        self.transport = transport

    def connection_lost(self, error):
        self.lost = True


def released():
    view = memoryview(bytearray(8))
    view.release()
    return view


class Lies:
    """No buffer, though it has a length."""

    def __len__(self):
        return 1 << 40


class Negative:
    def __len__(self):
        return -1


BUFFERS = {
    "none": lambda self: None,
    "number": lambda self: 5,
    "bytes": lambda self: b"12345678",
    "empty": lambda self: bytearray(),
    "released": lambda self: released(),
    "strided": lambda self: memoryview(bytearray(16))[::2],
    "reversed": lambda self: memoryview(bytearray(16))[::-1],
    "read_only": lambda self: memoryview(bytearray(16)).toreadonly(),
    "wide": lambda self: array.array("d", [0.0] * 4),
    "lies": lambda self: Lies(),
    "negative": lambda self: Negative(),
    "raises": lambda self: 1 / 0,
    "interrupts": lambda self: self.transport.abort() or bytearray(8),
    "closes": lambda self: self.transport.close() or bytearray(8),
    "swaps": lambda self: self.transport.set_protocol(asyncio.Protocol()) or bytearray(8),
    "list": lambda self: [1, 2, 3],
    "shaped": lambda self: memoryview(bytearray(16)).cast("B", (4, 4)),
}


@cases("get_buffer", BUFFERS)
def get_buffer(impl, get):
    with new_loop(impl) as loop:
        protocol = Buffers(get)
        with connected(loop, protocol) as (transport, theirs):
            for _ in range(3):
                attempt(theirs.send, b"0123456789")
                turns(loop, 3)
            theirs.close()
            turns(loop, 5)


@case
def buffer_is_resized(impl):
    with new_loop(impl) as loop:
        buffer = bytearray(8)

        def updated(protocol):
            del buffer[:]
            buffer.extend(bytes(10_000))
            protocol.transport.pause_reading()
            protocol.transport.resume_reading()

        with connected(loop, Buffers(lambda self: buffer, updated)) as (transport, theirs):
            for _ in range(10):
                theirs.send(b"0123456789")
                turns(loop, 3)


@case
def protocol_factory_raises(impl):
    with new_loop(impl) as loop:
        server = loop.run_until_complete(loop.create_server(lambda: 1 / 0, "127.0.0.1", 0))
        address = server.sockets[0].getsockname()
        for _ in range(3):
            with socket.create_connection(address) as client:
                client.settimeout(5)
                turns(loop, 10)
        ours, theirs = pair()
        with ours, theirs:
            made = attempt(loop.run_until_complete, loop.create_connection(lambda: 1 / 0, sock=ours))
            assert isinstance(made, ZeroDivisionError)
        server.close()
        turns(loop)


@case
def protocol_factory_closes_the_server(impl):
    with new_loop(impl) as loop:

        def factory():
            server.close()
            gc.collect()
            return asyncio.Protocol()

        server = loop.run_until_complete(loop.create_server(factory, "127.0.0.1", 0))
        with socket.create_connection(server.sockets[0].getsockname()):
            turns(loop, 10)


@case
def descriptor_is_closed_under_the_transport(impl):
    with new_loop(impl) as loop:
        with connected(loop, Recorder()) as (transport, theirs):
            os.close(transport.get_extra_info("socket").fileno())
            turns(loop, 3)
            transport.write(b"x")
            turns(loop, 3)
            transport.abort()
            turns(loop, 3)
            # What it was is no longer there to be closed.
            attempt(loop.close)
            os._exit(0)


@case
def descriptor_is_somebody_elses(impl):
    """The number of a closed socket is used again, while its transport still lives."""
    with new_loop(impl) as loop:
        with connected(loop, Recorder()) as (transport, theirs):
            number = transport.get_extra_info("socket").fileno()
            reading, writing = os.pipe()
            os.dup2(reading, number)
            os.write(writing, b"x")
            turns(loop, 5)
            transport.write(b"x")
            turns(loop, 5)


DATA = {
    "none": None,
    "string": "x",
    "number": 5,
    "list": [b"x"],
    "strided": memoryview(bytearray(b"0123456789"))[::2],
    "released": released(),
    "wide": memoryview(array.array("d", [1.0])),
    "array": array.array("d", [1.0]),
    "subclass": type("B", (bytes,), {"__len__": lambda self: 1 << 40, "__bytes__": lambda self: b""})(b"x"),
}


@cases("write_of", DATA)
def write_of(impl, data):
    with new_loop(impl) as loop:
        with connected(loop, Recorder()) as (transport, theirs):
            attempt(transport.write, data)
            attempt(transport.writelines, data)
            attempt(transport.writelines, [data])
            attempt(transport.writelines, [b"x", data, b"y"])
            turns(loop, 5)


@case
def writelines_of_a_list_that_changes(impl):
    with new_loop(impl) as loop:
        with connected(loop, Recorder()) as (transport, theirs):

            class Changes(bytes):
                def __bytes__(self):
                    lines.clear()
                    return b"x"

                def __iter__(self):
                    lines.clear()
                    return iter(b"")

                __buffer__ = __iter__

            lines = [b"a", Changes(b"b"), b"c"] * 100
            attempt(transport.writelines, lines)

            def generator():
                yield b"a"
                transport.abort()
                yield b"b"
                raise ZeroDivisionError

            attempt(transport.writelines, generator())
            turns(loop, 5)


LIMITS = {
    "negative": (-1, -1),
    "huge": (1 << 62, 1 << 61),
    "too_large": (1 << 100, 1 << 99),
    "crossed": (1, 2),
    "strings": ("x", "y"),
    "floats": (1.5, 0.5),
    "nan": (float("nan"), float("nan")),
    "zero": (0, 0),
}


@cases("write_limits", LIMITS)
def write_limits(impl, limits):
    with new_loop(impl) as loop:
        with connected(loop, Recorder()) as (transport, theirs):
            attempt(transport.set_write_buffer_limits, *limits)
            attempt(transport.get_write_buffer_limits)
            attempt(transport.write, b"x" * 1_000_000)
            attempt(transport.set_write_buffer_limits, *limits)
            turns(loop, 5)


@case
def transport_after_its_end(impl):
    with new_loop(impl) as loop:
        with connected(loop, Recorder()) as (transport, theirs):
            transport.close()
            turns(loop, 5)
            for name in dir(transport):
                if not name.startswith("__") and callable(getattr(transport, name)):
                    attempt(getattr(transport, name))
                    attempt(getattr(transport, name), b"x")
            turns(loop, 5)
        for name in dir(transport):
            attempt(setattr, transport, name, None)
            attempt(delattr, transport, name)
        gc.collect()
        attempt(repr, transport)


@case
def transport_without_its_fields(impl):
    """All that can be overwritten is, while data is on its way in both directions."""
    with new_loop(impl) as loop:
        with connected(loop, Recorder()) as (transport, theirs):
            fd = transport.get_extra_info("socket").fileno()
            transport.write(b"x" * 10_000_000)
            theirs.send(b"x")
            for name in dir(transport):
                if not name.startswith("__"):
                    attempt(setattr, transport, name, None)
                    attempt(delattr, transport, name)
            attempt(turns, loop, 5)
            transport.abort = lambda: None
            attempt(loop.remove_reader, fd)
            attempt(loop._remove_reader, fd)
            attempt(loop._remove_writer, fd)
            del transport
            gc.collect()


@case
def transport_with_a_loop_and_nothing_else(impl):
    """Never initialised, each of its methods is called by hand."""
    with new_loop(impl) as loop:
        with connected(loop, Recorder()) as (transport, _):
            kind = type(transport)
        for name in dir(kind):
            if name.startswith("__"):
                continue
            for args in (), (b"x",), (None, None):
                blank = kind.__new__(kind)
                attempt(setattr, blank, "_loop", loop)
                method = attempt(getattr, blank, name)
                attempt(method, *args)
                blank.abort = blank.close = lambda: None
                attempt(turns, loop, 2)


@case
def loop_is_closed_under_transports(impl):
    with new_loop(impl) as loop:
        with connected(loop, Recorder()) as (first, theirs), connected(loop, Recorder()) as (second, _):
            theirs.send(b"x")
            first.write(b"x" * 10_000_000)
            loop.close()
            for transport in (first, second):
                attempt(transport.write, b"x")
                attempt(transport.close)
                attempt(transport.abort)
                transport.abort = lambda: None
            loop.call_soon = loop.run_forever = lambda *args: None
            del first, second, transport
            gc.collect()
            os._exit(0)


@case
def transport_is_dropped(impl):
    """Nobody holds a connection but the loop, and then the loop does not."""
    with new_loop(impl) as loop:
        for _ in range(20):
            ours, theirs = pair()
            transport, _ = loop.run_until_complete(loop.create_connection(Recorder, sock=ours))
            transport.pause_reading()
            transport.write(b"x")
            theirs.close()
            del transport
            gc.collect()
        turns(loop)


@case
def start_reading_from_two_loops(impl):
    with new_loop(impl) as first, new_loop(impl) as second:
        ours, theirs = pair()
        with ours, theirs:
            one, _ = first.run_until_complete(first.create_connection(Recorder, sock=ours))
            two, _ = second.run_until_complete(second.create_connection(Recorder, sock=ours))
            theirs.send(b"x")
            turns(first, 3)
            turns(second, 3)
            one.abort()
            turns(first, 3)
            two.abort()
            turns(second, 3)
