"""What calls back while something is decrypted or encrypted, and does there what it likes."""

import asyncio
import ctypes
import gc
import ssl

import pytest

from .. import support
from . import peers
from .peers import Recorder, turns

OVER_TLS = True


async def abort(transport, protocol):
    transport.abort()
    await protocol.lost()


@pytest.fixture
def another(by_hand):
    """A second connection of the loop, and a function that sends much on it at once."""

    async def another():
        transport, protocol, tls = await by_hand()
        sent = []

        def send():
            data = peers.payload(200_000, len(sent))
            sent.append(data)
            transport.write(data)

        return transport, protocol, tls, sent, send

    return another


async def test_another_connection_sends_while_this_one_reads(by_hand, another, client_context):
    other, other_protocol, other_tls, sent, send = await another()

    def read(self, *args):
        data = ssl.SSLObject.read(self, *args)
        send()
        return data

    transport, protocol, tls = await by_hand(contexts=(peers.context_of(read=read), client_context))
    data = peers.payload(60_000)
    await tls.peer.send_all(tls.sealed(data, record=10_000))
    assert peers.digest(await protocol.bytes(len(data))) == peers.digest(data)
    everything = b"".join(sent)
    assert peers.digest(await other_tls.read(len(everything))) == peers.digest(everything)
    await abort(transport, protocol)
    await abort(other, other_protocol)


async def test_another_connection_sends_while_this_one_writes(by_hand, another, client_context):
    other, other_protocol, other_tls, sent, send = await another()

    def write(self, data):
        send()
        return ssl.SSLObject.write(self, data)

    transport, protocol, tls = await by_hand(contexts=(peers.context_of(write=write), client_context))
    data = peers.payload(50_000)
    for start in range(0, len(data), 1000):
        transport.write(data[start : start + 1000])
    assert peers.digest(await tls.read(len(data))) == peers.digest(data)
    everything = b"".join(sent)
    assert peers.digest(await other_tls.read(len(everything))) == peers.digest(everything)
    await abort(transport, protocol)
    await abort(other, other_protocol)


async def test_more_is_written_while_something_is_written(by_hand, client_context, impl):
    """It comes behind. asyncio encrypts the first again."""
    if impl.tls == "asyncio":
        pytest.skip("asyncio's protocol is not made for this")
    more = [peers.payload(100_000, 5), peers.payload(10, 6)]

    def write(self, data):
        if more:
            transport.write(more.pop(0))
            transport.get_write_buffer_size()
        return ssl.SSLObject.write(self, data)

    expected = b"first" + b"".join(more)
    transport, protocol, tls = await by_hand(contexts=(peers.context_of(write=write), client_context))
    transport.write(b"first")
    assert peers.digest(await tls.read(len(expected))) == peers.digest(expected)
    transport.write(b"end")
    assert await tls.read(3) == b"end"
    await abort(transport, protocol)
    transport = None  # a cycle through _ssl's own object, which the collector does not know on 3.11


ACTS = {
    "aborts": lambda transport: transport.abort(),
    "closes": lambda transport: transport.close(),
    "breaks": lambda transport: transport._ssl_protocol._transport.abort(),
    "collects": lambda transport: gc.collect(),
    "pauses": lambda transport: transport.pause_reading(),
    "resumes": lambda transport: (transport.pause_reading(), transport.resume_reading()),
    "reads": lambda transport: transport._ssl_protocol._do_read(),
    "limits": lambda transport: transport.set_write_buffer_limits(0),
    "writes what cannot be": lambda transport: transport.writelines([b"more", "text"]),
    "swaps": lambda transport: transport.set_protocol(asyncio.Protocol()),
    "another session": lambda transport: setattr(
        transport._ssl_protocol, "_sslobj", transport._ssl_protocol._sslobj
    ),
}


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("method", ("read", "write", "do_handshake", "unwrap"))
async def test_methods_of_the_session_that_act(loop, client_context, method, act, reports, logged):
    """Nothing but an end of the connection comes of it."""
    done = []
    depth = 0

    def acting(self, *args):
        nonlocal depth
        result = getattr(ssl.SSLObject, method)(self, *args)
        if protocols and protocols[0].transport is not None and depth == 0:
            depth += 1
            done.append(act)
            ACTS[act](protocols[0].transport)
            depth -= 1
        return result

    protocols = []

    def factory():
        protocols.append(Recorder())
        return protocols[-1]

    ours, theirs = peers.socket_pair("tcp")
    with peers.Peer(theirs) as peer:
        tls = peers.TLSPeer(peer, client_context, False)
        context = peers.context_of(**{method: acting})
        opening = asyncio.ensure_future(loop.connect_accepted_socket(factory, ours, ssl=context))
        with peers.contextlib.suppress(OSError, ssl.SSLError):
            await tls.attempt(tls.tls.do_handshake)
            transport, protocol = await opening
            peer.send(tls.sealed(b"first"))
            await turns(5)
            transport.write(b"answer")
            peer.send(tls.sealed(b"second"))
            await turns(5)
            transport.close()
            await turns(5)
        peer.close()
    for protocol in protocols:
        if protocol.transport is not None:
            protocol.transport.abort()
    await asyncio.wait([opening])
    await turns(20)
    assert done or method in ("do_handshake", "unwrap")
    reports.clear()
    logged.clear()


