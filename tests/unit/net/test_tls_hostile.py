"""Peers over TLS that do what they must not: an error, and no crash, spin, leak or lost byte of what was authenticated."""

import asyncio
import contextlib
import random
import ssl

import pytest

from . import peers
from .peers import Recorder, turns

OVER_TLS = True
# What OpenSSL says of any record that it cannot use, beside what was wrong with it, from 3.2 on.
OF_ANY_RECORD = {"RECORD_LAYER_FAILURE"} if ssl.OPENSSL_VERSION_INFO >= (3, 2) else set()


async def lost_with_error(protocol):
    """Wait for the end, and return the exception, which is in CPython's words."""
    exc = await protocol.lost()
    assert isinstance(exc, ssl.SSLError)
    assert exc.library == "SSL"
    assert str(exc).startswith(f"[SSL: {exc.reason}] {exc.reason.lower().replace('_', ' ')} (_ssl.c:")
    assert protocol.events.count("lost") == 1
    return exc


@pytest.mark.parametrize(
    ("garbage", "reasons"),
    (
        (b"GET / HTTP/1.1\r\n\r\n", {"WRONG_VERSION_NUMBER", "BAD_RECORD_TYPE", "HTTP_REQUEST"}),
        (b"\x17\x03\x03\xff\xff" + bytes(100), {"ENCRYPTED_LENGTH_TOO_LONG", "PACKET_LENGTH_TOO_LONG"}),
        (b"\x17\x03\x03\x00\x00", {"LENGTH_TOO_SHORT", "DECRYPTION_FAILED_OR_BAD_RECORD_MAC"}),
        (b"\x17\x03\x03\x00\x20" + bytes(32), {"DECRYPTION_FAILED_OR_BAD_RECORD_MAC"}),
        (b"\x15\x03\x03\x00\x02\x02\x28" * 50, None),
        (b"\x14\x03\x03\x00\x01\x01" * 50, None),
        (b"\x18\x03\x03\x00\x03\x01\x00\xff", None),
        (b"\x00" * 100, None),
        (b"\xff" * 100, None),
    ),
    ids=("http", "too long", "empty", "forged", "alerts", "ccs", "heartbeat", "zeros", "ones"),
)
async def test_garbage(by_hand, garbage, reasons):
    transport, protocol, tls = await by_hand()
    tls.peer.send(garbage)
    exc = await lost_with_error(protocol)
    assert reasons is None or exc.reason in reasons | OF_ANY_RECORD
    transport.write(b"nobody listens")


async def test_one_bit_is_wrong(by_hand, impl):
    """What came before in good order is delivered; asyncio drops what it has decrypted in the same turn."""
    transport, protocol, tls = await by_hand()
    good, bad = tls.sealed(b"good"), bytearray(tls.sealed(b"bad"))
    bad[-1] ^= 1
    tls.peer.send(good + bad + tls.sealed(b"behind"))
    exc = await lost_with_error(protocol)
    assert exc.reason in {"DECRYPTION_FAILED_OR_BAD_RECORD_MAC"} | OF_ANY_RECORD
    assert protocol.received == (b"" if impl.tls == "asyncio" else b"good")


async def test_a_record_twice(by_hand):
    transport, protocol, tls = await by_hand()
    record = tls.sealed(b"once")
    tls.peer.send(record)
    await protocol.bytes(4)
    tls.peer.send(record)
    await lost_with_error(protocol)
    assert protocol.received == b"once"


async def test_a_record_is_missing(by_hand):
    transport, protocol, tls = await by_hand()
    tls.sealed(b"missing")
    tls.peer.send(tls.sealed(b"second"))
    await lost_with_error(protocol)
    assert protocol.received == b""


async def test_random_damage(by_hand):
    """Whatever is done to the stream, what is delivered is the beginning of what was sent."""
    for seed in range(12):
        rng = random.Random(seed)
        transport, protocol, tls = await by_hand()
        data = peers.payload(20_000, seed)
        stream = bytearray(tls.sealed(data, record=rng.choice((1000, 16384))))
        how = rng.randrange(3)
        at = rng.randrange(len(stream))
        if how == 0:
            stream[at] ^= 1 << rng.randrange(8)
        elif how == 1:
            del stream[at : at + rng.randrange(1, 50)]
        else:
            stream[at:at] = rng.randbytes(rng.randrange(1, 50))
        with contextlib.suppress(OSError):  # shutdown() of what was reset is no ConnectionError
            while stream:
                size = rng.randrange(1, 9000)
                await tls.peer.send_all(stream[:size])
                del stream[:size]
                await turns(2)
            tls.peer.half_close()
        await protocol.lost()
        assert data.startswith(protocol.received)
        assert len(protocol.received) < len(data)
        tls.peer.close()


@pytest.mark.parametrize("size", (0, 1, 4, 5, 6, 20))
async def test_the_end_within_a_record(by_hand, size):
    """Without the goodbye: the stream is cut off, and what was whole is delivered."""
    transport, protocol, tls = await by_hand()
    tls.peer.send(tls.sealed(b"whole") + tls.sealed(b"cut off")[:size])
    await protocol.bytes(5)
    tls.peer.half_close()
    await protocol.lost()
    assert protocol.received == b"whole"
    assert protocol.events.count("lost") == 1


