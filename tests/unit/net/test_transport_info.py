"""What a transport tells about itself: extra information, types, representation."""

import asyncio
import contextlib
import os
import re
import socket
from asyncio import trsock

import pytest

from . import peers
from .peers import SMALL, Recorder

TCP = pytest.mark.parametrize("family", ("tcp",), indirect=True)


async def closed(transport, protocol):
    transport.close()
    await protocol.lost()


async def test_is_an_asyncio_transport(connect):
    transport, protocol, peer = await connect(Recorder)
    for base in (
        asyncio.Transport,
        asyncio.ReadTransport,
        asyncio.WriteTransport,
        asyncio.BaseTransport,
        asyncio.transports._FlowControlMixin,
    ):
        assert isinstance(transport, base)
        assert issubclass(type(transport), base)
    assert not isinstance(transport, asyncio.DatagramTransport)
    await closed(transport, protocol)


async def test_socket(connect, loop):
    ours, theirs = peers.socket_pair("tcp")
    with theirs:
        transport, protocol = await loop.create_connection(Recorder, sock=ours)
        sock = transport.get_extra_info("socket")
        assert isinstance(sock, trsock.TransportSocket)
        assert sock.fileno() == ours.fileno()
        assert sock.family == ours.family and sock.type == ours.type and sock.proto == ours.proto
        assert sock.getsockname() == ours.getsockname()
        assert sock.gettimeout() == 0
        assert not hasattr(sock, "recv")
        await closed(transport, protocol)
        assert sock.fileno() == -1, "the socket object that was passed in is closed, not only its descriptor"
        assert ours.fileno() == -1


@TCP
async def test_tcp_addresses(connect):
    transport, protocol, peer = await connect(Recorder)
    ours, theirs = transport.get_extra_info("sockname"), transport.get_extra_info("peername")
    assert ours == peer.sock.getpeername()
    assert theirs == peer.sock.getsockname()
    await closed(transport, protocol)
    assert transport.get_extra_info("sockname") == ours, "known after the end as well"
    assert transport.get_extra_info("peername") == theirs


@pytest.mark.parametrize("family", ("unix",), indirect=True)
async def test_unix_addresses(connect):
    transport, protocol, peer = await connect(Recorder)
    assert transport.get_extra_info("sockname") == ""
    assert transport.get_extra_info("peername") == ""
    await closed(transport, protocol)


async def test_unknown_keys(connect):
    transport, protocol, peer = await connect(Recorder)
    assert transport.get_extra_info("nothing") is None
    assert transport.get_extra_info("nothing", 5) == 5
    assert transport.get_extra_info("socket", 5) != 5
    for key in ("sslcontext", "ssl_object", "peercert", "cipher", "compression", "pipe", "subprocess"):
        assert transport.get_extra_info(key) is None
    await closed(transport, protocol)


async def test_peer_that_left_before_the_transport_was_made(loop):
    """getpeername() fails then, and the transport is made all the same."""
    ours, theirs = peers.socket_pair("tcp")
    peers.reset_on_close(theirs)
    theirs.close()
    transport, protocol = await loop.create_connection(Recorder, sock=ours)
    assert transport.get_extra_info("peername", "default") is None
    assert type(await protocol.lost()) is ConnectionResetError


MISSING, UNEXPECTED = "missing 1 required positional argument: ", "got an unexpected keyword argument 'x'"


@pytest.mark.parametrize(
    "method, args, keywords, text",
    (
        ("write", (), {}, MISSING + "'data'"),
        ("write", (b"a", b"b"), {}, "takes 2 positional arguments but 3 were given"),
        ("write", (b"a",), {"data": b"b"}, "got multiple values for argument 'data'"),
        ("write", (), {"x": b"b"}, UNEXPECTED),
        ("write", (b"a",), {"x": b"b"}, UNEXPECTED),
        ("writelines", (), {}, MISSING + "'list_of_data'"),
        ("set_protocol", (), {}, MISSING + "'protocol'"),
        ("get_extra_info", (), {}, MISSING + "'name'"),
        ("get_extra_info", (), {"default": 1}, MISSING + "'name'"),
        ("get_extra_info", ("a",), {"x": 1}, UNEXPECTED),
        ("get_extra_info", ("a",), {"name": 1}, "got multiple values for argument 'name'"),
        ("get_extra_info", ("a", 1), {"default": 1}, "got multiple values for argument 'default'"),
        ("get_extra_info", ("a", 1, 2), {}, "takes from 2 to 3 positional arguments but 4 were given"),
    ),
)
async def test_wrong_arguments(connect, method, args, keywords, text):
    transport, protocol, peer = await connect(Recorder)
    with pytest.raises(TypeError) as caught:
        getattr(transport, method)(*args, **keywords)
    assert str(caught.value).partition("() ")[2] == text
    await closed(transport, protocol)


async def test_arguments_by_keyword(connect):
    transport, protocol, peer = await connect(Recorder)
    assert transport.get_extra_info(name="peername") == transport.get_extra_info("peername") is not None
    assert transport.get_extra_info(name="absent", default=5) == 5
    assert transport.get_extra_info(default=5, name="absent") == 5
    transport.write(data=b"a")
    transport.writelines(list_of_data=[b"b"])
    assert await peer.read(2) == b"ab"
    transport.set_protocol(protocol=protocol)
    await closed(transport, protocol)


