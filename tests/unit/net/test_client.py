"""Clients: create_connection and create_unix_connection, with peers that refuse, are slow, or absent."""

import asyncio
import contextlib
import logging
import socket
import warnings

import pytest

from .. import support
from . import peers
from .peers import Peer, Recorder, in_thread, turns


@pytest.fixture
def listener():
    """A blocking TCP listener on the loopback address."""
    with socket.socket() as listener:
        listener.settimeout(peers.GUARD_SECONDS)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener


@pytest.fixture
def refused():
    """A port of the loopback address on which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


@pytest.fixture
def silent():
    """The address of a listener whose queue is full: a connection to it is never answered."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        stack.enter_context(socket.create_connection(listener.getsockname()))
        yield listener.getsockname()


async def finish(transport, protocol):
    transport.close()
    assert await protocol.lost() is None


async def test_connection(loop, listener):
    transport, protocol = await loop.create_connection(Recorder, *listener.getsockname())
    assert protocol.events == ["made"]
    assert protocol.transport is transport
    conn, address = listener.accept()
    with Peer(conn) as peer:
        assert transport.get_extra_info("sockname") == address
        assert transport.get_extra_info("peername") == listener.getsockname()
        transport.write(b"question")
        assert await peer.read(8) == b"question"
        peer.send(b"answer")
        assert await protocol.bytes(6) == b"answer"
        await finish(transport, protocol)
        assert await peer.read_all() == b""


@pytest.mark.whole_calls
async def test_peer_that_speaks_first(loop, listener):
    connecting = asyncio.ensure_future(loop.create_connection(Recorder, *listener.getsockname()))
    conn, _ = await in_thread(listener.accept)
    with conn:
        conn.sendall(b"welcome")
    transport, protocol = await connecting
    assert await protocol.lost() is None
    assert protocol.received == b"welcome"
    assert protocol.events == ["made", "data", "eof", "lost"]


async def test_names(loop, listener):
    port = listener.getsockname()[1]
    transport, protocol = await loop.create_connection(Recorder, "localhost", port, family=socket.AF_INET)
    listener.accept()[0].close()
    assert transport.get_extra_info("peername") == ("127.0.0.1", port)
    await protocol.lost()


@pytest.mark.parametrize("port", (str, int, lambda port: str(port).encode()), ids=("str", "int", "bytes"))
async def test_kinds_of_ports(loop, listener, port):
    transport, protocol = await loop.create_connection(Recorder, "127.0.0.1", port(listener.getsockname()[1]))
    listener.accept()[0].close()
    await protocol.lost()


async def test_numeric_addresses_need_no_thread(loop, listener, monkeypatch):
    def fail(*args):
        raise AssertionError("a thread was used")

    loop.run_in_executor = fail
    try:
        transport, protocol = await loop.create_connection(Recorder, *listener.getsockname())
        listener.accept()[0].close()
        await protocol.lost()
    finally:
        del loop.run_in_executor


@pytest.mark.parametrize("host", ("127.0.0.1", "::1", "localhost"))
async def test_debug_mode_logs_how_long_an_address_took(loop, host):
    loop.set_debug(True)
    loop.slow_callback_duration = 1000
    with support.recorded_logs(logging.DEBUG) as logs:
        await loop.getaddrinfo(host, 80, type=socket.SOCK_STREAM)
    loop.set_debug(False)
    messages = [text for _, text, _ in logs if "address info" in text]
    begun, ended = messages
    assert begun == f"Get address info {host}:80, type={socket.SOCK_STREAM!r}"
    assert ended.startswith(f"Getting address info {host}:80, type={socket.SOCK_STREAM!r} took ")


async def test_numeric_address_with_a_scope_without_a_thread(loop, impl):
    """asyncio asks a thread for an address with a scope; nobody has to wait for it."""
    if not impl.native_loop:
        return

    def run_in_executor(*args):
        raise AssertionError("a thread was asked for")

    loop.run_in_executor = run_in_executor
    try:
        found = await loop.getaddrinfo("fe80::1%lo", 80, type=socket.SOCK_STREAM)
    finally:
        del loop.run_in_executor
    assert found == socket.getaddrinfo("fe80::1%lo", 80, type=socket.SOCK_STREAM)