async def test_reset_within_a_record(by_hand):
    transport, protocol, tls = await by_hand()
    tls.peer.send(tls.sealed(b"whole") + tls.sealed(b"cut off")[:10])
    await protocol.bytes(5)
    tls.peer.reset()
    assert isinstance(await protocol.lost(), ConnectionResetError)
    assert protocol.received == b"whole"


async def test_reset_while_much_is_to_be_sent(by_hand):
    transport, protocol, tls = await by_hand(ours_sndbuf=peers.SMALL, theirs_rcvbuf=peers.SMALL)
    peers.fill(transport)
    tls.peer.reset()
    exc = await protocol.lost()
    assert isinstance(exc, (ConnectionResetError, BrokenPipeError))
    transport.write(b"nobody listens")
    assert transport.is_closing()


async def test_data_after_the_goodbye(by_hand):
    transport, protocol, tls = await by_hand()
    data = tls.sealed(b"before")
    with pytest.raises(ssl.SSLWantReadError):
        tls.tls.unwrap()
    tls.peer.send(data + tls.outgoing.read() + b"\x17\x03\x03\x00\x20" + bytes(32))
    await protocol.lost()
    assert protocol.received == b"before"
    assert protocol.events[-2:] == ["eof", "lost"]


async def test_greeting_that_is_cut_off(loop, server_context, client_context):
    tls = peers.TLSPeer(None, client_context, False)
    with pytest.raises(ssl.SSLWantReadError):
        tls.tls.do_handshake()
    greeting = tls.outgoing.read()
    for size in (0, 1, 4, 5, 6, 50, len(greeting) - 1):
        ours, theirs = peers.socket_pair("tcp")
        with peers.Peer(theirs) as peer:
            opening = asyncio.ensure_future(loop.connect_accepted_socket(Recorder, ours, ssl=server_context))
            peer.send(greeting[:size])
            await turns(3)
            peer.half_close()
            with pytest.raises(ConnectionResetError):
                await opening
    await turns(5)


async def test_greeting_that_is_damaged(loop, server_context, client_context):
    tls = peers.TLSPeer(None, client_context, False)
    with pytest.raises(ssl.SSLWantReadError):
        tls.tls.do_handshake()
    greeting = tls.outgoing.read()
    for at in range(0, 60, 3):
        damaged = bytearray(greeting)
        damaged[at] ^= 0x55
        ours, theirs = peers.socket_pair("tcp")
        with peers.Peer(theirs) as peer:
            opening = asyncio.ensure_future(loop.connect_accepted_socket(Recorder, ours, ssl=server_context))
            peer.send(bytes(damaged))
            await turns(5)
            peer.half_close()
            # Some of it OpenSSL overlooks: then the end is what comes.
            with pytest.raises((ssl.SSLError, ConnectionResetError)):
                await opening
    await turns(5)


async def test_slow_and_silent_peers_end_by_the_timeout(loop, server_context, client_context):
    tls = peers.TLSPeer(None, client_context, False)
    with pytest.raises(ssl.SSLWantReadError):
        tls.tls.do_handshake()
    ours, theirs = peers.socket_pair("tcp")
    with peers.Peer(theirs) as peer:
        opening = asyncio.ensure_future(
            loop.connect_accepted_socket(Recorder, ours, ssl=server_context, ssl_handshake_timeout=0.05)
        )
        peer.send(tls.outgoing.read()[:100])
        with pytest.raises(ConnectionAbortedError) as raised:
            await opening
        text = "SSL handshake is taking longer than 0.05 seconds: aborting the connection"
        assert str(raised.value) == text


async def test_many_small_records(by_hand):
    """As many as come at once are one piece, and none is lost."""
    transport, protocol, tls = await by_hand()
    data = peers.payload(20_000)
    stream = tls.sealed(data, record=1)
    sending = asyncio.ensure_future(tls.peer.send_all(stream))
    assert peers.digest(await protocol.bytes(len(data))) == peers.digest(data)
    await sending
    assert protocol.events.count("data") < 2_000
    transport.abort()
    await protocol.lost()


async def test_abort_in_the_middle(by_hand):
    """In data_received, in pause_writing, in eof_received."""
    for name in ("data", "pause", "eof"):
        abort = {name: lambda self, *args: self.transport.abort()}
        transport, protocol, tls = await by_hand(lambda abort=abort: Recorder(**abort))
        if name == "data":
            tls.peer.send(tls.sealed(b"data") + tls.sealed(b"more"))
        elif name == "pause":
            transport.write(bytes(20 << 20))  # more than the transport below wants
            transport.write(bytes(1 << 20))
        else:
            tls.peer.half_close()
        await protocol.lost()
        await turns(5)
        assert protocol.events.count("lost") == 1
        tls.peer.close()


async def test_close_in_the_middle(by_hand):
    def data(self, data):
        self.transport.write(b"bye")
        self.transport.close()
        self.transport.write(b"late")

    transport, protocol, tls = await by_hand(lambda: Recorder(data=data))
    tls.peer.send(tls.sealed(b"data"))
    assert await tls.read(3) == b"bye"
    await tls.attempt(tls.tls.unwrap)
    tls.peer.close()
    assert await protocol.lost() is None
    assert protocol.received == b"data"
