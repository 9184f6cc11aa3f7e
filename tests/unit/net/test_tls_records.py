"""What is read and written over TLS: how it becomes records, who is told when, and what waits."""

import asyncio
import contextvars
import ssl
import sys

import pytest

from .. import support
from . import peers
from .peers import BufferedRecorder, Recorder, turns

OVER_TLS = True


def native(impl):
    return impl.tls != "asyncio"


async def end(transport, protocol, tls):
    """Close both ends, in TLS's own way."""
    transport.close()
    await tls.attempt(tls.tls.unwrap)
    tls.peer.close()
    assert await protocol.lost() is None


# ---- Reading ----


async def test_records_cut_at_every_byte(by_hand):
    transport, protocol, tls = await by_hand()
    size = len(tls.sealed(b"first") + tls.sealed(b"second"))
    # The numbers of these two records have gone by, so begin anew.
    transport.abort()
    await protocol.lost()
    transport, protocol, tls = await by_hand()
    expected = b""
    for position in range(1, size):
        data = tls.sealed(b"first") + tls.sealed(b"second")
        tls.peer.send(data[:position])
        await turns(4)
        tls.peer.send(data[position:])
        expected += b"firstsecond"
        assert await protocol.bytes(len(expected)) == expected
    await end(transport, protocol, tls)


async def test_records_byte_by_byte(by_hand):
    transport, protocol, tls = await by_hand()
    for byte in tls.sealed(b"slowly"):
        assert protocol.received == b""
        tls.peer.send(bytes([byte]))
        await turns(4)
    assert await protocol.bytes(6) == b"slowly"
    assert protocol.events.count("data") == 1
    await end(transport, protocol, tls)


async def test_what_came_together_is_one_piece(by_hand):
    pieces = []
    transport, protocol, tls = await by_hand(lambda: Recorder(data=lambda self, data: pieces.append(data)))
    tls.peer.send(tls.sealed(b"x" * 900, record=100))
    await protocol.bytes(900)
    assert pieces == [b"x" * 900]
    await end(transport, protocol, tls)


async def test_data_behind_the_handshake(loop, server_context, client_context):
    """In the same segment as the client's last message."""
    ours, theirs = peers.socket_pair("tcp")
    with peers.Peer(theirs) as peer:
        tls = peers.TLSPeer(peer, client_context, False)
        opening = asyncio.ensure_future(loop.connect_accepted_socket(Recorder, ours, ssl=server_context))
        with pytest.raises(ssl.SSLWantReadError):
            tls.tls.do_handshake()
        peer.send(tls.outgoing.read())
        while True:
            tls.incoming.write(await peers.in_thread(peer.sock.recv, 1 << 16))
            try:
                tls.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                pass
        tls.tls.write(b"early")
        peer.send(tls.outgoing.read())
        transport, protocol = await opening
        assert await protocol.bytes(5) == b"early"
        await end(transport, protocol, tls)


@pytest.mark.parametrize("size", (1, 10, 16384, 50_000))
async def test_buffered_protocol(by_hand, size):
    def buffer(self, sizehint):
        return memoryview(bytearray(size))

    transport, protocol, tls = await by_hand(lambda: BufferedRecorder(get_buffer=buffer))
    data = peers.payload(min(200 * size, 100_000))
    sending = asyncio.ensure_future(tls.peer.send_all(tls.sealed(data)))
    assert peers.digest(await protocol.bytes(len(data))) == peers.digest(data)
    await sending
    await end(transport, protocol, tls)


async def test_buffer_that_is_a_bytearray(by_hand, impl):
    """asyncio takes a slice of it for the second record, which is a copy."""
    if not native(impl):
        pytest.skip("asyncio loses what the second record says")
    transport, protocol, tls = await by_hand(lambda: BufferedRecorder(100))
    tls.peer.send(tls.sealed(b"two records", record=4))
    assert await protocol.bytes(11) == b"two records"
    await end(transport, protocol, tls)