# ---- What OpenSSL itself calls ----

OPENSSL_CAN_BE_CALLED = hasattr(ssl._ssl, "__file__") and ssl.OPENSSL_VERSION_INFO >= (3, 0)
ALLOW_CLIENT_RENEGOTIATION = 1 << 8


class OpenSSL:
    """The library that the module ssl uses, called from outside: it can do what the module does not."""

    def __init__(self):
        self.library = ctypes.CDLL(ssl._ssl.__file__)
        self.library.SSL_renegotiate.argtypes = [ctypes.c_void_p]
        self.library.SSL_do_handshake.argtypes = [ctypes.c_void_p]
        self.library.SSL_key_update.argtypes = [ctypes.c_void_p, ctypes.c_int]

    def renegotiate(self, sslobj):
        structure = self.structure(sslobj)
        assert self.library.SSL_renegotiate(structure) == 1
        self.library.SSL_do_handshake(structure)

    def update_key(self, sslobj, answer):
        structure = self.structure(sslobj)
        assert self.library.SSL_key_update(structure, answer) == 1
        self.library.SSL_do_handshake(structure)

    def structure(self, sslobj):
        word = ctypes.sizeof(ctypes.c_void_p)
        return ctypes.c_void_p.from_address(id(sslobj._sslobj) + object.__basicsize__ + word).value


@pytest.fixture
def openssl():
    if not OPENSSL_CAN_BE_CALLED:
        pytest.skip("OpenSSL is inside of the interpreter, or of a time when clients might negotiate anew")
    return OpenSSL()


def renegotiating_contexts(callback):
    of_server = peers.new_server_context(maximum_version=ssl.TLSVersion.TLSv1_2, sni_callback=callback)
    of_server.options |= ALLOW_CLIENT_RENEGOTIATION
    return of_server, peers.new_client_context()


async def test_renegotiation_calls_back_while_records_are_read(by_hand, another, openssl):
    """The callback for the server's name runs in the middle of a read, with what has been decrypted and what has not."""
    other, other_protocol, other_tls, sent, send = await another()
    calls = []

    def callback(sslobj, name, context):
        calls.append(name)
        if len(calls) > 1:
            send()

    transport, protocol, tls = await by_hand(contexts=renegotiating_contexts(callback))
    before, behind = peers.payload(40_000, 1), peers.payload(40_000, 2)
    stream = tls.sealed(before)
    openssl.renegotiate(tls.tls)
    stream += tls.outgoing.read()
    await tls.peer.send_all(stream)
    await tls.attempt(tls.tls.do_handshake)
    await tls.peer.send_all(tls.sealed(behind))
    assert peers.digest(await protocol.bytes(80_000)) == peers.digest(before + behind)
    assert calls == ["localhost", "localhost"]
    (data,) = sent
    assert peers.digest(await other_tls.read(len(data))) == peers.digest(data)
    transport.write(b"after")
    assert await tls.read(5) == b"after"
    await abort(transport, protocol)
    await abort(other, other_protocol)


@pytest.mark.parametrize("act", sorted({*ACTS} - {"reads", "another session"}))
async def test_renegotiation_calls_back_who_acts(by_hand, openssl, act, reports, logged):
    calls = []

    def callback(sslobj, name, context):
        calls.append(name)
        if len(calls) > 1:
            ACTS[act](transport)

    transport, protocol, tls = await by_hand(contexts=renegotiating_contexts(callback))
    stream = tls.sealed(b"before")
    openssl.renegotiate(tls.tls)
    await tls.peer.send_all(stream + tls.outgoing.read())
    while len(calls) < 2:
        await turns(1)
    await turns(5)
    tls.peer.close()
    transport.abort()
    await turns(10)
    if act not in ("swaps", "pauses"):
        assert protocol.received == b"before" and protocol.events.count("lost") == 1
    reports.clear()
    logged.clear()


