"""Addresses of datagrams: the C transport makes and takes them itself, and keeps the last one."""

import socket

import pytest

from . import peers
from .peers import DatagramRecorder, audited, in_thread


def name(transport):
    return transport.get_extra_info("sockname")


async def finish(transport, protocol):
    transport.close()
    assert await protocol.lost() is None


# ---- Addresses ----


async def test_senders_as_the_socket_module_names_them(datagrams):
    transport, protocol = await datagrams.endpoint()
    reference = datagrams.new()
    senders = [datagrams.new() for _ in range(3)]
    order = (0, 0, 1, 0, 2, 2, 1)
    for i in order:
        senders[i].sendto(b"%d" % i, name(transport))
        senders[i].sendto(b"%d" % i, reference.getsockname())
    await protocol.until(lambda: len(protocol.datagrams) == len(order))
    expected = [reference.recvfrom(100) for _ in order]
    assert protocol.datagrams == expected
    assert [[type(item) for item in address] for _, address in protocol.datagrams] == [
        [type(item) for item in address] for _, address in expected
    ]
    await finish(transport, protocol)


async def test_answers_go_where_the_question_came_from(datagrams):
    """Also where another one has asked since, and to a copy of the address."""
    transport, protocol = await datagrams.endpoint()
    first, second = datagrams.new(), datagrams.new()
    first.sendto(b"a", name(transport))
    await protocol.until(lambda: len(protocol.datagrams) == 1)
    second.sendto(b"b", name(transport))
    await protocol.until(lambda: len(protocol.datagrams) == 2)
    (_, to_first), (_, to_second) = protocol.datagrams
    for i in range(2):
        transport.sendto(b"first %d" % i, to_first)
        transport.sendto(b"second %d" % i, to_second)
        transport.sendto(b"again", to_second)
    if isinstance(to_first, tuple):
        transport.sendto(b"copy", (to_first[0], to_first[1]))
    else:
        transport.sendto(b"copy", to_first[:1] + to_first[1:])
    wanted = [b"first 0", b"first 1", b"copy"]
    assert [await in_thread(first.recvfrom, 100) for _ in wanted] == [(d, name(transport)) for d in wanted]
    wanted = [b"second 0", b"again", b"second 1", b"again"]
    assert [await in_thread(second.recv, 100) for _ in wanted] == wanted
    await finish(transport, protocol)


async def test_sender_without_a_name(unix_datagrams):
    transport, protocol = await unix_datagrams.endpoint()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as unnamed:
        unnamed.sendto(b"x", name(transport))
        await protocol.until(lambda: protocol.datagrams)
    assert protocol.datagrams == [(b"x", None)]
    await finish(transport, protocol)


async def test_longest_path(unix_datagrams, tmp_path, monkeypatch):
    """The kernel says a length that is larger than its own structure."""
    monkeypatch.chdir(tmp_path)
    path = "x" * 107
    transport, protocol = await unix_datagrams.endpoint()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(path)
        sock.settimeout(peers.GUARD_SECONDS)
        for i in range(2):
            sock.sendto(b"x", name(transport))
            await protocol.until(lambda: len(protocol.datagrams) == i + 1)
            assert protocol.datagrams[i] == (b"x", path)
            transport.sendto(b"y", protocol.datagrams[i][1])
            assert await in_thread(sock.recv, 10) == b"y"
    await finish(transport, protocol)


@pytest.mark.parametrize(
    "host", ("127.0.0.1", "localhost", "", "127.1"), ids=("numeric", "name", "any", "short")
)
async def test_hosts(udp, host):
    """Numeric or not: what the socket's own sendto() takes."""
    sock = udp.new()
    transport, protocol = await udp.endpoint()
    transport.sendto(b"x", (host, sock.getsockname()[1]))
    transport.sendto(b"y", (host, sock.getsockname()[1]))
    assert [await in_thread(sock.recv, 10) for _ in range(2)] == [b"x", b"y"]
    await finish(transport, protocol)


@pytest.mark.parametrize("extra", ((), (0,), (0xFFFFF,), (0, 0)), ids=str)
async def test_tuples_of_ipv6(extra, loop):
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.bind(("::1", 0))
        sock.settimeout(peers.GUARD_SECONDS)
        transport, protocol = await loop.create_datagram_endpoint(DatagramRecorder, local_addr=("::1", 0))
        transport.sendto(b"x", ("::1", sock.getsockname()[1], *extra))
        assert await in_thread(sock.recvfrom, 10) == (b"x", name(transport))
        await finish(transport, protocol)


class Text(str):
    pass


class Number(int):
    pass


async def test_subclasses_in_addresses(udp):
    sock = udp.new()
    host, port = sock.getsockname()
    transport, protocol = await udp.endpoint()
    for address in ((Text(host), port), (host, Number(port)), (host, True + port - 1)):
        transport.sendto(b"x", address)
        assert await in_thread(sock.recv, 10) == b"x"
    await finish(transport, protocol)


