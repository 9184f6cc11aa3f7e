"""start_tls() and streams over TLS as asyncio does them: scenarios of the kind that test_tls_alike.py has."""

import asyncio
import contextlib
import ssl

import pytest

from .. import support
from . import peers
from .peers import new_client_context, new_server_context
from .tls_traces import (
    Other,
    Told,
    check_alike,
    scenario,
    scenarios_of,
)


@pytest.fixture
def loop():
    """Each run has its own."""


# ---- start_tls ----


class Upgrading(Told):
    """Puts TLS on its connection as the server when it is told to."""

    def __init__(self, trace):
        super().__init__(trace, "server ")
        self.upgraded = trace.loop.create_future()

    def data_received(self, data):
        super().data_received(data)
        if data == b"STARTTLS\n":
            self.transport.write(b"go\n")
            self.upgraded = asyncio.ensure_future(self.upgrade())

    async def upgrade(self):
        self.transport = await self.trace.loop.start_tls(
            self.transport, self, new_server_context(), server_side=True
        )


async def plain(t, protocol):
    ours, theirs = t.sockets()
    transport, _ = await t.loop.create_connection(lambda: protocol, sock=ours)
    return transport, theirs


@scenario
async def upgraded(t):
    protocol = Upgrading(t)
    transport, sock = await plain(t, protocol)
    other = Other(t, sock, new_client_context(), False)
    await other.send(b"STARTTLS\n")
    t.note(sock.recv(100))
    await other.handshake()
    await protocol.upgraded
    protocol.transport.write(b"secret")
    await other.hear()
    await other.say(b"also")
    t.note(
        protocol.transport is transport,
        transport.is_closing(),
        protocol.transport.get_extra_info("cipher") is not None,
    )
    other.sock.sendall(other.goodbye())
    await t.settle()
    await other.hear()
    t.note(transport.is_closing())


@scenario
async def upgrades_that_fail(t):
    for what in ("hang up", "plain", "name", "timeout", "cancel", "no name", "closed"):
        t.note(what)
        protocol = Told(t)
        transport, sock = await plain(t, protocol)
        if what == "closed":
            transport.close()
        other = Other(t, sock, new_server_context(), True)
        upgrading = asyncio.ensure_future(
            t.loop.start_tls(
                transport,
                protocol,
                new_client_context(),
                server_hostname={"name": "other.invalid", "no name": None}.get(what, "localhost"),
                ssl_handshake_timeout=0.01 if what in ("timeout", "no name", "closed") else 10,
            )
        )
        await t.settle()
        if what == "cancel":
            upgrading.cancel()
        elif what == "hang up":
            await other.hang_up()
        elif what == "plain":
            await other.send(b"no TLS here\r\n")
        elif what == "name":
            with contextlib.suppress(ssl.SSLError, ConnectionError):
                await other.handshake()
            with contextlib.suppress(ConnectionError):
                other.flush()
        # For one that is closed asyncio waits for ever, beyond the timeout of the handshake.
        with contextlib.suppress(asyncio.CancelledError, TimeoutError):
            async with asyncio.timeout(0.2 if what == "closed" else None):
                await t.opened(upgrading)
        await t.settle()
        t.note(upgrading.done(), transport.is_closing())
        transport.abort()
        await t.settle()
        support.collect()


@scenario
async def upgraded_twice(t):
    """TLS in TLS, ended from the inside and from the outside."""
    for how in ("inner close", "outer close", "inner abort", "outer abort", "peer"):
        t.note(how)
        protocol = Upgrading(t)
        outer, _, other = await t.connect(protocol)
        await other.say(b"STARTTLS\n")
        await other.hear()
        inside = Other(t, other.sock, new_client_context(), False)

        def pull():
            ended = other.pull()
            with contextlib.suppress(ssl.SSLWantReadError):
                while data := other.tls.read(1 << 16):
                    inside.incoming.write(data)
            return ended

        def flush():
            if data := inside.outgoing.read():
                other.sock.sendall(other.seal(data))

        inside.pull, inside.flush = pull, flush  # through the other session
        await inside.handshake()
        await protocol.upgraded
        inner = protocol.transport
        inner.write(b"twice secret")
        await inside.hear()
        inside.tls.write(b"also")
        inside.flush()
        await t.settle()
        if how == "peer":
            inside.outgoing.write(inside.goodbye())
            inside.flush()
        else:
            getattr(inner if how.startswith("inner") else outer, how.split()[1])()
        await inside.hear()
        t.note(inner.is_closing(), outer.is_closing())
        outer.abort()
        await t.settle()
        inner.abort()
        support.collect()


