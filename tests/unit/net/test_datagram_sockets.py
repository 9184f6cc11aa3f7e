"""Datagram transports on sockets of other classes, and transports that were never opened."""

import contextlib
import socket

import pytest

from .peers import DatagramRecorder, in_thread, turns


def name(transport):
    return transport.get_extra_info("sockname")


async def finish(transport, protocol):
    transport.close()
    assert await protocol.lost() is None


LOCAL = ("127.0.0.1", 0)


# ---- Sockets of another class ----


class Recording(socket.socket):
    """A socket that writes down what it is asked."""

    calls = ()

    def recvfrom(self, *args):
        self.calls += ("recvfrom",)
        return super().recvfrom(*args)

    def send(self, *args):
        self.calls += ("send",)
        return super().send(*args)

    def sendto(self, *args):
        self.calls += ("sendto",)
        return super().sendto(*args)


@pytest.mark.parametrize("connected", (False, True), ids=("unconnected", "connected"))
async def test_overridden_methods_are_called(udp, loop, connected):
    peer = udp.new()
    sock = Recording(type=socket.SOCK_DGRAM)
    sock.bind(LOCAL)
    if connected:
        sock.connect(peer.getsockname())
    transport, protocol = await loop.create_datagram_endpoint(DatagramRecorder, sock=sock)
    transport.sendto(b"x", None if connected else peer.getsockname())
    assert await in_thread(peer.recv, 10) == b"x"
    peer.sendto(b"y", name(transport))
    await protocol.until(lambda: protocol.datagrams)
    assert protocol.datagrams == [(b"y", peer.getsockname())]
    assert sock.calls[:2] == ("send" if connected else "sendto", "recvfrom")
    await finish(transport, protocol)


@pytest.mark.parametrize(
    "error, fatal", ((BlockingIOError, False), (OSError, False), (LookupError, True)), ids=str
)
async def test_what_overridden_methods_raise(udp, loop, reports, error, fatal):
    peer = udp.new()

    class Failing(socket.socket):
        failures = 0

        def recvfrom(self, *args):
            self.failures += 1
            if self.failures == 1:
                raise error("once")
            return super().recvfrom(*args)

    sock = Failing(type=socket.SOCK_DGRAM)
    sock.bind(LOCAL)
    transport, protocol = await loop.create_datagram_endpoint(DatagramRecorder, sock=sock)
    peer.sendto(b"x", name(transport))
    if fatal:
        assert type(await protocol.lost()) is error
        assert reports.pop()["message"] == "Fatal read error on datagram transport"
        return
    await protocol.until(lambda: protocol.datagrams)
    assert [str(exc) for exc in protocol.errors] == ([] if error is BlockingIOError else ["once"])
    await finish(transport, protocol)


async def test_abort_by_a_replaced_method(unix_datagrams, loop, impl, reports, monkeypatch):
    """While the queue is sent."""
    peer = unix_datagrams.new()
    calls = []
    send = socket.socket.sendto

    def aborting(sock, *args):
        if transport.get_write_buffer_size() > 0 and not calls:
            calls.append(args)
            transport.abort()
            transport.sendto(b"more", args[-1])
        return send(sock, *args)

    sock = unix_datagrams.new()
    transport, protocol = await loop.create_datagram_endpoint(DatagramRecorder, sock=sock)
    monkeypatch.setattr(socket.socket, "sendto", aborting)  # of a transport that was made before
    while transport.get_write_buffer_size() == 0:
        transport.sendto(b"x", peer.getsockname())
    for _ in range(3):
        transport.sendto(b"x", peer.getsockname())
    peer.setblocking(False)
    while "lost" not in protocol.events:
        with contextlib.suppress(BlockingIOError):
            peer.recv(100)
        await turns(1)
    await turns()
    assert len(calls) == 1
    assert protocol.events == ["made", "lost"]
    if not impl.native_transports:
        reports.clear()  # asyncio calls connection_lost() once more, on a socket that is gone


# ---- Transports that were never opened, or are taken apart ----


@pytest.mark.parametrize("deleted", (False, True), ids=("never opened", "attributes deleted"))
async def test_no_crash_without_attributes(impl, deleted):
    if not impl.native_transports:
        pytest.skip("it is C that must not trust the attributes")
    from asyncio_c import _core

    transport = _core.DatagramTransport.__new__(_core.DatagramTransport)
    if deleted:
        for attribute in ("_loop", "_sock", "_protocol", "_extra", "_address", "_context", "_server"):
            setattr(transport, attribute, None)
            delattr(transport, attribute)
    for method, arguments in (
        ("_read_ready", ()),
        ("sendto", (b"x",)),
        ("sendto", (b"x", ("127.0.0.1", 1))),
        ("close", ()),
        ("_force_close", (None,)),
    ):
        with pytest.raises((RuntimeError, TypeError, AttributeError)):
            getattr(transport, method)(*arguments)
    assert transport._sendto_ready() is None
    assert transport.get_write_buffer_size() == 0
    assert transport.get_protocol() is None
    assert transport.is_closing() is False
    assert transport.is_reading() is True
    assert transport._buffer == []
