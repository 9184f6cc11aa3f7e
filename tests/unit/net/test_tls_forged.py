"""What a peer can do within TLS: records that are authentic, and that no library would send.

The connection has a cipher that authenticates and does not encrypt, so that each record can be made here.
"""

import asyncio
import hashlib
import hmac
import ssl

import pytest

from . import peers
from .peers import Recorder, turns

OVER_TLS = True
# Or OpenSSL 3.0 fails to decrypt nothing.
NO_ENCRYPT_THEN_MAC = 1 << 19
CIPHERS = "ECDHE-RSA-NULL-SHA:ECDHE-ECDSA-NULL-SHA:@SECLEVEL=0"
CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, DATA, HEARTBEAT = range(20, 25)
WARNING, FATAL = b"\x01", b"\x02"
CLOSE_NOTIFY, USER_CANCELED = b"\x00", b"\x5a"
ANSWER = b"\x15\x03\x03\x00\x16\x01\x64"  # the beginning of the alert no_renegotiation
HELLO_REQUEST = b"\x00\x00\x00\x00"


def prf(secret, label, seed, size):
    """TLS 1.2's, of RFC 5246 section 5."""
    seed = label + seed
    data, a = b"", seed
    while len(data) < size:
        a = hmac.digest(secret, a, "sha256")
        data += hmac.digest(secret, a + seed, "sha256")
    return data[:size]


def context_pair():
    of_server = peers.new_server_context()
    of_client = peers.new_client_context()
    for context in (of_server, of_client):
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(CIPHERS)
        context.options |= NO_ENCRYPT_THEN_MAC
    return of_server, of_client


class Forger(peers.TLSPeer):
    """A peer after its handshake; `record()` makes what it says next."""

    def __init__(self, peer, context, server_side):
        super().__init__(peer, context, server_side)
        self.server_side = server_side
        self.seen = bytearray()
        self.number = 1  # the end of the handshake was record 0

    async def handshake(self, keys):
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await self.say()
                self.seen += (data := await peers.in_thread(self.peer.sock.recv, 1 << 16))
                self.incoming.write(data)
        await self.say()
        # The randoms come after the header of the record, that of the message, and the version.
        label, of_client, master = keys.read_text().split()[-3:]
        assert label == "CLIENT_RANDOM"
        of_client, master = bytes.fromhex(of_client), bytes.fromhex(master)
        of_server = self.said[11:43] if self.server_side else bytes(self.seen[11:43])
        size = hashlib.sha1().digest_size
        of_both = prf(master, b"key expansion", of_server + of_client, 2 * size)
        self.key = of_both[size:] if self.server_side else of_both[:size]

    said = b""

    async def say(self):
        data = self.outgoing.read()
        self.said += data
        await self.peer.send_all(data)

    def greeting(self):
        """What the client has said first."""
        return self.said[5 : 5 + int.from_bytes(self.said[3:5])]

    def record(self, kind, data, *, version=b"\x03\x03", mac=True):
        head = bytes([kind]) + version
        seal = self.number.to_bytes(8) + head + len(data).to_bytes(2) + data
        self.number += 1
        data += hmac.digest(self.key, seal, "sha1") if mac else b""
        return head + len(data).to_bytes(2) + data


@pytest.fixture
def forge(loop, tmp_path):
    """`await forge(factory)` returns `(transport, protocol, Forger)`."""
    with peers.contextlib.ExitStack() as stack:

        async def forge(factory=Recorder, *, server_side=True, contexts=None, **sizes):
            ours, theirs = peers.socket_pair("tcp", **sizes)
            peer = stack.enter_context(peers.Peer(theirs))
            of_server, of_client = contexts or context_pair()
            context = of_client if server_side else of_server
            keys = tmp_path / "keys"
            keys.unlink(missing_ok=True)
            context.keylog_filename = str(keys)
            forger = Forger(peer, context, not server_side)
            if server_side:
                opening = loop.connect_accepted_socket(factory, ours, ssl=of_server)
            else:
                opening = peers.connect_tls(loop, (), of_client, factory, sock=ours)
            opening = asyncio.ensure_future(opening)
            await forger.handshake(keys)
            transport, protocol = await opening
            context.keylog_filename = None
            return transport, protocol, forger

        yield forge