async def test_data_before_a_broken_record(by_hand, impl, reports):
    if not native(impl):
        pytest.skip("asyncio drops what it has decrypted in the same turn")
    transport, protocol, tls = await by_hand()
    sealed = bytearray(tls.sealed(b"good") + tls.sealed(b"bad"))
    sealed[-1] ^= 1
    tls.peer.send(sealed)
    exc = await protocol.lost()
    assert protocol.received == b"good" and protocol.events == ["made", "data", "lost"]
    assert type(exc) is ssl.SSLError
    assert exc.reason in ("DECRYPTION_FAILED_OR_BAD_RECORD_MAC", "RECORD_LAYER_FAILURE")


async def test_buffered_protocol_without_a_buffer(by_hand, reports):
    transport, protocol, tls = await by_hand(
        lambda: BufferedRecorder(get_buffer=lambda self, sizehint: memoryview(b"read only"))
    )
    tls.peer.send(tls.sealed(b"data"))
    exc = await protocol.lost()
    assert type(exc) is TypeError
    assert str(exc) == "read() argument 2 must be read-write bytes-like object, not memoryview"
    assert [report["message"] for report in reports] == ["Fatal error on SSL protocol"]
    reports.clear()


async def test_paused_reading_is_bounded(by_hand):
    transport, protocol, tls = await by_hand(theirs_rcvbuf=peers.SMALL)
    transport.pause_reading()
    data = peers.payload(3 << 20)
    sending = asyncio.ensure_future(tls.peer.send_all(tls.sealed(data)))
    ssl_protocol = transport._ssl_protocol
    while ssl_protocol._transport.is_reading():
        await asyncio.sleep(0)
    assert protocol.received == b""
    # The high-water mark, and what is read at a time.
    assert 256 * 1024 <= transport.get_read_buffer_size() <= 512 * 1024
    transport.resume_reading()
    assert peers.digest(await protocol.bytes(len(data))) == peers.digest(data)
    await sending
    assert transport.get_read_buffer_size() == 0
    await end(transport, protocol, tls)


async def test_pause_in_data_received(by_hand):
    def data(self, data):
        self.transport.pause_reading()

    transport, protocol, tls = await by_hand(lambda: Recorder(data=data))
    tls.peer.send(tls.sealed(b"one"))
    await protocol.bytes(3)
    tls.peer.send(tls.sealed(b"two"))
    await turns(10)
    assert protocol.received == b"one" and not transport.is_reading()
    transport.resume_reading()
    assert await protocol.bytes(6) == b"onetwo"
    transport.resume_reading()
    await end(transport, protocol, tls)


@pytest.mark.whole_calls
async def test_exception_in_data_received(by_hand, reports):
    """What it has written before is sent, as far as the kernel takes it at once."""
    error = RuntimeError("no")

    def data(self, data):
        self.transport.write(b"answer")
        raise error

    transport, protocol, tls = await by_hand(lambda: Recorder(data=data))
    tls.peer.send(tls.sealed(b"question"))
    assert await tls.read(6) == b"answer"
    assert await protocol.lost() is error
    (report,) = reports
    assert report["message"] == "Fatal error on SSL protocol" and report["exception"] is error
    reports.clear()


# ---- Writing ----


async def test_writes_of_one_callback_are_one_record(by_hand, impl):
    transport, protocol, tls = await by_hand()
    transport.write(b"head")
    transport.write(bytearray(b"body"))
    transport.writelines([b"and", memoryview(b"more")])
    records = await tls.read_records(15)
    assert len(records) == (1 if native(impl) else 4)
    await end(transport, protocol, tls)


async def test_writes_of_the_callback_that_reads(by_hand, impl):
    def data(self, data):
        self.transport.write(b"head")
        self.transport.write(b"body")

    transport, protocol, tls = await by_hand(lambda: Recorder(data=data))
    tls.peer.send(tls.sealed(b"?"))
    records = await tls.read_records(8)
    assert len(records) == (1 if native(impl) else 2)
    await end(transport, protocol, tls)


