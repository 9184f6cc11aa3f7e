"""Methods of live streams that somebody replaces, on an object or a class, or whose code is written anew: what is there is called."""

import asyncio
import socket
import subprocess
import sys
import types
from unittest import mock

import pytest
from same_output import ROOT

REPLACED = [
    ("transport", "write"),
    ("transport", "is_closing"),
    ("protocol", "data_received"),
    ("reader", "feed_data"),
    ("reader", "_wakeup_waiter"),
]


@pytest.mark.whole_calls
@pytest.mark.parametrize(
    "owner, name, place",
    [
        (owner, name, place)
        for owner, name in REPLACED
        # What is replaced in the class of asyncio's transports is the affair of tests/contract.
        for place in ("instance", "class", *(("asyncio",) if owner != "transport" else ()))
    ],
)
def test_what_is_replaced_on_a_live_connection_is_called(impl, loop, owner, name, place):
    """While it is, and not before and after; `asyncio` is the class of asyncio's own."""
    calls = []

    async def exchange(reader, writer, peer):
        task = loop.create_task(reader.read(9))
        await asyncio.sleep(0)
        peer.send(b"x")
        assert await task == b"x"
        writer.write(b"y")
        await writer.drain()
        await asyncio.sleep(0)
        assert peer.recv(9) == b"y"

    async def main():
        ours, peer = socket.socketpair()
        reader, writer = await impl.open_connection(sock=ours)
        found = {
            "transport": writer.transport,
            "protocol": writer.transport.get_protocol(),
            "reader": reader,
        }[owner]
        stock = {"protocol": asyncio.streams.StreamReaderProtocol, "reader": asyncio.streams.StreamReader}
        target = {"instance": found, "class": type(found), "asyncio": stock.get(owner)}[place]
        original = getattr(target, name)

        def replaced(*args):
            calls.append(name)
            return original(*args)

        await exchange(reader, writer, peer)
        with mock.patch.object(target, name, replaced):
            await exchange(reader, writer, peer)
        assert calls
        calls.clear()
        await exchange(reader, writer, peer)
        assert not calls
        writer.close()
        await writer.wait_closed()
        peer.close()

    loop.run_until_complete(main())


REPLACED_CODES = [
    ("StreamReaderProtocol", "data_received"),
    ("StreamReader", "feed_data"),
    ("StreamReader", "_wakeup_waiter"),
]


async def one_exchange(loop):
    """Of asyncio's own streams."""
    here, peer = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=here)
    task = loop.create_task(reader.read(9))
    await asyncio.sleep(0)
    peer.send(b"x")
    assert await task == b"x"
    writer.close()
    await writer.wait_closed()
    peer.close()


@pytest.mark.parametrize("owner, name", REPLACED_CODES)
def test_code_of_asyncios_streams_replaced_in_place(loop, owner, name):
    """As tracers do that rewrite bytecode."""
    function = getattr(getattr(asyncio.streams, owner), name)
    code, calls = function.__code__, []

    def forward(self, *args):
        calls.append(name)
        return original(self, *args)

    def replacement(self, *args):
        return _forward(self, *args)  # noqa: F821

    original = types.FunctionType(code, function.__globals__, name)
    loop.run_until_complete(one_exchange(loop))
    with mock.patch.object(asyncio.streams, "_forward", forward, create=True):
        function.__code__ = replacement.__code__
        try:
            loop.run_until_complete(one_exchange(loop))
        finally:
            function.__code__ = code
    assert calls
    calls.clear()
    loop.run_until_complete(one_exchange(loop))
    assert calls == []


REPLACED_BEFORE = """
import asyncio, functools, socket
calls, original = [], asyncio.{owner}.{name}
@functools.wraps(original)
def replacement(*args):
    calls.append(args)
    return original(*args)
asyncio.{owner}.{name} = replacement
import asyncio_c
async def main():
    here, peer = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=here)
    peer.send(b"x")
    assert await reader.read(9) == b"x"
    writer.close()
    await writer.wait_closed()
asyncio_c.run(main())
assert calls
"""


@pytest.mark.parametrize("owner, name", REPLACED_CODES)
def test_asyncios_streams_replaced_before_the_import(owner, name):
    """As by a tracer that starts the program."""
    code = REPLACED_BEFORE.format(owner=owner, name=name)
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