async def abort(transport, protocol):
    transport.abort()
    await protocol.lost()


@pytest.mark.parametrize("server_side", (True, False))
async def test_a_forged_record_is_authentic(forge, server_side):
    transport, protocol, forger = await forge(server_side=server_side)
    forger.peer.send(forger.record(DATA, b"first") + forger.record(DATA, b"second"))
    assert await protocol.bytes(11) == b"firstsecond"
    transport.write(b"answer")
    assert await forger.read(6) == b"answer"
    await abort(transport, protocol)


async def test_a_few_empty_records(forge):
    """They say nothing, and nobody is told."""
    transport, protocol, forger = await forge()
    for _ in range(10):
        forger.peer.send(b"".join(forger.record(DATA, b"") for _ in range(20)) + forger.record(DATA, b"x"))
    assert await protocol.bytes(10) == b"x" * 10
    assert protocol.events.count("data") <= 10
    await abort(transport, protocol)


async def test_a_flood_of_empty_records(forge):
    """OpenSSL has had enough at some time; what came before is delivered."""
    transport, protocol, forger = await forge()
    forger.peer.send(forger.record(DATA, b"before"))
    await protocol.bytes(6)
    flood = b"".join(forger.record(DATA, b"") for _ in range(2000))
    with peers.contextlib.suppress(ConnectionError):
        await forger.peer.send_all(flood)
    exc = await protocol.lost()
    assert isinstance(exc, ssl.SSLError)
    assert protocol.received == b"before" and protocol.events.count("data") == 1


async def test_a_flood_of_warnings(forge):
    transport, protocol, forger = await forge()
    flood = b"".join(forger.record(ALERT, WARNING + USER_CANCELED) for _ in range(200))
    forger.peer.send(flood)
    exc = await protocol.lost()
    assert isinstance(exc, ssl.SSLError)
    assert exc.reason == "TOO_MANY_WARN_ALERTS"


async def test_warnings_between_data(forge):
    transport, protocol, forger = await forge()
    for _ in range(20):
        forger.peer.send(forger.record(ALERT, WARNING + USER_CANCELED) + forger.record(DATA, b"x"))
    assert await protocol.bytes(20) == b"x" * 20
    await abort(transport, protocol)


@pytest.mark.parametrize("alert", (b"\x28", b"\x2a", b"\x50", b"\xfe"))
async def test_fatal_alerts(forge, alert):
    """With the data that came before it."""
    transport, protocol, forger = await forge()
    forger.peer.send(forger.record(DATA, b"before"))
    await protocol.bytes(6)
    forger.peer.send(forger.record(ALERT, FATAL + alert) + forger.record(DATA, b"behind"))
    exc = await protocol.lost()
    assert isinstance(exc, ssl.SSLError) and exc.library == "SSL"
    assert protocol.received == b"before"


async def test_close_notify_and_more(forge):
    transport, protocol, forger = await forge()
    stream = forger.record(DATA, b"before") + forger.record(ALERT, WARNING + CLOSE_NOTIFY)
    forger.peer.send(stream + forger.record(DATA, b"behind") * 3)
    await protocol.lost()
    assert protocol.received == b"before"
    assert protocol.events[-2:] == ["eof", "lost"]


@pytest.mark.parametrize(
    ("kind", "data"),
    (
        (25, b"unknown"),
        (0, b""),
        (255, b"unknown"),
        (HEARTBEAT, b"\x01\xff\xff"),
        (CHANGE_CIPHER_SPEC, b"\x01"),
        (ALERT, b"\x01"),
        (ALERT, b"\x01\x00\x00"),
        (ALERT, b"\x03\x00"),
        (HANDSHAKE, b"\x01\xff\xff\xff" + bytes(100)),
        (HANDSHAKE, b"\x14\x00\x00\x0c" + bytes(12)),
        (HANDSHAKE, b"\xff\x00\x00\x00"),
    ),
)
@pytest.mark.parametrize("server_side", (True, False))
async def test_authentic_nonsense(forge, server_side, kind, data):
    """It is an error, or waits for its rest, and then the end is what comes."""
    transport, protocol, forger = await forge(server_side=server_side)
    forger.peer.send(forger.record(kind, data))
    await turns(10)
    forger.peer.half_close()
    exc = await protocol.lost()
    assert exc is None or isinstance(exc, OSError)
    assert protocol.received == b"" and protocol.events.count("lost") == 1