def link_local_addresses():
    """Return the machine's link-local IPv6 addresses as (address, interface)."""
    found = []
    with contextlib.suppress(OSError), open("/proc/net/if_inet6") as lines:
        for line in lines:
            digits, _, _, _, _, interface = line.split()
            if digits.startswith("fe80"):
                address = socket.inet_ntop(socket.AF_INET6, bytes.fromhex(digits))
                found.append((address, interface))
    return found


@pytest.mark.skipif(not link_local_addresses(), reason="the machine has no link-local IPv6 address")
async def test_ipv6_scopes(loop):
    address, interface = link_local_addresses()[0]
    index = socket.if_nametoindex(interface)
    with socket.socket(socket.AF_INET6) as listener:
        listener.bind((address, 0, 0, index))
        listener.listen()
        port = listener.getsockname()[1]
        for host in (f"{address}%{interface}", f"{address}%{index}"):
            transport, protocol = await loop.create_connection(Recorder, host, port)
            listener.accept()[0].close()
            assert transport.get_extra_info("peername")[3] == index
            await protocol.lost()


async def test_ipv6(loop):
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        address = listener.getsockname()
        transport, protocol = await loop.create_connection(Recorder, *address[:2])
        listener.accept()[0].close()
        assert transport.get_extra_info("peername") == address
        await protocol.lost()


ADDRESSES = (
    ("127.0.0.1", 80),
    ("127.0.0.1", "80"),
    ("127.0.0.1", b"80"),
    ("127.0.0.1", None),
    ("127.0.0.1", ""),
    ("::1", 80),
    ("::ffff:127.0.0.1", 80),
    ("fe80::1%lo", 80),
    ("fe80::1%1", 80),
    ("0.0.0.0", 0),
    ("::", 0),
    ("localhost", 80),
    (None, 80),
    ("127.0.0.1", "http"),
    ("127.1", 80),
    ("0x7f.1", 80),
)


@pytest.mark.parametrize("host, port", ADDRESSES)
@pytest.mark.parametrize("family", (socket.AF_UNSPEC, socket.AF_INET, socket.AF_INET6))
async def test_getaddrinfo(loop, host, port, family):
    """loop.getaddrinfo() answers what socket.getaddrinfo() does, and fails as it does."""
    arguments = {"family": family, "type": socket.SOCK_STREAM}
    try:
        expected = socket.getaddrinfo(host, port, **arguments)
    except socket.gaierror as exc:
        with pytest.raises(socket.gaierror) as caught:
            await loop.getaddrinfo(host, port, **arguments)
        assert caught.value.args == exc.args
    else:
        assert await loop.getaddrinfo(host, port, **arguments) == expected


async def test_getnameinfo(loop):
    address = ("127.0.0.1", 80)
    flags = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
    assert await loop.getnameinfo(address, flags) == ("127.0.0.1", "80")


async def test_unknown_names(loop):
    with pytest.raises(socket.gaierror):
        await loop.create_connection(Recorder, "no.such.name.invalid", 80)


# ---- Refused and absent ----


async def test_refused(loop, refused):
    with pytest.raises(ConnectionRefusedError) as caught:
        await loop.create_connection(Recorder, "127.0.0.1", refused)
    assert caught.value.errno == 111
    assert str(caught.value) == f"[Errno 111] Connect call failed ('127.0.0.1', {refused})"


async def test_refused_by_several(loop, refused, monkeypatch):
    infos = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", refused)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.2", refused)),
    ]

    async def getaddrinfo(*args, **kwargs):
        return infos

    loop.getaddrinfo = getaddrinfo
    with pytest.raises(OSError) as caught:
        await loop.create_connection(Recorder, "two.invalid", refused)
    assert str(caught.value) == (
        f"Multiple exceptions: [Errno 111] Connect call failed ('127.0.0.1', {refused}), "
        f"[Errno 111] Connect call failed ('127.0.0.2', {refused})"
    )
    if support.PY312:
        with pytest.raises(ExceptionGroup) as caught:
            await loop.create_connection(Recorder, "two.invalid", refused, all_errors=True)
        assert caught.value.message == "create_connection failed"
        assert [type(exc) for exc in caught.value.exceptions] == [ConnectionRefusedError] * 2
    del loop.getaddrinfo