async def test_renegotiation_whose_callback_looks_at_the_session(by_hand, openssl, impl):
    """It may not be exchanged while OpenSSL is at work, nor read twice."""
    calls = []

    def callback(sslobj, name, context):
        calls.append(name)
        if len(calls) > 1:
            protocol = transport._ssl_protocol
            protocol._do_read()
            if impl.tls != "asyncio":
                try:
                    protocol._sslobj = protocol._sslobj
                except RuntimeError as error:
                    calls.append(str(error))

    transport, protocol, tls = await by_hand(contexts=renegotiating_contexts(callback))
    stream = tls.sealed(b"before")
    openssl.renegotiate(tls.tls)
    await tls.peer.send_all(stream + tls.outgoing.read())
    if impl.tls == "openssl" and not support.FREE_THREADED:  # where it is the object engine in its place
        await tls.attempt(tls.tls.do_handshake)
        await tls.peer.send_all(tls.sealed(b"behind"))
        assert await protocol.bytes(12) == b"beforebehind"
        assert calls[2:] == ["the TLS session is in use"]
    while len(calls) < 2:
        await turns(1)
    await abort(transport, protocol)


@pytest.mark.parametrize("answer", (0, 1))
@pytest.mark.parametrize("server_side", (True, False))
async def test_new_keys(by_hand, openssl, server_side, answer):
    """Records that hold no data, with and without an answer."""
    transport, protocol, tls = await by_hand(server_side=server_side)
    for count in range(1, 6):
        openssl.update_key(tls.tls, answer)
        data = tls.outgoing.read()
        assert data
        tls.peer.send(data + tls.sealed(b"x"))
        assert await protocol.bytes(count) == b"x" * count
        transport.write(b"answer")
        assert await tls.read(6) == b"answer"
    await abort(transport, protocol)


async def test_a_flood_of_new_keys(by_hand, openssl):
    """Each asks for new keys of ours, which are one answer."""
    transport, protocol, tls = await by_hand()
    for _ in range(1000):
        openssl.update_key(tls.tls, 1)
    await tls.peer.send_all(tls.outgoing.read() + tls.sealed(b"x"))
    assert await protocol.bytes(1) == b"x"
    assert transport.get_write_buffer_size() < 1000
    transport.write(b"answer")
    assert await tls.read(6) == b"answer"
    await abort(transport, protocol)


async def test_the_session_is_dropped_in_the_middle(loop, by_hand, client_context):
    """The last reference to all of it goes while it reads."""
    kept = []

    def data(self, data):
        kept.clear()
        self.transport = None
        gc.collect()

    transport, protocol, tls = await by_hand(lambda: Recorder(data=data))
    kept += [transport, transport._ssl_protocol]
    below = transport._ssl_protocol._transport
    del transport
    tls.peer.send(tls.sealed(b"x") + tls.sealed(b"y"))
    await protocol.bytes(2)
    below.abort()
    await protocol.lost()
    del below
    support.collect()


async def test_start_tls_within_a_callback(loop, by_hand, server_context, client_context):
    """A protocol that begins TLS within TLS while it is told of data, with the greeting behind that."""
    secure = loop.create_future()

    def data(self, data):
        if data == b"go":
            upgrading = loop.create_task(
                loop.start_tls(self.transport, self, server_context, server_side=True)
            )
            upgrading.add_done_callback(lambda task: secure.set_result(task.result()))

    transport, protocol, tls = await by_hand(lambda: Recorder(data=data))
    tls.peer.send(tls.sealed(b"go"))
    await protocol.bytes(2)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    inner = client_context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    while True:
        try:
            inner.do_handshake()
            break
        except ssl.SSLWantReadError:
            await tls.peer.send_all(tls.sealed(outgoing.read()))
            incoming.write(await tls.read(1))
    await tls.peer.send_all(tls.sealed(outgoing.read()))
    await secure
    payload = peers.payload(200_000)
    inner.write(payload)
    sending = asyncio.ensure_future(tls.peer.send_all(tls.sealed(outgoing.read())))
    assert peers.digest(await protocol.bytes(2 + len(payload))) == peers.digest(b"go" + payload)
    await sending
    secure.result().write(payload)
    received = b""
    while len(received) < len(payload):
        incoming.write(await tls.read(1))
        with peers.contextlib.suppress(ssl.SSLWantReadError):
            while True:
                received += inner.read(1 << 16)
    assert peers.digest(received) == peers.digest(payload)
    secure.result().abort()
    await protocol.lost()
    transport._closed = True