WRONG_ADDRESSES = {
    "port too large": ("127.0.0.1", 65536),
    "port negative": ("127.0.0.1", -1),
    "port huge": ("127.0.0.1", 1 << 70),
    "port a string": ("127.0.0.1", "53"),
    "port missing": ("127.0.0.1",),
    "too many": ("127.0.0.1", 53, 0),
    "list": ["127.0.0.1", 53],
    "path": "/tmp/path",
    "host a number": (2130706433, 53),
    "zero in the host": ("127.0.0.1\0", 53),
    "surrogate in the host": ("\udc80", 53),
    "none": None,
}


@pytest.mark.parametrize("case", WRONG_ADDRESSES)
async def test_wrong_addresses(udp, case, reports):
    """What the socket module raises about an address that is none ends the transport."""
    with pytest.raises((TypeError, OverflowError, ValueError)) as expected, udp.new() as sock:
        sock.sendto(b"x", WRONG_ADDRESSES[case])
    transport, protocol = await udp.endpoint()
    transport.sendto(b"x", WRONG_ADDRESSES[case])
    error = await protocol.lost()
    assert (type(error), str(error)) == (expected.type, str(expected.value))
    context = reports.pop()
    assert context["message"] == "Fatal write error on datagram transport"
    assert context["exception"] is error
    assert protocol.errors == []


@pytest.mark.parametrize("extra", ((1 << 20,), (-1,), (0, -1), (0, 0, 0)), ids=str)
async def test_wrong_tuples_of_ipv6(extra, loop, reports):
    address = ("::1", 53, *extra)
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        try:
            sock.sendto(b"x", address)
            expected = None  # the scope wraps around
        except (TypeError, OverflowError, OSError) as error:
            expected = error
    transport, protocol = await loop.create_datagram_endpoint(DatagramRecorder, local_addr=("::1", 0))
    transport.sendto(b"x", address)
    if isinstance(expected, (TypeError, OverflowError)):
        error = await protocol.lost()
        assert (type(error), str(error)) == (type(expected), str(expected))
        assert reports.pop()["exception"] is error
    else:
        assert [str(error) for error in protocol.errors] == ([] if expected is None else [str(expected)])
        await finish(transport, protocol)


async def test_name_that_nobody_has(udp):
    """An error of the resolver is an OSError, and not the end."""
    transport, protocol = await udp.endpoint()
    transport.sendto(b"x", ("::1", 53))  # no address of IPv4
    assert [type(error) for error in protocol.errors] == [socket.gaierror]
    await finish(transport, protocol)


async def test_audit_event(udp):
    sock = udp.new()
    transport, protocol = await udp.endpoint()
    with audited("socket.sendto") as heard:
        transport.sendto(b"x", sock.getsockname())
    assert [(sender.getsockname(), address) for _, sender, address in heard] == [
        (name(transport), sock.getsockname())
    ]
    assert await in_thread(sock.recv, 10) == b"x"
    await finish(transport, protocol)


# ---- Arguments of sendto() ----


async def test_keywords(udp):
    sock = udp.new()
    transport, protocol = await udp.endpoint()
    transport.sendto(data=b"1", addr=sock.getsockname())
    transport.sendto(b"2", addr=sock.getsockname())
    transport.sendto(addr=sock.getsockname(), data=b"3")
    assert [await in_thread(sock.recv, 10) for _ in range(3)] == [b"1", b"2", b"3"]
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'data'"):
        transport.sendto()
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'data'"):
        transport.sendto(addr=sock.getsockname())
    with pytest.raises(TypeError, match="got an unexpected keyword argument 'address'"):
        transport.sendto(b"x", address=1)
    with pytest.raises(TypeError, match="got multiple values for argument 'data'"):
        transport.sendto(b"x", data=b"y")
    with pytest.raises(TypeError, match="takes from 2 to 3 positional arguments but 4 were given"):
        transport.sendto(b"x", None, 5)
    await finish(transport, protocol)


async def test_data_that_is_no_plain_memory(udp, reports):
    transport, protocol = await udp.endpoint()
    transport.sendto(memoryview(b"abcdef")[::2], udp.new().getsockname())
    error = await protocol.lost()
    assert type(error) is BufferError
    assert reports.pop()["exception"] is error


async def test_connected_to_an_equal_address(udp):
    sock = udp.new()
    transport, protocol = await udp.endpoint(remote_addr=sock.getsockname())

    class Equal:
        def __eq__(self, other):
            return True

    class Failing:
        def __eq__(self, other):
            raise LookupError("comparison")

    transport.sendto(b"x", Equal())
    assert await in_thread(sock.recv, 10) == b"x"
    with pytest.raises(LookupError, match="comparison"):
        transport.sendto(b"x", Failing())
    await finish(transport, protocol)