async def test_second_address_is_tried(loop, listener, monkeypatch):
    address = listener.getsockname()

    async def getaddrinfo(*args, **kwargs):
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.2", address[1])),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", address),
        ]

    loop.getaddrinfo = getaddrinfo
    transport, protocol = await loop.create_connection(Recorder, "two.invalid", address[1])
    assert transport.get_extra_info("peername") == address
    listener.accept()[0].close()
    await protocol.lost()
    del loop.getaddrinfo


async def test_empty_answer_of_getaddrinfo(loop):
    async def getaddrinfo(*args, **kwargs):
        return []

    loop.getaddrinfo = getaddrinfo
    with pytest.raises(OSError) as caught:
        await loop.create_connection(Recorder, "none.invalid", 80)
    assert str(caught.value) == "getaddrinfo() returned empty list"
    del loop.getaddrinfo


async def test_happy_eyeballs(loop, listener, silent):
    """The first address never answers; the second one is tried meanwhile, and the first one's socket is closed."""
    address = listener.getsockname()

    async def getaddrinfo(*args, **kwargs):
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", silent),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", address),
        ]

    loop.getaddrinfo = getaddrinfo
    transport, protocol = await loop.create_connection(
        Recorder, "two.invalid", address[1], happy_eyeballs_delay=0.01
    )
    assert transport.get_extra_info("peername") == address
    listener.accept()[0].close()
    await protocol.lost()
    del loop.getaddrinfo


async def test_happy_eyeballs_when_all_refuse(loop, refused):
    async def getaddrinfo(*args, **kwargs):
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", refused)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.2", refused)),
        ]

    loop.getaddrinfo = getaddrinfo
    with pytest.raises(OSError, match="Multiple exceptions"):
        await loop.create_connection(Recorder, "two.invalid", refused, happy_eyeballs_delay=0.01)
    del loop.getaddrinfo


async def test_cancelled_while_connecting(loop, silent):
    """Its socket is closed, once; see also the check of descriptors that every test has."""
    for _ in range(3):
        connecting = asyncio.ensure_future(loop.create_connection(Recorder, *silent))
        await turns(5)
        assert not connecting.done()
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting


async def test_cancel_closes_no_descriptor_of_others(loop, silent):
    """The number of the socket that was given up is used again at once, and stays open."""
    connecting = asyncio.ensure_future(loop.create_connection(Recorder, *silent))
    await turns(5)
    connecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connecting
    left, right = socket.socketpair()
    with left, right:
        del connecting
        await turns(5)
        support.collect()
        left.send(b"x")
        assert right.recv(1) == b"x"


async def test_timeout_of_an_absent_peer(loop, silent):
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await loop.create_connection(Recorder, *silent)


# ---- Keywords ----


async def test_local_address(loop, listener):
    transport, protocol = await loop.create_connection(
        Recorder, *listener.getsockname(), local_addr=("127.0.0.3", 0)
    )
    assert transport.get_extra_info("sockname")[0] == "127.0.0.3"
    listener.accept()[0].close()
    await protocol.lost()


async def test_local_address_in_use(loop, listener):
    address = listener.getsockname()
    with pytest.raises(OSError) as caught:
        await loop.create_connection(Recorder, *address, local_addr=address)
    assert caught.value.errno == 98  # EADDRINUSE
    assert f"error while attempting to bind on address {address!r}: " in str(caught.value)


async def test_own_socket(loop, listener):
    sock = socket.create_connection(listener.getsockname())
    with listener.accept()[0]:
        transport, protocol = await loop.create_connection(Recorder, sock=sock)
        assert transport.get_extra_info("socket").fileno() == sock.fileno()
        assert sock.gettimeout() == 0
        await finish(transport, protocol)
        assert sock.fileno() == -1


async def test_wrong_arguments(loop, listener):
    with pytest.raises(ValueError) as caught:
        await loop.create_connection(Recorder)
    assert str(caught.value) == "host and port was not specified and no sock specified"
    with socket.socket() as sock:
        with pytest.raises(ValueError) as caught:
            await loop.create_connection(Recorder, "127.0.0.1", 80, sock=sock)
        assert str(caught.value) == "host/port and sock can not be specified at the same time"
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        with pytest.raises(ValueError) as caught:
            await loop.create_connection(Recorder, sock=sock)
        assert str(caught.value) == f"A Stream Socket was expected, got {sock!r}"
    for keywords, text in (
        ({"server_hostname": "x"}, "server_hostname is only meaningful with ssl"),
        ({"ssl_handshake_timeout": 1}, "ssl_handshake_timeout is only meaningful with ssl"),
        ({"ssl_shutdown_timeout": 1}, "ssl_shutdown_timeout is only meaningful with ssl"),
        (
            {"ssl": True, "host": None, "port": None},
            "You must set server_hostname when using ssl without a host",
        ),
    ):
        with pytest.raises(ValueError) as caught:
            await loop.create_connection(Recorder, **{"host": "127.0.0.1", "port": 80, **keywords})
        assert str(caught.value) == text