async def test_authentic_and_too_long(forge):
    transport, protocol, forger = await forge()
    with peers.contextlib.suppress(ConnectionError):
        await forger.peer.send_all(forger.record(DATA, bytes(16385)))
    exc = await protocol.lost()
    assert isinstance(exc, ssl.SSLError)
    assert protocol.received == b""


async def test_as_long_as_may_be(forge):
    transport, protocol, forger = await forge()
    data = peers.payload(16384 * 3)
    stream = b"".join(forger.record(DATA, data[at : at + 16384]) for at in range(0, len(data), 16384))
    await forger.peer.send_all(stream)
    assert peers.digest(await protocol.bytes(len(data))) == peers.digest(data)
    await abort(transport, protocol)


@pytest.mark.parametrize("version", (b"\x03\x01", b"\x03\x04", b"\x02\x00", b"\xff\xff"))
async def test_another_version_in_the_middle(forge, version):
    transport, protocol, forger = await forge()
    forger.peer.send(forger.record(DATA, b"x", version=version))
    exc = await protocol.lost()
    assert isinstance(exc, ssl.SSLError)
    assert protocol.received == b""


async def test_greetings_of_a_client_that_reads_the_answers(forge):
    """Renegotiation is refused by an alert each time; meanwhile the connection works."""
    transport, protocol, forger = await forge()
    greeting = forger.greeting()
    for count in range(1, 4):
        forger.peer.send(forger.record(HANDSHAKE, greeting) + forger.record(DATA, b"x"))
        await protocol.bytes(count)
        assert (await forger.peer.read(27))[:7] == ANSWER
    assert protocol.received == b"xxx"
    await abort(transport, protocol)


async def test_greetings_of_a_client_that_reads_nothing(forge, impl):
    """What is to be said to it is bounded: nothing is read from it until it reads. asyncio keeps all of it."""
    if impl.tls == "asyncio":
        pytest.skip("asyncio's memory grows with what such a client sends")
    transport, protocol, forger = await forge(ours_sndbuf=peers.SMALL, theirs_rcvbuf=peers.SMALL)
    greeting = forger.greeting()
    below = transport._ssl_protocol._transport
    stream = b"".join(forger.record(HANDSHAKE, greeting) for _ in range(40_000)) + forger.record(DATA, b"x")
    sending = asyncio.ensure_future(forger.peer.send_all(stream))
    while below.is_reading():
        await asyncio.sleep(0)
    waiting = below.get_write_buffer_size() + transport.get_write_buffer_size()
    assert waiting <= 256 * 1024
    for _ in range(3):
        await turns(10)
        assert not below.is_reading()
        assert below.get_write_buffer_size() + transport.get_write_buffer_size() == waiting
    reading = asyncio.ensure_future(forger.peer.read_all())
    await sending
    assert await protocol.bytes(1) == b"x"
    assert below.is_reading()
    transport.close()
    forger.peer.half_close()
    await protocol.lost()
    answers = await reading
    assert answers.count(ANSWER) >= 40_000


async def test_requests_for_renegotiation_without_end(forge):
    """A client that is asked may greet once; it does not answer each."""
    transport, protocol, forger = await forge(server_side=False)
    requests = b"".join(forger.record(HANDSHAKE, HELLO_REQUEST) for _ in range(300))
    forger.peer.send(requests + forger.record(DATA, b"x"))
    assert await protocol.bytes(1) == b"x"
    transport.abort()
    await protocol.lost()
    assert len(await forger.peer.read_all()) < 10_000