async def test_a_changed_buffer_is_not_sent(by_hand):
    transport, protocol, tls = await by_hand()
    data = bytearray(b"before")
    transport.write(data)
    data[:] = b"behind"
    assert await tls.read(6) == b"before"
    await end(transport, protocol, tls)


@pytest.mark.parametrize("sizes", ((1, 16383, 1), (16384, 16384), (16385,), (3, 40_000, 5), (10,) * 5000))
async def test_sizes_of_writes(by_hand, sizes):
    transport, protocol, tls = await by_hand()
    data = peers.payload(sum(sizes))
    at = 0
    for size in sizes:
        transport.write(data[at : at + size])
        at += size
    assert peers.digest(await tls.read(len(data))) == peers.digest(data)
    await end(transport, protocol, tls)


async def test_peer_that_does_not_read(by_hand):
    transport, protocol, tls = await by_hand(ours_sndbuf=peers.SMALL, theirs_rcvbuf=peers.SMALL)
    written = peers.fill(transport, limit=4 << 20)
    # What is encrypted and what is not, and no more than the marks and one write beyond.
    assert transport.get_write_buffer_size() <= 1 << 20
    assert protocol.events.count("pause") == 1
    assert len(await tls.read(written)) == written
    await protocol.until(lambda: "resume" in protocol.events)
    assert transport.get_write_buffer_size() == 0
    await end(transport, protocol, tls)


async def test_one_write_that_does_not_fit(by_hand, impl):
    """By asyncio it is in the buffer of the socket's transport, of which nobody is told."""
    if not native(impl):
        pytest.skip("asyncio does not pause the protocol")
    transport, protocol, tls = await by_hand(ours_sndbuf=peers.SMALL, theirs_rcvbuf=peers.SMALL)
    transport.write(bytes(4 << 20))
    assert protocol.events == ["made", "pause"]
    assert transport.get_write_buffer_size() > 1 << 20
    assert len(await tls.read(4 << 20)) == 4 << 20
    await protocol.until(lambda: "resume" in protocol.events)
    await end(transport, protocol, tls)


async def test_limits_of_the_write_buffer(by_hand):
    transport, protocol, tls = await by_hand()
    transport.set_write_buffer_limits(high=0)
    assert protocol.events == ["made", "pause"]
    assert transport.get_write_buffer_limits() == (0, 0)
    transport.write(b"x")
    assert protocol.events[-1] == "resume"
    transport.set_write_buffer_limits()
    assert await tls.read(1) == b"x"
    await end(transport, protocol, tls)


async def test_size_of_the_write_buffer(by_hand):
    transport, protocol, tls = await by_hand()
    transport.write(b"x")
    assert transport.get_write_buffer_size() == 0
    assert await tls.read(1) == b"x"
    await end(transport, protocol, tls)


async def test_context_of_resume_writing(by_hand):
    var = contextvars.ContextVar("var", default="none")
    seen = []
    transport, protocol, tls = await by_hand(
        lambda: Recorder(resume=lambda self: seen.append(var.get())),
        ours_sndbuf=peers.SMALL,
        theirs_rcvbuf=peers.SMALL,
    )
    # What is left of the handshake waits in another context, and whatever is written then waits with it.
    while transport._ssl_protocol._transport.get_write_buffer_size():
        await asyncio.sleep(0)

    async def write():
        var.set("writer")
        transport.write(b"x" * 40_000)  # a small one: ours is encrypted when this step ends
        await turns(2)
        return peers.fill(transport) + 40_000

    written = await asyncio.create_task(write())
    await tls.read(written)
    await protocol.until(lambda: "resume" in protocol.events)
    assert seen == [
        "none" if support.PY315 else "writer"
    ]  # from 3.15 on a connection has a context of its own
    await end(transport, protocol, tls)