async def test_factory_that_raises(loop, listener):
    def fail():
        raise LookupError("factory")

    with warnings.catch_warnings():
        # Before Python 3.15 asyncio leaves the socket to the garbage collector.
        warnings.simplefilter("ignore", ResourceWarning)
        with pytest.raises(LookupError):
            await loop.create_connection(fail, *listener.getsockname())
        support.collect()
    with Peer(listener.accept()[0]) as peer:
        assert await peer.read_all() == b""


async def test_many_connections(loop, listener):
    connecting = [loop.create_connection(Recorder, *listener.getsockname()) for _ in range(50)]
    accepting = in_thread(lambda: [listener.accept()[0] for _ in range(50)])
    accepted, connected = await asyncio.gather(accepting, asyncio.gather(*connecting))
    for sock in accepted:
        sock.sendall(b"bye")
        sock.close()
    for transport, protocol in connected:
        assert await protocol.lost() is None
        assert protocol.received == b"bye"


async def test_cancelled_after_connecting(loop, listener):
    """Cancelled in the turn in which the connection is made: the transport is closed again."""
    for turns_before in range(6):
        connecting = asyncio.ensure_future(loop.create_connection(Recorder, *listener.getsockname()))
        conn = await in_thread(lambda: listener.accept()[0])
        await turns(turns_before)
        connecting.cancel()
        try:
            transport, protocol = await connecting
        except asyncio.CancelledError:
            pass
        else:
            await finish(transport, protocol)
        with Peer(conn) as peer:
            assert await peer.read_all() == b""


# ---- Unix ----


@pytest.fixture
def unix_listener(tmp_path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.settimeout(peers.GUARD_SECONDS)
        listener.bind(str(tmp_path / "socket"))
        listener.listen()
        yield listener, tmp_path / "socket"


@pytest.mark.parametrize(
    "kind", (str, lambda path: str(path).encode(), lambda path: path), ids=("str", "bytes", "path")
)
async def test_unix_connection(loop, unix_listener, kind):
    listener, path = unix_listener
    transport, protocol = await loop.create_unix_connection(Recorder, kind(path))
    assert transport.get_extra_info("peername") == str(path)
    with Peer(listener.accept()[0]) as peer:
        transport.write(b"x")
        assert await peer.read(1) == b"x"
        await finish(transport, protocol)


async def test_unix_absent(loop, tmp_path):
    with pytest.raises(FileNotFoundError):
        await loop.create_unix_connection(Recorder, tmp_path / "absent")


async def test_unix_refused(loop, unix_listener):
    listener, path = unix_listener
    listener.close()
    with pytest.raises(ConnectionRefusedError):
        await loop.create_unix_connection(Recorder, path)


async def test_unix_wrong_arguments(loop):
    with pytest.raises(ValueError) as caught:
        await loop.create_unix_connection(Recorder)
    assert str(caught.value) == "no path and sock were specified"
    with socket.socket() as sock:
        with pytest.raises(ValueError) as caught:
            await loop.create_unix_connection(Recorder, "path", sock=sock)
        assert str(caught.value) == "path and sock can not be specified at the same time"
        with pytest.raises(ValueError) as caught:
            await loop.create_unix_connection(Recorder, sock=sock)
        assert str(caught.value) == f"A UNIX Domain Stream Socket was expected, got {sock!r}"
    for keywords, text in (
        ({"server_hostname": "x"}, "server_hostname is only meaningful with ssl"),
        ({"ssl": True}, "you have to pass server_hostname when using ssl"),
        ({"ssl_handshake_timeout": 1}, "ssl_handshake_timeout is only meaningful with ssl"),
        ({"ssl_shutdown_timeout": 1}, "ssl_shutdown_timeout is only meaningful with ssl"),
    ):
        with pytest.raises(ValueError) as caught:
            await loop.create_unix_connection(Recorder, "path", **keywords)
        assert str(caught.value) == text