# ---- Streams ----


async def streams(t):
    ours, theirs = t.sockets()
    other = Other(t, theirs, new_server_context(), True)
    opening = asyncio.ensure_future(
        asyncio.open_connection(sock=ours, ssl=new_client_context(), server_hostname="localhost")
    )
    await other.handshake()
    reader, writer = await opening
    return reader, writer, other


@scenario
async def streams_both_ways(t):
    reader, writer, other = await streams(t)
    writer.write(b"question\n")
    await writer.drain()
    await other.hear()
    await other.say(b"answer\nmore")
    t.note(await reader.readline(), await reader.readexactly(2))
    t.note(writer.can_write_eof(), writer.is_closing(), writer.get_extra_info("cipher") is not None)
    await other.send(other.goodbye())
    t.note(await reader.read(), reader.at_eof())
    writer.close()
    with t.noted("wait_closed"):
        await writer.wait_closed()


@scenario
async def streams_that_end(t):
    for how in ("goodbye", "hang up", "cut", "broken", "reset"):
        t.note(how)
        reader, writer, other = await streams(t)
        sealed = other.seal(b"incomplete")
        if how == "goodbye":
            await other.send(sealed + other.goodbye())
        elif how == "broken":
            await other.send(sealed + b"\x17\x03\x03\x00\x20" + bytes(32))
        elif how == "reset":
            writer.write(b"unread")
            await other.send(sealed)
            await other.reset()
        else:
            await other.send(sealed[: -1 if how == "cut" else None])
            await other.hang_up()
        with t.noted("readexactly"):
            t.note(await reader.readexactly(100))
        with t.noted("drain"):
            writer.write(b"x")
            await writer.drain()
        writer.close()
        with t.noted("wait_closed"):
            await writer.wait_closed()


@scenario
async def streams_upgraded(t):
    """By StreamWriter.start_tls(), with what had been read and written before."""
    ours, theirs = t.sockets()
    reader, writer = await asyncio.open_connection(sock=ours)
    other = Other(t, theirs, new_server_context(), True)
    writer.write(b"STARTTLS\n")
    await writer.drain()
    await t.settle()
    t.note(theirs.recv(100))
    await other.send(b"go\n")
    t.note(await reader.readline())
    before = writer.transport
    writer.write(b"last in plain\n")
    upgrading = asyncio.ensure_future(writer.start_tls(new_client_context(), server_hostname="localhost"))
    await t.settle()
    t.note(theirs.recv(14))
    await other.handshake()
    await upgrading
    t.note(writer.transport is before, writer.get_extra_info("cipher") is not None)
    writer.write(b"secret\n")
    await writer.drain()
    await other.hear()
    await other.say(b"answer\n")
    t.note(await reader.readline())
    writer.close()
    await other.hear()
    await other.send(other.goodbye())
    with t.noted("wait_closed"):
        await writer.wait_closed()


@scenario
async def streams_with_much(t):
    data = peers.payload(3 << 20)
    reader, writer, other = await streams(t)
    writer.write(data)
    draining = asyncio.ensure_future(writer.drain())
    heard = bytearray()
    while len(heard) < len(data):
        other.pull()
        with contextlib.suppress(ssl.SSLWantReadError):
            while True:
                heard += other.tls.read(1 << 18)
        await asyncio.sleep(0)
    await draining
    t.note(peers.digest(heard))
    reading = asyncio.ensure_future(reader.readexactly(len(data)))
    for start in range(0, len(data), 1 << 14):
        sealed = memoryview(other.seal(data[start : start + (1 << 14)]))
        while sealed:
            with contextlib.suppress(BlockingIOError):
                sealed = sealed[other.sock.send(sealed) :]
            await asyncio.sleep(0)
    t.note(peers.digest(await reading))
    writer.close()
    await other.hear()
    await other.send(other.goodbye())
    await writer.wait_closed()


# ---- Comparing ----


@pytest.mark.whole_calls
@pytest.mark.parametrize("name", scenarios_of(__name__))
def test_scenario(monkeypatch, name):
    check_alike(monkeypatch, name)