@pytest.mark.parametrize("data", ("text", 7, None, ["list"]))
async def test_write_of_no_bytes(by_hand, data):
    transport, protocol, tls = await by_hand()
    with pytest.raises(TypeError) as raised:
        transport.write(data)
    assert str(raised.value) == f"data: expecting a bytes-like instance, got {type(data).__name__}"
    transport.write(b"")
    transport.write(memoryview(b""))
    await end(transport, protocol, tls)


async def test_writelines_of_no_bytes(by_hand, reports):
    transport, protocol, tls = await by_hand()
    with pytest.raises(TypeError, match=r"object of type 'int' has no len\(\)"):
        transport.writelines([b"a", 1])
    with pytest.raises(TypeError, match="'int' object is not iterable"):
        transport.writelines(1)
    transport.writelines([b"b", "text"])
    assert type(await protocol.lost()) is TypeError
    (report,) = reports
    assert report["message"] == "Fatal error on SSL protocol"
    reports.clear()


async def test_lines_of_which_one_has_no_length(by_hand, impl, reports):
    """Of asyncio's connection it is the end, at the next write: it has put the wrong one to what is to be written."""
    transport, protocol, tls = await by_hand()
    with pytest.raises(TypeError):
        transport.writelines([b"a", 1])
    transport.write(b"b")
    if not native(impl):
        assert type(await protocol.lost()) is TypeError
        reports.clear()
    else:
        assert await tls.read(2) == b"ab"
        await end(transport, protocol, tls)


async def test_write_after_the_end(by_hand, logged):
    transport, protocol, tls = await by_hand()
    await end(transport, protocol, tls)
    for _ in range(7):
        transport.write(b"lost")
    # asyncio counts the end itself as the first.
    assert logged == ["SSL connection is closed"] * 3
    logged.clear()


async def test_close_sends_what_was_written(by_hand):
    transport, protocol, tls = await by_hand()
    transport.write(b"last")
    transport.close()
    assert await tls.read(4) == b"last"
    await tls.attempt(tls.tls.unwrap)
    tls.peer.close()
    await protocol.lost()


@pytest.mark.whole_calls
async def test_abort_sends_what_was_written(by_hand):
    """As far as the kernel takes it at once: abort() drops the rest."""
    transport, protocol, tls = await by_hand()
    transport.write(b"last")
    transport.abort()
    assert await tls.read(4) == b"last"
    assert await protocol.lost() is None


async def test_peer_says_goodbye(by_hand):
    """What is written when the peer has ended its half goes nowhere."""
    transport, protocol, tls = await by_hand(lambda: Recorder(eof=lambda self: self.transport.write(b"late")))
    with pytest.raises(ssl.SSLWantReadError):
        tls.tls.unwrap()
    tls.peer.send(tls.sealed(b"") or tls.outgoing.read())
    assert await protocol.lost() is None
    assert protocol.events == ["made", "eof", "lost"]


async def test_data_with_the_goodbye(by_hand):
    transport, protocol, tls = await by_hand()
    data = tls.sealed(b"last words")
    with pytest.raises(ssl.SSLWantReadError):
        tls.tls.unwrap()
    tls.peer.send(data + tls.outgoing.read())
    assert await protocol.lost() is None
    assert protocol.received == b"last words"
    assert protocol.events == ["made", "data", "eof", "lost"]


# ---- Versions, certificates, callbacks ----


@pytest.mark.parametrize("version", (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3))
@pytest.mark.parametrize("server_side", (False, True))
async def test_versions(by_hand, version, server_side):
    of_client = peers.new_client_context(minimum_version=version, maximum_version=version)
    contexts = peers.server_context(), of_client
    transport, protocol, tls = await by_hand(server_side=server_side, contexts=contexts)
    data = peers.payload(100_000)
    transport.write(data)
    assert peers.digest(await tls.read(len(data))) == peers.digest(data)
    sending = asyncio.ensure_future(tls.peer.send_all(tls.sealed(data)))
    assert peers.digest(await protocol.bytes(len(data))) == peers.digest(data)
    await sending
    assert transport.get_extra_info("ssl_object").version() == version.name.replace("_", ".")
    await end(transport, protocol, tls)