async def test_get_protocol(connect):
    transport, protocol, peer = await connect(Recorder)
    assert transport.get_protocol() is protocol
    await closed(transport, protocol)
    assert transport.get_protocol() is None


async def test_weak_references_and_attributes(connect):
    """Programs keep transports in weak dictionaries, and hang things onto them."""
    import weakref

    transport, protocol, peer = await connect(Recorder)
    assert weakref.ref(transport)() is transport
    assert {transport: 1}[transport] == 1
    transport.mine = 5
    assert transport.mine == 5
    await closed(transport, protocol)


# ---- Representation ----


def shape(transport):
    """Return the representation without the class's name."""
    match = re.fullmatch(r"<\w+ (.*)>", repr(transport))
    assert match, repr(transport)
    return match[1]


async def test_repr_of_an_idle_transport(connect):
    transport, protocol, peer = await connect(Recorder)
    await peers.turns()
    fd = transport.get_extra_info("socket").fileno()
    assert shape(transport) == f"fd={fd} read=polling write=<idle, bufsize=0>"
    transport.pause_reading()
    assert shape(transport) == f"fd={fd} read=idle write=<idle, bufsize=0>"
    transport.resume_reading()
    assert shape(transport) == f"fd={fd} read=polling write=<idle, bufsize=0>"
    await closed(transport, protocol)


async def test_repr_of_a_closing_transport(connect):
    transport, protocol, peer = await connect(Recorder)
    fd = transport.get_extra_info("socket").fileno()
    transport.close()
    assert shape(transport) == f"closing fd={fd} read=idle write=<idle, bufsize=0>"
    await protocol.lost()
    await peers.turns()
    assert shape(transport) == f"closed fd={fd}"


async def test_repr_with_pending_data(connect):
    transport, protocol, peer = await connect(Recorder, ours_sndbuf=SMALL, theirs_rcvbuf=SMALL)
    peers.fill(transport)
    await peers.turns(3)
    fd = transport.get_extra_info("socket").fileno()
    size = transport.get_write_buffer_size()
    assert shape(transport) == f"fd={fd} read=polling write=<polling, bufsize={size}>"
    transport.close()
    assert shape(transport) == f"closing fd={fd} read=idle write=<polling, bufsize={size}>"
    transport.abort()
    await protocol.lost()


async def test_repr_of_a_write_that_finds_no_room(connect):
    transport, protocol, peer = await connect(Recorder, ours_sndbuf=SMALL, theirs_rcvbuf=SMALL)
    sock = transport.get_extra_info("socket")
    with socket.socket(fileno=os.dup(sock.fileno())) as other, contextlib.suppress(BlockingIOError):
        while True:
            other.send(bytes(SMALL))
    transport.write(b"x")
    assert shape(transport) == f"fd={sock.fileno()} read=polling write=<polling, bufsize=1>"
    transport.abort()
    await protocol.lost()


async def test_repr_in_connection_lost(connect):
    seen = []
    transport, protocol, peer = await connect(
        lambda: Recorder(lost=lambda self, exc: seen.append(shape(transport)))
    )
    fd = transport.get_extra_info("socket").fileno()
    await closed(transport, protocol)
    assert seen == [f"closing fd={fd} read=idle write=<idle, bufsize=0>"]


# ---- Descriptors that transports use ----


async def test_descriptor_of_a_transport_is_refused(connect, loop):
    transport, protocol, peer = await connect(Recorder)
    sock = transport.get_extra_info("socket")
    fd = sock.fileno()
    for function, arguments in (
        (loop.add_reader, (fd, print)),
        (loop.add_writer, (fd, print)),
        (loop.remove_reader, (fd,)),
        (loop.remove_writer, (fd,)),
    ):
        with pytest.raises(RuntimeError) as caught:
            function(*arguments)
        assert str(caught.value) == f"File descriptor {fd!r} is used by transport {transport!r}"
    for coroutine in (loop.sock_recv, loop.sock_sendall):
        with socket.socket(fileno=socket.dup(fd)) as copy:
            copy.setblocking(False)
            # A copy has a descriptor of its own, and may be used.
            assert copy.fileno() != fd
            if coroutine == loop.sock_sendall:
                await loop.sock_sendall(copy, b"by the copy")
                assert await peer.read(11) == b"by the copy"
    await closed(transport, protocol)
    assert loop.remove_reader(fd) is False


async def test_descriptor_of_a_lost_transport_is_free(connect, loop):
    transport, protocol, peer = await connect(Recorder)
    fd = transport.get_extra_info("socket").fileno()
    await closed(transport, protocol)
    await peers.turns()
    left, right = socket.socketpair()
    with left, right:
        assert fd in (left.fileno(), right.fileno()), "the lowest free descriptor is taken"
        reused = left if left.fileno() == fd else right
        other = right if reused is left else left
        reused.setblocking(False)
        seen = asyncio.get_running_loop().create_future()
        loop.add_reader(reused, lambda: seen.set_result(reused.recv(1)))
        other.send(b"!")
        assert await seen == b"!"
        loop.remove_reader(reused)