async def test_certificate_of_the_client_after_the_handshake(by_hand):
    """The server's question and the client's answer are records that hold no data."""
    of_server = peers.new_server_context(verify_mode=ssl.CERT_OPTIONAL, post_handshake_auth=True)
    of_server.load_verify_locations(peers.certificate())
    of_client = peers.new_client_context(post_handshake_auth=True)
    of_client.load_cert_chain(peers.certificate())
    for server_side in (True, False):
        transport, protocol, tls = await by_hand(server_side=server_side, contexts=(of_server, of_client))
        of_ours = transport.get_extra_info("ssl_object")
        asking = of_ours if server_side else tls.tls
        assert asking.getpeercert() is None
        asking.verify_client_post_handshake()
        if server_side:
            transport.write(b"who are you")
            assert await tls.read(11) == b"who are you"
            tls.peer.send(tls.sealed(b"me"))
            assert await protocol.bytes(2) == b"me"
        else:
            tls.peer.send(tls.sealed(b"who are you"))
            assert await protocol.bytes(11) == b"who are you"
            transport.write(b"me")
            assert await tls.read(2) == b"me"
        assert asking.getpeercert()["subject"] == ((("commonName", "localhost"),),)
        await end(transport, protocol, tls)


async def test_client_certificate_that_is_missing(loop, client_context, logged, reports):
    """The client finishes its handshake before the server has looked for the certificate, and is told as it reads."""
    of_server = peers.new_server_context(verify_mode=ssl.CERT_REQUIRED)
    with peers.socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            sock, _ = listener.accept()
            sock.settimeout(peers.GUARD_SECONDS)
            # Closed while the client still sends, the connection would be reset, and the alert might not be read.
            with sock, sock.dup() as still_open:
                with pytest.raises(ssl.SSLError):
                    of_server.wrap_socket(sock, server_side=True)
                while still_open.recv(1 << 16):
                    pass

        serving = asyncio.ensure_future(peers.in_thread(serve))
        transport, protocol = await peers.connect_tls(loop, listener.getsockname(), client_context)
        exc = await protocol.lost()
        await serving
    assert type(exc) is ssl.SSLError
    assert (exc.library, exc.reason) == ("SSL", "TLSV13_ALERT_CERTIFICATE_REQUIRED")
    assert str(exc).startswith(
        "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert certificate required (_ssl.c:"
    )
    del exc


async def test_names_and_protocols(by_hand):
    """The server's callback for the name, ALPN, and a key log."""
    of_server = peers.new_server_context()
    of_server.set_alpn_protocols(["h2", "http/1.1"])
    names = []
    of_server.sni_callback = lambda ssl_object, name, context: names.append((type(ssl_object), name))
    of_client = peers.new_client_context()
    of_client.set_alpn_protocols(["http/1.1"])
    transport, protocol, tls = await by_hand(contexts=(of_server, of_client))
    assert names == [(ssl.SSLObject, "localhost")]
    ssl_object = transport.get_extra_info("ssl_object")
    assert ssl_object.selected_alpn_protocol() == "http/1.1"
    assert ssl_object.context is of_server and ssl_object.server_side
    assert ssl_object.cipher() == transport.get_extra_info("cipher")
    assert ssl_object.session is not None and ssl_object.shared_ciphers()
    await end(transport, protocol, tls)


async def test_ssl_object_outlives_the_connection(by_hand):
    transport, protocol, tls = await by_hand()
    ssl_object = transport.get_extra_info("ssl_object")
    await end(transport, protocol, tls)
    del transport, protocol
    support.collect()
    assert ssl_object.version() == "TLSv1.3"
    assert ssl_object.pending() == 0
    with pytest.raises((ssl.SSLError, ValueError)):
        ssl_object.write(b"nobody listens")
    with pytest.raises(ssl.SSLError):
        ssl_object.read(1)


# ---- start_tls ----


@pytest.mark.parametrize("together", (False, True))
async def test_greeting_behind_the_last_words_in_plain(loop, impl, server_context, client_context, together):
    """A client that waits for no answer: its greeting is in the reader by the time that the server starts TLS."""
    if together and impl.tls == "asyncio" and sys.version_info < (3, 14):
        pytest.skip("asyncio waits for a greeting that it has read (CPython #142352)")
    ours, theirs = peers.socket_pair("tcp")
    with peers.Peer(theirs) as peer:
        done = loop.create_future()

        async def serve(reader, writer):
            assert await reader.readline() == b"STARTTLS\n"
            await writer.start_tls(server_context)
            assert await reader.readline() == b"question\n"
            writer.write(b"answer\n")
            await writer.drain()
            assert await reader.read() == b""
            writer.close()
            done.set_result(None)

        def factory():
            return asyncio.StreamReaderProtocol(asyncio.StreamReader(loop=loop), serve, loop=loop)

        await loop.connect_accepted_socket(factory, ours)
        tls = peers.TLSPeer(peer, client_context, False)
        with pytest.raises(ssl.SSLWantReadError):
            tls.tls.do_handshake()
        greeting = tls.outgoing.read()
        peer.send(b"STARTTLS\n" + (greeting if together else b""))
        if not together:
            await turns(5)
            peer.send(greeting)
        await tls.attempt(tls.tls.do_handshake)
        peer.send(tls.sealed(b"question\n"))
        assert await tls.read(7) == b"answer\n"
        await tls.attempt(tls.tls.unwrap)
        await done
        await turns(5)


async def test_written_before_start_tls(loop, server_context, client_context):
    """What was written in plain in the same step comes in plain, and first."""
    ours, theirs = peers.socket_pair("tcp")
    with peers.Peer(theirs) as peer:
        transport, protocol = await loop.connect_accepted_socket(Recorder, ours)

        async def upgrade():
            transport.write(b"go\n")
            return await loop.start_tls(transport, protocol, server_context, server_side=True)

        upgrading = asyncio.ensure_future(upgrade())
        assert await peer.read(3) == b"go\n"
        tls = peers.TLSPeer(peer, client_context, False)
        await tls.attempt(tls.tls.do_handshake)
        secure = await upgrading
        assert isinstance(secure, asyncio.sslproto._SSLProtocolTransport)
        assert isinstance(secure._ssl_protocol, asyncio.sslproto.SSLProtocol)
        secure.write(b"secret")
        assert await tls.read(6) == b"secret"
        secure.close()
        await tls.attempt(tls.tls.unwrap)
        await protocol.lost()


async def test_cancelled_start_tls(loop, client_context):
    ours, theirs = peers.socket_pair("tcp")
    with theirs:
        transport, protocol = await loop.create_connection(Recorder, sock=ours)
        upgrading = asyncio.ensure_future(
            loop.start_tls(transport, protocol, client_context, server_hostname="localhost")
        )
        await turns(3)
        upgrading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await upgrading
        assert transport.is_closing()
        await turns(5)


async def test_streams(loop, serve, client_context):
    address, protocols, stop = await serve(
        lambda: Recorder(data=lambda self, data: self.transport.write(data))
    )
    reader, writer = await asyncio.open_connection(*address, ssl=client_context, server_hostname="localhost")
    for size in (1, 1000, 100_000):
        data = peers.payload(size)
        writer.write(data)
        await writer.drain()
        assert peers.digest(await reader.readexactly(size)) == peers.digest(data)
    writer.close()
    await writer.wait_closed()
    await protocols[0].lost()
    await stop()


async def test_finish_is_once(by_hand):
    transport, protocol, tls = await by_hand()
    transport.close()
    transport.abort()
    assert await protocol.lost() is None
    await turns(5)
    assert protocol.events.count("lost") == 1
